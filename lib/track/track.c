#include "track/track_priv.h"

#include "ruby/object.h"

#include <stdlib.h>

enum {
	SITES_DEFAULT = 1 << 17,
	REFRESH_MAX = 512, /* names read again in a call: some 10 ms of reading */
	FINISH_MAX = 1 << 16,
	PROBE_CLASS = 1 << 16, /* an address that any class could have */
	TYPE_MASK = 31,
};
static const size_t live_limit_default = 2ull << 30;

/* Objects whose end or birth may change what an address in a birth means. */
static const uint32_t code_types = 1u << RT_CLASS | 1u << RT_MODULE | 1u << RT_IMEMO;

int track_create(const struct track_source *src, const struct track_opts *o, struct track **ret,
		 struct err *e)
{
	struct track *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return err_set(e, ERR_NOMEM, "tracking: out of memory");
	t->src = *src;
	t->keep_internal = o->keep_internal;
	t->by_thread = o->by_thread;
	t->gc_latest = (uint32_t)o->gc_count;
	for (uint32_t type = 0; type <= TYPE_MASK; type++)
		if (src->has_class(src->ctx, type, PROBE_CLASS))
			t->classed |= 1u << type;
	if (live_create(src->page_align, src->base_slot,
			o->live_limit != 0 ? o->live_limit : live_limit_default, &t->live, e) == -1)
		goto fail;
	if (births_init(&t->births, &t->src, o->sites_max != 0 ? o->sites_max : SITES_DEFAULT, e) ==
	    -1)
		goto fail_live;
	*ret = t;
	return 0;
fail_live:
	live_destroy(t->live);
fail:
	free(t);
	return -1;
}

void track_destroy(struct track *t)
{
	if (t == NULL)
		return;
	births_deinit(&t->births);
	live_destroy(t->live);
	free(t);
}

/* -- events ---------------------------------------------------------------------------------- */

static inline bool is_code(uint32_t flags)
{
	return code_types >> (flags & TYPE_MASK) & 1;
}

/* What was known of this address is over: its object ended, went away or has been replaced. */
static __attribute__((noinline)) void code_over(struct track *t, raddr_t addr, uint32_t flags,
						uint64_t pos)
{
	if (t->src.is_iseq(t->src.ctx, flags))
		births_close(&t->births, CODE_ISEQ, addr, pos);
	else if (t->src.is_class(t->src.ctx, flags))
		births_close(&t->births, CODE_CLASS, addr, pos);
}

static inline void object_ended(struct track *t, struct live_entry e, uint64_t pos)
{
	births_ended(&t->births, e.birth - 1, pos);
	t->totals.freed_tracked++;
}

/* Its end went unseen: another object lies there. */
static void object_replaced(struct track *t, struct live_entry e, uint64_t pos)
{
	object_ended(t, e, pos);
	t->totals.implicit_ends++;
}

/* Events carry the low 16 bits; threads may be a little out of order. */
static inline uint32_t gc_epoch(struct track *t, uint16_t gc)
{
	int16_t ahead = (int16_t)(gc - (uint16_t)t->gc_latest);
	uint32_t epoch = t->gc_latest + (uint32_t)ahead;

	if (ahead > 0)
		t->gc_latest = epoch;
	return epoch;
}

static inline uint64_t class_key(const struct track *t, const struct ring_event *ev)
{
	uint32_t type = ev->flags & TYPE_MASK;

	if ((t->classed >> type & 1) && ev->klass > 8 && (ev->klass & 7) == 0 &&
	    !(ev->klass & BIRTH_HIDDEN))
		return ev->klass;
	if (type == RT_IMEMO)
		type |= ev->flags & t->src.imemo_bits;
	return BIRTH_HIDDEN | type;
}

static inline void on_alloc(struct track *t, const struct ring_event *ev)
{
	struct birth_key key = {
	    .iseq = ev->iseq,
	    .pc = ev->pc,
	    .caller_iseq = t->keep_internal ? 0 : ev->caller_iseq,
	    .caller_pc = t->keep_internal ? 0 : ev->caller_pc,
	    .klass = class_key(t, ev),
	    .who = (t->by_thread ? (uint64_t)ev->thread << 1 : 0) | ev->ruby_top,
	};
	struct live_entry old;
	uint32_t id;

	t->totals.allocated++;
	if (is_code(ev->flags))
		code_over(t, ev->obj, ev->flags, ev->pos);
	id = births_get(&t->births, &key);
	t->births.hot[id].allocated++;
	if (live_put(t->live, ev->obj, (struct live_entry){id + 1, gc_epoch(t, ev->gc)}, &old)) {
		t->births.hot[id].live++;
	} else {
		t->births.cold[id].untracked++;
		t->totals.untracked++;
	}
	if (old.birth != 0)
		object_replaced(t, old, ev->pos);
}

static inline void on_free(struct track *t, const struct ring_event *ev)
{
	struct live_entry e = live_take(t->live, ev->obj);

	t->totals.freed++;
	if (e.birth != 0)
		object_ended(t, e, ev->pos);
	if (is_code(ev->flags))
		code_over(t, ev->obj, ev->flags, ev->pos);
}

static void on_move(struct track *t, const struct ring_event *ev)
{
	struct live_entry e, old;
	bool kept;

	t->totals.moves++;
	e = live_move(t->live, ev->obj, ev->to, &old, &kept);
	if (old.birth != 0)
		object_replaced(t, old, ev->pos);
	if (!kept) {
		t->births.cold[e.birth - 1].untracked++;
		t->totals.untracked++;
		births_ended(&t->births, e.birth - 1, ev->pos);
	}
	if (is_code(ev->flags)) {
		code_over(t, ev->obj, ev->flags, ev->pos);
		code_over(t, ev->to, ev->flags, ev->pos);
	}
}

void track_events(struct track *t, const struct ring_event *ev, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		switch (ev[i].kind) {
		case MP_KIND_ALLOC:
			on_alloc(t, &ev[i]);
			break;
		case MP_KIND_FREE:
			on_free(t, &ev[i]);
			break;
		case MP_KIND_MOVE:
			on_move(t, &ev[i]);
			break;
		}
	}
	if (n > 0)
		track_idle(t, ev[n - 1].pos);
}

void track_idle(struct track *t, uint64_t pos)
{
	t->pos = pos;
	births_settle(&t->births, pos);
}

void track_gap(struct track *t)
{
	births_gap(&t->births, t->pos);
}

void track_refresh(struct track *t)
{
	births_refresh(&t->births, REFRESH_MAX, t->pos);
}

void track_finish(struct track *t, uint64_t gc_count, bool gc_running)
{
	t->finished = true;
	t->gc_done = (uint32_t)gc_count - gc_running;
	births_refresh(&t->births, FINISH_MAX, UINT64_MAX);
	births_settle(&t->births, UINT64_MAX);
	track_reveal(t);
}

/* -- figures about ourselves ----------------------------------------------------------------- */

void track_totals(const struct track *t, struct track_totals *ret)
{
	*ret = t->totals;
	ret->other = t->births.hot[BIRTH_OTHER].allocated;
	ret->live = live_count(t->live);
}

void track_memory(const struct track *t, struct track_memory *ret)
{
	*ret = (struct track_memory){
	    .live = live_memory(t->live),
	    .sites = births_memory(&t->births),
	    .code = codes_memory(&t->births.codes),
	    .names = t->births.names.bytes,
	    .rows = rows_memory(&t->births.rows),
	};
}
