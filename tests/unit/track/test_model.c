/*
 * A million random events against a model that knows the truth: it sees objects and names, no
 * records. Once with a reader that keeps up: every figure must be the truth. Once with one that
 * lags behind a world that changes: a name may be "(collected ...)", but never another's.
 */
#include "fake.h"
#include "suite.h"
#include "track/hash.h"

enum {
	EVENTS = 1000000,
	PAGES = 64,
	PER_PAGE = 400,
	OBJECTS = PAGES * PER_PAGE,
	ISEQS = 48,
	INTERNALS = 4, /* of these; what calls them comes next */
	CALLERS = 3,
	CLASSES = 12,
	INSNS = 4,
	BATCH = 400,
};

struct truth {
	char name[160]; /* file:line:class:internal */
	uint64_t allocated, live, survived;
	UT_hash_handle hh;
};

struct object {
	struct truth *site; /* NULL: free, or not ours */
	uint64_t gc;
};

struct model {
	struct fake f;
	struct track *t;
	bool lagging;
	uint64_t seed, pos, gc, moves, implicit, allocated, freed;
	unsigned generation; /* of names */
	struct object obj[OBJECTS];
	struct truth *sites;
	struct ring_event ev[BATCH];
	size_t n;
};

static uint64_t rnd(struct model *m, uint64_t below)
{
	m->seed = m->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (m->seed >> 33) % below;
}

static raddr_t address(size_t i)
{
	return FAKE_OBJ(i / PER_PAGE, i % PER_PAGE);
}

static void flush(struct model *m)
{
	m->f.head = m->pos;
	track_events(m->t, m->ev, m->n);
	m->n = 0;
	/* A reader that is behind has not seen all of it yet. */
	if (!m->lagging)
		track_idle(m->t, m->pos);
}

static void record(struct model *m, struct ring_event ev)
{
	ev.gc = (uint16_t)m->gc;
	ev.pos = m->pos;
	m->pos += ev.kind == MP_KIND_ALLOC ? 2 : 1;
	m->ev[m->n++] = ev;
	if (m->n == BATCH || (!m->lagging && rnd(m, 100) == 0))
		flush(m);
}

static struct truth *site_of(struct model *m, const char *file, uint32_t line, const char *klass,
			     const char *internal)
{
	struct truth *s, key = {0};

	snprintf(key.name, sizeof(key.name), "%s:%u:%s:%s", file, line, klass,
		 internal != NULL ? internal : "");
	HASH_FIND_STR(m->sites, key.name, s);
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		memcpy(s->name, key.name, sizeof(s->name));
		HASH_ADD_STR(m->sites, name, s);
	}
	return s;
}

static void object_end(struct model *m, size_t i)
{
	if (m->obj[i].site != NULL)
		m->obj[i].site->live--;
	m->obj[i].site = NULL;
}

static void iseq_make(struct model *m, size_t i)
{
	char path[64];

	snprintf(path, sizeof(path), i < INTERNALS ? "<internal:%u>" : "f%u.rb", m->generation++);
	fake_iseq_set(&m->f, i, path, "m");
}

static void class_make(struct model *m, size_t i)
{
	char name[64];

	snprintf(name, sizeof(name), "C%u", m->generation++);
	fake_class_set(&m->f, i, name);
}

