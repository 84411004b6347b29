/*
 * The bytes we put into the tracee: the jump over a window, and the thunk it leads to.
 *
 *	site:	jmp thunk; nop...		was: displaced instructions
 *	end:	...				not touched
 *
 *	thunk:	[displaced instructions]	hook_after: they run first
 *		lea -128(%rsp), %rsp		a leaf may keep data below rsp: psABI 3.2.2, red zone
 *		push %rdi; push %rsi		all that entry changes besides the flags
 *		mov OBJ, %rdi; [mov DST, %rsi]
 *		[push %rax; lahf; seto %al; push %rax]		flags_live
 *		call entry
 *		[pop %rax; add $0x7f, %al; sahf; pop %rax]	al = 1 overflows again
 *		pop %rsi; pop %rdi
 *		lea 128(%rsp), %rsp
 *		[test to run again][displaced instructions]
 *		jmp end
 *
 * lea, mov, push and pop leave the flags alone; lahf and sahf cost a tenth of pushf and popf.
 */
#include "code/site.h"
#include "x86.h"

#include <string.h>

/* A buffer being filled; once it is full, or a displacement does not fit, err is set and all later
 * calls do nothing. */
struct out {
	uint8_t *buf;
	size_t n, size;
	uint64_t at; /* where buf[0] will lie */
	bool failed;
	struct err *e;
};

static void put(struct out *o, const void *bytes, size_t n)
{
	if (o->failed)
		return;
	if (n > o->size - o->n) {
		err_set(o->e, ERR_RANGE, "no room for a thunk: %zu bytes", o->size);
		o->failed = true;
		return;
	}
	memcpy(o->buf + o->n, bytes, n);
	o->n += n;
}

#define PUT(o, ...) put((o), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* call or jmp, by opcode */
static void put_branch(struct out *o, uint8_t opcode, uint64_t to)
{
	uint8_t insn[X86_JUMP] = {opcode};
	int32_t rel = 0;

	if (o->failed)
		return;
	if (x86_rel32(o->at + o->n + X86_JUMP, to, &rel, o->e) == -1)
		o->failed = true;
	memcpy(insn + 1, &rel, sizeof(rel));
	put(o, insn, sizeof(insn));
}

/* mov %src, %dst, both 64 bit */
static void put_mov(struct out *o, uint8_t dst, uint8_t src)
{
	if (dst != src)
		PUT(o, (uint8_t)(0x48 | src >> 3 << 2 | dst >> 3), 0x89,
		    (uint8_t)(0xc0 | (src & 7) << 3 | (dst & 7)));
}

/* Object to rdi, and a move's destination to rsi; either may lie in the other's place. */
static void put_arguments(struct out *o, const struct site *s)
{
	if (s->event != SITE_MOVE) {
		put_mov(o, X86_RDI, s->obj);
	} else if (s->dst != X86_RDI) {
		put_mov(o, X86_RDI, s->obj);
		put_mov(o, X86_RSI, s->dst);
	} else if (s->obj != X86_RSI) {
		put_mov(o, X86_RSI, s->dst);
		put_mov(o, X86_RDI, s->obj);
	} else {
		PUT(o, 0x48, 0x87, 0xf7); /* xchg %rsi, %rdi */
	}
}

static void put_hook(struct out *o, const struct site *s, raddr_t entry)
{
	PUT(o, 0x48, 0x8d, 0x64, 0x24, 0x80); /* lea -128(%rsp), %rsp */
	PUT(o, 0x57, 0x56);		      /* push %rdi; push %rsi */
	put_arguments(o, s);
	if (s->flags_live)
		PUT(o, 0x50, 0x9f, 0x0f, 0x90, 0xc0, 0x50); /* push; lahf; seto %al; push */
	put_branch(o, 0xe8, entry);
	if (s->flags_live)
		PUT(o, 0x58, 0x04, 0x7f, 0x9e, 0x58); /* pop; add $0x7f, %al; sahf; pop */
	PUT(o, 0x5e, 0x5f);			       /* pop %rsi; pop %rdi */
	PUT(o, 0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0); /* lea 128(%rsp), %rsp */
}

/* One instruction of the site, moved. Returns its length at the site, or -1. */
static int put_moved(struct out *o, void *decoder, const uint8_t *bytes, size_t len, uint64_t from,
		     struct insn *insn)
{
	uint8_t moved[X86_INSN_MAX + 1];
	int n = x86_relocate(decoder, bytes, len, from, o->at + o->n, moved, sizeof(moved), insn,
			     o->e);

	if (n == -1)
		return -1;
	put(o, moved, (size_t)n);
	return o->failed ? -1 : insn->len;
}

/* The test whose flags the window reads, run once more because the hook has changed them. */
static int put_redo(struct out *o, void *decoder, const struct site *s, raddr_t site_addr,
		    const uint8_t *redo)
{
	struct insn in;
	int n = put_moved(o, decoder, redo, s->redo_len, site_addr - s->redo_len, &in);

	if (n == -1)
		return -1;
	if (n != s->redo_len || (in.op != OP_TEST && in.op != OP_CMP))
		return err_set(o->e, ERR_UNSUPPORTED,
			       "before %#" PRIx64 " lies no single test that could be run again",
			       s->addr);
	return 0;
}

