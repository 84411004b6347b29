/*
 * Stopping and starting the threads of a live process with ptrace. SEIZE only, never ATTACH, never
 * single-step, never PTRACE_O_EXITKILL: if we die at any instruction the kernel lets every thread
 * run on as if we had not been there.
 */
#ifndef MEMPROF_PROC_TRACEE_H
#define MEMPROF_PROC_TRACEE_H

#include "arch.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>

/* Kernel constants that an older C library does not name: <linux/ptrace.h>. */
#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif
#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

struct thread {
	pid_t tid;
	bool stopped;          /* in a stop of ours: registers can be read */
	bool kept;             /* was held before tracee_stop_all */
	struct arch_regs regs; /* as they were when it stopped */
	struct arch_where at;
};

struct tracee {
	pid_t pid;
	const struct arch *arch;
	bool suspend_seccomp; /* ask for PTRACE_O_SUSPEND_SECCOMP with every seize */
	struct thread *v;     /* threads we hold */
	size_t n, cap;
	uint64_t released_ns; /* when the thread that was let go last was let go */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: waits give up then; set by the callers below */
};

void tracee_init(struct tracee *t, pid_t pid, const struct arch *arch);
void tracee_deinit(struct tracee *t); /* releases what is still held */

/* Seize and stop one thread; *ret is its index in t->v. e: ERR_GONE, ERR_PERM, ERR_BUSY (traced by
 * somebody else), ERR_TIMEOUT it did not stop within the budget. Then, nothing is held any more. */
int tracee_stop_one(struct tracee *t, pid_t tid, unsigned budget_ms, size_t *ret, struct err *e);

/* Stop every thread that is not held yet, until a look at the task list finds nothing new. On
 * failure the threads that this call stopped run again; one that would not stop stays in t, and
 * tracee_release_all must follow soon (it waits for it, once everything else runs). */
int tracee_stop_all(struct tracee *t, unsigned budget_ms, struct err *e);

/* Let a stopped thread run for a moment and stop it again: how a thread is moved out of code that
 * is about to change. Signals that were due are delivered on the way. */
int tracee_nudge(struct tracee *t, size_t i, struct err *e);

/* Let go, for good: all of them, or all stopped ones but the one with tid `keep`. Threads that died
 * are no error. */
void tracee_release_all(struct tracee *t);
void tracee_release_others(struct tracee *t, pid_t keep);

/* Index of the thread with this tid, or SIZE_MAX. */
size_t tracee_find(const struct tracee *t, pid_t tid);

/* Wait for the next stop of a thread that we let run to it. Returns 0 and *status, or -1 and e:
 * ERR_GONE, ERR_TIMEOUT past t->deadline_ns. For rcall. */
int tracee_wait(const struct tracee *t, pid_t tid, int *status, struct err *e);

uint64_t tracee_now_ns(void);

#endif
