/*
 * Victims: children of the test that do something on some threads while the test, as a tracer, does
 * things to them. Talk goes through two pipes and one shared page; a victim dies with the test.
 */
#ifndef MEMPROF_TESTS_VICTIM_H
#define MEMPROF_TESTS_VICTIM_H

#include "elf/maps.h"
#include "mem/mem_fd.h"
#include "proc/poke.h"
#include "proc/rcall.h"
#include "proc/tracee.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VICTIM_PATIENCE_MS = 10000 };

struct victim {
	pid_t pid;
	int to, from; /* we write to `to`, the victim to `from` */
	void *page;   /* shared with the victim */
	int mem_fd;
	struct mem mem;
	struct maps maps;
	struct arch_gadgets gadgets;
};

/* -- in the victim --------------------------------------------------------------------------- */

/* Tell the test something; wait until it says something. Both end the victim when the test is gone. */
static inline void victim_say(const struct victim *v, char c)
{
	if (write(v->from, &c, 1) != 1)
		_exit(2);
}

static inline char victim_hear(const struct victim *v)
{
	char c;
	ssize_t n;

	do
		n = read(v->to, &c, 1);
	while (n == -1 && errno == EINTR);
	if (n != 1)
		_exit(2);
	return c;
}

/* -- in the test ----------------------------------------------------------------------------- */

#define OK(call) ck_assert_msg((call) == 0, "%s: %d %s", #call, (int)e.code, e.msg)

static inline char victim_listen(const struct victim *v)
{
	struct pollfd p = {.fd = v->from, .events = POLLIN};
	char c = 0;

	ck_assert_msg(poll(&p, 1, VICTIM_PATIENCE_MS) == 1, "the victim hangs");
	ck_assert_msg(read(v->from, &c, 1) == 1, "the victim died");
	return c;
}

static inline void victim_tell(const struct victim *v, char c)
{
	ck_assert_int_eq(write(v->to, &c, 1), 1);
}

/* What the tracer needs; again after the victim has mapped something. */
static inline void victim_look(struct victim *v)
{
	struct err e = {0};

	maps_deinit(&v->maps);
	OK(maps_read(v->pid, v->pid, &v->maps, &e));
	OK(rcall_find_gadgets(arch_native(), v->mem_fd, &v->maps, &v->gadgets, &e));
}

/* Start a child that runs body, and wait until that has said its first word. page_len bytes,
 * zeroed, are shared with it. */
static inline void victim_start(struct victim *v, void (*body)(struct victim *), size_t page_len)
{
	int down[2], up[2];
	char path[32];
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	signal(SIGPIPE, SIG_IGN);
	*v = (struct victim){.mem_fd = -1};
	ck_assert(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0);
	v->page = mmap(NULL, page_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(v->page != MAP_FAILED);
	v->pid = fork();
	ck_assert_int_ne(v->pid, -1);
	if (v->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_UNBLOCK, &chld, NULL);
		close(down[1]);
		close(up[0]);
		v->pid = getpid();
		v->to = down[0];
		v->from = up[1];
		body(v);
		_exit(0);
	}
	close(down[0]);
	close(up[1]);
	v->to = down[1];
	v->from = up[0];
	victim_listen(v);
	snprintf(path, sizeof(path), "/proc/%d/mem", v->pid);
	v->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ne(v->mem_fd, -1);
	v->mem = mem_fd(v->mem_fd);
	victim_look(v);
}

/* Spin, giving the processor away, until cond holds; false when patience ends. cond is
 * evaluated once a round. */
#define EVENTUALLY(cond)                                                                           \
	({                                                                                         \
		uint64_t until_ = tracee_now_ns() + VICTIM_PATIENCE_MS * 1000000ull;               \
		bool done_;                                                                        \
		while (!(done_ = (cond)) && tracee_now_ns() < until_)                              \
			usleep(200);                                                               \
		done_;                                                                             \
	})

/* State letter of a thread, as /proc shows it; 0 when it is gone. */
static inline char thread_state_of(pid_t pid, pid_t tid)
{
	char path[64], text[512] = "", *paren;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	paren = n > 0 ? strrchr(text, ')') : NULL;
	return paren && paren[1] ? paren[2] : 0;
}

/* The number of the call a thread sleeps in; -1 when it runs. */
static inline long thread_syscall_of(pid_t pid, pid_t tid)
{
	char path[64], text[128] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 && text[0] >= '0' && text[0] <= '9' ? strtol(text, NULL, 10) : -1;
}

/* Kill and reap. A dead thread that a tracer of ours never waited for keeps the process from being
 * reaped, by its own parent, too. */
static inline void victim_end(struct victim *v)
{
	kill(v->pid, SIGKILL);
	ck_assert_msg(EVENTUALLY(waitpid(v->pid, NULL, WNOHANG) != 0), /* -1: reaped as a tracee */
		      "the victim can't be reaped: we still trace a dead thread of it");
	close(v->to);
	close(v->from);
	close(v->mem_fd);
	maps_deinit(&v->maps);
}

#endif
