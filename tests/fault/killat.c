/*
 * Runs a program under ptrace and kills it with SIGKILL at a chosen system call, on its way in or
 * out, whichever thread makes it; or only counts them. How a tracer that dies at any instruction is
 * tried out: between two system calls it can do its tracee no harm.
 *
 *	killat [-k PHASE:N] [-s SECONDS] LOG PROGRAM ARG...
 *
 * Phases of memprof: "start"; "seize" from its first PTRACE_SEIZE; "attached" from the write of
 * "memprof: attached" to stderr; "stop" from the SIGINT that ends the profile (sent by killat
 * itself SECONDS after "attached", 0.05 if not given). N counts the system call stops of a phase,
 * from 1, two a call. LOG gets a line "PHASE N" for each phase reached, with the stops counted in
 * it, and a last line: "exit STATUS", "signal N" or "died"; "killed PHASE:N in|out SYSCALL" comes first.
 * Exits with 0 when it could do that, 1 when it could not, 2 on wrong usage.
 *
 * Children that the program forks are left alone: they are not what is killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum phase { START, SEIZE, ATTACHED, STOP, PHASES };
static const char *const phase_names[PHASES] = {"start", "seize", "attached", "stop"};

struct run {
	pid_t pid;
	FILE *log;
	enum phase phase, kill_phase;
	unsigned long stops[PHASES], kill_at; /* kill_at 0: never */
	timer_t timer;
	double interrupt_s;
	bool killed;
};

static bool parse_kill(struct run *r, const char *arg)
{
	const char *colon = strchr(arg, ':');

	for (int p = START; colon != NULL && p < PHASES; p++) {
		if (strncmp(arg, phase_names[p], (size_t)(colon - arg)) != 0 ||
		    strlen(phase_names[p]) != (size_t)(colon - arg))
			continue;
		r->kill_phase = (enum phase)p;
		r->kill_at = strtoul(colon + 1, NULL, 10);
		return r->kill_at > 0;
	}
	return false;
}

/* SIGINT to the program after a while; the timer's own signal goes straight to it. */
static void interrupt_later(struct run *r)
{
	struct itimerspec when = {0};

	when.it_value.tv_sec = (time_t)r->interrupt_s;
	when.it_value.tv_nsec = (long)((r->interrupt_s - (double)when.it_value.tv_sec) * 1e9) + 1;
	timer_settime(r->timer, 0, &when, NULL);
}

static void phase_enter(struct run *r, enum phase phase)
{
	if (r->phase >= phase)
		return;
	r->phase = phase;
	if (phase == ATTACHED)
		interrupt_later(r);
}

static bool says_attached(pid_t tid, const struct __ptrace_syscall_info *call)
{
	static const char line[] = "memprof: attached";
	char text[sizeof(line) - 1] = "";
	uint64_t at = call->entry.args[1];
	struct iovec here = {text, sizeof(text)};

	if (call->entry.args[0] != STDERR_FILENO)
		return false;
	if (call->entry.nr == SYS_writev) {
		struct iovec first;
		struct iovec there = {(void *)(uintptr_t)at, sizeof(first)};
		struct iovec to = {&first, sizeof(first)};

		if (process_vm_readv(tid, &to, 1, &there, 1, 0) != (ssize_t)sizeof(first))
			return false;
		at = (uint64_t)(uintptr_t)first.iov_base;
	} else if (call->entry.nr != SYS_write) {
		return false;
	}
	struct iovec there = {(void *)(uintptr_t)at, sizeof(text)};

	return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)sizeof(text) &&
	       memcmp(text, line, sizeof(text)) == 0;
}

/* One system call stop: move to the phase it opens, count it, and see whether it is the one. */
static void syscall_stop(struct run *r, pid_t tid)
{
	struct __ptrace_syscall_info info = {0};

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) == -1)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		if (info.entry.nr == SYS_ptrace && info.entry.args[0] == PTRACE_SEIZE)
			phase_enter(r, SEIZE);
		if (says_attached(tid, &info))
			phase_enter(r, ATTACHED);
	}
	r->stops[r->phase]++;
	if (r->kill_at > 0 && r->phase == r->kill_phase && r->stops[r->phase] == r->kill_at) {
		long nr = ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user, regs.orig_rax), NULL);

		fprintf(r->log, "killed %s:%lu %s %ld\n", phase_names[r->phase], r->kill_at,
			info.op == PTRACE_SYSCALL_INFO_ENTRY ? "in" : "out", nr);
		kill(r->pid, SIGKILL);
		r->killed = true;
	}
}

static bool is_stop_signal(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* What a stopped thread is let go on with. */
static void resume(struct run *r, pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (sig == (SIGTRAP | 0x80)) {
		syscall_stop(r, tid);
		sig = 0;
	} else if (event == PTRACE_EVENT_STOP) {
		if (is_stop_signal(sig)) { /* group stop: stay in it until SIGCONT */
			ptrace(PTRACE_LISTEN, tid, NULL, NULL);
			return;
		}
		sig = 0;
	} else if (event != 0) {
		sig = 0;
	} else if (sig == SIGINT) {
		phase_enter(r, STOP);
	}
	ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(intptr_t)sig);
}

static int finish(struct run *r, int status)
{
	for (int p = START; p <= (int)r->phase; p++)
		fprintf(r->log, "%s %lu\n", phase_names[p], r->stops[p]);
	if (r->killed)
		fprintf(r->log, "died\n");
	else if (WIFEXITED(status))
		fprintf(r->log, "exit %d\n", WEXITSTATUS(status));
	else
		fprintf(r->log, "signal %d\n", WTERMSIG(status));
	return fclose(r->log) == 0 ? 0 : 1;
}

static int trace(struct run *r)
{
	int status;

	for (;;) {
		pid_t tid = waitpid(-1, &status, __WALL);

		if (tid == -1 && errno == EINTR)
			continue;
		if (tid == -1)
			return 1;
		if (WIFSTOPPED(status))
			resume(r, tid, status);
		else if (tid == r->pid)
			return finish(r, status);
	}
}

/* Starts the program stopped, so that nothing of it runs unseen. */
static pid_t spawn_traced(char **argv)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		raise(SIGSTOP);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	if (pid == -1 || waitpid(pid, &status, WUNTRACED) != pid)
		return -1;
	if (ptrace(PTRACE_SEIZE, pid, NULL,
		   PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
			   PTRACE_O_EXITKILL) == -1)
		return -1;
	return kill(pid, SIGCONT) == 0 ? pid : -1;
}

static volatile sig_atomic_t interrupt_pid;

static void interrupt_now(int sig)
{
	(void)sig;
	kill(interrupt_pid, SIGINT);
}

static int usage(void)
{
	fprintf(stderr, "usage: killat [-k start|seize|attached|stop:N] [-s SECONDS] LOG PROGRAM ARG...\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct run r = {.interrupt_s = 0.05};
	int opt;

	while ((opt = getopt(argc, argv, "+k:s:")) != -1) {
		if (opt == 'k' ? !parse_kill(&r, optarg)
			       : opt != 's' || (r.interrupt_s = strtod(optarg, NULL)) <= 0)
			return usage();
	}
	if (argc - optind < 2)
		return usage();
	r.log = fopen(argv[optind], "we");
	if (r.log == NULL || timer_create(CLOCK_MONOTONIC, NULL, &r.timer) == -1) {
		perror("killat");
		return 1;
	}
	r.pid = spawn_traced(argv + optind + 1);
	if (r.pid == -1) {
		perror("killat");
		return 1;
	}
	interrupt_pid = r.pid;
	signal(SIGALRM, interrupt_now);
	return trace(&r);
}
