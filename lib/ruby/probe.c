#include "ruby/ruby.h"

#include "ruby/iseq.h"
#include "ruby/klass.h"
#include "ruby/object.h"

#include <string.h>
#include <time.h>

enum { PROBE_TRIES = 40 };
enum { PROBE_PAUSE_NS = 500000 }; /* between two tries: other threads run meanwhile */
enum { SUPER_CAP = 4096 };
enum { FRAMES_CAP = 256 };
enum { CFP_MAX = 64 };
enum { STACK_WORDS_CAP = 1 << 26 };

static int class_named(const struct ruby *rb, raddr_t klass, const char *name, struct err *e)
{
	char buf[64];
	bool permanent;
	if (ruby_class_name(rb, klass, buf, sizeof(buf), &permanent, e) == -1)
		return -1;
	if (!permanent || strcmp(buf, name) != 0)
		return err_set(e, ERR_BADDATA, "%s has another name", name);
	return 0;
}

static int probe_names(const struct ruby *rb, struct err *e)
{
	const struct {
		raddr_t klass;
		const char *name;
	} v[] = {
	    {rb->c_object, "Object"}, {rb->c_class, "Class"}, {rb->c_module, "Module"},
	    {rb->c_string, "String"}, {rb->c_array, "Array"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		if (class_named(rb, v[i].klass, v[i].name, e) == -1)
			return -1;
	return 0;
}

/* From klass upwards to `to`; 0 is the end of every chain. */
static int supers_lead_to(const struct ruby *rb, raddr_t klass, raddr_t to, struct err *e)
{
	raddr_t at = klass;
	for (int i = 0; i < SUPER_CAP && at != to && at != 0; i++)
		if (mem_u64(rb->mem, at + rb->lay->klass.super, &at, e) == -1)
			return -1;
	if (at != to)
		return err_set(e, ERR_BADDATA, "they lead elsewhere");
	return 0;
}

static int probe_supers(const struct ruby *rb, struct err *e)
{
	raddr_t metaclass;
	if (supers_lead_to(rb, rb->c_string, rb->c_object, e) == -1 ||
	    supers_lead_to(rb, rb->c_object, 0, e) == -1 ||
	    supers_lead_to(rb, rb->c_class, rb->c_module, e) == -1 ||
	    mem_u64(rb->mem, rb->c_string + rb->lay->klass.word, &metaclass, e) == -1)
		return -1;
	return class_named(rb, metaclass, "Class", e);
}

static int probe_counters(const struct ruby *rb, struct err *e)
{
	struct ruby_counters c;
	if (ruby_counters_read(rb, &c, e) == -1)
		return -1;
	if (c.allocated == 0 || c.freed > c.allocated || c.zombies > c.allocated - c.freed ||
	    c.major_gc_count > c.gc_count || c.ractors > UINT16_MAX)
		return err_set(e, ERR_BADDATA,
			       "%" PRIu64 " allocated, %" PRIu64 " freed, %" PRIu64
			       " collections: impossible",
			       c.allocated, c.freed, c.gc_count);
	return 0;
}

static int probe_heap(const struct ruby *rb, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	raddr_t lo, hi, page, at = rb->objspace + lay->objspace.heap_range;
	uint16_t slot;

	if (mem_u64(rb->mem, at, &lo, e) == -1 || mem_u64(rb->mem, at + 8, &hi, e) == -1)
		return -1;
	if (lo >= hi || rb->c_object < lo || rb->c_object >= hi)
		return err_set(e, ERR_BADDATA, "Object is not between its bounds");
	if (mem_u64(rb->mem, rb->c_object & ~(raddr_t)(lay->heap.page_align - 1), &page, e) == -1 ||
	    mem_u16(rb->mem, page + lay->heap.page_slot_size, &slot, e) == -1)
		return -1;
	if (slot != lay->heap.base_slot)
		return err_set(e, ERR_BADDATA, "slots of %u bytes, not %u", slot,
			       lay->heap.base_slot);
	return 0;
}

/* -- a control frame -------------------------------------------------------------------------- */

static uint64_t u64_at(const uint8_t *bytes, int32_t off)
{
	uint64_t v;
	memcpy(&v, bytes + off, sizeof(v));
	return v;
}

static bool is_printable(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

/* 1: a Ruby frame, and right; 0: no Ruby frame; -1: e. */
static int frame_check(const struct ruby *rb, raddr_t cfp, struct err *e)
{
	const struct mp_ruby *a = &rb->lay->agent;
	uint8_t frame[CFP_MAX];
	uint64_t flags;
	struct iseq *iseq;

	if (mem_read(rb->mem, cfp, frame, (size_t)a->cfp_size, e) == -1 ||
	    mem_u64(rb->mem, u64_at(frame, a->cfp_ep), &flags, e) == -1)
		return -1;
	raddr_t pc = u64_at(frame, a->cfp_pc), addr = u64_at(frame, a->cfp_iseq);
	if ((flags & a->frame_cframe) || addr == 0)
		return 0;
	if (iseq_read(rb, addr, &iseq, e) == -1)
		return -1;
	bool right = iseq_holds(iseq, pc) && is_printable(iseq_path(iseq));
	iseq_destroy(iseq);
	return right ? 1
		     : err_set(e, ERR_BADDATA, "frame at %" PRIRA " does not fit its code", cfp);
}

/*
 * Frames grow down from the end of the VM stack. The outermost stand still while the innermost come
 * and go: look at those first; but at the very first, a dummy whose code is two words, only when
 * there is no other (a program that embeds Ruby and runs none now).
 */
static int stack_check(const struct ruby *rb, raddr_t ec, struct err *e)
{
	const struct mp_ruby *a = &rb->lay->agent;
	raddr_t stack, top;
	uint64_t words, size = (uint64_t)a->cfp_size;

	if (mem_u64(rb->mem, ec + a->ec_vm_stack, &stack, e) == -1 ||
	    mem_u64(rb->mem, ec + a->ec_vm_stack_size, &words, e) == -1 ||
	    mem_u64(rb->mem, ec + a->ec_cfp, &top, e) == -1)
		return -1;
	raddr_t end = stack + 8 * words;
	if (stack == 0 || words > STACK_WORDS_CAP || top < stack || top >= end ||
	    (end - top) % size != 0)
		return err_set(e, ERR_BADDATA, "no frame inside the VM stack");
	int kind = 0;
	for (uint64_t i = 2; kind == 0 && i <= (end - top) / size && i <= FRAMES_CAP; i++)
		kind = frame_check(rb, end - i * size, e);
	if (kind == 0)
		kind = frame_check(rb, end - size, e);
	if (kind == 0)
		return err_set(e, ERR_BADDATA, "no Ruby frame on the VM stack");
	return kind == 1 ? 0 : -1;
}

static int probe_frame(const struct ruby *rb, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	raddr_t thread, ec;
	if (mem_u64(rb->mem, rb->main_ractor + lay->ractor.main_thread, &thread, e) == -1 ||
	    mem_u64(rb->mem, thread + lay->thread.ec, &ec, e) == -1)
		return -1;
	return stack_check(rb, ec, e);
}

/* --------------------------------------------------------------------------------------------- */

static const struct probe {
	const char *what;
	int (*run)(const struct ruby *rb, struct err *e);
} probes[] = {
    {"names of classes", probe_names},
    {"superclasses", probe_supers},
    {"counters", probe_counters},
    {"heap", probe_heap},
    {"control frame of the main thread", probe_frame},
};

/* A program that runs may change anything between two reads: what fails once may hold later. */
static int probe_retry(const struct ruby *rb, const struct probe *p, struct err *e)
{
	const struct timespec pause = {.tv_nsec = PROBE_PAUSE_NS};
	for (int i = 0; i < PROBE_TRIES; i++) {
		if (p->run(rb, e) == 0)
			return 0;
		if (e->code == ERR_GONE || e->code == ERR_PERM || e->code == ERR_NOMEM)
			return -1;
		nanosleep(&pause, NULL);
	}
	e->code = ERR_UNSUPPORTED;
	return err_prefix(e, "memory is not as Ruby %u.%u has it: %s", rb->lay->from >> 16,
			  rb->lay->from >> 8 & 255, p->what);
}

int ruby_probe(const struct ruby *rb, struct err *e)
{
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
		if (probe_retry(rb, &probes[i], e) == -1)
			return -1;
	return 0;
}
