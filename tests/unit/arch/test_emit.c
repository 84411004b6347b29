/*
 * Jumps and thunks, byte by byte. A golden pair is assembled here: the window as it lies in the
 * code, and the thunk it must lead to. The site lies 0x100000 behind the thunk, the agent's entry
 * 0x200000.
 */
#include "code/site.h"
#include "../../../arch/x86_64/x86.h"

#include "suite.h"

#include <string.h>

#define THUNK_AT UINT64_C(0x555555000000)
#define SITE_AT	 (THUNK_AT + 0x100000)
#define ENTRY	 (THUNK_AT + 0x200000)

#define GOLDEN(name, window, thunk)                                                                \
	__asm__(".pushsection .rodata\n"                                                           \
		".balign 16\n"                                                                     \
		"in_" #name ": 7: " window "\n"                                                    \
		"in_end_" #name ": .skip 64\n"                                                     \
		"out_" #name ": 8: " thunk "\n"                                                    \
		"out_end_" #name ":\n"                                                             \
		".popsection\n");                                                                  \
	extern const uint8_t in_##name[], in_end_##name[], out_##name[], out_end_##name[];

#define PAIR(name) in_##name, in_end_##name, out_##name, out_end_##name

#define WINDOW	   "7b"		 /* where the window starts, said inside the window */
#define SITE	   "8b+0x100000" /* the same, said inside the thunk */
#define ENTER	   "lea -128(%rsp),%rsp; push %rdi; push %rsi\n"
#define SAVE_FLAGS "push %rax; lahf; seto %al; push %rax\n"
#define CALL	   "call 8b+0x200000\n"
#define LOAD_FLAGS "pop %rax; add $0x7f,%al; sahf; pop %rax\n"
#define LEAVE	   "pop %rsi; pop %rdi; lea 128(%rsp),%rsp\n"
#define BACK(len)  "jmp " SITE "+" #len "\n"

GOLDEN(counter, "addq $1,0x18(%rdx)",
       ENTER "mov %rax,%rdi\n" CALL LEAVE "addq $1,0x18(%rdx)\n" BACK(5))
GOLDEN(live, "mov $0x1000000c,%eax",
       ENTER "mov %rax,%rdi\n" SAVE_FLAGS CALL LOAD_FLAGS LEAVE "mov $0x1000000c,%eax\n" BACK(5))
GOLDEN(after, "mov %r12,8(%rax); mov %edx,%ecx",
       "mov %r12,8(%rax); mov %edx,%ecx\n" ENTER "mov %r12,%rdi\n" CALL LEAVE BACK(6))
/* a jump of two bytes becomes one of six */
GOLDEN(rdi, "testb $0x10,2(%rcx); jne " WINDOW "+0x50",
       ENTER CALL LEAVE "testb $0x10,2(%rcx); jne " SITE "+0x50\n" BACK(6))
GOLDEN(redo, "testb $0x10,0x1000+" WINDOW "(%rip); jne " WINDOW "+0x5000",
       ENTER "mov %r15,%rdi\n" CALL LEAVE "testb $0x10,0x1000+" SITE "(%rip)\n"
	     "jne " SITE "+0x5000\n" BACK(13))
GOLDEN(jump, "jmp " WINDOW "+0x5000", ENTER "mov %rbp,%rdi\n" CALL LEAVE BACK(0x5000))
GOLDEN(move, "mov 0x28(%rsp),%rax",
       ENTER "mov %r8,%rdi; mov %r13,%rsi\n" CALL LEAVE "mov 0x28(%rsp),%rax\n" BACK(5))
GOLDEN(crossed, "mov 0x28(%rsp),%rax",
       ENTER ".byte 0x48,0x87,0xf7 # xchg %rsi,%rdi\n" CALL LEAVE "mov 0x28(%rsp),%rax\n" BACK(5))
GOLDEN(chained, "mov 0x28(%rsp),%rax",
       ENTER "mov %rdi,%rsi; mov %rbx,%rdi\n" CALL LEAVE "mov 0x28(%rsp),%rax\n" BACK(5))
GOLDEN(chained_back, "mov 0x28(%rsp),%rax",
       ENTER "mov %rsi,%rdi; mov %rbx,%rsi\n" CALL LEAVE "mov 0x28(%rsp),%rax\n" BACK(5))

struct golden {
	const char *name;
	const uint8_t *in, *in_end, *out, *out_end;
	struct site s; /* len and old come from the window */
};

