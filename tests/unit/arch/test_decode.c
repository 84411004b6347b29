/* struct insn of hand-assembled instructions, field by field. */
#include "../../../arch/x86_64/x86.h"

#include "suite.h"

#include <stdio.h>

enum {
	AT = 0x400000,
	NO = ARCH_REG_NONE,
	PC = ARCH_REG_PC,
	A = X86_RAX,
	C = X86_RCX,
	D = X86_RDX,
	B = X86_RBX,
	SP = X86_RSP,
	BP = X86_RBP,
	SI = X86_RSI,
	DI = X86_RDI,
};

#define R(reg) X86_BIT(X86_##reg)

/* What a row leaves out is 0; NO for the registers is filled in by same(). */
struct row {
	const char *text; /* for people */
	const char *bytes;
	size_t len;
	enum insn_op op;
	uint8_t base, index, scale;
	int64_t disp;
	uint8_t mem_size, mem_read, mem_write, fs;
	bool has_imm;
	int64_t imm;
	uint8_t dst, src, vreg, reg_size;
	uint64_t target;
	unsigned read, written;
	bool flags_read, flags_written;
};

#define BYTES(s)  .bytes = (s), .len = sizeof(s) - 1
#define MEM(b, d) .base = (b), .index = NO, .scale = 1, .disp = (d)
#define NOMEM	  .base = NO, .index = NO
#define REGS(d, s, n) .dst = (d), .src = (s), .vreg = NO, .reg_size = (n)
#define NOREGS	  REGS(NO, NO, 0)
#define IMM(n)	  .has_imm = true, .imm = (n)
#define LOADS(n)  .mem_size = (n), .mem_read = 1
#define STORES(n) .mem_size = (n), .mem_write = 1
#define CHANGES(n) .mem_size = (n), .mem_read = 1, .mem_write = 1

