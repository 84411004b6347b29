#include "track/track_priv.h"

#include <stdlib.h>

/* Figures of each site's living objects, by id: taken from the live table in one walk. */
struct ages {
	const struct track *t;
	uint32_t gc_done;
	struct age {
		uint64_t bytes, survived;
	} * v;
};

/* A cycle that the VM had not begun at birth, and has finished. */
static bool has_survived(uint32_t gc_done, uint32_t epoch)
{
	return (int32_t)(gc_done - epoch) >= 1;
}

static void age_add(void *arg, raddr_t addr, struct live_entry *e)
{
	struct ages *a = arg;
	struct age *age = &a->v[e->birth - 1];

	age->bytes += a->t->src.slot_bytes(a->t->src.ctx, addr);
	age->survived += has_survived(a->gc_done, e->epoch);
}

static void figures_add(struct row_figures *sum, const struct row_figures *f)
{
	sum->allocated += f->allocated;
	sum->freed += f->freed;
	sum->live += f->live;
	sum->live_bytes += f->live_bytes;
	sum->survived += f->survived;
}

static void rows_begin(struct rows *rs)
{
	rs->other.now = rs->other.ended;
	for (struct row *r = rs->table; r != NULL; r = r->hh.next)
		r->now = r->ended;
}

/* A row that is new now begins with zeros. */
static void sites_add(struct births *bs, const struct age *ages)
{
	for (uint32_t id = 0; id < bs->high; id++) {
		struct row_figures f;

		if (!bs->cold[id].used)
			continue;
		f = birth_figures(bs, id);
		f.live_bytes = ages[id].bytes;
		f.survived = ages[id].survived;
		figures_add(&birth_row(bs, id)->now, &f);
	}
}

static void row_give(const struct row *r, void (*fn)(void *arg, const struct track_row *row),
		     void *arg)
{
	struct track_row row = {
	    .file = r->key.file,
	    .line = r->key.line,
	    .method = r->key.method,
	    .klass = r->key.klass,
	    .internal = r->key.internal,
	    .thread = r->key.thread,
	    .allocated = r->now.allocated,
	    .freed = r->now.freed,
	    .live = r->now.live,
	    .live_bytes = r->now.live_bytes,
	    .survived = r->now.survived,
	};

	if (row.allocated != 0)
		fn(arg, &row);
}

int track_rows(struct track *t, void (*fn)(void *arg, const struct track_row *row), void *arg,
	       struct err *e)
{
	struct births *bs = &t->births;
	/* Whether the latest cycle has finished is known only at the end. */
	struct ages ages = {t, t->finished ? t->gc_done : t->gc_latest - 1,
			    calloc(bs->high, sizeof(*ages.v))};

	if (ages.v == NULL)
		return err_set(e, ERR_NOMEM, "rows: out of memory");
	live_each(t->live, age_add, &ages);
	rows_begin(&bs->rows);
	sites_add(bs, ages.v);
	for (const struct row *r = bs->rows.table; r != NULL; r = r->hh.next)
		row_give(r, fn, arg);
	row_give(&bs->rows.other, fn, arg);
	free(ages.v);
	return 0;
}
