/*
 * Thunks, run for real: patch a window in memory of our own, call it with known registers, flags
 * and red zone, and see what the agent saw and what came back.
 */
#include "code/site.h"
#include "../../../arch/x86_64/x86.h"

#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum {
	FLAGS = 0x8d5, /* CF PF AF ZF SF OF */
	FLAGS_FIXED = 0x202,
	RED_ZONE = 16, /* words */
};

/* Set before a call and seen after it. */
struct run {
	uint64_t r[ARCH_REGS]; /* rsp is not touched */
	uint64_t flags;
	uint64_t red[RED_ZONE]; /* below the stack pointer at the site */
};
_Static_assert(offsetof(struct run, flags) == 128 && offsetof(struct run, red) == 136, "asm below");

/* What the fake agent notes, and what it puts into the flags. */
struct {
	uint64_t calls, rdi, rsi, mark, flags;
} agent_saw;

void agent_entry(void);
__asm__(".pushsection .text\n"
	"agent_entry:\n"
	"	mov %rdi,8+agent_saw(%rip); mov %rsi,16+agent_saw(%rip)\n"
	"	incq agent_saw(%rip)\n"
	"	mov thunk_mark(%rip),%rdi; mov (%rdi),%rdi; mov %rdi,24+agent_saw(%rip)\n"
	"	mov $0xdead,%edi; mov $0xbeef,%esi\n"
	"	push 32+agent_saw(%rip); popfq\n"
	"	ret\n.popsection\n");

/* The word that the displaced instruction marks. */
uint64_t *thunk_mark;

void thunk_call(struct run *run, const void *code);
__asm__(".pushsection .text\n"
	"thunk_call:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	push %rdi; push %rsi\n"
	"	lea 136(%rdi),%rsi; lea -136(%rsp),%rdi; mov $16,%ecx; rep movsq\n"
	"	mov 8(%rsp),%rdi\n"
	/* the flags through a word that the red zone does not cover */
	"	sub $256,%rsp; push 128(%rdi); popfq; lea 256(%rsp),%rsp\n"
	"	mov 0(%rdi),%rax; mov 8(%rdi),%rcx; mov 16(%rdi),%rdx; mov 24(%rdi),%rbx\n"
	"	mov 40(%rdi),%rbp; mov 48(%rdi),%rsi; mov 64(%rdi),%r8; mov 72(%rdi),%r9\n"
	"	mov 80(%rdi),%r10; mov 88(%rdi),%r11; mov 96(%rdi),%r12; mov 104(%rdi),%r13\n"
	"	mov 112(%rdi),%r14; mov 120(%rdi),%r15; mov 56(%rdi),%rdi\n"
	"	call *(%rsp)\n"
	"	lea -256(%rsp),%rsp; pushfq; push %rdi; mov 280(%rsp),%rdi\n"
	"	pop 56(%rdi); pop 128(%rdi); lea 256(%rsp),%rsp\n"
	"	mov %rax,0(%rdi); mov %rcx,8(%rdi); mov %rdx,16(%rdi); mov %rbx,24(%rdi)\n"
	"	mov %rbp,40(%rdi); mov %rsi,48(%rdi); mov %r8,64(%rdi); mov %r9,72(%rdi)\n"
	"	mov %r10,80(%rdi); mov %r11,88(%rdi); mov %r12,96(%rdi); mov %r13,104(%rdi)\n"
	"	mov %r14,112(%rdi); mov %r15,120(%rdi)\n"
	"	add $136,%rdi; lea -136(%rsp),%rsi; mov $16,%ecx; rep movsq\n"
	"	pop %rsi; pop %rdi\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n.popsection\n");

enum { SITE_OFF = 64, THUNK_OFF = 4096, MARK_OFF = 8192, ROOM = 3 * 4096 };

