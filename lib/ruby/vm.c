#include "ruby/ruby.h"

#include "ruby/klass.h"

#include <string.h>

/* The value of an exported VALUE such as rb_cObject. */
static int constant_value(const struct mem *m, const struct image *img, uint64_t bias,
			  const char *name, raddr_t *ret, struct err *e)
{
	struct image_sym sym;
	if (image_sym(img, name, &sym, e) == -1)
		return -1;
	return mem_u64(m, sym.addr + bias, ret, e);
}

static int constants_read(const struct image *img, uint64_t bias, struct ruby *rb, struct err *e)
{
	const struct {
		const char *name;
		raddr_t *ret;
	} v[] = {
	    {"rb_cObject", &rb->c_object}, {"rb_cClass", &rb->c_class},
	    {"rb_cModule", &rb->c_module}, {"rb_cString", &rb->c_string},
	    {"rb_cArray", &rb->c_array},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		if (constant_value(rb->mem, img, bias, v[i].name, v[i].ret, e) == -1)
			return -1;
	return 0;
}

enum { LEARN_TRIES = 5 }; /* the tables may change while they are read */

static int names_learn(struct ruby *rb, struct err *e)
{
	for (int i = 0; i < LEARN_TRIES; i++)
		if (ruby_classpath_learn(rb, e) == 0)
			return 0;
	return -1;
}

static int not_booted(struct err *e)
{
	err_set(e, ERR_UNSUPPORTED, "Ruby: has not booted yet");
	return err_remedy(e, "try again in a moment");
}

/* Whatever stopped us, there is no VM that we understand; unless the process is gone. */
static int no_vm(struct err *e)
{
	if (e->code == ERR_GONE || e->code == ERR_PERM)
		return -1;
	e->code = ERR_UNSUPPORTED;
	return err_prefix(e, "Ruby: no VM to be found");
}

int ruby_open(const struct mem *m, const struct image *img, uint64_t bias,
	      const struct ruby_code *code, const struct ruby_layout *lay, struct ruby *ret,
	      struct err *e)
{
	struct ruby rb = {.mem = m, .lay = lay};

	if (code->objspace_flags != lay->objspace.flags) {
		err_set(e, ERR_UNSUPPORTED, "code has the object space's flags at %d, not %d",
			code->objspace_flags, lay->objspace.flags);
		return no_vm(e);
	}
	if (mem_u64(m, code->vm_ptr + bias, &rb.vm, e) == -1)
		return no_vm(e);
	if (rb.vm == 0)
		return not_booted(e);
	if (mem_u64(m, rb.vm + code->vm_objspace, &rb.objspace, e) == -1 ||
	    constants_read(img, bias, &rb, e) == -1)
		return no_vm(e);
	if (rb.objspace == 0 || rb.c_object == 0 || rb.c_class == 0 || rb.c_module == 0 ||
	    rb.c_string == 0 || rb.c_array == 0)
		return not_booted(e);
	if (lay->vm.main_ractor != LAYOUT_NONE &&
	    mem_u64(m, rb.vm + lay->vm.main_ractor, &rb.main_ractor, e) == -1)
		return no_vm(e);
	if (names_learn(&rb, e) == -1)
		return no_vm(e);
	*ret = rb;
	return 0;
}

/* -- counters --------------------------------------------------------------------------------- */

/* All counters come from one read, so that they belong together as well as an outsider can say. */
enum { OBJSPACE_READ = 2048 };

struct objspace {
	uint8_t bytes[OBJSPACE_READ];
};

static uint64_t word(const struct objspace *o, int32_t off)
{
	uint64_t w = 0;
	if (off != LAYOUT_NONE)
		memcpy(&w, o->bytes + off, sizeof(w));
	return w;
}

static uint64_t pools_sum(const struct objspace *o, const struct ruby_layout *lay, int32_t off)
{
	uint64_t sum = 0;
	for (int32_t i = 0; i < lay->objspace.pools; i++)
		sum += word(o, off + i * lay->objspace.pool_stride);
	return sum;
}

/* Bytes of the object space up to the last counter. */
static size_t objspace_span(const struct ruby_layout *lay)
{
	int32_t pools_end = (lay->objspace.pools - 1) * lay->objspace.pool_stride;
	const int32_t ends[] = {
	    lay->objspace.total_allocated + pools_end,
	    lay->objspace.total_freed + pools_end,
	    lay->objspace.final_slots,
	    lay->objspace.flags,
	    lay->objspace.gc_count,
	    lay->objspace.major_gc_count,
	    lay->objspace.total_moved,
	};
	int32_t max = 0;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (ends[i] > max)
			max = ends[i];
	return (size_t)max + 8;
}

int ruby_counters_read(const struct ruby *rb, struct ruby_counters *ret, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	struct objspace o;
	uint32_t ractors = 0;
	size_t span = objspace_span(lay);

	if (span > sizeof(o.bytes))
		return err_set(e, ERR_BADDATA, "object space: counters beyond %zu",
			       sizeof(o.bytes));
	if (mem_read(rb->mem, rb->objspace, o.bytes, span, e) == -1)
		return -1;
	if (lay->vm.ractor_count != LAYOUT_NONE &&
	    mem_u32(rb->mem, rb->vm + lay->vm.ractor_count, &ractors, e) == -1)
		return -1;
	*ret = (struct ruby_counters){
	    .allocated = pools_sum(&o, lay, lay->objspace.total_allocated),
	    .freed = pools_sum(&o, lay, lay->objspace.total_freed),
	    .zombies = word(&o, lay->objspace.final_slots),
	    .gc_count = word(&o, lay->objspace.gc_count),
	    .major_gc_count = word(&o, lay->objspace.major_gc_count),
	    .moved = word(&o, lay->objspace.total_moved),
	    .gc_running = word(&o, lay->objspace.flags) & lay->objspace.mode_mask,
	    .ractors = ractors,
	};
	return 0;
}