static void do_alloc(struct model *m)
{
	size_t i = rnd(m, OBJECTS), iseq = rnd(m, ISEQS), k = rnd(m, CLASSES);
	size_t caller = INTERNALS + rnd(m, CALLERS);
	unsigned insn = (unsigned)rnd(m, INSNS) + 1, kind = (unsigned)rnd(m, 16);
	struct ring_event ev = fake_alloc(address(i), iseq, insn, k);
	char klass[64];
	struct truth *s;

	/* An object in its place is rare: its end was dropped. */
	if (m->obj[i].site != NULL && rnd(m, 50) != 0)
		return;
	m->implicit += m->obj[i].site != NULL;
	object_end(m, i);
	snprintf(klass, sizeof(klass), "%s", m->f.klass[k].name);
	if (kind == 0) {
		ev.flags = RT_STRING;
		ev.klass = 0;
		snprintf(klass, sizeof(klass), "(hidden 5)");
	} else if (kind == 1) {
		ev.flags = RT_IMEMO | 3 << 12;
		ev.klass = rnd(m, 1 << 20) * 8;
		snprintf(klass, sizeof(klass), "(imemo:3)");
	}
	ev.ruby_top = rnd(m, 2);
	if (iseq < INTERNALS) {
		ev.caller_iseq = FAKE_ISEQ(caller);
		ev.caller_pc = FAKE_PC(caller, insn);
		s = site_of(m, m->f.iseq[caller].path, 9 + insn, klass, m->f.iseq[iseq].path);
	} else {
		s = site_of(m, m->f.iseq[iseq].path, 10 + insn - !ev.ruby_top, klass, NULL);
	}
	s->allocated++;
	s->live++;
	m->allocated++;
	m->obj[i] = (struct object){s, m->gc};
	record(m, ev);
}

static void do_free(struct model *m)
{
	size_t i = rnd(m, OBJECTS);

	object_end(m, i);
	m->freed++;
	record(m, fake_free(address(i), RT_OBJECT));
}

static void do_move(struct model *m)
{
	size_t from = rnd(m, OBJECTS), to = rnd(m, OBJECTS);

	if (from == to)
		return;
	m->implicit += m->obj[to].site != NULL;
	m->moves++;
	object_end(m, to);
	m->obj[to] = m->obj[from];
	m->obj[from].site = NULL;
	record(m, fake_move(address(from), address(to), RT_OBJECT));
}

/* An iseq or class ends, and another comes to lie there at once. When the reader keeps up, names
 * asked for until now have been read by now. */
static void do_replace(struct model *m)
{
	bool iseq = rnd(m, 2);
	size_t i = rnd(m, iseq ? ISEQS : CLASSES);

	if (!m->lagging)
		flush(m);
	m->freed++;
	record(m, iseq ? fake_free(FAKE_ISEQ(i), FAKE_ISEQ_FLAGS)
		       : fake_free(FAKE_CLASS(i), RT_CLASS));
	if (iseq)
		iseq_make(m, i);
	else
		class_make(m, i);
	/* Between batches the world stands still, but an event of now reads the new name. */
	if (!m->lagging)
		flush(m);
}

static void step(struct model *m)
{
	uint64_t op = rnd(m, 1000);

	if (op < 550)
		do_alloc(m);
	else if (op < 950)
		do_free(m);
	else if (op < 990)
		do_move(m);
	else if (op < 991)
		do_replace(m);
	else
		m->gc++;
}

static void run(struct model *m, bool lagging, uint64_t seed)
{
	struct track_source src = fake_source(&m->f);
	const struct track_opts o = {.gc_count = 65500};
	struct err e;

	m->lagging = lagging;
	m->seed = seed;
	m->gc = o.gc_count;
	for (size_t i = 0; i < ISEQS; i++)
		iseq_make(m, i);
	for (size_t i = 0; i < CLASSES; i++)
		class_make(m, i);
	ck_assert_int_eq(track_create(&src, &o, &m->t, &e), 0);
	for (unsigned i = 0; i < EVENTS; i++)
		step(m);
	flush(m);
	track_finish(m->t, m->gc, true);
	for (size_t i = 0; i < OBJECTS; i++)
		if (m->obj[i].site != NULL)
			m->obj[i].site->survived += m->obj[i].gc + 1 <= m->gc - 1;
}

static struct truth *site_like(struct model *m, const struct track_row *row)
{
	char name[160];
	struct truth *s;

	snprintf(name, sizeof(name), "%s:%u:%s:%s", row->file, row->line, row->klass,
		 row->internal != NULL ? row->internal : "");
	HASH_FIND_STR(m->sites, name, s);
	return s;
}

struct check {
	struct model *m;
	size_t rows, collected;
	uint64_t allocated, live;
};

