/* The promise: a tracer that dies at any instruction of a remote call does its tracee no harm. */
#include "suite.h"
#include "work.h"
#include "killed.h"

#include "proc/region.h"

struct job {
	struct victim *v;
	pid_t tid;
};

/* A whole hold, as an attach makes it; any failure ends the tracer with status 1. */
static void steps(void *arg)
{
	const struct job *j = arg;
	struct tracee t;
	struct rcall rc;
	struct err e;
	uint64_t got;
	size_t i;

	tracee_init(&t, j->v->pid, arch_native());
	if (tracee_stop_one(&t, j->tid, 5000, &i, &e) == -1 ||
	    rcall_begin(&rc, &t, j->tid, j->v->mem_fd, &j->v->gadgets, &j->v->maps, &e) == -1 ||
	    RCALL(&rc, "mmap", SYS_mmap, &got, &e, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
		  (uint64_t)-1, 0) == -1 ||
	    RCALL(&rc, "munmap", SYS_munmap, NULL, &e, got, 4096) == -1 ||
	    rcall_end(&rc, &e) == -1)
		_exit(1);
	tracee_deinit(&t);
}

static bool all_go_on(struct work_page *page)
{
	static const enum work_kind moving[] = {W_NANOSLEEP, W_POLL, W_BUSY, W_REDZONE, W_AVX};
	enum { N = sizeof(moving) / sizeof(moving[0]) };
	unsigned long before[N];

	for (int i = 0; i < N; i++)
		before[i] = page->w[moving[i]].rounds;
	for (int i = 0; i < N; i++)
		if (!EVENTUALLY(page->w[moving[i]].rounds > before[i] + 1))
			return false;
	return true;
}

static void check_unharmed(struct victim *v, unsigned point, const char *where)
{
	struct work_page *page = v->page;
	const struct worker *bad;

	ck_assert_msg(waitpid(v->pid, NULL, WNOHANG) == 0, "killed at %u of a hold of the %s thread: the "
		      "victim died", point, where);
	ck_assert_msg(all_go_on(page), "killed at %u of a hold of the %s thread: some thread hangs", point,
		      where);
	bad = work_first_bad(page);
	ck_assert_msg(bad == NULL, "killed at %u of a hold of the %s thread: %s thread: %s (errno %d)", point,
		      where, work_name(bad->kind), work_complaint(bad->bad),
		      bad->last_errno);
}

START_TEST(killed_anywhere)
{
	struct victim v;
	unsigned point = 1;

	victim_start(&v, work_body, sizeof(struct work_page));
	struct work_page *page = v.page;
	struct job j = {&v, page->w[_i].tid};
	for (;; point++) {
		unsigned stops = killed_at(point, steps, &j);
		check_unharmed(&v, point, work_name((enum work_kind)_i));
		if (stops < point)
			break;
	}
	printf("killed at each of %u stops of a hold of the %s thread: unharmed\n", point - 1,
	       work_name((enum work_kind)_i));
	ck_assert_uint_gt(point, 40);
	work_finish(&v);
	victim_end(&v);
}
END_TEST

/* A hold on whichever thread the library takes. */
static void steps_on_any(void *arg)
{
	const struct job *j = arg;
	struct tracee t;
	struct rcall rc;
	struct err e;
	uint64_t since;

	tracee_init(&t, j->v->pid, arch_native());
	if (rcall_hold(&rc, &t, j->v->mem_fd, &j->v->gadgets, &j->v->maps, &since, &e) == -1 ||
	    RCALL(&rc, "getpid", SYS_getpid, NULL, &e, 0) == -1 || rcall_end(&rc, &e) == -1)
		_exit(1);
	tracee_deinit(&t);
}

static void stop_and_go(const struct victim *v)
{
	struct tracee t;
	struct err e = {0};

	tracee_init(&t, v->pid, arch_native());
	OK(tracee_stop_all(&t, 5000, &e));
	tracee_deinit(&t);
}

/* A thread that was stopped before, as all are when a profile begins, sleeps on in
 * restart_syscall(2), whose state a return through a signal frame forgets: such a thread is not the
 * one to take while there are others. Every third point: each costs two naps. */
START_TEST(killed_after_an_earlier_stop)
{
	struct victim v;
	unsigned point = 1, n = 0;

	victim_start(&v, work_body, sizeof(struct work_page));
	struct work_page *page = v.page;
	struct job j = {&v, 0};
	page->nap_ns = 20000000;
	for (;; point += 3, n++) {
		stop_and_go(&v);
		unsigned stops = killed_at(point, steps_on_any, &j);
		check_unharmed(&v, point, "chosen");
		if (stops < point)
			break;
	}
	printf("killed at %u stops of a hold after an earlier stop: unharmed\n", n);
	work_finish(&v);
	victim_end(&v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rcall_death");
	TCase *tc = tcase_create("rcall_death");

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, killed_anywhere, 0, W_KINDS);
	tcase_add_test(tc, killed_after_an_earlier_stop);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
