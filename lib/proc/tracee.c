#include "proc/tracee.h"

#include "proc/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	THREADS_MAX = 1 << 20,
	WAIT_SLICE_NS = 200000,
	SPINS = 100,
	DEAD_EVERY = 128, /* questions */
	NUDGE_NAPS = 2,
	NUDGE_NAP_NS = 10000, /* and the timer's slack: time to wake up and run on */
	REAP_NS = 1000000000,
};

uint64_t tracee_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void tracee_init(struct tracee *t, pid_t pid, const struct arch *arch)
{
	*t = (struct tracee){.pid = pid, .arch = arch};
	prctl(PR_SET_TIMERSLACK, 1000); /* naps while somebody else stands still are to be short */
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

/* Before asking again: most stops come within some microseconds, and a sleep would take longer. The
 * thread may need this very CPU to get there. */
static void wait_turn(unsigned spins)
{
	if (spins < SPINS)
		sched_yield();
	else
		wait_a_little();
}

/* Dead, though waitpid may not say so: a first thread waits for all others to be reaped. */
static bool is_dead(const struct tracee *t, pid_t tid)
{
	struct procfs_stat st;
	struct err ignored;

	return procfs_stat(t->pid, tid, &st, &ignored) == -1 || procfs_is_zombie(&st) ||
	       st.state == 'X';
}

/* Has tid reported a stop? Returns 1 and *status, 0 not yet, -1 and e: ERR_GONE. */
static int ask(pid_t tid, int *status, struct err *e)
{
	pid_t got = waitpid(tid, status, __WALL | WNOHANG);

	if (got == 0 || (got == -1 && errno == EINTR))
		return 0;
	if (got == -1 || !WIFSTOPPED(*status))
		return err_set(e, ERR_GONE, "thread %d is gone", tid);
	return 1;
}

int tracee_wait(const struct tracee *t, pid_t tid, int *status, struct err *e)
{
	for (unsigned spins = 0;; spins++) {
		int got = ask(tid, status, e);

		if (got != 0)
			return got == 1 ? 0 : -1;
		if (spins % DEAD_EVERY == DEAD_EVERY - 1 && is_dead(t, tid))
			return err_set(e, ERR_GONE, "thread %d is gone", tid);
		if (tracee_now_ns() > t->deadline_ns)
			return err_set(e, ERR_TIMEOUT, "thread %d does not stop", tid);
		wait_turn(spins);
	}
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

/*
 * Is tid in the stop that PTRACE_INTERRUPT asked for, or in a group stop? As ask(); a signal that
 * is being delivered first is passed on at once: never swallowed, never kept.
 */
static int ask_event_stop(pid_t tid, struct err *e)
{
	int status, got = ask(tid, &status, e);

	if (got != 1 || is_event_stop(status))
		return got;
	/* If it was killed meanwhile this fails, and the next question tells (and reaps it). */
	ptrace(PTRACE_CONT, tid, NULL, (void *)(long)WSTOPSIG(status));
	return 0;
}

static int wait_event_stop(const struct tracee *t, pid_t tid, struct err *e)
{
	for (unsigned spins = 0;; spins++) {
		int got = ask_event_stop(tid, e);

		if (got != 0)
			return got == 1 ? 0 : -1;
		if (spins % DEAD_EVERY == DEAD_EVERY - 1 && is_dead(t, tid))
			return err_set(e, ERR_GONE, "thread %d is gone", tid);
		if (tracee_now_ns() > t->deadline_ns)
			return err_set(e, ERR_TIMEOUT, "thread %d does not stop", tid);
		wait_turn(spins);
	}
}

static int thread_read(const struct tracee *t, struct thread *th, struct err *e)
{
	th->stopped = true;
	if (t->arch->regs_get(th->tid, &th->regs, e) == -1)
		return -1;
	t->arch->where(&th->regs, &th->at);
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
 * ERR_GONE; one that is traced by somebody else ERR_BUSY. Both answer EPERM, and so does one that
 * we may not trace at all: its tracer tells. */
static int seize(struct tracee *t, pid_t tid, struct err *e)
{
	const long options = t->suspend_seccomp ? PTRACE_O_SUSPEND_SECCOMP : 0;
	struct procfs_status st;
	struct err ignored;

	if (reserve(t, e) == -1)
		return -1;
	if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)options) == -1) {
		err_sys(e, ERR_SYS, "thread %d: can't be traced", tid);
		if (e->code == ERR_PERM && is_dead(t, tid))
			return err_set(e, ERR_GONE, "thread %d is gone", tid);
		if (e->code == ERR_PERM && procfs_status(t->pid, tid, &st, &ignored) == 0 &&
		    st.tracer != 0)
			err_set(e, ERR_BUSY, "thread %d of %d is being traced by process %d", tid,
				t->pid, st.tracer);
		return -1;
	}
	t->v[t->n++] = (struct thread){.tid = tid};
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == -1)
		return err_set(e, ERR_GONE, "thread %d is gone", tid);
	return 0;
}

/* The signal that a thread in this stop still has to get. */
static int due_signal(int status)
{
	return is_event_stop(status) || WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
}

