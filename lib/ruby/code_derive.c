/*
 * The VM's address and the objspace's offset, from exported code and without a table: rb_gc_count
 * and rb_during_gc are a few loads each, variable -> VM -> objspace -> field.
 */
#include "ruby/code_derive.h"

#include "ruby/ruby.h"

#include <string.h>

enum {
	FOLLOW_MAX = 16,     /* instructions; the real ones need 4 to 8 */
	BIT_TEST_MAX = 4,    /* from the read of the flags to the test of their bit */
	DURING_GC_BIT = 5,   /* of the objspace's flags, in 2.7 to 4.0 */
	OFFSET_MAX = 0x4000, /* of a field; the VM and the objspace are smaller */
};

/* What a register holds while we follow a function. */
enum meaning { UNKNOWN, FROM_PC, VAR_ADDR, VM, OBJSPACE };

struct follow {
	const struct text *t;
	const char *symbol;
	struct vm_access *ret;
	uint64_t loaded_from; /* where the FROM_PC register was read */
	uint8_t meaning[ARCH_REGS];
	bool done;
};

static bool is_load(const struct insn *in)
{
	return in->has_mem && in->mem_read && !in->mem_write && !in->seg_fs &&
	       in->index == ARCH_REG_NONE;
}

static bool is_pointer_load(const struct insn *in)
{
	return in->op == OP_MOV && is_load(in) && in->mem_size == 8 && in->dst < ARCH_REGS;
}

static bool offset_is_sane(int64_t disp)
{
	return disp > 0 && disp < OFFSET_MAX;
}

/* Bit 5 of the byte or word just read: `shr $5` with `and $1`, or a mask of 0x20. */
static bool bit_test_follows(const struct text *t, size_t i)
{
	for (size_t end = i + BIT_TEST_MAX; i < end && i < text_count(t); i++) {
		const struct insn *in = text_at(t, i);

		if (in->op == OP_RET)
			return false;
		if (in->has_imm && (in->imm == DURING_GC_BIT || in->imm == 1 << DURING_GC_BIT))
			return true;
	}
	return false;
}

/* A read through a register whose meaning we know: one step down the chain. */
static enum meaning load_meaning(struct follow *f, const struct insn *in, size_t i)
{
	enum meaning base = in->base < ARCH_REGS ? f->meaning[in->base] : UNKNOWN;

	/* Whether a pc-relative load gave the variable or a GOT slot's content shows in how it is
	 * used: nothing of interest lies at offset 0 of the VM. */
	if (base == FROM_PC && in->disp == 0) {
		f->ret->slot = f->loaded_from;
		return VM;
	}
	if (base == VAR_ADDR && in->disp == 0)
		return VM;
	if (base == FROM_PC && offset_is_sane(in->disp))
		f->ret->var = f->loaded_from;
	if ((base == FROM_PC || base == VM) && offset_is_sane(in->disp)) {
		f->ret->vm_objspace = (int32_t)in->disp;
		return OBJSPACE;
	}
	if (base == OBJSPACE && offset_is_sane(in->disp)) {
		f->ret->objspace_field = (int32_t)in->disp;
		f->ret->tests_bit5 = bit_test_follows(f->t, in->op == OP_TEST ? i : i + 1);
		f->done = true;
	}
	return UNKNOWN;
}

static enum meaning insn_meaning(struct follow *f, const struct insn *in, size_t i)
{
	if (in->base == ARCH_REG_PC && in->op == OP_LEA) {
		f->ret->var = (uint64_t)in->disp;
		return VAR_ADDR;
	}
	if (in->base == ARCH_REG_PC && is_pointer_load(in)) {
		f->loaded_from = (uint64_t)in->disp;
		return FROM_PC;
	}
	if (in->op == OP_MOV && !in->has_mem && in->reg_size == 8 && in->src < ARCH_REGS)
		return f->meaning[in->src];
	if (is_load(in))
		return load_meaning(f, in, i);
	return UNKNOWN;
}

static void follow_step(struct follow *f, const struct insn *in, size_t i)
{
	enum meaning m = insn_meaning(f, in, i);

	for (unsigned r = 0; r < ARCH_REGS; r++)
		if (in->regs_written >> r & 1)
			f->meaning[r] = UNKNOWN;
	if (in->dst < ARCH_REGS && in->op != OP_TEST && in->op != OP_CMP)
		f->meaning[in->dst] = (uint8_t)m;
}

/* The functions have no loop and no call before the read; a `test; je` for a null VM (static
 * builds have one) is walked past on its fall-through side. */