static const struct row rows[] = {
	{"mov %rsi,%rdi", BYTES("\x48\x89\xf7"), OP_MOV, NOMEM, REGS(DI, SI, 8), .read = R(RSI),
	 .written = R(RDI)},
	{"mov $0x200000,%esi", BYTES("\xbe\0\0\x20\0"), OP_MOV, NOMEM, IMM(0x200000),
	 REGS(SI, NO, 4), .written = R(RSI)},
	{"movabs $-2,%r11", BYTES("\x49\xbb\xfe\xff\xff\xff\xff\xff\xff\xff"), OP_MOV, NOMEM,
	 IMM(-2), REGS(X86_R11, NO, 8), .written = R(R11)},
	{"mov $-1,%eax", BYTES("\xb8\xff\xff\xff\xff"), OP_MOV, NOMEM, IMM(-1), REGS(A, NO, 4),
	 .written = R(RAX)},
	{"movabs 0x1122334455667788,%rax", BYTES("\x48\xa1\x88\x77\x66\x55\x44\x33\x22\x11"),
	 OP_MOV, .base = NO, .index = NO, .scale = 1, .disp = 0x1122334455667788, LOADS(8),
	 REGS(A, NO, 8), .written = R(RAX)},
	{"mov %al,0x10(%r13,%r12,8)", BYTES("\x43\x88\x44\xe5\x10"), OP_MOV, .base = X86_R13,
	 .index = X86_R12, .scale = 8, .disp = 0x10, STORES(1), REGS(NO, A, 1),
	 .read = R(RAX) | R(R13) | R(R12)},
	{"mov %ah,%bl", BYTES("\x88\xe3"), OP_MOV, NOMEM, REGS(B, A, 1), .read = R(RAX),
	 .written = R(RBX)},
	{"mov (%r12),%r9w", BYTES("\x66\x45\x8b\x0c\x24"), OP_MOV, MEM(X86_R12, 0), LOADS(2),
	 REGS(X86_R9, NO, 2), .read = R(R12), .written = R(R9)},
	{"mov 0x18(%rsp),%rax", BYTES("\x48\x8b\x44\x24\x18"), OP_MOV, MEM(SP, 0x18), LOADS(8),
	 REGS(A, NO, 8), .read = R(RSP), .written = R(RAX)},
	{"mov %fs:-8,%rax", BYTES("\x64\x48\x8b\x04\x25\xf8\xff\xff\xff"), OP_MOV, MEM(NO, -8),
	 LOADS(8), .fs = 1, REGS(A, NO, 8), .written = R(RAX)},
	{"movq $0x1e,(%rbx)", BYTES("\x48\xc7\x03\x1e\0\0\0"), OP_MOV, MEM(B, 0), STORES(8),
	 IMM(0x1e), NOREGS, .read = R(RBX)},
	{"mov 0x10(%rip),%rdx", BYTES("\x48\x8b\x15\x10\0\0\0"), OP_MOV, MEM(PC, AT + 7 + 0x10),
	 LOADS(8), REGS(D, NO, 8), .written = R(RDX)},
	{"mov %ds,%eax", BYTES("\x8c\xd8"), OP_OTHER, NOMEM, REGS(A, NO, 4), .written = R(RAX)},
	{"movzbl (%rbp),%ecx", BYTES("\x0f\xb6\x4d\x00"), OP_OTHER, MEM(BP, 0), LOADS(1),
	 REGS(C, NO, 4), .read = R(RBP), .written = R(RCX)},
	{"movslq %edi,%rax", BYTES("\x48\x63\xc7"), OP_OTHER, NOMEM, REGS(A, DI, 8), .read = R(RDI),
	 .written = R(RAX)},
	{"movups %xmm9,0x8(%rdi)", BYTES("\x44\x0f\x11\x4f\x08"), OP_MOVV, MEM(DI, 8), STORES(16),
	 .dst = NO, .src = NO, .vreg = 9, .read = R(RDI)},
	{"movdqa -0x20(%rip),%xmm0", BYTES("\x66\x0f\x6f\x05\xe0\xff\xff\xff"), OP_MOVV,
	 MEM(PC, AT + 8 - 0x20), LOADS(16), .dst = NO, .src = NO, .vreg = 0},
	{"vmovdqu %xmm1,(%rax)", BYTES("\xc5\xfa\x7f\x08"), OP_MOVV, MEM(A, 0), STORES(16),
	 .dst = NO, .src = NO, .vreg = 1, .read = R(RAX)},
	{"vmovdqu %ymm1,(%rax)", BYTES("\xc5\xfe\x7f\x08"), OP_OTHER, MEM(A, 0), STORES(32),
	 .dst = NO, .src = NO, .vreg = 1, .read = R(RAX)},
	{"movaps %xmm2,%xmm3", BYTES("\x0f\x28\xda"), OP_OTHER, NOMEM, .dst = NO, .src = NO,
	 .vreg = 3},
	{"movq %rax,%xmm4", BYTES("\x66\x48\x0f\x6e\xe0"), OP_OTHER, NOMEM, .dst = NO, .src = A,
	 .vreg = 4, .reg_size = 8, .read = R(RAX)},
	{"movhps %xmm0,0x10(%rsi)", BYTES("\x0f\x17\x46\x10"), OP_OTHER, MEM(SI, 0x10), STORES(8),
	 .dst = NO, .src = NO, .vreg = 0, .read = R(RSI)},
	{"lea 0x1234(%rip),%r15", BYTES("\x4c\x8d\x3d\x34\x12\0\0"), OP_LEA, MEM(PC, AT + 7 + 0x1234),
	 REGS(X86_R15, NO, 8), .written = R(R15)},
	{"lea 0x10(,%rax,8),%rbx", BYTES("\x48\x8d\x1c\xc5\x10\0\0\0"), OP_LEA, .base = NO, .index = A,
	 .scale = 8, .disp = 0x10, REGS(B, NO, 8), .read = R(RAX), .written = R(RBX)},
	{"addq $1,0x18(%rdx)", BYTES("\x48\x83\x42\x18\x01"), OP_ADD, MEM(D, 0x18), CHANGES(8),
	 IMM(1), NOREGS, .read = R(RDX), .flags_written = true},
	{"add $-128,%rsp", BYTES("\x48\x83\xc4\x80"), OP_ADD, NOMEM, IMM(-128), REGS(SP, NO, 8),
	 .read = R(RSP), .written = R(RSP), .flags_written = true},
	{"add %rcx,%rax", BYTES("\x48\x01\xc8"), OP_ADD, NOMEM, REGS(A, C, 8),
	 .read = R(RAX) | R(RCX), .written = R(RAX), .flags_written = true},
	{"incq 0x18(%rax)", BYTES("\x48\xff\x40\x18"), OP_ADD, MEM(A, 0x18), CHANGES(8), IMM(1),
	 NOREGS, .read = R(RAX)},
	{"inc %r8d", BYTES("\x41\xff\xc0"), OP_ADD, NOMEM, IMM(1), REGS(X86_R8, NO, 4),
	 .read = R(R8), .written = R(R8)},
	{"sub $8,%rsp", BYTES("\x48\x83\xec\x08"), OP_OTHER, NOMEM, IMM(8), REGS(SP, NO, 8),
	 .read = R(RSP), .written = R(RSP), .flags_written = true},
	{"and $-16,%eax", BYTES("\x83\xe0\xf0"), OP_OTHER, NOMEM, IMM(-16), REGS(A, NO, 4),
	 .read = R(RAX), .written = R(RAX), .flags_written = true},
	{"testb $0x10,0x2(%rcx)", BYTES("\xf6\x41\x02\x10"), OP_TEST, MEM(C, 2), LOADS(1), IMM(0x10),
	 NOREGS, .read = R(RCX), .flags_written = true},
	{"testb $0x10,0x100(%rip)", BYTES("\xf6\x05\0\x01\0\0\x10"), OP_TEST, MEM(PC, AT + 7 + 0x100),
	 LOADS(1), IMM(0x10), NOREGS, .flags_written = true},
	{"test $0x100000,%eax", BYTES("\xa9\0\0\x10\0"), OP_TEST, NOMEM, IMM(0x100000),
	 REGS(NO, A, 4), .read = R(RAX), .flags_written = true},
	{"cmp %rsi,%rdi", BYTES("\x48\x39\xf7"), OP_CMP, NOMEM, REGS(NO, SI, 8),
	 .read = R(RSI) | R(RDI), .flags_written = true},
	{"bt %eax,%edx", BYTES("\x0f\xa3\xc2"), OP_OTHER, NOMEM, REGS(NO, A, 4),
	 .read = R(RAX) | R(RDX)},
	{"jne +0x70", BYTES("\x75\x70"), OP_JCC, NOMEM, NOREGS, .target = AT + 2 + 0x70,
	 .flags_read = true},
	{"jae -6", BYTES("\x0f\x83\xfa\xff\xff\xff"), OP_JCC, NOMEM, NOREGS, .target = AT,
	 .flags_read = true},
	{"jrcxz +0", BYTES("\xe3\x00"), OP_JCC, NOMEM, NOREGS, .target = AT + 2, .read = R(RCX)},
	{"loop -2", BYTES("\xe2\xfe"), OP_JCC, NOMEM, NOREGS, .target = AT, .read = R(RCX),
	 .written = R(RCX)},
	{"jmp +0x100", BYTES("\xe9\0\x01\0\0"), OP_JMP, NOMEM, NOREGS, .target = AT + 5 + 0x100},
	{"jmp *%rax", BYTES("\xff\xe0"), OP_JMP_IND, NOMEM, REGS(NO, A, 8), .read = R(RAX)},
	{"notrack jmp *%rax", BYTES("\x3e\xff\xe0"), OP_JMP_IND, NOMEM, REGS(NO, A, 8),
	 .read = R(RAX)},
	{"call -5", BYTES("\xe8\xfb\xff\xff\xff"), OP_CALL, NOMEM, NOREGS, .target = AT,
	 .read = R(RSP), .written = X86_CALLER_SAVED, .flags_written = true},
	{"data16 rex.W call +0", BYTES("\x66\x66\x48\xe8\0\0\0\0"), OP_CALL, NOMEM, NOREGS,
	 .target = AT + 8, .read = R(RSP), .written = X86_CALLER_SAVED, .flags_written = true},
	{"call *0x8(%rax)", BYTES("\xff\x50\x08"), OP_CALL_IND, MEM(A, 8), LOADS(8), NOREGS,
	 .read = R(RAX) | R(RSP), .written = X86_CALLER_SAVED, .flags_written = true},
	{"rep ret", BYTES("\xf3\xc3"), OP_RET, NOMEM, NOREGS, .read = R(RSP), .written = R(RSP)},
	{"push %r14", BYTES("\x41\x56"), OP_PUSH, NOMEM, REGS(NO, X86_R14, 8),
	 .read = R(R14) | R(RSP), .written = R(RSP)},
	{"pop %rbp", BYTES("\x5d"), OP_POP, NOMEM, REGS(BP, NO, 8), .read = R(RSP),
	 .written = R(RBP) | R(RSP)},
	{"endbr64", BYTES("\xf3\x0f\x1e\xfa"), OP_NOP, NOMEM, NOREGS},
	{"nopw 0(%rax,%rax)", BYTES("\x66\x0f\x1f\x44\0\0"), OP_NOP, NOMEM, NOREGS},
	{"ud2", BYTES("\x0f\x0b"), OP_STOP, NOMEM, NOREGS},
	{"mul %rcx", BYTES("\x48\xf7\xe1"), OP_OTHER, NOMEM, REGS(NO, C, 8),
	 .read = R(RAX) | R(RCX), .written = R(RAX) | R(RDX)},
	{"idiv %ebx", BYTES("\xf7\xfb"), OP_OTHER, NOMEM, REGS(NO, B, 4),
	 .read = R(RAX) | R(RDX) | R(RBX), .written = R(RAX) | R(RDX)},
	{"cqo", BYTES("\x48\x99"), OP_OTHER, NOMEM, NOREGS, .read = R(RAX), .written = R(RDX)},
	{"xchg %rax,(%rbx)", BYTES("\x48\x87\x03"), OP_OTHER, MEM(B, 0), CHANGES(8), REGS(A, NO, 8),
	 .read = R(RAX) | R(RBX), .written = R(RAX)},
	{"lock cmpxchg %rdx,(%rdi)", BYTES("\xf0\x48\x0f\xb1\x17"), OP_OTHER, MEM(DI, 0), CHANGES(8),
	 REGS(NO, D, 8), .read = R(RAX) | R(RDX) | R(RDI), .written = R(RAX), .flags_written = true},
	{"setb 0x4(%rcx)", BYTES("\x0f\x92\x41\x04"), OP_OTHER, MEM(C, 4), STORES(1), NOREGS,
	 .read = R(RCX), .flags_read = true},
	{"cmovne %rax,%rbx", BYTES("\x48\x0f\x45\xd8"), OP_OTHER, NOMEM, REGS(B, A, 8),
	 .read = R(RAX) | R(RBX), .written = R(RBX), .flags_read = true},
	{"sbb %eax,%eax", BYTES("\x19\xc0"), OP_OTHER, NOMEM, REGS(A, A, 4), .read = R(RAX),
	 .written = R(RAX), .flags_read = true, .flags_written = true},
	{"shl %cl,%rax", BYTES("\x48\xd3\xe0"), OP_OTHER, NOMEM, REGS(A, C, 8),
	 .read = R(RAX) | R(RCX), .written = R(RAX)},
	{"shr $4,%rax", BYTES("\x48\xc1\xe8\x04"), OP_OTHER, NOMEM, IMM(4), REGS(A, NO, 8),
	 .read = R(RAX), .written = R(RAX), .flags_written = true},
	{"cmplesd %xmm1,%xmm0", BYTES("\xf2\x0f\xc2\xc1\x02"), OP_OTHER, NOMEM, .dst = NO,
	 .src = NO, .vreg = 0},
	{"rep stos %rax,(%rdi)", BYTES("\xf3\x48\xab"), OP_OTHER, MEM(DI, 0), STORES(8),
	 REGS(NO, A, 8), .read = R(RAX) | R(RCX) | R(RDI), .written = R(RCX) | R(RDI)},
	{"syscall", BYTES("\x0f\x05"), OP_OTHER, NOMEM, NOREGS,
	 .read = X86_CALLER_SAVED & ~(R(RCX) | R(R11)), .written = R(RAX) | R(RCX) | R(R11),
	 .flags_read = true},
	{"fstpl (%rax)", BYTES("\xdd\x18"), OP_OTHER, MEM(A, 0), STORES(8), NOREGS, .read = R(RAX)},
	{"fldl (%rax)", BYTES("\xdd\x00"), OP_OTHER, MEM(A, 0), LOADS(8), NOREGS, .read = R(RAX)},
	{"prefetcht0 (%rax)", BYTES("\x0f\x18\x08"), OP_OTHER, MEM(A, 0), NOREGS, .read = R(RAX)},
};

