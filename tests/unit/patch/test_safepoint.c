/* Where a thread will come back to: stacks made by hand, and one made by the kernel. */
#include "suite.h"
#include "victim.h"

#include "mem/mem_fake.h"
#include "patch/safepoint.h"

#include <ucontext.h>

enum { RESTORER = 0x7f0000003050, MAIN = 0x7ffc00000000, ALT = 0x7f1000000000, SIZE = 0x20000,
       IN = 0x55550000 + 0x120, OUT = 0x55560000 };

static const struct safe_range ranges[] = {{0x44440000, 0x44440008}, {0x55550000, 0x55551000}};
static uint64_t main_stack[SIZE / 8], alt_stack[SIZE / 8];

static const char all_maps[] = "7f1000000000-7f1000020000 rw-p 00000000 00:00 0 \n"
				"7ffc00000000-7ffc00020000 rw-p 00000000 00:00 0 [stack]\n";

static const char *maps_text = all_maps;

static uint64_t *word_at(raddr_t at)
{
	return at >= MAIN ? &main_stack[(at - MAIN) / 8] : &alt_stack[(at - ALT) / 8];
}

/* As the kernel lays it out for a handler that interrupted pc, sp. */
static void put_frame(raddr_t at, raddr_t pc, raddr_t sp)
{
	*word_at(at) = RESTORER;
	*word_at(at + arch_native()->sigframe_pc_offset) = pc;
	*word_at(at + arch_native()->sigframe_sp_offset) = sp;
}

static void clear(void)
{
	memset(main_stack, 0, sizeof(main_stack));
	memset(alt_stack, 0, sizeof(alt_stack));
}

/* safepoint_reach with one thread that stands at OUT with this stack pointer. */
static int reach(raddr_t sp)
{
	struct mem_fake_seg segs[] = {{ALT, alt_stack, SIZE}, {MAIN, main_stack, SIZE},
				      {0, NULL, 0}};
	struct mem m = mem_fake(segs);
	struct thread th = {.tid = 1, .stopped = true, .at = {.pc = OUT, .sp = sp}};
	struct tracee t = {.pid = 1, .arch = arch_native(), .v = &th, .n = 1, .cap = 1};
	const struct arch_gadgets g = {.syscall_ret = 1, .sigreturn = RESTORER,
				      .restorer = {RESTORER}, .nrestorers = 1};
	struct maps maps;
	struct err e;

	ck_assert_int_eq(maps_parse(maps_text, strlen(maps_text), &maps, &e), 0);
	int ret = safepoint_reach(&t, &(struct safe_view){&m, &maps, &g, -1}, ranges, 2, 50, &e);
	maps_deinit(&maps);
	return ret;
}

START_TEST(none)
{
	clear();
	ck_assert_int_eq(reach(MAIN + 0x1000), 0);
	put_frame(MAIN + 0x4000, OUT, MAIN + 0x5000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 0);
	ck_assert_int_eq(reach(0), 0);
	ck_assert_int_eq(reach(UINT64_MAX - 8), 0);
}
END_TEST

START_TEST(interrupted_inside)
{
	clear();
	put_frame(MAIN + 0x4008, IN, MAIN + 0x5000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 1);
	ck_assert_int_eq(reach(MAIN + 0x4008), 1);
	ck_assert_int_eq(reach(MAIN + 0x4010), 0); /* returned from: residue */
	put_frame(MAIN + 0x4008, 0x44440007, MAIN + 0x5000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 1);
	put_frame(MAIN + 0x4008, 0x44440008, MAIN + 0x5000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 0);
}
END_TEST

/* A handler deep in calls, its frame a hundred kilobytes up: reads go chunk by chunk. */
START_TEST(far_up)
{
	for (raddr_t at = MAIN + 0x3f00; at < MAIN + SIZE - 0x400; at += 0x1ff8) {
		clear();
		put_frame(at, IN, at + 0x300);
		ck_assert_int_eq(reach(MAIN + 8), 1);
	}
}
END_TEST

START_TEST(nested)
{
	clear();
	put_frame(MAIN + 0x2000, OUT, MAIN + 0x3000);
	put_frame(MAIN + 0x4000, OUT + 16, MAIN + 0x5000);
	put_frame(MAIN + 0x6000, IN, MAIN + 0x7000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 1);
}
END_TEST

START_TEST(alternate_stack)
{
	clear();
	put_frame(ALT + 0x18000, OUT, MAIN + 0x9000);
	put_frame(MAIN + 0xa000, IN, MAIN + 0xb000);
	ck_assert_int_eq(reach(ALT + 0x10000), 1); /* handler, on it a handler, below it */
	clear();
	put_frame(ALT + 0x18000, IN, MAIN + 0x9000);
	ck_assert_int_eq(reach(ALT + 0x10000), 1);
	put_frame(ALT + 0x18000, OUT, MAIN + 0x9000);
	put_frame(MAIN + 0x8000, IN, MAIN + 0x8800); /* below the interrupted stack pointer */
	ck_assert_int_eq(reach(ALT + 0x10000), 0);
}
END_TEST