static void row_is_true(void *arg, const struct track_row *row)
{
	struct check *c = arg;
	struct truth *s = site_like(c->m, row);

	if (s == NULL || row->allocated != s->allocated || row->live != s->live ||
	    row->freed != s->allocated - s->live || row->survived != s->survived ||
	    row->live_bytes != s->live * 40)
		ck_abort_msg("%s:%u:%s: %" PRIu64 "/%" PRIu64 "/%" PRIu64 ", not %" PRIu64
			     "/%" PRIu64 "/%" PRIu64,
			     row->file, row->line, row->klass, row->allocated, row->live,
			     row->survived, s ? s->allocated : 0, s ? s->live : 0,
			     s ? s->survived : 0);
	c->rows++;
}

static bool is_collected(const char *name)
{
	return name != NULL && strncmp(name, "(collected", 10) == 0;
}

static void row_is_not_false(void *arg, const struct track_row *row)
{
	struct check *c = arg;
	struct truth *s = site_like(c->m, row);

	c->allocated += row->allocated;
	c->live += row->live;
	if (is_collected(row->file) || is_collected(row->klass) || is_collected(row->internal))
		c->collected += row->allocated;
	else if (s == NULL || row->allocated > s->allocated || row->live > s->live)
		ck_abort_msg("%s:%u:%s: %" PRIu64 " of %" PRIu64, row->file, row->line, row->klass,
			     row->allocated, s ? s->allocated : 0);
	c->rows++;
}

static void totals_are_true(struct model *m, uint64_t live)
{
	struct track_totals t;

	track_totals(m->t, &t);
	ck_assert_uint_eq(t.allocated, m->allocated);
	ck_assert_uint_eq(t.freed, m->freed);
	ck_assert_uint_eq(t.moves, m->moves);
	ck_assert_uint_eq(t.implicit_ends, m->implicit);
	ck_assert_uint_eq(t.live, live);
	ck_assert_uint_eq(t.freed_tracked, t.allocated - t.live);
	ck_assert_uint_eq(t.untracked + t.other, 0);
}

static uint64_t live_objects(const struct model *m)
{
	uint64_t n = 0;

	for (size_t i = 0; i < OBJECTS; i++)
		n += m->obj[i].site != NULL;
	return n;
}

static void model_free(struct model *m)
{
	struct truth *s, *next;

	HASH_ITER(hh, m->sites, s, next)
	{
		HASH_DEL(m->sites, s);
		free(s);
	}
	track_destroy(m->t);
	ck_assert_int_eq(m->f.copies, 0);
	free(m);
}

START_TEST(a_reader_that_keeps_up_is_exact)
{
	struct model *m = calloc(1, sizeof(*m));
	struct check c = {.m = m};
	struct err e;

	run(m, false, 1);
	for (int twice = 0; twice < 2; twice++) {
		c.rows = 0;
		ck_assert_int_eq(track_rows(m->t, row_is_true, &c, &e), 0);
		ck_assert_uint_eq(c.rows, HASH_COUNT(m->sites));
	}
	ck_assert_uint_gt(c.rows, 1000);
	ck_assert_uint_gt(live_objects(m), 1000);
	totals_are_true(m, live_objects(m));
	model_free(m);
}
END_TEST

START_TEST(a_reader_that_lags_never_names_another)
{
	struct model *m = calloc(1, sizeof(*m));
	struct check c = {.m = m};
	struct err e;

	run(m, true, 100);
	ck_assert_int_eq(track_rows(m->t, row_is_not_false, &c, &e), 0);
	ck_assert_uint_eq(c.allocated, m->allocated);
	ck_assert_uint_eq(c.live, live_objects(m));
	ck_assert_uint_gt(c.collected, 0);
	ck_assert_uint_lt(c.collected, m->allocated / 10);
	totals_are_true(m, c.live);
	model_free(m);
}
END_TEST

SUITE_MAIN("model", a_reader_that_keeps_up_is_exact, a_reader_that_lags_never_names_another)