/* Without saved flags and before any test of its own, the window finds the hook's flags. */
static bool finds_lost_flags(const struct site *s, const struct insn *in, bool *own_flags)
{
	bool lost = in->flags_read && !*own_flags && !s->flags_live && !s->hook_after &&
		    s->redo_len == 0;

	*own_flags |= in->flags_written;
	return lost;
}

/* *goes_on: false if the last one was an unconditional jump. */
static int put_displaced(struct out *o, void *decoder, const struct site *s, raddr_t site_addr,
			 bool *goes_on)
{
	struct insn in = {.op = OP_NOP};
	bool own_flags = false;
	uint8_t ninsn = 0;

	for (size_t off = 0; off < s->len; ninsn++) {
		if (in.op == OP_JCC || in.op == OP_JMP)
			return err_set(o->e, ERR_UNSUPPORTED,
				       "the window at %#" PRIx64 " has a branch in its middle",
				       s->addr);
		int n = put_moved(o, decoder, s->old + off, s->len - off, site_addr + off, &in);
		if (n == -1)
			return -1;
		if (finds_lost_flags(s, &in, &own_flags))
			return err_set(o->e, ERR_UNSUPPORTED,
				       "the window at %#" PRIx64 " needs flags nobody saves",
				       s->addr);
		off += (size_t)n;
	}
	if (ninsn != s->ninsn)
		return err_set(o->e, ERR_UNSUPPORTED,
			       "the window at %#" PRIx64 " holds %u instructions, not %u", s->addr,
			       ninsn, s->ninsn);
	if (s->hook_after && (in.op == OP_JCC || in.op == OP_JMP))
		return err_set(o->e, ERR_UNSUPPORTED,
			       "the window at %#" PRIx64 " branches away before its hook", s->addr);
	*goes_on = in.op != OP_JMP;
	return 0;
}

static int put_thunk(struct out *o, void *decoder, const struct site *s, raddr_t site_addr,
		     const uint8_t *redo, raddr_t entry)
{
	bool goes_on = true;

	if (s->hook_after && put_displaced(o, decoder, s, site_addr, &goes_on) == -1)
		return -1;
	put_hook(o, s, entry);
	if (s->redo_len != 0 && put_redo(o, decoder, s, site_addr, redo) == -1)
		return -1;
	if (!s->hook_after && put_displaced(o, decoder, s, site_addr, &goes_on) == -1)
		return -1;
	if (goes_on)
		put_branch(o, 0xe9, site_addr + s->len);
	return o->failed ? -1 : (int)o->n;
}

static int site_check(const struct site *s, const uint8_t *redo, struct err *e)
{
	const char *why = NULL;

	if (s->len > SITE_WINDOW_MAX)
		why = "its window is too long";
	else if (s->obj >= ARCH_REGS || s->obj == X86_RSP)
		why = "no register holds the object";
	else if (s->event == SITE_MOVE && (s->dst >= ARCH_REGS || s->dst == X86_RSP))
		why = "no register holds the object's new place";
	else if (s->redo_len != 0 && (redo == NULL || s->redo_len > X86_INSN_MAX))
		why = "the test to run again is missing";
	else if (s->redo_len != 0 && s->hook_after)
		why = "a test can't be run again after its jump";
	if (why != NULL)
		return err_set(e, ERR_UNSUPPORTED, "site %#" PRIx64 ": %s", s->addr, why);
	return 0;
}

int x86_emit_thunk(const struct site *s, raddr_t site_addr, const uint8_t *redo, raddr_t at,
		   raddr_t entry, uint8_t *buf, size_t size, struct err *e)
{
	struct out o = {.buf = buf, .size = size, .at = at, .e = e};
	void *decoder;
	int ret;

	if (site_check(s, redo, e) == -1)
		return -1;
	decoder = x86_decoder_create();
	if (decoder == NULL)
		return err_set(e, ERR_NOMEM, "no decoder: out of memory");
	ret = put_thunk(&o, decoder, s, site_addr, redo, entry);
	x86_decoder_destroy(decoder);
	return ret;
}

int x86_emit_jump(uint64_t from, uint64_t to, uint8_t *buf, size_t len, struct err *e)
{
	/* Source: Intel SDM 2B, NOP, "Recommended Multi-Byte Sequence". */
	static const uint8_t nops[][9] = {
		{0x90},
		{0x66, 0x90},
		{0x0f, 0x1f, 0x00},
		{0x0f, 0x1f, 0x40},
		{0x0f, 0x1f, 0x44},
		{0x66, 0x0f, 0x1f, 0x44},
		{0x0f, 0x1f, 0x80},
		{0x0f, 0x1f, 0x84},
		{0x66, 0x0f, 0x1f, 0x84},
	};
	struct out o = {.buf = buf, .size = len, .at = from, .e = e};

	put_branch(&o, 0xe9, to);
	while (!o.failed && o.n < len) {
		size_t n = len - o.n < sizeof(nops[0]) ? len - o.n : sizeof(nops[0]);
		put(&o, nops[n - 1], n);
	}
	return o.failed ? -1 : 0;
}
