/* What the threads of rcall's victims do: each notices whether anything was done to it. */
#ifndef MEMPROF_TESTS_PROC_WORK_H
#define MEMPROF_TESTS_PROC_WORK_H

#include "victim.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum work_kind { W_PAUSE, W_NANOSLEEP, W_READ, W_FUTEX, W_POLL, W_BUSY, W_REDZONE, W_AVX, W_KINDS };

struct worker {
	atomic_int tid;
	atomic_ulong rounds;	 /* done so far */
	atomic_ulong signals;	 /* handled on this thread */
	atomic_int bad;		 /* what went wrong first: see work_complaint */
	atomic_int last_errno;
	enum work_kind kind;
	struct victim *v;
};

struct work_page {
	atomic_int quit;
	atomic_uint word;  /* futexes wait for it to change */
	atomic_int storm;  /* signals are being sent: EINTR is no wonder */
	long nap_ns;
	struct worker w[W_KINDS];
	struct worker first; /* the process's first thread, which naps, too */
};

enum { BAD_NONE, BAD_EINTR, BAD_SUM, BAD_EARLY, BAD_MASK, BAD_RESULT };

static inline const char *work_complaint(int bad)
{
	static const char *const text[] = {"nothing", "a call failed", "a checksum is wrong",
					   "woke up too early", "its signal mask changed",
					   "a call returned something else"};
	return text[bad];
}

static inline const char *work_name(enum work_kind k)
{
	static const char *const text[] = {"pause", "nanosleep", "read", "futex",
					   "poll",  "busy",	 "red zone", "avx"};
	return text[k];
}

/* Sums that depend on every step: integers in registers and memory, doubles in vector registers. */
__attribute__((noinline)) static uint64_t work_sum(unsigned steps)
{
	uint64_t h = 0x9e3779b97f4a7c15ull, m[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	double d = 1.0, f = 0.5;

	for (unsigned i = 0; i < steps; i++) {
		h = (h ^ m[i & 7]) * 0x100000001b3ull;
		m[i & 7] += h >> 7;
		d = d * 1.0000001 + f;
		f = f * 0.999 + (double)(i & 15) / d;
	}
	uint64_t bits[2];
	memcpy(&bits[0], &d, 8);
	memcpy(&bits[1], &f, 8);
	return h ^ bits[0] ^ bits[1];
}

/* A leaf that keeps sixteen words in its red zone and direction flag set, for `spins` rounds.
 * Returns their sum and the flag: 136 + 1. */
uint64_t work_red_zone(uint64_t spins);
__asm__(".pushsection .text\n"
	"work_red_zone:\n"
	"	mov $16,%ecx\n"
	"1:	mov %rcx,%rax; neg %rax; mov %rcx,(%rsp,%rax,8); dec %ecx; jnz 1b\n"
	"	std\n"
	"2:	dec %rdi; jnz 2b\n"
	"	xor %eax,%eax; mov $16,%ecx\n"
	"3:	mov %rcx,%rdx; neg %rdx; add (%rsp,%rdx,8),%rax; dec %ecx; jnz 3b\n"
	"	pushfq; pop %rdx; cld\n"
	"	shr $10,%edx; and $1,%edx; add %rdx,%rax\n"
	"	ret\n.popsection\n");

/* Upper halves of vector registers across a spin; 0 when they came through. */
__attribute__((target("avx"))) static int work_avx(uint64_t spins)
{
	uint64_t in[4] = {0x1111, 0x2222, 0x3333, 0x4444}, out[8];

	__asm__ volatile("vmovdqu %1,%%ymm7; vmovdqu %1,%%ymm15\n"
			 "1:	dec %2; jnz 1b\n"
			 "	vmovdqu %%ymm7,%0; vmovdqu %%ymm15,32%0; vzeroupper"
			 : "=m"(out), "+m"(in), "+r"(spins)
			 :
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return memcmp(in, out, 32) != 0 || memcmp(in, out + 4, 32) != 0;
}

static _Thread_local struct worker *work_self;

static inline void work_on_signal(int sig)
{
	(void)sig;
	if (work_self != NULL)
		work_self->signals++;
}

static inline void work_blame(struct worker *w, int what, int sys)
{
	const struct work_page *page = w->v->page;
	int none = BAD_NONE;

	if (what == BAD_EINTR && sys == EINTR && page->storm)
		return;
	w->last_errno = sys;
	atomic_compare_exchange_strong(&w->bad, &none, what);
}

static inline uint64_t work_mask(void)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	return mask;
}

static void work_nap(struct worker *w, long ns)
{
	uint64_t start = tracee_now_ns();

	if (syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = ns}, NULL) != 0)
		work_blame(w, BAD_EINTR, errno);
	else if (tracee_now_ns() - start < (uint64_t)ns)
		work_blame(w, BAD_EARLY, 0);
}

