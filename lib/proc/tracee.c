#include "proc/tracee.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 1 << 20, WAIT_SLICE_NS = 200000 };

uint64_t tracee_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void tracee_init(struct tracee *t, pid_t pid, const struct arch *arch)
{
	*t = (struct tracee){.pid = pid, .arch = arch};
}

void tracee_deinit(struct tracee *t)
{
	tracee_release_all(t);
	free(t->v);
	t->v = NULL;
	t->cap = 0;
}

size_t tracee_find(const struct tracee *t, pid_t tid)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].tid == tid)
			return i;
	}
	return SIZE_MAX;
}

static void set_deadline(struct tracee *t, unsigned budget_ms)
{
	t->deadline_ns = tracee_now_ns() + (uint64_t)budget_ms * 1000000u;
}

/* Sleep until a child reports something, or a slice of time is over. A thread that stops raises
 * SIGCHLD; the caller keeps it blocked, so that it is there to be waited for. */
static void wait_a_little(void)
{
	sigset_t chld;
	const struct timespec slice = {.tv_nsec = WAIT_SLICE_NS};

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigtimedwait(&chld, NULL, &slice);
}

int tracee_wait(const struct tracee *t, pid_t tid, int *status, struct err *e)
{
	for (unsigned spins = 0;; spins++) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);

		if (got == tid) {
			if (WIFSTOPPED(*status))
				return 0;
			return err_set(e, ERR_GONE, "thread %d is gone", tid);
		}
		if (got == -1 && errno != EINTR)
			return err_set(e, ERR_GONE, "thread %d is gone", tid);
		if (tracee_now_ns() > t->deadline_ns)
			return err_set(e, ERR_TIMEOUT, "thread %d does not stop", tid);
		if (spins > 20)
			wait_a_little();
	}
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

/*
 * Wait until tid is in the stop that PTRACE_INTERRUPT asked for, or in a group stop. A signal that
 * is being delivered first is passed on at once: never swallowed, never kept.
 */
static int wait_event_stop(const struct tracee *t, pid_t tid, struct err *e)
{
	int status;

	for (;;) {
		if (tracee_wait(t, tid, &status, e) == -1)
			return -1;
		if (is_event_stop(status))
			return 0;
		if (ptrace(PTRACE_CONT, tid, NULL, (void *)(long)WSTOPSIG(status)) == -1)
			return err_set(e, ERR_GONE, "thread %d is gone", tid);
	}
}

static int thread_read(const struct tracee *t, struct thread *th, struct err *e)
{
	if (t->arch->regs_get(th->tid, &th->regs, e) == -1)
		return -1;
	t->arch->where(&th->regs, &th->at);
	th->stopped = true;
	return 0;
}

static int reserve(struct tracee *t, struct err *e)
{
	if (t->n < t->cap)
		return 0;
	size_t cap = t->cap ? 2 * t->cap : 16;
	struct thread *v = cap <= THREADS_MAX ? reallocarray(t->v, cap, sizeof(*v)) : NULL;
	if (v == NULL)
		return err_set(e, ERR_NOMEM, "too many threads (%zu)", t->n);
	t->v = v;
	t->cap = cap;
	return 0;
}

/* Seize without waiting. Returns 0, or -1 and e; a thread that is a zombie or just died is
 * ERR_GONE. */
static int seize(struct tracee *t, pid_t tid, struct err *e)
{
	const long options = t->suspend_seccomp ? PTRACE_O_SUSPEND_SECCOMP : 0;

	if (reserve(t, e) == -1)
		return -1;
	if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)options) == -1)
		return err_sys(e, ERR_SYS, "thread %d: can't be traced", tid);
	t->v[t->n++] = (struct thread){.tid = tid};
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == -1)
		return err_set(e, ERR_GONE, "thread %d is gone", tid);
	return 0;
}

/*
 * PTRACE_DETACH needs a stop. A thread that has not reached it is waited for without a limit: it
 * would stand still later, with nobody to let it go. So these come last, when all others run.
 */
static void detach(struct tracee *t, size_t i)
{
	struct thread *th = &t->v[i];
	struct err ignored;
	int status, sig = 0;

	if (!th->stopped) {
		t->deadline_ns = UINT64_MAX;
		if (tracee_wait(t, th->tid, &status, &ignored) == 0 && !is_event_stop(status))
			sig = WSTOPSIG(status);
	}
	ptrace(PTRACE_DETACH, th->tid, NULL, (void *)(long)sig);
	t->v[i] = t->v[--t->n];
}

/* Let go the threads that stand, but `keep` and, if asked, those marked as kept. */
static void release_stopped(struct tracee *t, pid_t keep, bool spare_kept)
{
	for (size_t i = t->n; i-- > 0;) {
		const struct thread *th = &t->v[i];

		if (th->stopped && th->tid != keep && !(spare_kept && th->kept))
			detach(t, i);
	}
}

void tracee_release(struct tracee *t, size_t i)
{
	detach(t, i);
}