static bool has_mem(const struct row *r)
{
	return r->scale != 0;
}

#define SAME(field, want)                                                                          \
	ck_assert_msg(in.field == (want), "%s: " #field " is %#llx, not %#llx", r->text,           \
		      (unsigned long long)in.field, (unsigned long long)(want))

START_TEST(fields)
{
	const struct row *r = &rows[_i];
	void *decoder = x86_decoder_create();
	struct insn in;

	ck_assert_ptr_nonnull(decoder);
	x86_decode(decoder, (const uint8_t *)r->bytes, r->len, AT, &in);
	SAME(addr, (uint64_t)AT);
	SAME(len, r->len);
	SAME(op, r->op);
	SAME(has_mem, has_mem(r));
	SAME(base, r->base);
	SAME(index, r->index);
	SAME(scale, r->scale);
	SAME(disp, r->disp);
	SAME(seg_fs, r->fs);
	SAME(mem_size, r->mem_size);
	SAME(mem_read, r->mem_read);
	SAME(mem_write, r->mem_write);
	SAME(has_imm, r->has_imm);
	SAME(imm, r->imm);
	SAME(dst, r->dst);
	SAME(src, r->src);
	SAME(vreg, r->vreg);
	SAME(reg_size, r->reg_size);
	SAME(target, r->target);
	SAME(regs_read, r->read);
	SAME(regs_written, r->written);
	SAME(flags_read, r->flags_read);
	SAME(flags_written, r->flags_written);
	x86_decoder_destroy(decoder);
}
END_TEST

