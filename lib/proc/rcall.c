#include "proc/rcall.h"

#include "proc/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	SCAN_CHUNK = 1 << 20,
	SYSCALL_STOP = SIGTRAP | 0x80,
	BUDGET_NS = 1000000000, /* for one call */
	HOLD_BUDGET_MS = 50,
	HOLD_TRIES = 50,
	HOLD_RETRY_NS = 2000000,
};

/* Chunks overlap by less than a gadget's length twice over, so that none is cut in two. */
static void scan_map(const struct arch *arch, int mem_fd, const struct map *m, uint8_t *buf,
		     struct arch_gadgets *g)
{
	for (raddr_t at = m->start; at < m->end; at += SCAN_CHUNK - 16) {
		size_t want = m->end - at < SCAN_CHUNK ? (size_t)(m->end - at) : SCAN_CHUNK;
		ssize_t n = pread(mem_fd, buf, want, (off_t)at);

		if (n <= 0)
			return;
		arch->gadgets_scan(buf, (size_t)n, at, g);
	}
}

int rcall_find_gadgets(const struct arch *arch, int mem_fd, const struct maps *maps,
		       struct arch_gadgets *ret, struct err *e)
{
	uint8_t *buf = malloc(SCAN_CHUNK);

	*ret = (struct arch_gadgets){0};
	if (buf == NULL)
		return err_set(e, ERR_NOMEM, "looking for gadgets");
	for (size_t i = 0; i < maps->n; i++) {
		const struct map *m = &maps->v[i];

		if (m->x && !m->w && m->inode != 0)
			scan_map(arch, mem_fd, m, buf, ret);
	}
	free(buf);
	if (ret->syscall_ret == 0 || ret->sigreturn == 0)
		return err_set(
		    e, ERR_UNSUPPORTED,
		    "its C library has no system call or signal return that could be used");
	return 0;
}

static bool sleeps(pid_t pid, pid_t tid)
{
	struct procfs_stat st;
	struct err ignored;

	return procfs_stat(pid, tid, &st, &ignored) == 0 && st.state == 'S';
}

/* A thread that was stopped before in the middle of a sleep: the kernel goes on with it by
 * restart_syscall, which a signal frame can't start again if we die. */
static bool restarts(pid_t pid, pid_t tid)
{
	char path[64], text[16] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 && strtol(text, NULL, 10) == SYS_restart_syscall;
}

pid_t rcall_pick_thread(pid_t pid)
{
	char path[32];
	struct dirent *d;
	pid_t best = pid;

	if (sleeps(pid, pid) && !restarts(pid, pid))
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	while (dir != NULL && (d = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);

		if (tid > 0 && sleeps(pid, tid) && !restarts(pid, tid)) {
			best = tid;
			break;
		}
	}
	if (dir != NULL)
		closedir(dir);
	return best;
}

/* A restartable sequence would be cut in two by our detour: its abort handler would not run. */
static bool in_rseq(const struct rcall *c)
{
	struct {
		uint64_t pointer;
		uint32_t size, signature, flags, pad;
	} cfg = {0};
	uint64_t cs = 0;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, c->tid, (void *)sizeof(cfg), &cfg) <= 0 ||
	    cfg.pointer == 0)
		return false;
	/* struct rseq: cpu_id_start, cpu_id, rseq_cs */
	return pread(c->mem_fd, &cs, sizeof(cs), (off_t)(cfg.pointer + 8)) == sizeof(cs) && cs != 0;
}

/* The stack a frame goes to: one writable mapping that holds [lo, sp). */
static bool stack_holds(const struct maps *maps, raddr_t lo, raddr_t sp)
{
	const struct map *m = maps_find(maps, lo);

	return m != NULL && m->w && m->r && sp <= m->end;
}

int rcall_begin(struct rcall *c, struct tracee *t, pid_t tid, int mem_fd,
		const struct arch_gadgets *g, const struct maps *maps, struct err *e)
{
	uint8_t frame[ARCH_XSTATE_MAX + 1024];
	size_t i = tracee_find(t, tid);

	*c = (struct rcall){.t = t, .tid = tid, .mem_fd = mem_fd, .gadgets = *g};
	c->orig = t->v[i].regs;
	if (t->v[i].at.compat)
		return err_set(e, ERR_UNSUPPORTED, "thread %d runs 32-bit code", tid);
	if (in_rseq(c))
		return err_set(e, ERR_RANGE, "thread %d is inside a restartable sequence", tid);
	if (ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof(c->sigmask), &c->sigmask) == -1)
		return err_sys(e, ERR_SYS, "thread %d: reading its signal mask", tid);
	ssize_t len =
	    t->arch->sigframe_build(tid, &c->orig, c->sigmask, g, frame, sizeof(frame), &c->sp, e);
	if (len == -1)
		return -1;
	c->scratch = (c->sp - 128 - RCALL_SCRATCH) & ~15ull;
	if (!stack_holds(maps, c->scratch - 1024, t->v[i].at.sp))
		return err_set(e, ERR_RANGE, "thread %d has too little stack left", tid);
	if (pwrite(mem_fd, frame, (size_t)len, (off_t)c->sp) != len)
		return err_sys(e, ERR_SYS, "thread %d: writing to its stack", tid);
	return 0;
}

