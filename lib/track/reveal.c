#include "track/track_priv.h"

#include <stdlib.h>

enum { BATCH = 1024, TYPE_MASK = 31 };

/* The site for objects of a hidden one that turned out to be of a class. */
struct revealed {
	struct revealed_key {
		uint64_t id, klass;
	} key;
	uint32_t to;
	UT_hash_handle hh;
};

struct reveal {
	struct track *t;
	struct revealed *table;
	size_t n;
	raddr_t addr[BATCH];
	struct live_entry *entry[BATCH];
	struct track_peek peek[BATCH];
};

static uint32_t site_for(struct reveal *r, uint32_t id, raddr_t klass)
{
	struct revealed_key key = {.id = id, .klass = klass};
	struct revealed *s;

	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): all of key is set */
	HASH_FIND(hh, r->table, &key, sizeof(key), s);
	if (s != NULL)
		return s->to;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return id;
	s->key = key;
	HASH_ADD(hh, r->table, key, sizeof(s->key), s);
	if (s->hh.tbl == NULL) {
		free(s);
		return id;
	}
	s->to = births_reveal(&r->t->births, id, klass);
	return s->to;
}

/* Still the same kind of object, as far as one can tell, and with a class now? */
static bool is_revealed(const struct track *t, const struct birth *b, const struct track_peek *p)
{
	uint32_t flags = (uint32_t)p->flags;

	return p->ok && (flags & TYPE_MASK) == (b->hidden & TYPE_MASK) &&
	       t->src.has_class(t->src.ctx, flags, p->klass);
}

static void one_reveal(struct reveal *r, struct live_entry *e, const struct track_peek *p)
{
	struct births *bs = &r->t->births;
	uint32_t id = e->birth - 1, to;

	if (!is_revealed(r->t, &bs->cold[id], p))
		return;
	to = site_for(r, id, p->klass);
	bs->hot[id].allocated--;
	bs->hot[id].live--;
	bs->hot[to].allocated++;
	bs->hot[to].live++;
	e->birth = to + 1;
}

static void batch_reveal(struct reveal *r)
{
	const struct track_source *src = &r->t->src;

	src->peek(src->ctx, r->addr, r->n, r->peek);
	for (size_t i = 0; i < r->n; i++)
		one_reveal(r, r->entry[i], &r->peek[i]);
	r->n = 0;
}

static void object_visit(void *arg, raddr_t addr, struct live_entry *e)
{
	struct reveal *r = arg;
	uint32_t hidden = r->t->births.cold[e->birth - 1].hidden;

	if (hidden == 0 || !(r->t->classed >> (hidden & TYPE_MASK) & 1))
		return;
	r->addr[r->n] = addr;
	r->entry[r->n] = e;
	if (++r->n == BATCH)
		batch_reveal(r);
}

void track_reveal(struct track *t)
{
	struct reveal *r = calloc(1, sizeof(*r));
	struct revealed *s, *next;

	if (r == NULL)
		return;
	r->t = t;
	live_each(t->live, object_visit, r);
	if (r->n > 0)
		batch_reveal(r);
	HASH_ITER(hh, r->table, s, next)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): uthash walks by its own links */
		HASH_DEL(r->table, s);
		free(s);
	}
	free(r);
}