static bool follow_goes_on(const struct insn *in)
{
	switch (in->op) {
	case OP_JMP:
	case OP_JMP_IND:
	case OP_CALL:
	case OP_CALL_IND:
	case OP_RET:
	case OP_STOP:
	case OP_BAD:
		return false;
	default:
		return true;
	}
}

static int follow_function(struct follow *f, struct err *e)
{
	struct image_sym sym;

	if (image_sym(text_image(f->t), f->symbol, &sym, e) == -1)
		return err_set(e, ERR_UNSUPPORTED, "%s: not exported by this Ruby", f->symbol);
	size_t i = text_index(f->t, sym.addr, false);

	if (i == SIZE_MAX)
		return err_set(e, ERR_UNSUPPORTED, "%s: not in the image's code", f->symbol);
	for (size_t n = 0; n < FOLLOW_MAX && i < text_count(f->t); n++, i++) {
		const struct insn *in = text_at(f->t, i);

		if (!follow_goes_on(in))
			break;
		follow_step(f, in, i);
		if (f->done)
			return 0;
	}
	return err_set(e, ERR_UNSUPPORTED, "%s: can't follow its loads to the objspace", f->symbol);
}

/*
 * The variable behind a GOT slot. What fills the slot is a relocation against ruby_current_vm_ptr,
 * which an image can't be asked for; so the exported symbol is taken, if it is a pointer variable,
 * the slot is another word of the data, and the file's content of the slot does not contradict.
 * That the pointer leads to a VM is seen in the live process, by ruby_open.
 */
static int slot_variable(const struct image *img, uint64_t slot, uint64_t *var, struct err *e)
{
	struct image_sym sym;
	uint64_t word = 0;
	const void *bytes = image_bytes(img, slot, sizeof(word));

	if (image_sym(img, "ruby_current_vm_ptr", &sym, e) == -1)
		return err_set(e, ERR_UNSUPPORTED,
			       "ruby_current_vm_ptr: not exported by this Ruby");
	if (bytes)
		memcpy(&word, bytes, sizeof(word));
	if (sym.kind != IMAGE_SYM_OBJECT || sym.addr % 8 != 0 || sym.addr == slot)
		return err_set(e, ERR_UNSUPPORTED, "ruby_current_vm_ptr: is no pointer variable");
	if (!bytes || slot % 8 != 0 || (word != 0 && word != sym.addr))
		return err_set(e, ERR_UNSUPPORTED,
			       "ruby_current_vm_ptr: the code does not reach it through the GOT");
	*var = sym.addr;
	return 0;
}

int vm_access_derive(const struct text *t, const char *symbol, struct vm_access *ret, struct err *e)
{
	struct follow f = {.t = t, .symbol = symbol, .ret = ret};

	*ret = (struct vm_access){0};
	if (follow_function(&f, e) == -1)
		return -1;
	if (ret->slot && slot_variable(text_image(t), ret->slot, &ret->var, e) == -1)
		return err_prefix(e, "%s", symbol);
	return 0;
}

static int check_agreement(const struct vm_access *count, const struct vm_access *during,
			   struct err *e)
{
	if (count->var != during->var || count->slot != during->slot)
		return err_set(e, ERR_UNSUPPORTED,
			       "rb_gc_count and rb_during_gc disagree about where the VM is");
	if (count->vm_objspace != during->vm_objspace)
		return err_set(e, ERR_UNSUPPORTED,
			       "rb_gc_count and rb_during_gc disagree about the objspace's offset");
	if (!during->tests_bit5)
		return err_set(e, ERR_UNSUPPORTED,
			       "rb_during_gc: tests no bit of the flags we know");
	return 0;
}

int ruby_code_derive(const struct text *t, struct ruby_code *ret, struct err *e)
{
	struct vm_access count, during;

	if (vm_access_derive(t, "rb_gc_count", &count, e) == -1 ||
	    vm_access_derive(t, "rb_during_gc", &during, e) == -1 ||
	    check_agreement(&count, &during, e) == -1)
		return -1;
	*ret = (struct ruby_code){
	    .vm_ptr = during.var,
	    .vm_objspace = during.vm_objspace,
	    .objspace_flags = during.objspace_field,
	};
	if (image_tls_got(text_image(t), "ruby_current_ec", &ret->ec_tls_got, e) == -1)
		return err_set(e, ERR_UNSUPPORTED,
			       "ruby_current_ec: no thread-local variable of that name");
	return 0;
}