/* Let a stopped thread go. One that was killed in its stop is ours to reap: until then its parent
 * could not. */
static void detach(struct tracee *t, size_t i, int sig)
{
	const pid_t tid = t->v[i].tid;
	struct err ignored;
	int status;

	t->released_ns = tracee_now_ns();
	if (ptrace(PTRACE_DETACH, tid, NULL, (void *)(long)sig) == -1) {
		t->deadline_ns = tracee_now_ns() + REAP_NS;
		while (tracee_wait(t, tid, &status, &ignored) == 0 &&
		       ptrace(PTRACE_DETACH, tid, NULL, (void *)(long)due_signal(status)) == -1)
			;
	}
	t->v[i] = t->v[--t->n];
}

/* A thread that dies in here may not say so (is_dead). */
static void drop_dead(struct tracee *t)
{
	for (size_t i = t->n; i-- > 0;) {
		if (!t->v[i].stopped && is_dead(t, t->v[i].tid))
			t->v[i] = t->v[--t->n];
	}
}

/*
 * PTRACE_DETACH needs a stop. Threads that have not reached theirs are waited for without a limit,
 * whichever comes first: they would stand still later, with nobody to let them go.
 */
static void drain(struct tracee *t)
{
	while (t->n > 0) {
		for (size_t i = t->n; i-- > 0;) {
			int status;
			pid_t got = waitpid(t->v[i].tid, &status, __WALL | WNOHANG);

			if (got > 0 && WIFSTOPPED(status))
				detach(t, i, due_signal(status));
			else if (got != 0 && !(got == -1 && errno == EINTR))
				t->v[i] = t->v[--t->n];
		}
		drop_dead(t);
		if (t->n > 0)
			wait_a_little();
	}
}

/* Let go the threads that stand, but `keep` and, if asked, those marked as kept. */
static void release_stopped(struct tracee *t, pid_t keep, bool spare_kept)
{
	for (size_t i = t->n; i-- > 0;) {
		const struct thread *th = &t->v[i];

		if (th->stopped && th->tid != keep && !(spare_kept && th->kept))
			detach(t, i, 0);
	}
}

void tracee_release_others(struct tracee *t, pid_t keep)
{
	release_stopped(t, keep, false);
}

void tracee_release_all(struct tracee *t)
{
	release_stopped(t, 0, false);
	drain(t);
}

int tracee_stop_one(struct tracee *t, pid_t tid, unsigned budget_ms, size_t *ret, struct err *e)
{
	set_deadline(t, budget_ms);
	if (seize(t, tid, e) == 0 && wait_event_stop(t, tid, e) == 0 &&
	    thread_read(t, &t->v[t->n - 1], e) == 0) {
		*ret = t->n - 1;
		return 0;
	}
	tracee_release_all(t);
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
		if (tracee_now_ns() > t->deadline_ns) {
			closedir(dir);
			return err_set(e, ERR_TIMEOUT, "%d has too many threads to stop in time",
				       t->pid);
		}
		if (seize(t, tid, &ignored) == 0) {
			++*found;
		} else if (ignored.code != ERR_GONE) {
			closedir(dir);
			*e = ignored;
			return -1;
		}
	}
	closedir(dir);
	return 0;
}

/* Ask each thread that has not stopped yet, once. *left counts those that still have not. */
static int ask_pass(struct tracee *t, size_t *left, struct err *e)
{
	*left = 0;
	for (size_t i = 0; i < t->n;) {
		struct thread *th = &t->v[i];
		int got = th->stopped ? 1 : ask_event_stop(th->tid, e);

		if (got == 1 && !th->stopped)
			got = thread_read(t, th, e) == 0 ? 1 : -1;
		if (got == -1 && e->code == ERR_GONE) {
			t->v[i] = t->v[--t->n];
			continue;
		}
		if (got == -1)
			return -1;
		*left += got == 0;
		i++;
	}
	return 0;
}

static int wait_pass(struct tracee *t, struct err *e)
{
	size_t left;

	for (unsigned spins = 1;; spins++) {
		if (ask_pass(t, &left, e) == -1)
			return -1;
		if (left == 0)
			return 0;
		if (tracee_now_ns() > t->deadline_ns)
			return err_set(e, ERR_TIMEOUT, "%zu of %zu threads do not stop", left,
				       t->n);
		if (spins % DEAD_EVERY == 0)
			drop_dead(t);
		wait_turn(spins);
	}
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
	ptrace(PTRACE_CONT, th->tid, NULL, NULL);
	/* It must get to run, and may have to do so on this CPU. An interrupt that was still due (a
	 * group stop leaves one) stops it at once: that one is used up then, and the next nudge
	 * moves it. */
	for (unsigned naps = 0; naps < NUDGE_NAPS; naps++) {
		nanosleep(&(struct timespec){.tv_nsec = NUDGE_NAP_NS}, NULL);
		int got = ask_event_stop(th->tid, e);
		if (got != 0)
			return got == 1 ? thread_read(t, th, e) : -1;
	}
	ptrace(PTRACE_INTERRUPT, th->tid, NULL, NULL);
	if (wait_event_stop(t, th->tid, e) == -1)
		return -1;
	return thread_read(t, th, e);
}
