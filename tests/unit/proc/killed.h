/* Run a tracer in a child of its own and kill it at its n-th system call stop (two a call: on the
 * way in and out). Between two system calls a tracer can't touch its tracee, so these are all the
 * moments there are. */
#ifndef MEMPROF_TESTS_KILLED_H
#define MEMPROF_TESTS_KILLED_H

#include <check.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns the stops made: n when it was killed, fewer when it came to its end first (with exit
 * status 0, or the test fails). */
static inline unsigned killed_at(unsigned n, void (*steps)(void *), void *arg)
{
	unsigned stops = 0;
	int status;
	pid_t pid = fork();

	ck_assert_int_ne(pid, -1);
	if (pid == 0) {
		raise(SIGSTOP);
		steps(arg);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert_int_eq(ptrace(PTRACE_SEIZE, pid, NULL, (void *)(long)PTRACE_O_TRACESYSGOOD), 0);
	kill(pid, SIGCONT);
	for (long sig = 0;;) {
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			sig = 0;
			if (++stops == n)
				kill(pid, SIGKILL);
		} else {
			sig = status >> 16 == 0 ? WSTOPSIG(status) : 0;
		}
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)sig);
	}
	ck_assert_msg(stops == n || (WIFEXITED(status) && WEXITSTATUS(status) == 0),
		      "the tracer ended with status %#x at stop %u", status, stops);
	return stops;
}

#endif
