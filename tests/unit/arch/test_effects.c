/*
 * The decoder's claims about registers and flags, checked by the CPU itself: run an instruction
 * twice from states that differ in one thing it claims not to depend on, and compare.
 */
#include "../../../arch/x86_64/x86.h"

#include "suite.h"

#include <string.h>
#include <sys/mman.h>

enum {
	FLAGS = 0x8d5,	    /* CF PF AF ZF SF OF */
	FLAGS_JCC = 0x8c5,  /* those a jcc can test */
	FLAGS_FIXED = 0x202,
	ROUNDS = 64,
};

struct state {
	uint64_t r[ARCH_REGS]; /* by the CPU's numbers; rsp is not touched */
	uint64_t flags;
};

/* One byte of length before each instruction; rsi points to a scratch buffer. */
#define I(text) ".byte 2f-1f; 1: " text "; 2:\n"
__asm__(".pushsection .rodata\n"
	"effects_list:\n"
	I("add %rax,%rbx") I("add $1,%cl") I("inc %rdx") I("dec %r9d") I("inc %ah")
	I("sub %r12,%r13") I("adc %rax,%rbx") I("sbb %eax,%eax") I("and $-16,%eax")
	I("or %r8,%r15") I("xor %eax,%eax") I("neg %r10") I("not %r10") I("cmp %rax,%rbx")
	I("test %r11d,%r12d") I("test $0x80,%al") I("bt %eax,%edx") I("bts $5,%r14")
	I("btr %rax,%rdx") I("mov %rax,%rbx") I("mov %ah,%bl") I("mov $5,%r8w")
	I("movabs $0x1122334455667788,%rdi") I("movzbl %ah,%ebp") I("movswl %ax,%ecx")
	I("movslq %edi,%rax") I("lea 8(%rax,%rdx,4),%r10") I("xchg %rax,%rbx")
	I("xchg %r9d,%eax") I("xadd %rax,%r11") I("cmpxchg %rdx,%rcx") I("bswap %rdi")
	I("mul %rcx") I("imul %r8") I("mulb %cl") I("imul %rax,%rbp") I("imul $3,%rax,%rbx")
	I("cqo") I("cdq") I("cwtl") I("cltq") I("cwtd") I("shl %cl,%rax") I("shr $4,%rax")
	I("sar %r8") I("shl $0,%r9") I("rol $3,%rdx") I("ror %cl,%rdx") I("rcl $1,%rax")
	I("shld $4,%rax,%rbx") I("shrd %cl,%rax,%rbx") I("bsf %rax,%rbx") I("bsr %eax,%ebx")
	I("popcnt %rax,%rbx") I("cmovne %rax,%rbx") I("cmovl %eax,%ebx") I("sete %al")
	I("setb %r9b") I("seto %ah") I("lahf") I("sahf") I("cmc") I("stc") I("clc")
	I("jrcxz 1f; 1:") I("jne 1f; 1:") I("loop 1f; 1:") I("nopl (%rax)") I("endbr64")
	I("cpuid") I("rdtscp") I("movq %rax,%xmm0") I("movq %xmm0,%rax") I("movmskpd %xmm0,%ecx")
	I("pextrw $1,%xmm0,%edx") I("cvttsd2si %xmm0,%r8") I("ucomisd %xmm0,%xmm1")
	I("comiss %xmm0,%xmm1") I("cmplesd %xmm0,%xmm1") I("ptest %xmm0,%xmm0")
	I("mov %rax,(%rsi)") I("mov 8(%rsi),%rbx") I("addq $1,0x18(%rsi)") I("incq 0x18(%rsi)")
	I("mov %cl,3(%rsi)") I("movups %xmm0,(%rsi)") I("movaps %xmm0,0x10(%rsi)")
	I("movdqa %xmm0,(%rsi)") I("movhps %xmm0,(%rsi)") I("movq %xmm0,(%rsi)")
	I("movnti %rax,(%rsi)") I("movupd (%rsi),%xmm1") I("xchg %rax,(%rsi)")
	I("lock xadd %rdx,(%rsi)") I("lock cmpxchg %rdx,(%rsi)") I("lock cmpxchg16b (%rsi)")
	I("cmpxchg8b (%rsi)") I("setne (%rsi)") I("notb (%rsi)") I("testb $0x20,0x16(%rsi)")
	I("cmpl $7,4(%rsi)") I("movzbl 5(%rsi),%r12d") I("lodsq") I("cmovs (%rsi),%r14")
	I("fildl (%rsi)") I("fnstcw (%rsi)") I("fistpl (%rsi)") I("stmxcsr (%rsi)")
	I("fnstsw %ax") I("shlq $3,(%rsi)") I("btcq $63,(%rsi)") I("prefetcht0 (%rsi)")
	".byte 0\n"
	".popsection\n");