static const struct golden goldens[] = {
	{"counter", PAIR(counter), {.obj = X86_RAX, .ninsn = 1}},
	{"flags live", PAIR(live), {.obj = X86_RAX, .ninsn = 1, .flags_live = true}},
	{"hook after", PAIR(after), {.obj = X86_R12, .ninsn = 2, .hook_after = true}},
	{"two instructions, object in rdi", PAIR(rdi), {.obj = X86_RDI, .ninsn = 2}},
	{"test again", PAIR(redo), {.obj = X86_R15, .ninsn = 1, .redo_len = 7}},
	{"jump away", PAIR(jump), {.event = SITE_FREE, .obj = X86_RBP, .ninsn = 1}},
	{"move", PAIR(move), {.event = SITE_MOVE, .obj = X86_R8, .dst = X86_R13, .ninsn = 1}},
	{"move, crossed", PAIR(crossed),
	 {.event = SITE_MOVE, .obj = X86_RSI, .dst = X86_RDI, .ninsn = 1}},
	{"move, dst in rdi", PAIR(chained),
	 {.event = SITE_MOVE, .obj = X86_RBX, .dst = X86_RDI, .ninsn = 1}},
	{"move, obj in rsi", PAIR(chained_back),
	 {.event = SITE_MOVE, .obj = X86_RSI, .dst = X86_RBX, .ninsn = 1}},
};

static int emit(const struct site *s, const uint8_t *redo, uint8_t *buf, size_t size,
		struct err *e)
{
	return arch_native()->emit_thunk(s, SITE_AT + s->redo_len, redo, THUNK_AT, ENTRY, buf, size,
					 e);
}

START_TEST(thunks)
{
	const struct golden *g = &goldens[_i];
	struct site s = g->s;
	uint8_t buf[X86_THUNK_MAX];
	struct err e = {0};
	int n;

	s.len = (uint8_t)(g->in_end - g->in - s.redo_len);
	memcpy(s.old, g->in + s.redo_len, s.len);
	n = emit(&s, g->in, buf, sizeof(buf), &e);
	ck_assert_msg(n == g->out_end - g->out, "%s: %d bytes: %s", g->name, n, e.msg);
	for (int i = 0; i < n; i++)
		ck_assert_msg(buf[i] == g->out[i], "%s: byte %d is %02x, not %02x", g->name, i,
			      buf[i], g->out[i]);
	for (int room = 0; room < n; room++) {
		ck_assert_int_eq(emit(&s, g->in, buf, (size_t)room, &e), -1);
		ck_assert_int_eq(e.code, ERR_RANGE);
	}
}
END_TEST

struct refusal {
	const char *name, *old, *redo, *why;
	struct site s;
};

#define ADD  "\x48\x83\x42\x18\x01"
#define TEST "\xf6\x41\x02\x10"
#define JNE  "\x0f\x85\x00\x01\x00\x00"

static const struct refusal refusals[] = {
	{"object in rsp", ADD, "", "no register holds the object",
	 {.len = 5, .ninsn = 1, .obj = X86_RSP}},
	{"no object", ADD, "", "no register holds the object",
	 {.len = 5, .ninsn = 1, .obj = ARCH_REG_NONE}},
	{"move to rsp", ADD, "", "new place",
	 {.len = 5, .ninsn = 1, .event = SITE_MOVE, .dst = X86_RSP}},
	{"move to nowhere", ADD, "", "new place",
	 {.len = 5, .ninsn = 1, .event = SITE_MOVE, .dst = ARCH_REG_NONE}},
	{"window of 17", ADD, "", "too long",
	 {.len = 17, .ninsn = 1}},
	{"one instruction called two", ADD, "", "holds 1 instructions, not 2",
	 {.len = 5, .ninsn = 2}},
	{"two called one", ADD "\x90", "", "holds 2 instructions, not 1",
	 {.len = 6, .ninsn = 1}},
	{"cut instruction", ADD ADD, "", "not an instruction",
	 {.len = 8, .ninsn = 2}},
	{"call", "\xe8\x00\x00\x00\x00", "", "a call would",
	 {.len = 5, .ninsn = 1}},
	{"ret in the window", "\x31\xc0\x31\xd2\xc3", "", "indirect branch",
	 {.len = 5, .ninsn = 3}},
	{"branch not last", TEST "\x75\x10\x90", "", "branch in its middle",
	 {.len = 7, .ninsn = 3}},
	{"jump not last", "\xeb\x10\x0f\x1f\x00", "", "branch in its middle",
	 {.len = 5, .ninsn = 2}},
	{"branch before the hook", TEST "\x75\x10", "", "before its hook",
	 {.len = 6, .ninsn = 2, .hook_after = true}},
	{"flags lost", JNE, "", "flags nobody saves",
	 {.len = 6, .ninsn = 1}},
	{"redo after", JNE, TEST, "after its jump",
	 {.len = 6, .ninsn = 1, .redo_len = 4, .hook_after = true}},
	{"redo of a store", JNE, "\x48\x83\x02\x01", "no single test",
	 {.len = 6, .ninsn = 1, .redo_len = 4}},
	{"redo of two", JNE, "\x39\xc8\x39\xc8", "no single test",
	 {.len = 6, .ninsn = 1, .redo_len = 4}},
	{"redo too long", JNE, TEST, "missing",
	 {.len = 6, .ninsn = 1, .redo_len = 16}},
	{"redo missing", JNE, NULL, "missing",
	 {.len = 6, .ninsn = 1, .redo_len = 4}},
};