int rcall_hold(struct rcall *c, struct tracee *t, int mem_fd, const struct arch_gadgets *g,
	       const struct maps *maps, uint64_t *since_ns, struct err *e)
{
	for (unsigned tries = 0;; tries++) {
		pid_t tid = rcall_pick_thread(t->pid);
		size_t i;

		*since_ns = tracee_now_ns();
		if (tracee_stop_one(t, tid, HOLD_BUDGET_MS, &i, e) == 0 &&
		    rcall_begin(c, t, tid, mem_fd, g, maps, e) == 0)
			return 0;
		tracee_release_all(t);
		/* ERR_GONE may mean the thread; the process is another matter. */
		if ((e->code != ERR_RANGE && e->code != ERR_TIMEOUT &&
		     !(e->code == ERR_GONE && procfs_lives(t->pid))) ||
		    tries == HOLD_TRIES)
			return -1;
		nanosleep(&(struct timespec){.tv_nsec = HOLD_RETRY_NS}, NULL);
	}
}

raddr_t rcall_put(struct rcall *c, const void *bytes, size_t len)
{
	if (len > RCALL_SCRATCH || pwrite(c->mem_fd, bytes, len, (off_t)c->scratch) != (ssize_t)len)
		return 0;
	return c->scratch;
}

/*
 * Let the thread run to its next system call stop. The trap of an interrupt that was still due is
 * passed over; the signals that can't be blocked (SIGSTOP) get their way on the way. As long as it
 * runs it does not count as stopped: a release waits for its stop then.
 */
static int to_syscall_stop(struct rcall *c, struct err *e)
{
	struct thread *th = &c->t->v[tracee_find(c->t, c->tid)];
	int status, sig = 0;

	for (;;) {
		th->stopped = false;
		if (ptrace(PTRACE_SYSCALL, c->tid, NULL, (void *)(long)sig) == -1)
			return err_set(e, ERR_GONE, "thread %d is gone", c->tid);
		if (tracee_wait(c->t, c->tid, &status, e) == -1)
			return -1;
		th->stopped = true;
		if (WSTOPSIG(status) == SYSCALL_STOP)
			return 0;
		sig = status >> 16 == 0 ? WSTOPSIG(status) : 0;
	}
}

static int arm(struct rcall *c, struct err *e)
{
	const uint64_t all = ~0ull;

	if (c->armed)
		return 0;
	if (ptrace(PTRACE_SETOPTIONS, c->tid, NULL,
		   (void *)(long)(PTRACE_O_TRACESYSGOOD |
				  (c->t->suspend_seccomp ? PTRACE_O_SUSPEND_SECCOMP : 0))) == -1)
		return err_sys(e, ERR_SYS, "thread %d: ptrace options", c->tid);
	if (ptrace(PTRACE_SETSIGMASK, c->tid, (void *)sizeof(all), &all) == -1)
		return err_sys(e, ERR_SYS, "thread %d: blocking signals", c->tid);
	c->armed = true;
	return 0;
}

int rcall_syscall(struct rcall *c, long nr, const uint64_t args[6], long *ret, struct err *e)
{
	struct arch_regs regs;
	struct arch_where at;

	/* Registers first: from then on the frame restores the mask, too, if we die. */
	c->t->arch->syscall_setup(&c->orig, &c->gadgets, c->sp, nr, args, &regs);
	if (c->t->arch->regs_set(c->tid, &regs, e) == -1 || arm(c, e) == -1)
		return -1;
	c->t->deadline_ns = tracee_now_ns() + BUDGET_NS;
	for (unsigned stop = 0; stop < 2; stop++) { /* on its way in, and out */
		if (to_syscall_stop(c, e) == -1)
			return -1;
	}
	if (c->t->arch->regs_get(c->tid, &regs, e) == -1)
		return -1;
	c->t->arch->where(&regs, &at);
	*ret = at.syscall_ret;
	return 0;
}

int rcall_checked(struct rcall *c, const char *what, long nr, const uint64_t args[6], uint64_t *ret,
		  struct err *e)
{
	long got;

	if (rcall_syscall(c, nr, args, &got, e) == -1)
		return err_prefix(e, "%s in the target", what);
	if (got < 0 && got > -4096) {
		errno = (int)-got;
		err_sys(e, ERR_FAILED, "%s in the target", what);
		e->code = ERR_FAILED; /* the kernel refused the target, not us */
		return -1;
	}
	if (ret != NULL)
		*ret = (uint64_t)got;
	return 0;
}

int rcall_end(struct rcall *c, struct err *e)
{
	/* The mask first: if we die between the two, the frame brings back the same mask. */
	if (c->armed &&
	    ptrace(PTRACE_SETSIGMASK, c->tid, (void *)sizeof(c->sigmask), &c->sigmask) == -1)
		return err_sys(e, ERR_GONE, "thread %d: restoring its signal mask", c->tid);
	c->armed = false;
	return c->t->arch->regs_set(c->tid, &c->orig, e);
}
