/*
 * Remote system calls: run in the tracee, on one of its stopped threads, through gadgets that are
 * there already. While a call is under way the thread's return to its old state lies ready on its
 * own stack, so that our death at any instruction is harmless.
 */
#ifndef MEMPROF_PROC_RCALL_H
#define MEMPROF_PROC_RCALL_H

#include "elf/maps.h"
#include "proc/tracee.h"

struct rcall {
	struct tracee *t;
	pid_t tid;
	int mem_fd; /* /proc/PID/mem, open for writing; borrowed */
	struct arch_gadgets gadgets;
	struct arch_regs orig;
	uint64_t sigmask;
	raddr_t sp;      /* of the frame */
	raddr_t scratch; /* RCALL_SCRATCH bytes below it, for strings */
	bool armed;      /* the thread is on its way through a call of ours */
};

enum { RCALL_SCRATCH = 256 };

/* Find the gadgets in the tracee's executable file mappings. maps: of the tracee.
 * e: ERR_UNSUPPORTED there are none. */
int rcall_find_gadgets(const struct arch *arch, int mem_fd, const struct maps *maps,
		       struct arch_gadgets *ret, struct err *e);

/* Choose a thread to run remote calls on: one that sleeps in a system call, if there is one.
 * Returns its tid; the first of the process's threads when nothing better is found. */
pid_t rcall_pick_thread(pid_t pid);

/* Prepare: lay the frame on the stack of stopped thread tid. maps: of the tracee (the frame must
 * lie in one writable mapping with the stack pointer). e: ERR_RANGE this thread can't be used (in a
 * restartable sequence, too little stack): try another. */
int rcall_begin(struct rcall *c, struct tracee *t, pid_t tid, int mem_fd,
		const struct arch_gadgets *g, const struct maps *maps, struct err *e);

/*
 * Stop a thread of the tracee that can run remote calls, and prepare it: rcall_pick_thread,
 * tracee_stop_one, rcall_begin, again a moment later as long as that thread can't be used.
 * *since_ns: when it was asked to stop. e: as those; ERR_TIMEOUT, ERR_RANGE when no try worked.
 */
int rcall_hold(struct rcall *c, struct tracee *t, int mem_fd, const struct arch_gadgets *g,
	       const struct maps *maps, uint64_t *since_ns, struct err *e);

/* Put bytes into the scratch space; returns their address in the tracee, or 0. */
raddr_t rcall_put(struct rcall *c, const void *bytes, size_t len);

/* One system call. *ret is the kernel's answer (a negative errno on its failure). Returns 0, or
 * -1 and e: the call could not be made (ERR_GONE, ERR_FAILED). */
int rcall_syscall(struct rcall *c, long nr, const uint64_t args[6], long *ret, struct err *e);

/* As rcall_syscall, a kernel error being an error: "WHAT: strerror". */
int rcall_checked(struct rcall *c, const char *what, long nr, const uint64_t args[6], uint64_t *ret,
		  struct err *e);

#define RCALL(c, what, nr, ret, e, ...)                                                            \
	rcall_checked(c, what, nr, (const uint64_t[6]){__VA_ARGS__}, ret, e)

/* Give the thread its own mask and registers back. It stays stopped: release it next. */
int rcall_end(struct rcall *c, struct err *e);

#endif
