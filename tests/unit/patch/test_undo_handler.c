/* A signal handler that has interrupted our code comes back to it: nothing may be taken away before
 * that. And the same for code that is about to change. */
#include "suite.h"
#include "plant_room.h"

#include <ucontext.h>

enum { SIT_MS = 150 };

static struct victim *self;

/* Sits, if what it interrupted is where the test said; else it is no case for us. */
static void sit(int sig, siginfo_t *si, void *uc)
{
	struct page *p = self->page;
	uint64_t pc = (uint64_t)((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];

	(void)sig, (void)si;
	if (pc < p->stub_lo || pc >= p->stub_hi || p->leave_handler)
		return;
	victim_say(self, 'h');
	while (!p->leave_handler)
		;
}

static void body(struct victim *v)
{
	static char alt[65536];
	const stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};
	struct sigaction sa = {.sa_sigaction = sit, .sa_flags = SA_SIGINFO};
	struct page *p = v->page;

	self = v;
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags |= SA_ONSTACK;
	sigaction(SIGUSR2, &sa, NULL);
	victim_say(v, 'r');
	run_two(&p->c[0].quit, room_object, &p->c[0]);
	victim_say(v, 'e');
}

/* Send the signal until it lands inside [lo, hi). */
static void make_it_sit(struct room *r, int sig, uint64_t lo, uint64_t hi)
{
	struct page *p = r->v.page;
	struct pollfd fd = {.fd = r->v.from, .events = POLLIN};

	p->stub_lo = lo;
	p->stub_hi = hi;
	for (int i = 0; i < 10000 && poll(&fd, 1, 1) == 0; i++)
		kill(r->v.pid, sig);
	ck_assert_int_eq(victim_listen(&r->v), 'h');
}

/* It sits for a while more; that time has to pass under undo's or plant's eyes. */
static void *release_later(void *arg)
{
	struct page *p = arg;

	usleep(SIT_MS * 1000);
	p->leave_handler = 1;
	return NULL;
}

START_TEST(undo_waits_for_the_handler)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;
	pthread_t th;

	room_open(&r, body);
	OK(plant(&r.req, &r.planted, &e));
	make_it_sit(&r, _i == 0 ? SIGUSR1 : SIGUSR2, r.planted.stub,
		    r.planted.stub + r.planted.stub_len);
	uint64_t start = tracee_now_ns();
	pthread_create(&th, NULL, release_later, r.v.page);
	int ret = room_undo(&r, &done, &e);
	uint64_t took = tracee_now_ns() - start;
	pthread_join(th, NULL);
	ck_assert_msg(ret == 0, "%d %s", (int)e.code, e.msg);
	ck_assert_msg(took > SIT_MS * 1000000ull,
		      "taken away after %" PRIu64 " us, below a handler that sat for %d ms",
		      took / 1000, SIT_MS);
	ck_assert_uint_ge(done.retries, 1);
	printf("undo waited %" PRIu64 " ms for a handler, %u retries, last pause %" PRIu64 " us\n",
	       took / 1000000, done.retries, done.pause_us);
	victim_look(&r.v);
	room_is_clean(&r);
	room_close(&r, 1);
}
END_TEST

/* The handler interrupted a thread in the middle of a window. */
START_TEST(plant_waits_for_the_handler)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;
	pthread_t th;

	room_open(&r, body);
	make_it_sit(&r, _i == 0 ? SIGUSR1 : SIGUSR2, (uintptr_t)site_two + 1,
		    (uintptr_t)site_two + 8);
	ck_assert_int_eq(plant(&r.req, &r.planted, &e), -1);
	ck_assert_msg(e.code == ERR_TIMEOUT, "%d %s", (int)e.code, e.msg);
	room_is_clean(&r);
	pthread_create(&th, NULL, release_later, r.v.page);
	pthread_join(th, NULL);
	OK(plant(&r.req, &r.planted, &e));
	OK(room_undo(&r, &done, &e));
	victim_look(&r.v);
	room_is_clean(&r);
	room_close(&r, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("undo_handler");
	TCase *tc = tcase_create("undo_handler");

	tcase_add_loop_test(tc, undo_waits_for_the_handler, 0, 2);
	tcase_add_loop_test(tc, plant_waits_for_the_handler, 0, 2);
	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
