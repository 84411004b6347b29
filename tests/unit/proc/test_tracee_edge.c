/* Threads that die, threads of somebody else, threads in odd code; nudging; poking. */
#include "suite.h"
#include "victim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/user.h>

struct page {
	atomic_int quit, tid;
	atomic_ulong rounds;
};

static void *count(void *arg)
{
	struct page *p = arg;

	p->tid = (int)syscall(SYS_gettid);
	while (!p->quit)
		p->rounds++;
	return NULL;
}

static void body_two(struct victim *v)
{
	struct page *p = v->page;
	pthread_t th;

	pthread_create(&th, NULL, count, p);
	while (p->tid == 0)
		usleep(100);
	victim_say(v, 'r');
	pthread_join(th, NULL);
	victim_say(v, 'e');
}

/* -- death at each step ---------------------------------------------------------------------- */

static const uint8_t nothing[8];

/* The steps of a hold; the victim is killed before step `when`. Returns whether any failed, and the
 * error of the first that did. */
static bool hold_with_death(struct victim *v, int when, struct err *e)
{
	struct tracee t;
	struct rcall rc = {0};
	uint64_t got;
	size_t i = 0;
	int step = 0, ret = 0;

	tracee_init(&t, v->pid, arch_native());
#define STEP(call)                                                                                 \
	do {                                                                                       \
		if (step++ == when) {                                                              \
			kill(v->pid, SIGKILL);                                                     \
			ck_assert(EVENTUALLY(thread_state_of(v->pid, v->pid) == 'Z' ||             \
					     thread_state_of(v->pid, v->pid) == 0));               \
		}                                                                                  \
		if (ret == 0)                                                                      \
			ret = (call);                                                              \
	} while (0)
	STEP(tracee_stop_one(&t, ((struct page *)v->page)->tid, 500, &i, e));
	STEP(rcall_begin(&rc, &t, t.v[i].tid, v->mem_fd, &v->gadgets, &v->maps, e));
	STEP(RCALL(&rc, "getpid", SYS_getpid, &got, e, 0));
	STEP(RCALL(&rc, "getpid", SYS_getpid, &got, e, 0));
	STEP(tracee_stop_all(&t, 500, e));
	STEP(tracee_nudge(&t, t.n - 1, e));
	STEP(poke_word(&t, (raddr_t)(uintptr_t)nothing, nothing, nothing, e));
	STEP(rcall_end(&rc, e));
#undef STEP
	tracee_deinit(&t);
	return ret == -1;
}

START_TEST(death_at_each_step)
{
	struct victim v;
	struct err e = {0};

	victim_start(&v, body_two, sizeof(struct page));
	uint64_t start = tracee_now_ns();
	ck_assert_msg(hold_with_death(&v, _i, &e), "nothing failed");
	ck_assert_msg(e.code == ERR_GONE, "step %d: %d %s", _i, (int)e.code, e.msg);
	ck_assert_uint_lt(tracee_now_ns() - start, 2000000000);
	victim_end(&v);
}
END_TEST

/* -- exit while being stopped ---------------------------------------------------------------- */

static void *exit_when_told(void *arg)
{
	struct page *p = arg;

	while (!p->quit)
		;
	syscall(SYS_exit_group, 0);
	return NULL;
}

static void body_exits(struct victim *v)
{
	pthread_t th;

	for (int i = 0; i < 6; i++)
		pthread_create(&th, NULL, i == 3 ? exit_when_told : count, v->page);
	victim_say(v, 'r');
	for (;;)
		pause();
}

/* The process exits by itself somewhere in the middle of being stopped: no hang, and the right word
 * for it. The tracer is a child, so that a hang is a failure and no more. */
START_TEST(exit_while_being_stopped)
{
	struct victim v;
	int status = 0;
	unsigned gone = 0;

	for (unsigned i = 0; i < 60; i++) {
		victim_start(&v, body_exits, sizeof(struct page));
		pid_t tracer = fork();
		if (tracer == 0) {
			struct tracee t;
			struct err e;
			tracee_init(&t, v.pid, arch_native());
			if (i % 3 == 0)
				((struct page *)v.page)->quit = 1;
			int ret = tracee_stop_all(&t, 200, &e);
			((struct page *)v.page)->quit = 1;
			if (ret == 0 && i % 3 == 1)
				kill(v.pid, SIGKILL);
			tracee_deinit(&t);
			_exit(ret == 0 ? 0 : e.code == ERR_GONE ? 5 : 1);
		}
		uint64_t until = tracee_now_ns() + 3000000000;
		while (waitpid(tracer, &status, WNOHANG) == 0 && tracee_now_ns() < until)
			usleep(500);
		bool hangs = tracee_now_ns() >= until;
		if (hangs) {
			kill(tracer, SIGKILL);
			waitpid(tracer, NULL, 0);
		}
		victim_end(&v);
		ck_assert_msg(!hangs, "round %u: hangs on a process that exits", i);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) != 1, "round %u: %#x", i,
			      status);
		gone += WEXITSTATUS(status) == 5;
	}
	printf("60 processes that exit while being stopped: %u went before they stood\n", gone);
}
END_TEST