extern const uint8_t effects_list[];

/* Load all registers but rsp and the flags from *s, call code, store them. Vector registers and the
 * FPU always start the same. */
void effects_run(struct state *s, const void *code);
__asm__(".pushsection .text\n"
	"effects_run:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	push %rdi; push %rsi\n"
	"	fninit; fldpi; movdqu 1f(%rip),%xmm0; movdqu 2f(%rip),%xmm1\n"
	"	push 128(%rdi); popfq\n"
	"	mov 0(%rdi),%rax; mov 8(%rdi),%rcx; mov 16(%rdi),%rdx; mov 24(%rdi),%rbx\n"
	"	mov 40(%rdi),%rbp; mov 48(%rdi),%rsi; mov 64(%rdi),%r8; mov 72(%rdi),%r9\n"
	"	mov 80(%rdi),%r10; mov 88(%rdi),%r11; mov 96(%rdi),%r12; mov 104(%rdi),%r13\n"
	"	mov 112(%rdi),%r14; mov 120(%rdi),%r15; mov 56(%rdi),%rdi\n"
	"	call *(%rsp)\n"
	"	push %rdi; mov 16(%rsp),%rdi\n"
	"	mov %rax,0(%rdi); mov %rcx,8(%rdi); mov %rdx,16(%rdi); mov %rbx,24(%rdi)\n"
	"	mov %rbp,40(%rdi); mov %rsi,48(%rdi); mov %r8,64(%rdi); mov %r9,72(%rdi)\n"
	"	mov %r10,80(%rdi); mov %r11,88(%rdi); mov %r12,96(%rdi); mov %r13,104(%rdi)\n"
	"	mov %r14,112(%rdi); mov %r15,120(%rdi); pop 56(%rdi)\n"
	"	pushfq; pop 128(%rdi); cld\n"
	"	pop %rsi; pop %rdi\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	"1:	.double 1.5, -2.25\n"
	"2:	.double 4e9, 1.5\n.popsection\n");