void tracee_release_others(struct tracee *t, pid_t keep)
{
	release_stopped(t, keep, false);
}

void tracee_release_all(struct tracee *t)
{
	release_stopped(t, 0, false);
	while (t->n > 0)
		detach(t, t->n - 1);
}

int tracee_stop_one(struct tracee *t, pid_t tid, unsigned budget_ms, size_t *ret, struct err *e)
{
	size_t before = t->n;

	set_deadline(t, budget_ms);
	if (seize(t, tid, e) == 0 && wait_event_stop(t, tid, e) == 0 &&
	    thread_read(t, &t->v[t->n - 1], e) == 0) {
		*ret = t->n - 1;
		return 0;
	}
	while (t->n > before)
		detach(t, t->n - 1);
	return -1;
}

/* Seize all tasks that are not held. *found counts them. Threads that vanish, and zombies (which
 * answer EPERM), are passed over. */
static int seize_pass(struct tracee *t, size_t *found, struct err *e)
{
	char path[32];
	struct dirent *d;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return err_sys(e, ERR_GONE, "%s", path);
	*found = 0;
	while ((d = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);
		struct err ignored;

		if (tid <= 0 || tracee_find(t, tid) != SIZE_MAX)
			continue;
		if (seize(t, tid, &ignored) == 0)
			++*found;
		else if (ignored.code == ERR_NOMEM) {
			closedir(dir);
			*e = ignored;
			return -1;
		}
	}
	closedir(dir);
	return 0;
}

static int wait_pass(struct tracee *t, struct err *e)
{
	for (size_t i = 0; i < t->n;) {
		struct thread *th = &t->v[i];

		if (th->stopped ||
		    (wait_event_stop(t, th->tid, e) == 0 && thread_read(t, th, e) == 0))
			i++;
		else if (e->code == ERR_GONE)
			t->v[i] = t->v[--t->n];
		else
			return -1;
	}
	return 0;
}

int tracee_stop_all(struct tracee *t, unsigned budget_ms, struct err *e)
{
	size_t found;

	for (size_t i = 0; i < t->n; i++)
		t->v[i].kept = true;
	set_deadline(t, budget_ms);
	do {
		if (seize_pass(t, &found, e) == -1 || wait_pass(t, e) == -1) {
			release_stopped(t, 0, true);
			return -1;
		}
	} while (found > 0);
	if (t->n == 0)
		return err_set(e, ERR_GONE, "process %d has no thread that can be stopped", t->pid);
	return 0;
}

int tracee_nudge(struct tracee *t, size_t i, struct err *e)
{
	struct thread *th = &t->v[i];

	th->stopped = false;
	if (ptrace(PTRACE_CONT, th->tid, NULL, NULL) == -1 ||
	    ptrace(PTRACE_INTERRUPT, th->tid, NULL, NULL) == -1)
		return err_set(e, ERR_GONE, "thread %d is gone", th->tid);
	if (wait_event_stop(t, th->tid, e) == -1)
		return -1;
	return thread_read(t, th, e);
}

/* -- text ------------------------------------------------------------------------------------ */

static int peek(pid_t tid, raddr_t addr, uint8_t word[8], struct err *e)
{
	errno = 0;
	long got = ptrace(PTRACE_PEEKTEXT, tid, (void *)addr, NULL);
	if (got == -1 && errno != 0)
		return err_sys(e, ERR_FAULT, "reading text at %" PRIRA, addr);
	memcpy(word, &got, 8);
	return 0;
}

static int poke(pid_t tid, raddr_t addr, const uint8_t word[8], struct err *e)
{
	long w;

	memcpy(&w, word, 8);
	if (ptrace(PTRACE_POKETEXT, tid, (void *)addr, (void *)w) == -1)
		return err_sys(e, ERR_SYS, "writing text at %" PRIRA, addr);
	return 0;
}

static pid_t any_stopped(const struct tracee *t)
{
	return t->n > 0 ? t->v[0].tid : 0;
}

int tracee_poke_word(const struct tracee *t, raddr_t addr, const uint8_t old[8],
		     const uint8_t new[8], struct err *e)
{
	pid_t tid = any_stopped(t);
	uint8_t seen[8];

	if (peek(tid, addr, seen, e) == -1)
		return -1;
	if (memcmp(seen, old, 8) != 0)
		return err_set(e, ERR_CHANGED, "text at %" PRIRA " is not what was planned for", addr);
	if (poke(tid, addr, new, e) == -1 || peek(tid, addr, seen, e) == -1)
		return -1;
	if (memcmp(seen, new, 8) != 0)
		return err_set(e, ERR_CHANGED, "text at %" PRIRA " did not take the new bytes", addr);
	return 0;
}

int tracee_poke(const struct tracee *t, raddr_t addr, const void *bytes, size_t len, struct err *e)
{
	pid_t tid = any_stopped(t);

	for (size_t i = 0; i < len; i += 8) {
		if (poke(tid, addr + i, (const uint8_t *)bytes + i, e) == -1)
			return -1;
	}
	return 0;
}
