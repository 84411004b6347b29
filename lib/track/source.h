/*
 * What tracking asks of the world, as one seam: names of code and classes, the meaning of a flags
 * word, an object's first words, how far the agent has written. track_source_ruby() answers from a
 * live VM, a unit test from a table.
 */
#ifndef MEMPROF_TRACK_SOURCE_H
#define MEMPROF_TRACK_SOURCE_H

#include "ring/reader.h"
#include "ruby/ruby.h"

struct track_code {
	void *impl;               /* owned: source's code_free */
	const char *path, *label; /* borrowed from impl */
	bool internal;            /* path begins with "<internal:" */
	size_t bytes;             /* memory it takes */
};

struct track_peek {
	uint64_t flags, klass; /* an object's first two words */
	bool ok;               /* they could be read */
};

struct track_source {
	void *ctx;
	uint32_t page_align, base_slot; /* heap geometry, bytes */
	uint32_t imemo_bits;            /* of the flags word: which internal object */

	int (*code_read)(void *ctx, raddr_t iseq, struct track_code *ret, struct err *e);
	void (*code_free)(void *ctx, struct track_code *c);
	bool (*code_holds)(void *ctx, const struct track_code *c, raddr_t pc);
	uint32_t (*code_line)(void *ctx, const struct track_code *c, raddr_t pc, bool ruby_top);

	int (*class_name)(void *ctx, raddr_t klass, char *buf, size_t size, bool *permanent,
			  struct err *e);
	const char *(*internal_name)(void *ctx, uint32_t flags, char *buf, size_t size);
	bool (*has_class)(void *ctx, uint32_t flags, raddr_t klass);
	bool (*is_iseq)(void *ctx, uint32_t flags);
	bool (*is_class)(void *ctx, uint32_t flags);

	void (*peek)(void *ctx, const raddr_t *obj, size_t n, struct track_peek *ret);
	uint32_t (*slot_bytes)(void *ctx, raddr_t obj);
	uint64_t (*ring_head)(void *ctx);
};

struct track_ruby {
	const struct ruby *rb;
	const struct ring_reader *ring;
};

/* Answers from a live VM. Borrows tr and what it points to as long as *ret is used. */
void track_source_ruby(const struct track_ruby *tr, struct track_source *ret);

#endif