/* Code, thunk and mark on pages of their own, near agent_entry. */
static uint8_t *room_map(void)
{
	uintptr_t near = ((uintptr_t)agent_entry & ~UINT64_C(4095)) - (64 << 20);
	uint8_t *m = mmap((void *)near, ROOM, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	ck_assert_ptr_ne(m, MAP_FAILED);
	thunk_mark = (uint64_t *)(m + MARK_OFF);
	return m;
}

/* Put code at the site, patch the window that s describes (the redo bytes and the window are its
 * start), leave what follows. */
static void room_patch(uint8_t *m, struct site *s, const uint8_t *code, size_t len)
{
	const struct arch *a = arch_native();
	uint8_t *site = m + SITE_OFF + s->redo_len;
	struct err e = {0};
	int n;

	memset(m, 0xcc, MARK_OFF);
	memcpy(m + SITE_OFF, code, len);
	memcpy(s->old, site, s->len);
	n = a->emit_thunk(s, (raddr_t)site, m + SITE_OFF, (raddr_t)m + THUNK_OFF,
			  (raddr_t)agent_entry, m + THUNK_OFF, a->thunk_max, &e);
	ck_assert_msg(n > 0, "%s", e.msg);
	ck_assert_int_eq(a->emit_jump((raddr_t)site, (raddr_t)m + THUNK_OFF, site, s->len, &e), 0);
}

static struct run run_prepare(uint64_t flags)
{
	struct run run = {.flags = FLAGS_FIXED | flags};

	for (unsigned i = 0; i < ARCH_REGS; i++)
		run.r[i] = 0x1111111111111111u * i + 0x5a00000000000000u;
	for (unsigned i = 0; i < RED_ZONE; i++)
		run.red[i] = 0x00c0ffee00000000u + i;
	memset(&agent_saw, 0, sizeof(agent_saw));
	agent_saw.flags = FLAGS_FIXED | (~flags & FLAGS); /* the opposite of all */
	*thunk_mark = 0;
	return run;
}

static void check_unharmed(const struct run *before, const struct run *after, const char *what)
{
	for (unsigned i = 0; i < ARCH_REGS; i++)
		ck_assert_msg(i == X86_RSP || before->r[i] == after->r[i],
			      "%s: register %u was %#lx, is %#lx", what, i, before->r[i],
			      after->r[i]);
	ck_assert_mem_eq(before->red, after->red, sizeof(before->red));
}

/* movb $1, mark(%rip); ret: changes neither registers nor flags, and needs relocation. */
static size_t marking_code(uint8_t *code)
{
	int32_t rel = MARK_OFF - SITE_OFF - 7;

	memcpy(code, "\xc6\x05\0\0\0\0\x01\xc3", 8);
	memcpy(code + 2, &rel, sizeof(rel));
	return 8;
}

static void check_site(uint8_t *m, struct site s, uint64_t flags)
{
	uint8_t code[16];
	size_t len = marking_code(code);
	struct run before, after;
	char what[80];

	snprintf(what, sizeof(what), "event %d obj %u dst %u after %d live %d flags %#lx", s.event,
		 s.obj, s.dst, s.hook_after, s.flags_live, flags);
	room_patch(m, &s, code, len);
	before = after = run_prepare(flags);
	thunk_call(&after, m + SITE_OFF);
	check_unharmed(&before, &after, what);
	if (s.flags_live)
		ck_assert_msg((after.flags & FLAGS) == flags, "%s: flags %#lx", what, after.flags);
	ck_assert_msg(agent_saw.calls == 1, "%s: %lu calls", what, agent_saw.calls);
	ck_assert_msg(agent_saw.rdi == before.r[s.obj], "%s: object %#lx", what, agent_saw.rdi);
	if (s.event == SITE_MOVE)
		ck_assert_msg(agent_saw.rsi == before.r[s.dst], "%s: to %#lx", what, agent_saw.rsi);
	ck_assert_msg(agent_saw.mark == s.hook_after, "%s: wrong order", what);
	ck_assert_msg(*thunk_mark == 1, "%s: displaced instruction not run", what);
}

/* Every subset of the six flags, for the combinations that matter. */
static void check_flags_of(uint8_t *m, struct site s)
{
	static const uint64_t bits[] = {0x1, 0x4, 0x10, 0x40, 0x80, 0x800};

	for (unsigned set = 0; set < 64; set++) {
		uint64_t flags = 0;
		for (unsigned i = 0; i < 6; i++)
			flags |= set >> i & 1 ? bits[i] : 0;
		check_site(m, s, flags);
	}
}

START_TEST(all_registers)
{
	uint8_t *m = room_map();

	for (unsigned i = 0; i < ARCH_REGS * 4; i++) {
		struct site s = {.event = SITE_ALLOC,
				 .len = 7,
				 .ninsn = 1,
				 .obj = (uint8_t)(i / 4),
				 .hook_after = i & 1,
				 .flags_live = (i & 2) != 0};
		if (s.obj != X86_RSP)
			check_flags_of(m, s);
	}
	munmap(m, ROOM);
}
END_TEST

START_TEST(all_moves)
{
	uint8_t *m = room_map();

	for (unsigned i = 0; i < ARCH_REGS * ARCH_REGS * 4; i++) {
		struct site s = {.event = SITE_MOVE,
				 .len = 7,
				 .ninsn = 1,
				 .obj = (uint8_t)(i / 4 % ARCH_REGS),
				 .dst = (uint8_t)(i / 4 / ARCH_REGS),
				 .hook_after = i & 1,
				 .flags_live = (i & 2) != 0};
		if (s.obj == X86_RSP || s.dst == X86_RSP)
			continue;
		check_site(m, s, 0);
		check_site(m, s, FLAGS);
	}
	munmap(m, ROOM);
}
END_TEST

/* A guard: test, jne to +20, else xor eax,eax (31 c0) and return; the target sets eax to 7. */
static const uint8_t guard[] = {0xf6, 0x41, 0x02, 0x10, 0x0f, 0x85, 0x0a, 0x00, 0x00, 0x00,
				0x31, 0xc0, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
				0xb8, 0x07, 0x00, 0x00, 0x00, 0xc3};

static uint64_t run_guard(uint8_t *m, struct site s, bool set)
{
	struct run before, run;

	room_patch(m, &s, guard, sizeof(guard));
	/* the agent leaves ZF such that a jne on its flags would go the wrong way */
	before = run_prepare(set ? 0 : FLAGS);
	*thunk_mark = set ? 0x100000 : 0;
	before.r[X86_RCX] = (uint64_t)thunk_mark;
	run = before;
	agent_saw.flags = FLAGS_FIXED | (set ? FLAGS : 0);
	thunk_call(&run, m + SITE_OFF);
	ck_assert_uint_eq(agent_saw.calls, 1);
	ck_assert_uint_eq(agent_saw.rdi, before.r[s.obj]);
	before.r[X86_RAX] = run.r[X86_RAX];
	check_unharmed(&before, &run, "guard");
	return run.r[X86_RAX];
}

START_TEST(guards)
{
	const struct site sites[] = {
		{.len = 6, .ninsn = 1, .obj = X86_RAX, .redo_len = 4},
		{.len = 10, .ninsn = 2, .obj = X86_RDI},
		{.len = 10, .ninsn = 2, .obj = X86_R15, .flags_live = true},
	};
	uint8_t *m = room_map();

	for (size_t i = 0; i < sizeof(sites) / sizeof(sites[0]); i++) {
		ck_assert_uint_eq(run_guard(m, sites[i], true), 7);
		ck_assert_uint_eq(run_guard(m, sites[i], false), 0);
	}
	munmap(m, ROOM);
}
END_TEST

/* jmp +10 alone: the thunk leaves by the jump itself. */
START_TEST(jump_away)
{
	static const uint8_t code[] = {0xe9, 0x05, 0x00, 0x00, 0x00, 0xcc, 0xcc, 0xcc,
				       0xcc, 0xcc, 0x6a, 0x09, 0x58, 0xc3};
	struct site s = {.len = 5, .ninsn = 1, .obj = X86_RBX, .flags_live = true};
	uint8_t *m = room_map();
	struct run run;

	room_patch(m, &s, code, sizeof(code));
	run = run_prepare(FLAGS);
	thunk_call(&run, m + SITE_OFF);
	ck_assert_uint_eq(run.r[X86_RAX], 9);
	ck_assert_uint_eq(run.flags & FLAGS, FLAGS);
	ck_assert_uint_eq(agent_saw.calls, 1);
	munmap(m, ROOM);
}
END_TEST

SUITE_MAIN("thunk_run", all_registers, all_moves, guards, jump_away)
