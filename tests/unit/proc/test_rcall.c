/* Remote calls on threads in every state: they work, and the threads never notice. */
#include "suite.h"
#include "work.h"

#include "proc/region.h"

enum { CALLS = 200, STORM = 3000 };

struct held {
	struct tracee t;
	struct rcall rc;
};

static void hold(struct victim *v, pid_t tid, struct held *h)
{
	struct err e = {0};
	size_t i;

	tracee_init(&h->t, v->pid, arch_native());
	OK(tracee_stop_one(&h->t, tid, 1000, &i, &e));
	OK(rcall_begin(&h->rc, &h->t, tid, v->mem_fd, &v->gadgets, &v->maps, &e));
}

static void let_go(struct held *h)
{
	struct err e = {0};

	OK(rcall_end(&h->rc, &e));
	tracee_deinit(&h->t);
}

static void call_once(struct victim *v, pid_t tid)
{
	const raddr_t at = 0x200000000000;
	struct held h;
	struct err e = {0};
	uint64_t pid, word = 0x5a5a5a5a5a5a5a5a;

	hold(v, tid, &h);
	OK(RCALL(&h.rc, "getpid", SYS_getpid, &pid, &e, 0));
	ck_assert_int_eq(pid, v->pid);
	OK(region_map(&h.rc, at, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, &e));
	ck_assert_int_eq(region_map(&h.rc, at + 4096, 4096, PROT_READ, MAP_PRIVATE, -1, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	ck_assert_int_eq(pwrite(v->mem_fd, &word, 8, (off_t)at + 4096), 8);
	OK(region_unmap(&h.rc, at, 8192, &e));
	ck_assert_int_eq(pwrite(v->mem_fd, &word, 8, (off_t)at + 4096), -1);
	let_go(&h);
}

static void start_work(struct victim *v)
{
	victim_start(v, work_body, sizeof(struct work_page));
	/* pause, read and futex threads are where they will stay */
	struct work_page *p = v->page;
	static const long in[W_KINDS] = {[W_PAUSE] = SYS_pause, [W_READ] = SYS_read,
					 [W_FUTEX] = SYS_futex};
	for (int i = 0; i < W_KINDS; i++)
		if (i == W_PAUSE || i == W_READ || i == W_FUTEX)
			ck_assert(EVENTUALLY(thread_syscall_of(v->pid, p->w[i].tid) == in[i]));
}

START_TEST(each_kind_of_thread)
{
	struct victim v;

	start_work(&v);
	struct work_page *page = v.page;
	for (int i = 0; i < CALLS; i++)
		call_once(&v, page->w[_i].tid);
	/* Those that should still sleep in their one call do. */
	if (_i == W_PAUSE || _i == W_READ || _i == W_FUTEX) {
		ck_assert(EVENTUALLY(thread_state_of(v.pid, page->w[_i].tid) == 'S'));
		ck_assert_uint_eq(page->w[_i].rounds, 0);
	} else {
		unsigned long before = page->w[_i].rounds;
		ck_assert(EVENTUALLY(page->w[_i].rounds > before + 1));
	}
	work_finish(&v);
	victim_end(&v);
}
END_TEST

/* Called again and again well within a nap: if a call made the timer start anew, no nap would ever
 * end; if it cut it short, the thread would tell. */
START_TEST(deadlines_are_kept)
{
	static const enum work_kind kinds[] = {W_NANOSLEEP, W_POLL};
	struct victim v;

	start_work(&v);
	struct work_page *page = v.page;
	struct worker *w = &page->w[kinds[_i]];
	page->nap_ns = 150000000;
	unsigned long first = w->rounds + 1;
	ck_assert(EVENTUALLY(w->rounds >= first)); /* the long naps have begun */
	first = w->rounds;
	/* A busy machine may be late, but a timer that starts anew at each call never ends at all. */
	uint64_t until = tracee_now_ns() + 10000000000, last = tracee_now_ns(), gap = 0;
	while (w->rounds < first + 2 && tracee_now_ns() < until) {
		call_once(&v, w->tid);
		gap = tracee_now_ns() - last > gap ? tracee_now_ns() - last : gap;
		last = tracee_now_ns();
	}
	if (gap < 100000000)
		ck_assert_uint_ge(w->rounds, first + 2);
	work_finish(&v);
	victim_end(&v);
}
END_TEST

/* A sender of its own: `STORM` signals to each thread named, none of which may be lost or doubled
 * (real-time signals queue, whole with their payload). */
static pid_t start_storm(const struct victim *v, const int *tids, int n)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	for (int i = 0; i < STORM; i++) {
		for (int k = 0; k < n; k++) {
			siginfo_t si = {.si_code = SI_QUEUE};
			si.si_signo = SIGRTMIN + i % 3;
			while (syscall(SYS_rt_tgsigqueueinfo, v->pid, tids[k], si.si_signo, &si) ==
			       -1)
				if (errno != EAGAIN)
					_exit(1);
		}
		if (i % 4 == 0)
			usleep(200);
	}
	_exit(0);
}

START_TEST(no_signal_is_lost)
{
	static const enum work_kind to[] = {W_NANOSLEEP, W_BUSY, W_AVX, W_REDZONE, W_POLL};
	enum { N = sizeof(to) / sizeof(to[0]) };
	struct victim v;
	int tids[N], status;
	unsigned calls = 0;

	start_work(&v);
	struct work_page *page = v.page;
	page->storm = 1;
	for (int i = 0; i < N; i++)
		tids[i] = page->w[to[i]].tid;
	pid_t sender = start_storm(&v, tids, N);
	while (waitpid(sender, &status, WNOHANG) == 0)
		call_once(&v, tids[calls++ % N]);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_ge(calls, 20);
	for (int i = 0; i < N; i++) {
		const struct worker *w = &page->w[to[i]];
		ck_assert_msg(EVENTUALLY(w->signals >= STORM), "%s: %lu of %d signals",
			      work_name(to[i]), w->signals, STORM);
	}
	work_finish(&v);
	for (int i = 0; i < N; i++)
		ck_assert_uint_eq(page->w[to[i]].signals, STORM);
	printf("signals under %u holds: %d to each of %d threads, none lost\n", calls, STORM, N);
	victim_end(&v);
}
END_TEST

/* SIGSTOP can't be blocked: one that comes while we hold the only thread that would take it must
 * neither break the call nor get lost. */
START_TEST(stop_signal_during_calls)
{
	struct victim v;
	struct held h;
	struct err e = {0};
	uint64_t got;

	start_work(&v);
	struct work_page *page = v.page;
	hold(&v, page->w[W_BUSY].tid, &h);
	OK(RCALL(&h.rc, "gettid", SYS_gettid, &got, &e, 0));
	ck_assert_int_eq(syscall(SYS_tgkill, v.pid, page->w[W_BUSY].tid, SIGSTOP), 0);
	OK(RCALL(&h.rc, "gettid", SYS_gettid, &got, &e, 0));
	ck_assert_int_eq(got, page->w[W_BUSY].tid);
	OK(RCALL(&h.rc, "getpid", SYS_getpid, &got, &e, 0));
	ck_assert_int_eq(got, v.pid);
	let_go(&h);
	ck_assert_msg(EVENTUALLY(thread_state_of(v.pid, v.pid) == 'T'), "the stop signal is lost");
	ck_assert(EVENTUALLY(thread_state_of(v.pid, page->w[W_BUSY].tid) == 'T'));
	kill(v.pid, SIGCONT);
	work_finish(&v);
	victim_end(&v);
}
END_TEST

static void body_trap(struct victim *v)
{
	struct work_page *page = v->page;
	struct sigaction sa = {.sa_handler = work_on_signal};

	work_self = &page->w[0];
	sigaction(SIGTRAP, &sa, NULL);
	victim_say(v, 'r');
	while (!page->quit)
		;
	victim_say(v, 'e');
}

/* The same for a SIGTRAP somebody sent. */
START_TEST(trap_signal_during_calls)
{
	struct victim v;
	struct held h;
	struct err e = {0};
	uint64_t got;

	victim_start(&v, body_trap, sizeof(struct work_page));
	struct work_page *page = v.page;
	hold(&v, v.pid, &h);
	kill(v.pid, SIGTRAP);
	OK(RCALL(&h.rc, "getpid", SYS_getpid, &got, &e, 0));
	let_go(&h);
	ck_assert_msg(EVENTUALLY(page->w[0].signals == 1), "the trap signal is lost");
	page->quit = 1;
	ck_assert_int_eq(victim_listen(&v), 'e');
	victim_end(&v);
}
END_TEST

/* A call that takes longer than we wait: an error, and the thread runs on once released. */
START_TEST(slow_call)
{
	const struct timespec nap = {.tv_sec = 1, .tv_nsec = 300000000};
	struct victim v;
	struct held h;
	struct err e = {0};

	start_work(&v);
	struct work_page *page = v.page;
	struct worker *w = &page->w[W_BUSY];
	hold(&v, w->tid, &h);
	raddr_t at = rcall_put(&h.rc, &nap, sizeof(nap));
	ck_assert_uint_ne(at, 0);
	ck_assert_int_eq(RCALL(&h.rc, "nanosleep", SYS_nanosleep, NULL, &e, at, 0), -1);
	ck_assert_int_eq(e.code, ERR_TIMEOUT);
	rcall_end(&h.rc, &e);
	tracee_deinit(&h.t);
	unsigned long before = w->rounds;
	ck_assert_msg(EVENTUALLY(w->rounds > before + 1), "the thread stands still");
	work_finish(&v);
	victim_end(&v);
}
END_TEST

START_TEST(kernel_says_no)
{
	struct victim v;
	struct held h;
	struct err e = {0};

	start_work(&v);
	hold(&v, ((struct work_page *)v.page)->w[W_READ].tid, &h);
	ck_assert_int_eq(RCALL(&h.rc, "closing", SYS_close, NULL, &e, 9999), -1);
	ck_assert_int_eq(e.code, ERR_FAILED);
	ck_assert_int_eq(e.sys, EBADF);
	ck_assert_ptr_nonnull(strstr(e.msg, "closing in the target"));
	ck_assert_uint_eq(rcall_put(&h.rc, e.msg, RCALL_SCRATCH + 1), 0);
	let_go(&h);
	work_finish(&v);
	victim_end(&v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rcall");
	TCase *tc = tcase_create("rcall");

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, each_kind_of_thread, 0, W_KINDS);
	tcase_add_loop_test(tc, deadlines_are_kept, 0, 2);
	tcase_add_test(tc, no_signal_is_lost);
	tcase_add_test(tc, stop_signal_during_calls);
	tcase_add_test(tc, trap_signal_during_calls);
	tcase_add_test(tc, slow_call);
	tcase_add_test(tc, kernel_says_no);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
