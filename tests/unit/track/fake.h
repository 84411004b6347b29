/* A world of iseqs and classes for tracking to ask: what lies at an address is what the test put
 * there last. */
#ifndef MEMPROF_TESTS_TRACK_FAKE_H
#define MEMPROF_TESTS_TRACK_FAKE_H

#include "ruby/object.h"
#include "track/track.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FAKE_CODES = 1024, /* places for iseqs, and for classes */
	FAKE_WORDS = 64,   /* instructions of an iseq */
	FAKE_ISEQ_FLAGS = RT_IMEMO | 7 << 12,
};
#define FAKE_ISEQ(i)      (0x7f0000000000ull + (uint64_t)(i)*40)
#define FAKE_CLASS(i)     (0x7e0000000000ull + (uint64_t)(i)*40)
#define FAKE_PC(i, insn)  (0x560000000000ull + (uint64_t)(i)*1024 + (uint64_t)(insn)*8)
#define FAKE_OBJ(page, i) (0x7d0000000000ull + (uint64_t)(page)*16384 + 16 + (uint64_t)(i)*40)

struct fake_iseq {
	char path[64], label[64];
	bool there;
};

struct fake_class {
	char name[64];
	bool there, temporary;
};

struct fake {
	struct fake_iseq iseq[FAKE_CODES];
	struct fake_class klass[FAKE_CODES];
	uint64_t head; /* of the ring */
	uint64_t iseq_reads, class_reads, peeks;
	int copies; /* of iseqs held */
	uint64_t peek_flags, peek_class;
};

struct fake_copy {
	struct fake_iseq iseq;
	size_t i;
};

static inline void fake_iseq_set(struct fake *f, size_t i, const char *path, const char *label)
{
	f->iseq[i].there = true;
	snprintf(f->iseq[i].path, sizeof(f->iseq[i].path), "%s", path);
	snprintf(f->iseq[i].label, sizeof(f->iseq[i].label), "%s", label);
}

static inline void fake_class_set(struct fake *f, size_t i, const char *name)
{
	f->klass[i].there = true;
	f->klass[i].temporary = name[0] == '#';
	snprintf(f->klass[i].name, sizeof(f->klass[i].name), "%s", name);
}

static inline int fake_code_read(void *ctx, raddr_t addr, struct track_code *ret, struct err *e)
{
	struct fake *f = ctx;
	size_t i = (addr - FAKE_ISEQ(0)) / 40;
	struct fake_copy *c;

	f->iseq_reads++;
	if (i >= FAKE_CODES || !f->iseq[i].there)
		return err_set(e, ERR_FAULT, "no iseq");
	c = malloc(sizeof(*c));
	*c = (struct fake_copy){f->iseq[i], i};
	f->copies++;
	*ret = (struct track_code){c, c->iseq.path, c->iseq.label,
				   strncmp(c->iseq.path, "<internal:", 10) == 0, sizeof(*c)};
	return 0;
}

static inline void fake_code_free(void *ctx, struct track_code *c)
{
	((struct fake *)ctx)->copies--;
	free(c->impl);
}

static inline bool fake_code_holds(void *ctx, const struct track_code *c, raddr_t pc)
{
	size_t i = ((const struct fake_copy *)c->impl)->i;

	(void)ctx;
	return pc >= FAKE_PC(i, 0) && pc <= FAKE_PC(i, FAKE_WORDS);
}

/* Line 10 is that of the first instruction. */
static inline uint32_t fake_code_line(void *ctx, const struct track_code *c, raddr_t pc,
				      bool ruby_top)
{
	size_t i = ((const struct fake_copy *)c->impl)->i;

	(void)ctx;
	return (uint32_t)((pc - FAKE_PC(i, 0)) / 8) + 10 - !ruby_top;
}

static inline int fake_class_name(void *ctx, raddr_t klass, char *buf, size_t size, bool *permanent,
				  struct err *e)
{
	struct fake *f = ctx;
	size_t i = (klass - FAKE_CLASS(0)) / 40;

