/*
 * Machine code to struct insn. The only file that knows capstone.
 *
 * Capstone 4's operand access and flag tables are wrong in places (stores through movups marked as
 * reads, test marked as writing its operand, cmplesd said to change the flags, cmpxchg silent about
 * rax). So capstone gives lengths, operands and implicit registers; who is written and what happens
 * to the flags is decided here, by instruction, and always to the side that makes a finder refuse:
 * an unknown instruction may read the flags it is listed for, but never counts as rewriting them.
 */
#include "x86.h"

#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct decoder {
	csh handle;
	cs_insn *insn; /* scratch, reused; holds the instruction decoded last */
};

/* -- registers ------------------------------------------------------------------------------- */

#define GPR(n, r64, r32, r16, r8)                                                                  \
	[X86_REG_##r64] = (n) + 1, [X86_REG_##r32] = (n) + 1, [X86_REG_##r16] = (n) + 1,           \
	[X86_REG_##r8] = (n) + 1

/* Number + 1 of the general register that a capstone register is part of; 0: none. */
static const uint8_t gpr_table[X86_REG_ENDING] = {
	GPR(X86_RAX, RAX, EAX, AX, AL),
	GPR(X86_RCX, RCX, ECX, CX, CL),
	GPR(X86_RDX, RDX, EDX, DX, DL),
	GPR(X86_RBX, RBX, EBX, BX, BL),
	GPR(X86_RSP, RSP, ESP, SP, SPL),
	GPR(X86_RBP, RBP, EBP, BP, BPL),
	GPR(X86_RSI, RSI, ESI, SI, SIL),
	GPR(X86_RDI, RDI, EDI, DI, DIL),
	GPR(X86_R8, R8, R8D, R8W, R8B),
	GPR(X86_R9, R9, R9D, R9W, R9B),
	GPR(X86_R10, R10, R10D, R10W, R10B),
	GPR(X86_R11, R11, R11D, R11W, R11B),
	GPR(X86_R12, R12, R12D, R12W, R12B),
	GPR(X86_R13, R13, R13D, R13W, R13B),
	GPR(X86_R14, R14, R14D, R14W, R14B),
	GPR(X86_R15, R15, R15D, R15W, R15B),
	[X86_REG_AH] = X86_RAX + 1,
	[X86_REG_CH] = X86_RCX + 1,
	[X86_REG_DH] = X86_RDX + 1,
	[X86_REG_BH] = X86_RBX + 1,
};

static uint8_t gpr(unsigned reg)
{
	if (reg >= X86_REG_ENDING || gpr_table[reg] == 0)
		return ARCH_REG_NONE;
	return (uint8_t)(gpr_table[reg] - 1);
}

static uint16_t gpr_bit(uint8_t reg)
{
	return (uint16_t)(reg < ARCH_REGS ? X86_BIT(reg) : 0);
}

static uint8_t vector_number(unsigned reg)
{
	if (reg >= X86_REG_XMM0 && reg <= X86_REG_XMM31)
		return (uint8_t)(reg - X86_REG_XMM0);
	if (reg >= X86_REG_YMM0 && reg <= X86_REG_YMM31)
		return (uint8_t)(reg - X86_REG_YMM0);
	if (reg >= X86_REG_ZMM0 && reg <= X86_REG_ZMM31)
		return (uint8_t)(reg - X86_REG_ZMM0);
	return ARCH_REG_NONE;
}

/* -- kinds ----------------------------------------------------------------------------------- */

/* A load, store or copy that concerns general registers only: not mov to segment or control
 * registers. */
static bool is_plain_mov(const cs_x86 *x)
{
	for (unsigned i = 0; i < x->op_count; i++)
		if (x->operands[i].type == X86_OP_REG &&
		    gpr(x->operands[i].reg) == ARCH_REG_NONE)
			return false;
	return true;
}

static bool is_vector_mov16(const cs_x86 *x)
{
	for (unsigned i = 0; i < x->op_count; i++)
		if (x->operands[i].type == X86_OP_MEM)
			return x->operands[i].size == 16;
	return false;
}

static bool is_direct(const cs_x86 *x)
{
	return x->op_count == 1 && x->operands[0].type == X86_OP_IMM;
}

static bool in_group(const cs_insn *in, uint8_t group)
{
	return memchr(in->detail->groups, group, in->detail->groups_count) != NULL;
}

static enum insn_op op_of(const cs_insn *in)
{
	const cs_x86 *x = &in->detail->x86;

	switch (in->id) {
	case X86_INS_MOV:
	case X86_INS_MOVABS:
		return is_plain_mov(x) ? OP_MOV : OP_OTHER;
	case X86_INS_MOVUPS:
	case X86_INS_MOVAPS:
	case X86_INS_MOVUPD:
	case X86_INS_MOVAPD:
	case X86_INS_MOVDQU:
	case X86_INS_MOVDQA:
	case X86_INS_MOVNTPS:
	case X86_INS_MOVNTPD:
	case X86_INS_MOVNTDQ:
	case X86_INS_LDDQU:
	case X86_INS_VMOVUPS:
	case X86_INS_VMOVAPS:
	case X86_INS_VMOVUPD:
	case X86_INS_VMOVAPD:
	case X86_INS_VMOVDQU:
	case X86_INS_VMOVDQA:
	case X86_INS_VMOVNTPS:
	case X86_INS_VMOVNTPD:
	case X86_INS_VMOVNTDQ:
	case X86_INS_VLDDQU:
		return is_vector_mov16(x) ? OP_MOVV : OP_OTHER;
	case X86_INS_LEA:
		return OP_LEA;
	case X86_INS_ADD:
	case X86_INS_INC:
		return OP_ADD;
	case X86_INS_TEST:
		return OP_TEST;
	case X86_INS_CMP:
		return OP_CMP;
	case X86_INS_JMP:
		return is_direct(x) ? OP_JMP : OP_JMP_IND;
	case X86_INS_LJMP:
		return OP_JMP_IND;
	case X86_INS_CALL:
		return is_direct(x) ? OP_CALL : OP_CALL_IND;
	case X86_INS_LCALL:
		return OP_CALL_IND;
	case X86_INS_RET:
	case X86_INS_RETF:
	case X86_INS_RETFQ:
	case X86_INS_IRET:
	case X86_INS_IRETD:
	case X86_INS_IRETQ:
	case X86_INS_SYSRET:
	case X86_INS_SYSEXIT:
		return OP_RET;
	case X86_INS_PUSH:
		return OP_PUSH;
	case X86_INS_POP:
		return OP_POP;
	case X86_INS_NOP:
	case X86_INS_ENDBR32:
	case X86_INS_ENDBR64:
		return OP_NOP;
	case X86_INS_HLT:
	case X86_INS_UD0:
	case X86_INS_UD2:
	case X86_INS_UD2B:
	case X86_INS_INT3:
		return OP_STOP;
	case X86_INS_LOOP:
	case X86_INS_LOOPE:
	case X86_INS_LOOPNE:
	case X86_INS_XBEGIN:
		return OP_JCC;
	default:
		return in_group(in, X86_GRP_JUMP) && is_direct(x) ? OP_JCC : OP_OTHER;
	}
}

/* -- flags ----------------------------------------------------------------------------------- */

/* Shifts leave the flags alone when the count is zero. */
static bool shifts_surely(const cs_x86 *x)
{
	const cs_x86_op *last = &x->operands[x->op_count - 1];
	uint64_t mask = x->operands[0].size == 8 ? 63 : 31;

	return x->op_count > 1 && last->type == X86_OP_IMM && ((uint64_t)last->imm & mask) != 0;
}

/* True if no flag that a jcc can test keeps its old value. inc, dec, bt and rotates leave some
 * alone; so do, on real CPUs, mul and others whose flags the manual calls undefined. */
static bool writes_all_flags(const cs_insn *in)
{
	switch (in->id) {
	case X86_INS_ADD:
	case X86_INS_ADC:
	case X86_INS_SUB:
	case X86_INS_SBB:
	case X86_INS_AND:
	case X86_INS_OR:
	case X86_INS_XOR:
	case X86_INS_CMP:
	case X86_INS_TEST:
	case X86_INS_NEG:
	case X86_INS_XADD:
	case X86_INS_CMPXCHG:
	case X86_INS_POPCNT:
	case X86_INS_LZCNT:
	case X86_INS_TZCNT:
	case X86_INS_ANDN:
	case X86_INS_COMISS:
	case X86_INS_COMISD:
	case X86_INS_UCOMISS:
	case X86_INS_UCOMISD:
	case X86_INS_VCOMISS:
	case X86_INS_VCOMISD:
	case X86_INS_VUCOMISS:
	case X86_INS_VUCOMISD:
	case X86_INS_PTEST:
	case X86_INS_VPTEST:
	case X86_INS_POPFQ:
	/* Across a call nobody keeps flags (AMD64 psABI, 3.2.1). */
	case X86_INS_CALL:
	case X86_INS_LCALL:
		return true;
	case X86_INS_SHL:
	case X86_INS_SAL:
	case X86_INS_SHR:
	case X86_INS_SAR:
	case X86_INS_SHLD:
	case X86_INS_SHRD:
		return shifts_surely(&in->detail->x86);
	default:
		return false;
	}
}

static bool reads_flags(const cs_insn *in)
{
	const uint64_t tests = X86_EFLAGS_TEST_OF | X86_EFLAGS_TEST_SF | X86_EFLAGS_TEST_ZF |
			       X86_EFLAGS_TEST_PF | X86_EFLAGS_TEST_CF | X86_EFLAGS_TEST_AF;
	const cs_detail *d = in->detail;

	switch (in->id) {
	case X86_INS_RCL:
	case X86_INS_RCR:
	case X86_INS_CMC:
	case X86_INS_SYSCALL: /* keeps them in r11 */
	case X86_INS_INT:
	case X86_INS_ADCX:
	case X86_INS_ADOX:
		return true;
	default:
		break;
	}
	if (!in_group(in, X86_GRP_FPU) && (d->x86.eflags & tests) != 0)
		return true;
	for (unsigned i = 0; i < d->regs_read_count; i++)
		/* String instructions read the direction flag only. */
		if (d->regs_read[i] == X86_REG_EFLAGS && d->x86.eflags != X86_EFLAGS_TEST_DF)
			return true;
	return false;
}

/* -- operands -------------------------------------------------------------------------------- */

/* Instructions whose first operand is only read. */
static bool reads_only(const cs_insn *in)
{
	switch (in->id) {
	case X86_INS_CMP:
	case X86_INS_TEST:
	case X86_INS_BT:
	case X86_INS_PUSH:
	case X86_INS_CALL:
	case X86_INS_JMP:
	case X86_INS_LCALL:
	case X86_INS_LJMP:
	case X86_INS_MUL:
	case X86_INS_DIV:
	case X86_INS_IDIV:
	case X86_INS_NOP:
	case X86_INS_PREFETCH:
	case X86_INS_PREFETCHW:
	case X86_INS_PREFETCHNTA:
	case X86_INS_PREFETCHT0:
	case X86_INS_PREFETCHT1:
	case X86_INS_PREFETCHT2:
	case X86_INS_CLFLUSH:
	case X86_INS_CLFLUSHOPT:
	case X86_INS_CLWB:
	case X86_INS_LDMXCSR:
	case X86_INS_VLDMXCSR:
	case X86_INS_FXRSTOR:
	case X86_INS_FXRSTOR64:
	case X86_INS_XRSTOR:
	case X86_INS_XRSTOR64:
	case X86_INS_CMPSB:
	case X86_INS_CMPSW:
	case X86_INS_CMPSQ:
	case X86_INS_SCASB:
	case X86_INS_SCASW:
	case X86_INS_SCASD:
	case X86_INS_SCASQ:
	case X86_INS_WRFSBASE:
	case X86_INS_WRGSBASE:
	case X86_INS_FLDCW:
	case X86_INS_FLDENV:
	case X86_INS_FRSTOR:
		return true;
	case X86_INS_IMUL:
		return in->detail->x86.op_count == 1;
	case X86_INS_CMPSD: /* the string instruction has the name of the vector one */
		return in->detail->x86.operands[0].type == X86_OP_MEM;
	case X86_INS_FST:
	case X86_INS_FSTP:
	case X86_INS_FIST:
	case X86_INS_FISTP:
	case X86_INS_FISTTP:
	case X86_INS_FBSTP:
		return false;
	default:
		return in_group(in, X86_GRP_FPU);
	}
}

static bool touches_memory(const cs_insn *in)
{
	switch (in->id) {
	case X86_INS_LEA:
	case X86_INS_NOP:
	case X86_INS_PREFETCH:
	case X86_INS_PREFETCHW:
	case X86_INS_PREFETCHNTA:
	case X86_INS_PREFETCHT0:
	case X86_INS_PREFETCHT1:
	case X86_INS_PREFETCHT2:
	case X86_INS_CLFLUSH:
	case X86_INS_CLFLUSHOPT:
	case X86_INS_CLWB:
		return false;
	default:
		return true;
	}
}

/* The first operand is written unless listed; of the others only those capstone says are
 * (the second of xchg and xadd, the high half of mulx). */
static bool is_written(const cs_insn *in, unsigned i)
{
	if (i == 0)
		return !reads_only(in);
	return (in->detail->x86.operands[i].access & CS_AC_WRITE) != 0;
}

static bool is_read(const cs_insn *in, unsigned i)
{
	if (i == 0 && (in->id == X86_INS_CMPXCHG || in->id == X86_INS_CMPXCHG8B ||
		       in->id == X86_INS_CMPXCHG16B))
		return true;
	if (i == 0 && in->detail->x86.operands[i].type == X86_OP_MEM && is_written(in, i))
		/* A pure store is marked as a read in many vector instructions: only
		 * read-modify-write ones have both. */
		return in->detail->x86.operands[i].access == (CS_AC_READ | CS_AC_WRITE);
	return (in->detail->x86.operands[i].access & CS_AC_READ) != 0 || reads_only(in);
}

static void fill_mem(const cs_insn *in, unsigned i, struct insn *ret)
{
	const cs_x86_op *op = &in->detail->x86.operands[i];
	bool touches = touches_memory(in);

	ret->has_mem = 1;
	ret->base = gpr(op->mem.base);
	ret->index = gpr(op->mem.index);
	ret->scale = (uint8_t)op->mem.scale;
	ret->disp = op->mem.disp;
	ret->seg_fs = op->mem.segment == X86_REG_FS || op->mem.segment == X86_REG_GS;
	if (op->mem.base == X86_REG_RIP || op->mem.base == X86_REG_EIP) {
		ret->base = ARCH_REG_PC;
		ret->disp = (int64_t)(ret->addr + ret->len + (uint64_t)op->mem.disp);
	}
	ret->mem_size = touches ? op->size : 0;
	ret->mem_write |= touches && is_written(in, i);
	ret->mem_read |= touches && is_read(in, i);
	ret->regs_read |= gpr_bit(ret->base) | gpr_bit(ret->index);
}

static void fill_reg(const cs_insn *in, unsigned i, struct insn *ret)
{
	const cs_x86_op *op = &in->detail->x86.operands[i];
	uint8_t reg = gpr(op->reg);
	bool written = is_written(in, i), read = is_read(in, i);

	if (reg == ARCH_REG_NONE) {
		if (ret->vreg == ARCH_REG_NONE)
			ret->vreg = vector_number(op->reg);
		return;
	}
	if (ret->reg_size == 0)
		ret->reg_size = op->size;
	if (written)
		ret->regs_written |= gpr_bit(reg);
	if (read)
		ret->regs_read |= gpr_bit(reg);
	if (written && ret->dst == ARCH_REG_NONE)
		ret->dst = reg;
	else if (read)
		ret->src = reg;
}

/* Capstone extends some immediates by sign and some by zero: make it always the sign, from the
 * size of the operand. */
static void fill_imm(const cs_x86_op *op, struct insn *ret)
{
	unsigned shift = op->size >= 8 || op->size == 0 ? 0 : 64 - 8u * op->size;

	ret->has_imm = 1;
	ret->imm = (int64_t)((uint64_t)op->imm << shift) >> shift;
}

static void fill_implicit(const cs_insn *in, struct insn *ret)
{
	const cs_detail *d = in->detail;

	for (unsigned i = 0; i < d->regs_read_count; i++)
		ret->regs_read |= gpr_bit(gpr(d->regs_read[i]));
	for (unsigned i = 0; i < d->regs_write_count; i++)
		ret->regs_written |= gpr_bit(gpr(d->regs_write[i]));
}

/* What capstone's lists of implicit registers lack, or have too much. */
static void fix_implicit(const cs_insn *in, struct insn *ret)
{
	switch (in->id) {
	case X86_INS_CALL:
	case X86_INS_LCALL:
		/* rsp is back where it was when the instruction after it runs. */
		ret->regs_written = X86_CALLER_SAVED;
		break;
	case X86_INS_CMPXCHG:
		ret->regs_written |= X86_BIT(X86_RAX);
		break;
	case X86_INS_CWD:
	case X86_INS_CDQ:
	case X86_INS_CQO:
		ret->regs_written = X86_BIT(X86_RDX);
		break;
	case X86_INS_ENTER:
		ret->regs_read |= X86_BIT(X86_RSP) | X86_BIT(X86_RBP);
		ret->regs_written |= X86_BIT(X86_RSP) | X86_BIT(X86_RBP);
		break;
	case X86_INS_XLATB:
		ret->regs_read |= X86_BIT(X86_RAX) | X86_BIT(X86_RBX);
		ret->regs_written |= X86_BIT(X86_RAX);
		break;
	case X86_INS_SYSCALL:
	case X86_INS_INT:
		ret->regs_read |= X86_CALLER_SAVED & ~(X86_BIT(X86_RCX) | X86_BIT(X86_R11));
		ret->regs_written |= X86_BIT(X86_RAX) | X86_BIT(X86_RCX) | X86_BIT(X86_R11);
		break;
	default:
		break;
	}
}

static void fill_operands(const cs_insn *in, struct insn *ret)
{
	const cs_x86 *x = &in->detail->x86;

	if (ret->op == OP_NOP)
		return;
	if (ret->op == OP_JCC || ret->op == OP_JMP || ret->op == OP_CALL) {
		ret->target = (uint64_t)x->operands[0].imm;
		return;
	}
	for (unsigned i = 0; i < x->op_count; i++) {
		if (x->operands[i].type == X86_OP_MEM)
			fill_mem(in, i, ret);
		else if (x->operands[i].type == X86_OP_REG)
			fill_reg(in, i, ret);
		else if (x->operands[i].type == X86_OP_IMM)
			fill_imm(&x->operands[i], ret);
	}
	if (in->id == X86_INS_INC) {
		ret->has_imm = 1;
		ret->imm = 1;
	}
}

/* -- the seam -------------------------------------------------------------------------------- */

void *x86_decoder_create(void)
{
	struct decoder *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &d->handle) != CS_ERR_OK) {
		free(d);
		return NULL;
	}
	if (cs_option(d->handle, CS_OPT_DETAIL, CS_OPT_ON) == CS_ERR_OK)
		d->insn = cs_malloc(d->handle);
	if (d->insn == NULL) {
		cs_close(&d->handle);
		free(d);
		return NULL;
	}
	return d;
}