/* -- somebody else's threads ----------------------------------------------------------------- */

/* Another tracer holds one thread of two: that thread would run while code changes. */
START_TEST(one_thread_is_traced)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};
	size_t i;
	int ready[2];
	char c;

	victim_start(&v, body_two, sizeof(struct page));
	pid_t tid = ((struct page *)v.page)->tid;
	ck_assert_int_eq(pipe(ready), 0);
	pid_t other = fork();
	if (other == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		c = ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0 ? 'y' : 'n';
		if (write(ready[1], &c, 1) == 1)
			pause();
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	ck_assert_int_eq(c, 'y');
	tracee_init(&t, v.pid, arch_native());
	int all = tracee_stop_all(&t, 500, &e);
	enum err_code all_code = e.code;
	tracee_release_all(&t);
	int one = tracee_stop_one(&t, tid, 500, &i, &e);
	enum err_code one_code = e.code;
	tracee_deinit(&t);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	ck_assert_int_eq(one, -1);
	ck_assert_msg(all == -1, "stopped 'all' threads, but one runs under another tracer");
	ck_assert_int_eq(all_code, ERR_BUSY);
	ck_assert_int_eq(one_code, ERR_BUSY);
	victim_end(&v);
}
END_TEST

/* -- 32-bit code in a 64-bit process --------------------------------------------------------- */

static void *run_compat(void *arg)
{
	static const uint8_t spin[] = {0xeb, 0xfe};
	struct page *p = arg;
	uint8_t *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	memcpy(low, spin, sizeof(spin));
	p->tid = (int)syscall(SYS_gettid);
	__asm__ volatile("push $0x23; push %0; lretq" ::"r"(low) : "memory");
	return NULL;
}

static void body_compat(struct victim *v)
{
	struct page *p = v->page;
	pthread_t th;

	pthread_create(&th, NULL, run_compat, p);
	while (p->tid == 0)
		usleep(100);
	victim_say(v, 'r');
	pause();
}

/* Refused, without hanging and without leaving it stopped. */
START_TEST(compat_thread)
{
	struct victim v;
	int status;

	victim_start(&v, body_compat, sizeof(struct page));
	pid_t tid = ((struct page *)v.page)->tid;
	usleep(20000); /* the far return is two instructions away; nothing tells when it is over */
	pid_t tracer = fork();
	if (tracer == 0) {
		struct tracee t;
		struct err e;
		size_t i;
		tracee_init(&t, v.pid, arch_native());
		int ret = tracee_stop_one(&t, tid, 500, &i, &e);
		tracee_deinit(&t);
		_exit(ret == -1 && e.code == ERR_UNSUPPORTED ? 0 : 1);
	}
	uint64_t until = tracee_now_ns() + 3000000000;
	while (waitpid(tracer, &status, WNOHANG) == 0 && tracee_now_ns() < until)
		usleep(1000);
	bool hangs = tracee_now_ns() >= until;
	if (hangs) {
		kill(tracer, SIGKILL);
		waitpid(tracer, &status, 0);
	}
	ck_assert_msg(!hangs, "hangs on a thread in 32-bit code");
	ck_assert_int_eq(status, 0);
	ck_assert(EVENTUALLY(thread_state_of(v.pid, tid) == 'R'));
	victim_end(&v);
}
END_TEST

/* -- nudging --------------------------------------------------------------------------------- */

extern const uint8_t spin_lo[], spin_hi[];
void spin_in_and_out(atomic_int *quit);
/* Some ten microseconds inside [spin_lo, spin_hi), a hundred outside, in turns. */
__asm__(".pushsection .text\n"
	"spin_in_and_out:\n"
	"	mov $20000,%eax\n"
	"spin_lo:\n"
	"1:	dec %eax; jnz 1b\n"
	"spin_hi:\n"
	"	mov $200000,%eax\n"
	"2:	dec %eax; jnz 2b\n"
	"	cmpl $0,(%rdi); je spin_in_and_out\n"
	"	ret\n.popsection\n");

