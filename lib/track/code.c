#include "track/code.h"

enum {
	CODE_MAX = 1 << 17,         /* entries of a kind */
	CODE_ISEQ_BYTES = 48 << 20, /* of copies held */
	CODE_TRIES = 3,             /* to read an iseq or class that can't be read */
	CODE_NAME_MAX = 4096 + 1,
};

void codes_init(struct codes *cs, const struct track_source *src, struct names *names)
{
	*cs = (struct codes){.src = src, .names = names};
	TAILQ_INIT(&cs->unsettled);
}

void codes_deinit(struct codes *cs)
{
	struct code *c, *next;

	for (int kind = 0; kind < CODE_KINDS; kind++) {
		HASH_ITER(hh, cs->table[kind], c, next)
		{
			code_end(cs, c);
		}
	}
}

static void iseq_drop(struct codes *cs, struct code *c)
{
	if (c->iseq.impl == NULL)
		return;
	cs->iseq_bytes -= c->iseq.bytes;
	cs->src->code_free(cs->src->ctx, &c->iseq);
	c->iseq = (struct track_code){0};
}

void codes_trim(struct codes *cs)
{
	struct code *c, *next;

	if (cs->iseq_bytes < CODE_ISEQ_BYTES)
		return;
	HASH_ITER(hh, cs->table[CODE_ISEQ], c, next)
	{
		iseq_drop(cs, c);
	}
}

static bool iseq_load(struct codes *cs, struct code *c)
{
	struct err ignored;

	if (cs->src->code_read(cs->src->ctx, c->addr, &c->iseq, &ignored) == -1)
		return false;
	cs->iseq_bytes += c->iseq.bytes;
	c->settled = true;
	return true;
}

/* When it was named before, a failure leaves it so: it is being changed, or the target is gone. */
static bool class_load(struct codes *cs, struct code *c, uint64_t pos)
{
	char name[CODE_NAME_MAX];
	struct err ignored;

	if (cs->src->class_name(cs->src->ctx, c->addr, name, sizeof(name), &c->settled, &ignored) ==
	    -1)
		return false;
	if (pos >= c->ready_at)
		c->fallback = c->name;
	c->name = names_intern(cs->names, name);
	return true;
}

/* Read what is there, and note up to where the ring must be seen before it is believed. */
static void code_load(struct codes *cs, struct code *c, uint64_t pos)
{
	if (c->kind == CODE_ISEQ ? iseq_load(cs, c) : class_load(cs, c, pos)) {
		c->known = true;
		c->ready_at = cs->src->ring_head(cs->src->ctx);
		return;
	}
	if (!c->known)
		c->settled = ++c->tries >= CODE_TRIES;
}

struct code *code_find(const struct codes *cs, enum code_kind kind, raddr_t addr)
{
	struct code *c;

	HASH_FIND(hh, cs->table[kind], &addr, sizeof(addr), c);
	return c;
}

static struct code *code_new(struct codes *cs, enum code_kind kind, raddr_t addr)
{
	struct code *c;

	if (HASH_COUNT(cs->table[kind]) >= CODE_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->addr = addr;
	c->kind = kind;
	c->name = c->fallback = names_collected_class;
	LIST_INIT(&c->births);
	HASH_ADD(hh, cs->table[kind], addr, sizeof(c->addr), c);
	if (c->hh.tbl == NULL) {
		free(c);
		return NULL;
	}
	code_load(cs, c, UINT64_MAX);
	if (!c->settled)
		TAILQ_INSERT_TAIL(&cs->unsettled, c, unsettled);
	return c;
}

struct code *code_get(struct codes *cs, enum code_kind kind, raddr_t addr)
{
	struct code *c = code_find(cs, kind, addr);

	if (c == NULL)
		return code_new(cs, kind, addr);
	if (kind == CODE_ISEQ && c->known && c->iseq.impl == NULL && iseq_load(cs, c))
		c->ready_at = cs->src->ring_head(cs->src->ctx);
	return c;
}

const char *code_last_name(const struct code *c, uint64_t pos)
{
	return pos >= c->ready_at ? c->name : c->fallback;
}

void code_end(struct codes *cs, struct code *c)
{
	iseq_drop(cs, c);
	if (!c->settled)
		TAILQ_REMOVE(&cs->unsettled, c, unsettled);
	HASH_DEL(cs->table[c->kind], c);
	free(c);
}

void codes_refresh(struct codes *cs, size_t max, uint64_t pos,
		   void (*changed)(void *arg, struct code *c), void *arg)
{
	struct code *last = TAILQ_LAST(&cs->unsettled, code_queue), *c = NULL;

	while (max-- > 0 && c != last) {
		c = TAILQ_FIRST(&cs->unsettled);
		TAILQ_REMOVE(&cs->unsettled, c, unsettled);
		code_load(cs, c, pos);
		if (!c->settled)
			TAILQ_INSERT_TAIL(&cs->unsettled, c, unsettled);
		if (c->known && c->kind == CODE_ISEQ)
			changed(arg, c);
	}
}

size_t codes_memory(const struct codes *cs)
{
	size_t n = 0;

	for (int kind = 0; kind < CODE_KINDS; kind++)
		n += HASH_COUNT(cs->table[kind]) * sizeof(struct code) +
		     HASH_OVERHEAD(hh, cs->table[kind]);
	return n + cs->iseq_bytes;
}