	f->class_reads++;
	if (i >= FAKE_CODES || !f->klass[i].there)
		return err_set(e, ERR_FAULT, "no class");
	snprintf(buf, size, "%s", f->klass[i].name);
	*permanent = !f->klass[i].temporary;
	return 0;
}

static inline const char *fake_internal_name(void *ctx, uint32_t flags, char *buf, size_t size)
{
	(void)ctx;
	if ((flags & 31) == RT_IMEMO)
		snprintf(buf, size, "(imemo:%u)", flags >> 12 & 15);
	else
		snprintf(buf, size, "(hidden %u)", flags & 31);
	return buf;
}

static inline bool fake_has_class(void *ctx, uint32_t flags, raddr_t klass)
{
	(void)ctx;
	return klass > 8 && klass % 8 == 0 && (flags & 31) != RT_IMEMO && (flags & 31) != RT_NONE;
}

static inline bool fake_is_iseq(void *ctx, uint32_t flags)
{
	(void)ctx;
	return (flags & 0xf01f) == FAKE_ISEQ_FLAGS;
}

static inline bool fake_is_class(void *ctx, uint32_t flags)
{
	(void)ctx;
	return (flags & 31) == RT_CLASS || (flags & 31) == RT_MODULE;
}

static inline void fake_peek(void *ctx, const raddr_t *obj, size_t n, struct track_peek *ret)
{
	struct fake *f = ctx;

	(void)obj;
	f->peeks += n;
	for (size_t i = 0; i < n; i++)
		ret[i] = (struct track_peek){f->peek_flags, f->peek_class, true};
}

static inline uint32_t fake_slot_bytes(void *ctx, raddr_t obj)
{
	(void)ctx;
	(void)obj;
	return 40;
}

static inline uint64_t fake_ring_head(void *ctx)
{
	return ((struct fake *)ctx)->head;
}

static inline struct track_source fake_source(struct fake *f)
{
	return (struct track_source){
	    .ctx = f,
	    .page_align = 16384,
	    .base_slot = 40,
	    .imemo_bits = 15 << 12,
	    .code_read = fake_code_read,
	    .code_free = fake_code_free,
	    .code_holds = fake_code_holds,
	    .code_line = fake_code_line,
	    .class_name = fake_class_name,
	    .internal_name = fake_internal_name,
	    .has_class = fake_has_class,
	    .is_iseq = fake_is_iseq,
	    .is_class = fake_is_class,
	    .peek = fake_peek,
	    .slot_bytes = fake_slot_bytes,
	    .ring_head = fake_ring_head,
	};
}

static inline struct ring_event fake_alloc(raddr_t obj, size_t iseq, unsigned insn, size_t klass)
{
	return (struct ring_event){
	    .kind = MP_KIND_ALLOC,
	    .ruby_top = true,
	    .flags = RT_OBJECT,
	    .obj = obj,
	    .klass = FAKE_CLASS(klass),
	    .iseq = FAKE_ISEQ(iseq),
	    .pc = FAKE_PC(iseq, insn),
	};
}

static inline struct ring_event fake_free(raddr_t obj, uint32_t flags)
{
	return (struct ring_event){.kind = MP_KIND_FREE, .flags = flags, .obj = obj};
}

static inline struct ring_event fake_move(raddr_t from, raddr_t to, uint32_t flags)
{
	return (struct ring_event){.kind = MP_KIND_MOVE, .flags = flags, .obj = from, .to = to};
}

/* Rows, copied and findable. */
struct fake_rows {
	struct track_row v[4096];
	size_t n;
};

static inline void fake_row_add(void *arg, const struct track_row *row)
{
	struct fake_rows *rows = arg;

	if (rows->n < sizeof(rows->v) / sizeof(rows->v[0]))
		rows->v[rows->n++] = *row;
}

static inline const struct track_row *fake_row(const struct fake_rows *rows, const char *file,
					       uint32_t line, const char *klass)
{
	for (size_t i = 0; i < rows->n; i++)
		if (strcmp(rows->v[i].file, file) == 0 && rows->v[i].line == line &&
		    strcmp(rows->v[i].klass, klass) == 0)
			return &rows->v[i];
	return NULL;
}

#endif