static void body_spin(struct victim *v)
{
	struct page *p = v->page;

	victim_say(v, 'r');
	spin_in_and_out(&p->quit);
	victim_say(v, 'e');
}

static bool in_spin(const struct thread *th)
{
	return th->at.pc >= (raddr_t)(uintptr_t)spin_lo && th->at.pc < (raddr_t)(uintptr_t)spin_hi;
}

static uint32_t spin_count(const struct thread *th)
{
	struct user_regs_struct u;

	memcpy(&u, th->regs.raw, sizeof(u));
	return (uint32_t)u.rax;
}

START_TEST(nudge_moves_on)
{
	enum { CAUGHT = 20, NUDGES_MAX = 200 };
	struct victim v;
	struct tracee t;
	struct err e = {0};
	size_t i;
	unsigned caught = 0, stuck = 0, nudges = 0, idle = 0;

	victim_start(&v, body_spin, sizeof(struct page));
	for (unsigned tries = 0; caught < CAUGHT && tries < 20000; tries++) {
		tracee_init(&t, v.pid, arch_native());
		OK(tracee_stop_one(&t, v.pid, 1000, &i, &e));
		unsigned n = 0;
		caught += in_spin(&t.v[i]);
		while (in_spin(&t.v[i]) && n < NUDGES_MAX) {
			uint32_t before = spin_count(&t.v[i]);
			OK(tracee_nudge(&t, i, &e));
			idle += spin_count(&t.v[i]) == before;
			n++;
		}
		stuck += in_spin(&t.v[i]);
		nudges += n;
		tracee_deinit(&t);
		usleep(50 * (tries % 7));
	}
	ck_assert_uint_ge(caught, CAUGHT);
	ck_assert_msg(stuck == 0 && 2 * idle <= nudges,
		      "%u nudges, %u of which moved nothing, left %u of %u threads inside", nudges,
		      idle, stuck, caught);
	printf("%u threads nudged out of a loop with %u nudges, %u idle\n", caught, nudges, idle);
	((struct page *)v.page)->quit = 1;
	ck_assert_int_eq(victim_listen(&v), 'e');
	victim_end(&v);
}
END_TEST

/* -- poking ---------------------------------------------------------------------------------- */

static const uint8_t poked[16] __attribute__((aligned(8), section(".text#"))) = "ABCDEFGHIJKLMNO";

static void read_poked(const struct victim *v, char got[17])
{
	got[16] = 0;
	ck_assert_int_eq(pread(v->mem_fd, got, 16, (off_t)(uintptr_t)poked), 16);
}

START_TEST(poke_verifies)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};
	const raddr_t at = (raddr_t)(uintptr_t)poked;
	char got[17];

	victim_start(&v, body_two, sizeof(struct page));
	tracee_init(&t, v.pid, arch_native());
	OK(tracee_stop_all(&t, 1000, &e));
	ck_assert_int_eq(poke_word(&t, at + 1, (const uint8_t *)"BCDEFGHx",
					  (const uint8_t *)"12345678", &e), -1);
	ck_assert_int_eq(e.code, ERR_CHANGED);
	read_poked(&v, got);
	ck_assert_str_eq(got, "ABCDEFGHIJKLMNO");
	OK(poke_word(&t, at + 1, (const uint8_t *)"BCDEFGHI", (const uint8_t *)"12345678", &e));
	read_poked(&v, got);
	ck_assert_str_eq(got, "A12345678JKLMNO");
	ck_assert_int_eq(poke_word(&t, 0x10000, nothing, nothing, &e), -1);
	ck_assert_int_eq(e.code, ERR_FAULT);
	tracee_deinit(&t);
	ck_assert_int_eq(memcmp(poked, "ABCDEFGHIJKLMNO", 16), 0);
	((struct page *)v.page)->quit = 1;
	ck_assert_int_eq(victim_listen(&v), 'e');
	victim_end(&v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tracee_edge");
	TCase *tc = tcase_create("tracee_edge");

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, death_at_each_step, 0, 8);
	tcase_add_test(tc, exit_while_being_stopped);
	tcase_add_test(tc, one_thread_is_traced);
	tcase_add_test(tc, compat_thread);
	tcase_add_test(tc, nudge_moves_on);
	tcase_add_test(tc, poke_verifies);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