START_TEST(bad_and_cut)
{
	static const uint8_t bytes[] = {0x48, 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00, 0x06};
	void *decoder = x86_decoder_create();
	struct insn in;

	for (size_t len = 0; len < 7; len++) {
		x86_decode(decoder, bytes, len, AT, &in);
		ck_assert_uint_eq(in.op, OP_BAD);
		ck_assert_uint_eq(in.len, 1);
		ck_assert_uint_eq(in.base, NO);
		ck_assert_uint_eq(in.regs_read | in.regs_written, 0);
	}
	x86_decode(decoder, bytes, 7, AT, &in);
	ck_assert_uint_eq(in.op, OP_MOV);
	ck_assert_uint_eq(x86_disp_offset(decoder), 3);
	x86_decode(decoder, bytes + 7, 1, AT + 7, &in);
	ck_assert_uint_eq(in.op, OP_BAD);
	x86_decoder_destroy(decoder);
}
END_TEST

START_TEST(text_for_people)
{
	void *decoder = x86_decoder_create();
	char buf[80];

	x86_disasm(decoder, (const uint8_t *)"\x48\x83\x42\x18\x01", 5, AT, buf, sizeof(buf));
	ck_assert_str_eq(buf, "add qword ptr [rdx + 0x18], 1");
	x86_disasm(decoder, (const uint8_t *)"\xc3", 1, AT, buf, sizeof(buf));
	ck_assert_str_eq(buf, "ret");
	x86_disasm(decoder, (const uint8_t *)"\x06", 1, AT, buf, sizeof(buf));
	ck_assert_str_eq(buf, "(bad)");
	x86_disasm(decoder, (const uint8_t *)"\x48\x83\x42\x18\x01", 5, AT, buf, 4);
	ck_assert_str_eq(buf, "add");
	x86_decoder_destroy(decoder);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("decode");
	TCase *tc = tcase_create("decode");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, fields, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, bad_and_cut);
	tcase_add_test(tc, text_for_people);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
