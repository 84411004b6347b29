/* Moving one instruction to another address. */
#include "x86.h"

#include <string.h>

int x86_rel32(uint64_t end, uint64_t to, int32_t *ret, struct err *e)
{
	int64_t d = (int64_t)(to - end);

	if (d != (int32_t)d)
		return err_set(e, ERR_RANGE, "%#" PRIx64 " is out of reach from %#" PRIx64, to,
			       end);
	*ret = (int32_t)d;
	return 0;
}

static int refuse(const struct insn *in, struct err *e, const char *why)
{
	return err_set(e, ERR_UNSUPPORTED, "the instruction at %#" PRIx64 " can't be moved: %s",
		       in->addr, why);
}

/* The condition in the low four bits, or -1 when it is none of jcc rel8, jcc rel32. */
static int condition_of(const uint8_t *bytes)
{
	if ((bytes[0] & 0xf0) == 0x70)
		return bytes[0] & 0x0f;
	if (bytes[0] == 0x0f && (bytes[1] & 0xf0) == 0x80)
		return bytes[1] & 0x0f;
	return -1;
}

/* jcc becomes 0f 8x rel32 and jmp e9 rel32, whatever they were. With a prefix in front (data16,
 * notrack, bnd) the opcode is not the first byte: CPUs disagree on some of those, refuse. */
static int move_branch(const struct insn *in, const uint8_t *bytes, uint64_t to, uint8_t *buf,
		       size_t size, struct err *e)
{
	int cc = condition_of(bytes);
	uint8_t out[6] = {0x0f, (uint8_t)(0x80 | cc)};
	size_t opcode = 2;
	int32_t rel = 0;

	if (in->op == OP_JMP && (bytes[0] == 0xe9 || bytes[0] == 0xeb)) {
		out[0] = 0xe9;
		opcode = 1;
	} else if (in->op == OP_JMP || cc == -1) {
		return refuse(in, e, "a branch of an unusual form");
	}
	if (opcode + sizeof(rel) > size)
		return err_set(e, ERR_RANGE, "no room for a moved branch");
	if (x86_rel32(to + opcode + sizeof(rel), in->target, &rel, e) == -1)
		return -1;
	memcpy(out + opcode, &rel, sizeof(rel));
	memcpy(buf, out, opcode + sizeof(rel));
	return (int)(opcode + sizeof(rel));
}

/* The moved instruction must mean what the original did: decode it again and compare. */
static bool same_meaning(void *decoder, const struct insn *was, const uint8_t *buf, uint64_t to)
{
	struct insn now;

	x86_decode(decoder, buf, was->len, to, &now);
	return now.len == was->len && now.op == was->op && now.base == was->base &&
	       now.disp == was->disp && now.imm == was->imm && now.dst == was->dst &&
	       now.src == was->src && now.vreg == was->vreg && now.mem_size == was->mem_size &&
	       now.regs_read == was->regs_read && now.regs_written == was->regs_written;
}

static int move_pc_relative(void *decoder, const struct insn *in, uint64_t to, uint8_t *buf,
			    struct err *e)
{
	size_t at = x86_disp_offset(decoder);
	int32_t rel = 0;

	if (at == 0 || at + sizeof(rel) > in->len)
		return refuse(in, e, "its displacement was not found");
	/* The prefix would cut the address to 32 bits. (0x67 can be an opcode as well: one that no
	 * site has.) */
	if (memchr(buf, 0x67, at) != NULL)
		return refuse(in, e, "an address of 32 bits");
	if (x86_rel32(to + in->len, (uint64_t)in->disp, &rel, e) == -1)
		return -1;
	memcpy(buf + at, &rel, sizeof(rel));
	if (!same_meaning(decoder, in, buf, to))
		return refuse(in, e, "the moved one would mean something else");
	return 0;
}

/* Instructions that enter the kernel could leave a thread asleep inside the thunk. */
static bool enters_kernel(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0xcd || (len >= 2 && bytes[0] == 0x0f && bytes[1] == 0x05) ||
	       (len >= 2 && bytes[0] == 0x0f && bytes[1] == 0x34);
}

int x86_relocate(void *decoder, const uint8_t *bytes, size_t len, uint64_t from, uint64_t to,
		 uint8_t *buf, size_t size, struct insn *insn, struct err *e)
{
	x86_decode(decoder, bytes, len, from, insn);
	switch (insn->op) {
	case OP_BAD:
	case OP_STOP:
		return refuse(insn, e, "not an instruction that goes on");
	case OP_CALL:
	case OP_CALL_IND:
		return refuse(insn, e, "a call would return into the thunk");
	case OP_RET:
	case OP_JMP_IND:
		return refuse(insn, e, "an indirect branch");
	case OP_JCC:
	case OP_JMP:
		return move_branch(insn, bytes, to, buf, size, e);
	default:
		break;
	}
	if (enters_kernel(bytes, insn->len))
		return refuse(insn, e, "a system call");
	if (insn->len > size)
		return err_set(e, ERR_RANGE, "no room for a moved instruction");
	memcpy(buf, bytes, insn->len);
	if (insn->base == ARCH_REG_PC && move_pc_relative(decoder, insn, to, buf, e) == -1)
		return -1;
	return insn->len;
}