START_TEST(refused)
{
	const struct refusal *r = &refusals[_i];
	struct site s = r->s;
	uint8_t buf[X86_THUNK_MAX], redo[16] = {0};
	struct err e = {0};

	memcpy(s.old, r->old, s.len < SITE_WINDOW_MAX ? s.len : SITE_WINDOW_MAX / 4);
	if (r->redo != NULL)
		memcpy(redo, r->redo, strlen(r->redo));
	ck_assert_msg(emit(&s, r->redo != NULL ? redo : NULL, buf, sizeof(buf), &e) == -1,
		      "%s: not refused", r->name);
	ck_assert_msg(e.code == ERR_UNSUPPORTED && strstr(e.msg, r->why) != NULL, "%s: %s",
		      r->name, e.msg);
}
END_TEST

START_TEST(out_of_reach)
{
	struct site s = {.len = 5, .ninsn = 1, .obj = X86_RAX, .old = ADD};
	uint8_t buf[X86_THUNK_MAX];
	struct err e = {0};

	ck_assert_int_eq(arch_native()->emit_thunk(&s, SITE_AT, NULL, THUNK_AT,
						   THUNK_AT + 0x80001000, buf, sizeof(buf), &e),
			 -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	e.code = 0;
	ck_assert_int_eq(arch_native()->emit_thunk(&s, THUNK_AT - 0x80001000, NULL, THUNK_AT, ENTRY,
						   buf, sizeof(buf), &e),
			 -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
}
END_TEST

/* A jump fills its window with whole nops, so that a disassembler stays in step. */
START_TEST(jumps)
{
	const struct arch *a = arch_native();
	void *decoder = x86_decoder_create();
	uint8_t buf[SITE_WINDOW_MAX + 1];
	struct err e = {0};
	struct insn in;

	for (size_t len = X86_JUMP; len <= SITE_WINDOW_MAX; len++) {
		buf[len] = 0xa5;
		ck_assert_int_eq(a->emit_jump(SITE_AT, THUNK_AT, buf, len, &e), 0);
		x86_decode(decoder, buf, len, SITE_AT, &in);
		ck_assert_uint_eq(in.op, OP_JMP);
		ck_assert_uint_eq(in.target, THUNK_AT);
		for (size_t at = in.len; at < len; at += in.len) {
			x86_decode(decoder, buf + at, len - at, SITE_AT + at, &in);
			ck_assert_uint_eq(in.op, OP_NOP);
			ck_assert_msg(at > X86_JUMP || at + in.len == len || in.len == 9,
				      "window of %zu: short nops", len);
		}
		ck_assert_uint_eq(buf[len], 0xa5);
	}
	ck_assert_int_eq(a->emit_jump(SITE_AT, THUNK_AT, buf, 4, &e), -1);
	ck_assert_int_eq(a->emit_jump(0x1000, 0x1005 + INT64_C(0x7fffffff), buf, 5, &e), 0);
	ck_assert_mem_eq(buf, "\xe9\xff\xff\xff\x7f", 5);
	ck_assert_int_eq(a->emit_jump(0x1000, 0x1005 + INT64_C(0x80000000), buf, 5, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	x86_decoder_destroy(decoder);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emit");
	TCase *tc = tcase_create("emit");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, thunks, 0, sizeof(goldens) / sizeof(goldens[0]));
	tcase_add_loop_test(tc, refused, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(tc, out_of_reach);
	tcase_add_test(tc, jumps);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
