#include "ruby/ruby.h"

/*
 * How glibc lays out thread-local storage (sysdeps/x86_64/nptl/tls.h, elf/dl-tls.c): the thread
 * base points to itself, then comes the vector of blocks. Entry -1 of the vector has its length,
 * entry 0 a generation, entry N the block of module N:
 *
 *   base:    self | dtv | ...
 *   dtv[n]:  block | what to free: not 0 when the block was made for a dlopen()ed module
 */
enum { TCB_DTV = 8, DTV_ENTRY = 16, DTV_TO_FREE = 8 };
enum { STATIC_TLS_CAP = 16 << 20 }; /* bytes below the base where static blocks can be */

static int tls_block(const struct mem *m, raddr_t tls_base, uint64_t module, raddr_t *ret,
		     struct err *e)
{
	raddr_t self, dtv, to_free;
	uint64_t length;

	if (mem_u64(m, tls_base, &self, e) == -1 || mem_u64(m, tls_base + TCB_DTV, &dtv, e) == -1 ||
	    mem_u64(m, dtv - DTV_ENTRY, &length, e) == -1)
		return -1;
	if (self != tls_base || module == 0 || module > length)
		return err_set(e, ERR_UNSUPPORTED, "thread storage is not laid out as glibc does");
	if (mem_u64(m, dtv + DTV_ENTRY * module, ret, e) == -1 ||
	    mem_u64(m, dtv + DTV_ENTRY * module + DTV_TO_FREE, &to_free, e) == -1)
		return -1;
	if (to_free != 0 || *ret >= tls_base || *ret < tls_base - STATIC_TLS_CAP)
		return err_set(e, ERR_UNSUPPORTED,
			       "libruby was loaded after the program had started");
	return 0;
}

int ruby_tls_offset(const struct mem *m, uint64_t bias, const struct ruby_code *code,
		    raddr_t tls_base, int64_t *ret, struct err *e)
{
	raddr_t block, ec;
	uint64_t module, offset, probe;

	if (mem_u64(m, code->ec_tls_got + bias, &module, e) == -1 ||
	    mem_u64(m, code->ec_tls_got + bias + 8, &offset, e) == -1 ||
	    tls_block(m, tls_base, module, &block, e) == -1)
		goto fail;
	if (offset >= tls_base - block) {
		err_set(e, ERR_UNSUPPORTED, "offset %" PRIRA " is outside of its block", offset);
		goto fail;
	}
	if (mem_u64(m, block + offset, &ec, e) == -1)
		goto fail;
	if (ec == 0) {
		err_set(e, ERR_UNSUPPORTED, "this thread runs no Ruby");
		goto fail;
	}
	if (mem_u64(m, ec, &probe, e) == -1)
		goto fail;
	*ret = (int64_t)(block + offset - tls_base);
	return 0;
fail:
	if (e->code != ERR_GONE && e->code != ERR_PERM)
		e->code = ERR_UNSUPPORTED;
	return err_prefix(e, "current execution context");
}

bool ruby_thread_has_ec(const struct ruby *rb, raddr_t tls_base)
{
	const struct mp_ruby *a = &rb->lay->agent;
	raddr_t ec, stack, cfp;
	uint64_t words;
	struct err ignored;

	if (mem_u64(rb->mem, tls_base + (uint64_t)rb->ec_tls, &ec, &ignored) == -1 || ec == 0 ||
	    mem_u64(rb->mem, ec + a->ec_vm_stack, &stack, &ignored) == -1 ||
	    mem_u64(rb->mem, ec + a->ec_vm_stack_size, &words, &ignored) == -1 ||
	    mem_u64(rb->mem, ec + a->ec_cfp, &cfp, &ignored) == -1)
		return false;
	return stack != 0 && words < UINT32_MAX && cfp >= stack && cfp < stack + 8 * words;
}