/* An instruction as the CPU and as the decoder see it. */
struct subject {
	struct insn in;
	char text[64];
	uint8_t *code;
	_Alignas(16) uint8_t before[64], after[64]; /* the scratch buffer */
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static struct state random_state(struct subject *u, uint64_t *seed)
{
	struct state s;

	for (size_t i = 0; i < ARCH_REGS; i++) /* small ones too: counts, zeros, carries */
		s.r[i] = next_random(seed) >> (next_random(seed) & 63 & -(i & 1));
	for (size_t i = 0; i < sizeof(u->before); i++)
		u->before[i] = (uint8_t)next_random(seed);
	s.r[X86_RSI] = (uint64_t)u->after;
	s.flags = FLAGS_FIXED | (next_random(seed) & FLAGS);
	return s;
}

static struct state run(struct subject *u, struct state s)
{
	memcpy(u->after, u->before, sizeof(u->after));
	effects_run(&s, u->code);
	return s;
}

static void check_untouched(struct subject *u, const struct state *s)
{
	struct state out = run(u, *s);
	bool stored = memcmp(u->before, u->after, sizeof(u->before)) != 0;

	for (unsigned r = 0; r < ARCH_REGS; r++)
		if (r != X86_RSP && !(u->in.regs_written & X86_BIT(r)))
			ck_assert_msg(out.r[r] == s->r[r], "%s: changes register %u", u->text, r);
	ck_assert_msg(!stored || u->in.mem_write, "%s: changes memory", u->text);
}

/* a and b came out of states that differ only in register `but` (ARCH_REGS: in the flags). */
static void check_same(struct subject *u, const struct state *a, const struct state *b,
		       unsigned but)
{
	for (unsigned r = 0; r < ARCH_REGS; r++)
		if (r != but && r != X86_RSP)
			ck_assert_msg(a->r[r] == b->r[r], "%s: register %u depends on %u", u->text,
				      r, but);
}

static void check_registers(struct subject *u, const struct state *s, uint64_t *seed)
{
	struct state out = run(u, *s);

	for (unsigned r = 0; r < ARCH_REGS; r++) {
		struct state t = *s;
		if (r == X86_RSP || r == X86_RSI || u->in.regs_read & X86_BIT(r))
			continue;
		t.r[r] = next_random(seed);
		t = run(u, t);
		check_same(u, &out, &t, r);
		ck_assert_msg((out.flags & FLAGS_JCC) == (t.flags & FLAGS_JCC),
			      "%s: flags depend on register %u", u->text, r);
	}
}

static void check_flags(struct subject *u, const struct state *s)
{
	struct state all = *s, none = *s;

	all.flags |= FLAGS;
	none.flags &= ~(uint64_t)FLAGS;
	all = run(u, all);
	none = run(u, none);
	if (!u->in.flags_read)
		check_same(u, &all, &none, ARCH_REGS);
	if (u->in.flags_written && !u->in.flags_read)
		ck_assert_msg((all.flags & FLAGS_JCC) == (none.flags & FLAGS_JCC),
			      "%s: leaves some flags alone", u->text);
}

static void check_memory_read(struct subject *u, const struct state *s)
{
	struct state out = run(u, *s);

	if (u->in.mem_read)
		return;
	for (size_t i = 0; i < sizeof(u->before); i++)
		u->before[i] ^= 0x5a;
	struct state t = run(u, *s);
	check_same(u, &out, &t, ARCH_REGS);
}

static bool repeatable(const struct subject *u)
{
	return strncmp(u->text, "rdtscp", 6) != 0; /* a clock: only what it touches */
}

static void check_insn(struct subject *u, uint64_t *seed)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct state s = random_state(u, seed);
		check_untouched(u, &s);
		if (!repeatable(u))
			continue;
		check_registers(u, &s, seed);
		check_flags(u, &s);
		check_memory_read(u, &s);
	}
}

START_TEST(claims_hold)
{
	void *decoder = x86_decoder_create();
	uint64_t seed = 0x9e3779b97f4a7c15;
	struct subject u;
	int n = 0;

	u.code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	ck_assert_ptr_ne(u.code, MAP_FAILED);
	for (const uint8_t *p = effects_list; *p != 0; p += 1 + *p, n++) {
		memcpy(u.code, p + 1, *p);
		u.code[*p] = 0xc3;
		x86_decode(decoder, u.code, *p, (uint64_t)u.code, &u.in);
		x86_disasm(decoder, u.code, *p, (uint64_t)u.code, u.text, sizeof(u.text));
		ck_assert_msg(u.in.op != OP_BAD && u.in.len == *p, "%s: %u bytes", u.text, *p);
		check_insn(&u, &seed);
	}
	ck_assert_int_gt(n, 100);
	munmap(u.code, 4096);
	x86_decoder_destroy(decoder);
}
END_TEST

SUITE_MAIN("effects", claims_hold)