/* A word equal to the restorer's address that is no frame (sigaction(2) leaves them about) must not
 * lead the search away from the true frame behind it. */
START_TEST(decoy)
{
	clear();
	put_frame(MAIN + 0x2000, 0, 0);
	put_frame(MAIN + 0x4000, IN, MAIN + 0x5000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 1);
	put_frame(MAIN + 0x2000, 0x1234, 0xdeadbeef);
	ck_assert_int_eq(reach(MAIN + 0x1000), 1);
	put_frame(MAIN + 0x2000, 0x1234, ALT + 0x1000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 1);
}
END_TEST

/* However many there are: either all are looked at, or the moment is not safe. */
START_TEST(many_decoys)
{
	clear();
	for (raddr_t at = MAIN + 0x2000; at < MAIN + 0x6000; at += 0x200)
		put_frame(at, OUT, at + 0x200);
	put_frame(MAIN + 0x6000, IN, MAIN + 0x7000);
	ck_assert_int_eq(reach(MAIN + 0x1000), 1);
}
END_TEST

/* A stack mapped or grown after the maps were read: not to be taken for one without frames. */
START_TEST(stack_unknown_to_the_maps)
{
	clear();
	put_frame(MAIN + 0x4000, IN, MAIN + 0x5000);
	maps_text = "7f1000000000-7f1000020000 rw-p 00000000 00:00 0 \n";
	ck_assert_int_ne(reach(MAIN + 0x1000), 0);
}
END_TEST

/* -- the real thing -------------------------------------------------------------------------- */

void interrupted_here(volatile int *flag);
extern const uint8_t interrupted_end[];
__asm__(".pushsection .text\n"
	"interrupted_here:\n"
	"1:	cmpl $0,(%rdi); je 1b\n"
	"	ret\n"
	"interrupted_end:\n.popsection\n");

struct page {
	volatile int leave_handler, leave_code;
};

static struct victim *self;

static void handler(int sig)
{
	(void)sig;
	victim_say(self, 'h');
	while (!((struct page *)self->page)->leave_handler)
		;
	victim_say(self, 'x');
}

static void body(struct victim *v)
{
	static char alt[65536];
	const stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};
	struct page *p = v->page;

	self = v;
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler}, NULL);
	sigaction(SIGUSR2, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_ONSTACK}, NULL);
	victim_say(v, 'r');
	interrupted_here(&p->leave_code);
	victim_say(v, 'e');
	victim_hear(v);
}

static int reach_live(struct victim *v)
{
	const struct safe_range r = {(raddr_t)(uintptr_t)interrupted_here,
				     (raddr_t)(uintptr_t)interrupted_end};
	const struct safe_view view = {&v->mem, &v->maps, &v->gadgets, pagemap_open(v->pid)};
	struct tracee t;
	struct err e = {0};

	ck_assert_int_ne(view.pagemap_fd, -1);
	victim_look(v);
	tracee_init(&t, v->pid, arch_native());
	OK(tracee_stop_all(&t, 1000, &e));
	int ret = safepoint_reach(&t, &view, &r, 1, 200, &e);
	tracee_deinit(&t);
	close(view.pagemap_fd);
	return ret;
}

/* A handler that interrupted the range sees to the other end of a pipe: its return is found on the
 * stack, whatever C library installed it. Loop: on the main stack, on the alternate one. */
START_TEST(live_handler)
{
	struct victim v;

	victim_start(&v, body, sizeof(struct page));
	struct page *p = v.page;
	usleep(10000); /* let it get from the pipe to the loop; earlier would be a signal outside */
	kill(v.pid, _i == 0 ? SIGUSR1 : SIGUSR2);
	ck_assert_int_eq(victim_listen(&v), 'h');
	ck_assert_msg(reach_live(&v) == 1, "the handler's return into the range was not seen");
	p->leave_handler = 1;
	ck_assert_int_eq(victim_listen(&v), 'x');
	p->leave_code = 1;
	ck_assert_int_eq(victim_listen(&v), 'e');
	ck_assert_int_eq(reach_live(&v), 0);
	victim_end(&v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("safepoint");
	TCase *tc = tcase_create("safepoint");

	tcase_add_test(tc, none);
	tcase_add_test(tc, interrupted_inside);
	tcase_add_test(tc, far_up);
	tcase_add_test(tc, nested);
	tcase_add_test(tc, alternate_stack);
	tcase_add_test(tc, decoy);
	tcase_add_test(tc, many_decoys);
	tcase_add_test(tc, stack_unknown_to_the_maps);
	tcase_add_loop_test(tc, live_handler, 0, 2);
	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
