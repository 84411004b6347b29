/*
 * Rains signals on a process: storm PID SIGNAL HZ. Ends when the process does, or when its own
 * standard input is closed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void nap_until(struct timespec *at, long step_ns)
{
	at->tv_nsec += step_ns;
	if (at->tv_nsec >= 1000000000) {
		at->tv_nsec -= 1000000000;
		at->tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL) == EINTR)
		;
}

static int input_closed(void)
{
	struct pollfd in = {.fd = 0, .events = POLLIN};

	return poll(&in, 1, 0) == 1 && (in.revents & (POLLHUP | POLLIN)) != 0;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		(void)fprintf(stderr, "usage: storm PID SIGNAL HZ\n");
		return 2;
	}
	pid_t pid = (pid_t)strtol(argv[1], NULL, 10);
	int sig = (int)strtol(argv[2], NULL, 10);
	long step_ns = 1000000000 / strtol(argv[3], NULL, 10);
	struct timespec at;
	unsigned long sent = 0;

	clock_gettime(CLOCK_MONOTONIC, &at);
	while (!input_closed() && kill(pid, sig) == 0) {
		sent++;
		nap_until(&at, step_ns);
	}
	printf("sent %lu\n", sent);
	return 0;
}