void x86_decoder_destroy(void *decoder)
{
	struct decoder *d = decoder;

	if (d == NULL)
		return;
	cs_free(d->insn, 1);
	cs_close(&d->handle);
	free(d);
}

void x86_decode(void *decoder, const uint8_t *bytes, size_t len, uint64_t addr, struct insn *ret)
{
	struct decoder *d = decoder;
	uint64_t next = addr;

	*ret = (struct insn){
		.addr = addr,
		.len = 1,
		.op = OP_BAD,
		.base = ARCH_REG_NONE,
		.index = ARCH_REG_NONE,
		.dst = ARCH_REG_NONE,
		.src = ARCH_REG_NONE,
		.vreg = ARCH_REG_NONE,
	};
	if (!cs_disasm_iter(d->handle, &bytes, &len, &next, d->insn))
		return;
	ret->len = (uint8_t)d->insn->size;
	ret->op = (uint8_t)op_of(d->insn);
	fill_operands(d->insn, ret);
	fill_implicit(d->insn, ret);
	fix_implicit(d->insn, ret);
	ret->flags_read = reads_flags(d->insn);
	ret->flags_written = writes_all_flags(d->insn);
}

void x86_disasm(void *decoder, const uint8_t *bytes, size_t len, uint64_t addr, char *buf,
		size_t size)
{
	struct decoder *d = decoder;

	if (!cs_disasm_iter(d->handle, &bytes, &len, &addr, d->insn))
		snprintf(buf, size, "(bad)");
	else
		snprintf(buf, size, "%s%s%s", d->insn->mnemonic, d->insn->op_str[0] ? " " : "",
			 d->insn->op_str);
}

size_t x86_disp_offset(const void *decoder)
{
	const struct decoder *d = decoder;

	return d->insn->detail->x86.encoding.disp_offset;
}