static void work_poll(struct worker *w, int fd, long ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t start = tracee_now_ns();
	int ms = (int)(ns / 1000000) + 1;
	long got = syscall(SYS_poll, &p, 1, ms);

	if (got != 0)
		work_blame(w, got == -1 ? BAD_EINTR : BAD_RESULT, errno);
	else if (tracee_now_ns() - start + 1000000 < (uint64_t)ms * 1000000)
		work_blame(w, BAD_EARLY, 0);
}

static void *work_run(void *arg)
{
	struct worker *w = arg;
	struct work_page *page = w->v->page;
	const uint64_t mask = work_mask(), sum = work_sum(2000);
	int quiet[2], feed[2];
	char c;

	work_self = w;
	if (pipe(quiet) == -1 || pipe(feed) == -1)
		_exit(3);
	w->tid = (int)syscall(SYS_gettid);
	while (!page->quit) {
		switch (w->kind) {
		case W_PAUSE: /* until the very end */
			syscall(SYS_pause);
			if (!page->quit && w->signals == 0)
				work_blame(w, BAD_EINTR, errno);
			break;
		case W_NANOSLEEP:
			work_nap(w, page->nap_ns);
			break;
		case W_READ: /* fed once, at the end, by work_finish */
			if (read(w->v->to, &c, 1) != 1)
				work_blame(w, BAD_EINTR, errno);
			break;
		case W_FUTEX: {
			unsigned was = page->word;
			if (syscall(SYS_futex, &page->word, FUTEX_WAIT, was, NULL) == -1 &&
			    errno != EAGAIN)
				work_blame(w, BAD_EINTR, errno);
			break;
		}
		case W_POLL:
			work_poll(w, quiet[0], page->nap_ns);
			break;
		case W_BUSY:
			if (work_sum(2000) != sum)
				work_blame(w, BAD_SUM, 0);
			break;
		case W_REDZONE:
			if (work_red_zone(20000) != 137)
				work_blame(w, BAD_SUM, 0);
			break;
		case W_AVX:
			if (__builtin_cpu_supports("avx") && work_avx(20000) != 0)
				work_blame(w, BAD_SUM, 0);
			break;
		case W_KINDS:
			break;
		}
		if (work_mask() != mask)
			work_blame(w, BAD_MASK, 0);
		w->rounds++;
	}
	return NULL;
}

/* The body of a victim: starts those workers whose bit is set in the first word told to it. */
static void work_body(struct victim *v)
{
	struct work_page *page = v->page;
	pthread_t th[W_KINDS];
	struct sigaction sa = {.sa_handler = work_on_signal};
	sigset_t some;

	sigemptyset(&some);
	sigaddset(&some, SIGRTMIN + 5);
	sigprocmask(SIG_BLOCK, &some, NULL); /* a mask of its own, to be found again */
	for (int s = SIGRTMIN; s < SIGRTMIN + 3; s++)
		sigaction(s, &sa, NULL);
	page->nap_ns = 1000000;
	for (int i = 0; i < W_KINDS; i++) {
		page->w[i].kind = (enum work_kind)i;
		page->w[i].v = v;
		if (pthread_create(&th[i], NULL, work_run, &page->w[i]) != 0)
			_exit(3);
	}
	for (int i = 0; i < W_KINDS; i++)
		while (page->w[i].tid == 0)
			usleep(100);
	victim_say(v, 'r');
	page->first = (struct worker){.kind = W_NANOSLEEP, .v = v};
	while (!page->quit)
		work_nap(&page->first, page->nap_ns);
	for (int i = 0; i < W_KINDS; i++)
		pthread_join(th[i], NULL);
	victim_say(v, 'e');
}

/* One that noticed something, or NULL. */
static inline const struct worker *work_first_bad(const struct work_page *page)
{
	for (int i = 0; i < W_KINDS; i++)
		if (page->w[i].bad != BAD_NONE)
			return &page->w[i];
	return page->first.bad != BAD_NONE ? &page->first : NULL;
}

/* Let all workers run to their end; each has to notice nothing. */
static inline void work_finish(struct victim *v)
{
	struct work_page *page = v->page;

	page->quit = 1;
	page->word++;
	victim_tell(v, 'x');
	syscall(SYS_futex, &page->word, FUTEX_WAKE, 1, NULL);
	syscall(SYS_tgkill, v->pid, page->w[W_PAUSE].tid, SIGRTMIN);
	ck_assert_int_eq(victim_listen(v), 'e');
	const struct worker *bad = work_first_bad(page);
	ck_assert_msg(bad == NULL, "%s thread: %s (errno %d)", work_name(bad->kind),
		      work_complaint(bad->bad), bad->last_errno);
}

#endif
