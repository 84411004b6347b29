#include "fake.h"
#include "suite.h"

struct world {
	struct fake f;
	struct track *t;
	struct fake_rows rows;
	uint64_t pos;
};

/* Iseqs 0.. are a.rb, b.rb, c.rb; classes A, B, C. */
static struct world *world_new(const struct track_opts *o)
{
	struct world *w = calloc(1, sizeof(*w));
	struct track_source src = fake_source(&w->f);
	struct err e;
	char name[8];

	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%c.rb", (char)('a' + i));
		fake_iseq_set(&w->f, i, name, "m");
		snprintf(name, sizeof(name), "%c", (char)('A' + i));
		fake_class_set(&w->f, i, name);
	}
	ck_assert_int_eq(track_create(&src, o, &w->t, &e), 0);
	return w;
}

static void world_free(struct world *w)
{
	track_destroy(w->t);
	ck_assert_int_eq(w->f.copies, 0);
	free(w);
}

/* One event; the agent has written no further than this. */
static void give(struct world *w, struct ring_event ev)
{
	ev.pos = w->pos;
	w->pos += ev.kind == MP_KIND_ALLOC ? 2 : 1;
	if (w->f.head < w->pos)
		w->f.head = w->pos;
	track_events(w->t, &ev, 1);
	track_idle(w->t, w->pos);
}

static const struct track_row *row(struct world *w, const char *file, uint32_t line,
				   const char *klass)
{
	struct err e;

	w->rows.n = 0;
	ck_assert_int_eq(track_rows(w->t, fake_row_add, &w->rows, &e), 0);
	return fake_row(&w->rows, file, line, klass);
}

static void expect(struct world *w, const char *file, uint32_t line, const char *klass,
		   uint64_t allocated, uint64_t live)
{
	const struct track_row *r = row(w, file, line, klass);

	ck_assert_msg(r != NULL, "no row %s:%u:%s", file, line, klass);
	ck_assert_uint_eq(r->allocated, allocated);
	ck_assert_uint_eq(r->live, live);
	ck_assert_uint_eq(r->freed, allocated - live);
	ck_assert_uint_eq(r->live_bytes, live * 40);
}

static const struct track_opts plain = {0};

START_TEST(births_and_ends)
{
	struct world *w = world_new(&plain);
	struct track_totals t;

	for (unsigned i = 0; i < 5; i++)
		give(w, fake_alloc(FAKE_OBJ(0, i), 0, 1, 0));
	give(w, fake_alloc(FAKE_OBJ(0, 5), 0, 2, 1));
	give(w, fake_free(FAKE_OBJ(0, 0), RT_OBJECT));
	give(w, fake_free(FAKE_OBJ(1, 0), RT_OBJECT)); /* born before us */
	expect(w, "a.rb", 11, "A", 5, 4);
	expect(w, "a.rb", 12, "B", 1, 1);
	ck_assert_uint_eq(w->rows.n, 2);
	ck_assert_str_eq(w->rows.v[0].method, "m");
	ck_assert_ptr_null(w->rows.v[0].internal);
	track_totals(w->t, &t);
	ck_assert(t.allocated == 6 && t.freed == 2 && t.freed_tracked == 1 && t.live == 5);
	ck_assert(t.implicit_ends == 0 && t.untracked == 0 && t.other == 0);
	ck_assert_uint_eq(w->f.iseq_reads, 1);
	ck_assert_uint_eq(w->f.class_reads, 2);
	world_free(w);
}
END_TEST

START_TEST(same_place_is_one_row)
{
	struct world *w = world_new(&plain);
	struct ring_event ev = fake_alloc(FAKE_OBJ(0, 1), 0, 2, 0);

	fake_iseq_set(&w->f, 1, "a.rb", "m");
	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	ev.ruby_top = false; /* one instruction back: line 11 as well */
	give(w, ev);
	give(w, fake_alloc(FAKE_OBJ(0, 2), 1, 1, 0)); /* another iseq of that file */
	expect(w, "a.rb", 11, "A", 3, 3);
	ck_assert_uint_eq(w->rows.n, 1);
	world_free(w);
}
END_TEST

START_TEST(no_frame)
{
	struct world *w = world_new(&plain);
	struct ring_event ev = fake_alloc(FAKE_OBJ(0, 0), 0, 0, 0);

	ev.iseq = ev.pc = 0;
	give(w, ev);
	expect(w, "", 0, "A", 1, 1);
	ck_assert_str_eq(w->rows.v[0].method, "");
	world_free(w);
}
END_TEST

static struct ring_event internal_alloc(void)
{
	struct ring_event ev = fake_alloc(FAKE_OBJ(0, 0), 10, 1, 0);

	ev.caller_iseq = FAKE_ISEQ(1);
	ev.caller_pc = FAKE_PC(1, 4);
	return ev;
}

START_TEST(internal_births_go_to_the_caller)
{
	struct world *w = world_new(&plain);

	fake_iseq_set(&w->f, 10, "<internal:kernel>", "loop");
	give(w, internal_alloc());
	expect(w, "b.rb", 13, "A", 1, 1); /* the caller's frame is never on top */
	ck_assert_str_eq(w->rows.v[0].internal, "<internal:kernel>");
	ck_assert_str_eq(w->rows.v[0].method, "m");
	world_free(w);
}
END_TEST

START_TEST(internal_births_stay_when_asked)
{
	const struct track_opts o = {.keep_internal = true};
	struct world *w = world_new(&o);
	struct ring_event ev = internal_alloc();

	fake_iseq_set(&w->f, 10, "<internal:kernel>", "loop");
	give(w, ev);
	ev.obj = FAKE_OBJ(0, 1);
	ev.caller_pc = FAKE_PC(1, 5);
	give(w, ev);
	expect(w, "<internal:kernel>", 11, "A", 2, 2);
	ck_assert_str_eq(w->rows.v[0].method, "loop");
	ck_assert_ptr_null(w->rows.v[0].internal);
	ck_assert_uint_eq(w->f.iseq_reads, 1);
	world_free(w);
}
END_TEST

START_TEST(threads_when_asked)
{
	const struct track_opts o = {.by_thread = true};
	struct world *w = world_new(&o);

	for (uint16_t i = 0; i < 6; i++) {
		struct ring_event ev = fake_alloc(FAKE_OBJ(0, i), 0, 1, 0);

		ev.thread = i % 3;
		give(w, ev);
	}
	ck_assert_ptr_nonnull(row(w, "a.rb", 11, "A"));
	ck_assert_uint_eq(w->rows.n, 3);
	for (uint32_t i = 0, seen = 0; i < 3; i++) {
		seen |= 1u << w->rows.v[i].thread;
		ck_assert_uint_eq(w->rows.v[i].allocated, 2);
		ck_assert(i < 2 || seen == 7);
	}
	world_free(w);
}
END_TEST

START_TEST(hidden_objects_have_internal_names)
{
	struct world *w = world_new(&plain);
	struct ring_event ev = fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0);

	ev.klass = 0;
	ev.flags = RT_ARRAY | 0xff00;
	give(w, ev);
	ev.flags = RT_ARRAY;
	ev.obj += 40;
	give(w, ev);
	ev.flags = RT_IMEMO | 6 << 12 | 1 << 20;
	for (uint64_t k = 0; k < 5; k++) {
		ev.klass = k * 8; /* no class: an imemo's second word is anything */
		ev.obj += 40;
		give(w, ev);
	}
	expect(w, "a.rb", 11, "(hidden 7)", 2, 2);
	expect(w, "a.rb", 11, "(imemo:6)", 5, 5);
	ck_assert_uint_eq(w->f.class_reads, 0);
	world_free(w);
}
END_TEST

START_TEST(hidden_objects_are_revealed_at_the_end)
{
	struct world *w = world_new(&plain);
	struct ring_event ev = fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0);

	ev.klass = 0;
	for (unsigned i = 0; i < 3000; i++) {
		ev.flags = i % 3 == 0 ? RT_STRING : i % 3 == 1 ? RT_ARRAY : RT_IMEMO;
		ev.obj = FAKE_OBJ(i / 400, i % 400);
		give(w, ev);
	}
	give(w, fake_free(FAKE_OBJ(0, 1), RT_ARRAY));
	w->f.peek_flags = RT_ARRAY | 1 << 20;
	w->f.peek_class = FAKE_CLASS(2);
	track_finish(w->t, 0, false);
	ck_assert_uint_eq(w->f.peeks, 1999); /* imemos have no class to come */
	expect(w, "a.rb", 11, "(hidden 5)", 1000, 1000);
	expect(w, "a.rb", 11, "(hidden 7)", 1, 0);
	expect(w, "a.rb", 11, "(imemo:0)", 1000, 1000);
	expect(w, "a.rb", 11, "C", 999, 999);
	ck_assert_uint_eq(w->rows.n, 4);
	world_free(w);
}
END_TEST

START_TEST(another_object_in_the_place_ends_the_old)
{
	struct world *w = world_new(&plain);
	struct track_totals t;

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	give(w, fake_alloc(FAKE_OBJ(0, 0), 1, 1, 1));
	give(w, fake_alloc(FAKE_OBJ(0, 0), 1, 1, 1));
	expect(w, "a.rb", 11, "A", 1, 0);
	expect(w, "b.rb", 11, "B", 2, 1);
	track_totals(w->t, &t);
	ck_assert(t.implicit_ends == 2 && t.freed_tracked == 2 && t.freed == 0 && t.live == 1);
	world_free(w);
}
END_TEST

START_TEST(objects_move)
{
	struct world *w = world_new(&plain);
	struct track_totals t;

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	give(w, fake_alloc(FAKE_OBJ(0, 1), 1, 1, 1));
	for (unsigned i = 0; i < 50; i++)
		give(w, fake_move(FAKE_OBJ(i, i), FAKE_OBJ(i + 1, i + 1), RT_OBJECT));
	give(w, fake_move(FAKE_OBJ(90, 1), FAKE_OBJ(0, 1), RT_OBJECT)); /* over b.rb's */
	expect(w, "a.rb", 11, "A", 1, 1);
	expect(w, "b.rb", 11, "B", 1, 0);
	give(w, fake_free(FAKE_OBJ(0, 0), RT_OBJECT));
	expect(w, "a.rb", 11, "A", 1, 1);
	give(w, fake_free(FAKE_OBJ(50, 50), RT_OBJECT));
	expect(w, "a.rb", 11, "A", 1, 0);
	track_totals(w->t, &t);
	ck_assert(t.moves == 51 && t.implicit_ends == 1 && t.freed_tracked == 2 && t.live == 0);
	world_free(w);
}
END_TEST

START_TEST(what_has_no_place_is_untracked)
{
	struct world *w = world_new(&plain);
	const struct track_row *r;
	struct track_totals t;

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	give(w, fake_alloc(FAKE_OBJ(0, 0) + 1, 0, 1, 0));
	give(w, fake_alloc(FAKE_OBJ(0, 1), 0, 1, 0));
	give(w, fake_move(FAKE_OBJ(0, 1), FAKE_OBJ(0, 2) + 8, RT_OBJECT));
	r = row(w, "a.rb", 11, "A");
	ck_assert(r->allocated == 3 && r->live == 1 && r->freed == 0);
	track_totals(w->t, &t);
	ck_assert(t.untracked == 2 && t.live == 1 && t.freed_tracked == 0);
	world_free(w);
}
END_TEST

/* -- names ----------------------------------------------------------------------------------- */

START_TEST(iseq_reused_at_its_address)
{
	struct world *w = world_new(&plain);

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	give(w, fake_free(FAKE_ISEQ(0), FAKE_ISEQ_FLAGS));
	fake_iseq_set(&w->f, 0, "new.rb", "n");
	give(w, fake_alloc(FAKE_OBJ(0, 1), 0, 1, 0));
	expect(w, "a.rb", 11, "A", 1, 1);
	expect(w, "new.rb", 11, "A", 1, 1);
	give(w, fake_free(FAKE_OBJ(0, 0), RT_OBJECT));
	expect(w, "a.rb", 11, "A", 1, 0);
	expect(w, "new.rb", 11, "A", 1, 1);
	world_free(w);
}
END_TEST

/* The FREE is in the ring already when the name is read: what was read is the successor's. */
START_TEST(iseq_freed_before_its_name_was_read)
{
	struct world *w = world_new(&plain);

	fake_iseq_set(&w->f, 0, "successor.rb", "s");
	w->f.head = 100;
	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	w->pos = 99;
	give(w, fake_free(FAKE_ISEQ(0), FAKE_ISEQ_FLAGS));
	give(w, fake_alloc(FAKE_OBJ(0, 1), 0, 1, 0));
	expect(w, "(collected code)", 0, "A", 1, 1);
	expect(w, "successor.rb", 11, "A", 1, 1);
	ck_assert_uint_eq(w->rows.n, 2);
	world_free(w);
}
END_TEST

START_TEST(iseq_freed_just_after_its_name_was_read)
{
	struct world *w = world_new(&plain);

	w->f.head = 100;
	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	w->pos = 100;
	give(w, fake_free(FAKE_ISEQ(0), FAKE_ISEQ_FLAGS));
	expect(w, "a.rb", 11, "A", 1, 1);
	world_free(w);
}
END_TEST

/* As above, for a class; its object is gone first, so the site waits with its last word. */
START_TEST(class_freed_before_its_name_was_read)
{
	for (int live = 0; live <= 1; live++) {
		struct world *w = world_new(&plain);

		fake_class_set(&w->f, 0, "Successor");
		w->f.head = 100;
		give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
		if (!live)
			give(w, fake_free(FAKE_OBJ(0, 0), RT_OBJECT));
		give(w, fake_free(FAKE_ISEQ(0), FAKE_ISEQ_FLAGS)); /* closes the site */
		w->pos = 99;
		give(w, fake_free(FAKE_CLASS(0), RT_CLASS));
		give(w, fake_alloc(FAKE_OBJ(0, 1), 1, 1, 0));
		expect(w, "(collected code)", 0, "(collected class)", 1, (uint64_t)live);
		expect(w, "b.rb", 11, "Successor", 1, 1);
		ck_assert_uint_eq(w->rows.n, 2);
		world_free(w);
	}
}
END_TEST

START_TEST(class_freed_after_its_name_was_accepted)
{
	struct world *w = world_new(&plain);

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	give(w, fake_free(FAKE_CLASS(0), RT_CLASS));
	fake_class_set(&w->f, 0, "Successor");
	give(w, fake_alloc(FAKE_OBJ(0, 1), 0, 1, 0));
	expect(w, "a.rb", 11, "A", 1, 1);
	expect(w, "a.rb", 11, "Successor", 1, 1);
	world_free(w);
}
END_TEST

START_TEST(internal_file_not_trusted)
{
	struct world *w = world_new(&plain);

	fake_iseq_set(&w->f, 10, "<internal:successor>", "s");
	w->f.head = 100;
	give(w, internal_alloc());
	give(w, fake_free(FAKE_ISEQ(10), FAKE_ISEQ_FLAGS));
	expect(w, "b.rb", 13, "A", 1, 1);
	ck_assert_str_eq(w->rows.v[0].internal, "(collected code)");
	give(w, fake_free(FAKE_ISEQ(1), FAKE_ISEQ_FLAGS));
	expect(w, "(collected code)", 0, "A", 1, 1);
	world_free(w);
}
END_TEST

START_TEST(code_moves)
{
	struct world *w = world_new(&plain);

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	give(w, fake_move(FAKE_ISEQ(0), FAKE_ISEQ(20), FAKE_ISEQ_FLAGS));
	give(w, fake_move(FAKE_CLASS(0), FAKE_CLASS(20), RT_CLASS));
	w->f.iseq[20] = w->f.iseq[0];
	w->f.klass[20] = w->f.klass[0];
	fake_iseq_set(&w->f, 0, "other.rb", "o");
	give(w, fake_alloc(FAKE_OBJ(0, 1), 20, 1, 20));
	give(w, fake_alloc(FAKE_OBJ(0, 2), 0, 1, 1));
	expect(w, "a.rb", 11, "A", 2, 2);
	expect(w, "other.rb", 11, "B", 1, 1);
	ck_assert_uint_eq(w->f.iseq_reads, 3);
	ck_assert_uint_eq(w->rows.n, 2);
	world_free(w);
}
END_TEST

/* A FREE was dropped: the code's pc says so. */
START_TEST(stale_code_is_noticed)
{
	struct world *w = world_new(&plain);
	struct ring_event ev = fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0);

	give(w, ev);
	fake_iseq_set(&w->f, 0, "new.rb", "n");
	give(w, fake_alloc(FAKE_ISEQ(0), 1, 1, 1)); /* not an iseq: no hint */
	ev.obj = FAKE_OBJ(0, 1);
	ev.pc = FAKE_PC(0, FAKE_WORDS + 5); /* nor does the new one hold it */
	give(w, ev);
	expect(w, "a.rb", 11, "A", 1, 1);
	expect(w, "(collected code)", 0, "A", 1, 1);
	ev.obj = FAKE_OBJ(0, 2);
	ev.pc = FAKE_PC(0, 2);
	give(w, ev);
	expect(w, "new.rb", 12, "A", 1, 1);
	world_free(w);
}
END_TEST

START_TEST(reborn_code_is_noticed)
{
	struct world *w = world_new(&plain);
	struct ring_event ev = fake_alloc(FAKE_ISEQ(0), 1, 1, 1);

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	fake_iseq_set(&w->f, 0, "new.rb", "n");
	fake_class_set(&w->f, 0, "N");
	ev.flags = FAKE_ISEQ_FLAGS;
	give(w, ev);
	ev.flags = RT_CLASS;
	ev.obj = FAKE_CLASS(0);
	give(w, ev);
	give(w, fake_alloc(FAKE_OBJ(0, 1), 0, 1, 0));
	expect(w, "a.rb", 11, "A", 1, 1);
	expect(w, "new.rb", 11, "N", 1, 1);
	world_free(w);
}
END_TEST

START_TEST(nothing_is_believed_across_a_gap)
{
	struct world *w = world_new(&plain);

	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	w->f.head = 100;
	give(w, fake_alloc(FAKE_OBJ(0, 1), 1, 1, 1));
	track_gap(w->t); /* ring position 4: b.rb was read with the agent at 100 */
	fake_iseq_set(&w->f, 0, "new.rb", "n");
	fake_class_set(&w->f, 0, "N");
	give(w, fake_alloc(FAKE_OBJ(0, 2), 0, 1, 0));
	expect(w, "a.rb", 11, "A", 1, 1);
	expect(w, "(collected code)", 0, "(collected class)", 1, 1);
	expect(w, "new.rb", 11, "N", 1, 1);
	give(w, fake_free(FAKE_OBJ(0, 0), RT_OBJECT));
	expect(w, "a.rb", 11, "A", 1, 0);
	world_free(w);
}
END_TEST

START_TEST(class_gets_its_name_later)
{
	struct world *w = world_new(&plain);

	fake_class_set(&w->f, 0, "#<Class:0x1>");
	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	expect(w, "a.rb", 11, "#<Class:0x1>", 1, 1);
	fake_class_set(&w->f, 0, "Named");
	track_refresh(w->t);
	expect(w, "a.rb", 11, "Named", 1, 1);
	fake_class_set(&w->f, 0, "Never");
	track_refresh(w->t); /* permanent */
	track_finish(w->t, 0, false);
	expect(w, "a.rb", 11, "Named", 1, 1);
	ck_assert_uint_eq(w->rows.n, 1);
	world_free(w);
}
END_TEST

/* The name that a refresh brings falls under the same rule; the old one stays good. */
START_TEST(refreshed_name_is_not_trusted)
{
	struct world *w = world_new(&plain);

	fake_class_set(&w->f, 0, "#<Class:0x1>");
	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	fake_class_set(&w->f, 0, "Successor");
	w->f.head = 100;
	track_refresh(w->t);
	w->pos = 99;
	give(w, fake_free(FAKE_CLASS(0), RT_CLASS));
	expect(w, "a.rb", 11, "#<Class:0x1>", 1, 1);
	world_free(w);
}
END_TEST

START_TEST(unreadable_is_asked_again)
{
	struct world *w = world_new(&plain);

	w->f.iseq[0].there = w->f.klass[0].there = false;
	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	expect(w, "(collected code)", 0, "(collected class)", 1, 1);
	w->f.iseq[0].there = w->f.klass[0].there = true;
	track_refresh(w->t);
	expect(w, "a.rb", 11, "A", 1, 1);
	world_free(w);
}
END_TEST

/* The caller's name comes when the internal frame's iseq has had its last word, and v.v. */
START_TEST(late_names_leave_last_words_alone)
{
	for (size_t late = 0; late < 2; late++) {
		const size_t iseq[] = {10, 1};
		struct world *w = world_new(&plain);

		fake_iseq_set(&w->f, 10, "<internal:kernel>", "loop");
		w->f.iseq[iseq[late]].there = false;
		give(w, internal_alloc());
		give(w, fake_free(FAKE_ISEQ(iseq[!late]), FAKE_ISEQ_FLAGS));
		w->f.iseq[iseq[late]].there = true;
		track_refresh(w->t);
		if (late == 0)
			expect(w, "b.rb", 13, "A", 1, 1);
		else
			expect(w, "(collected code)", 0, "A", 1, 1);
		ck_assert_str_eq(w->rows.v[0].internal,
				 late == 0 ? "(collected code)" : "<internal:kernel>");
		world_free(w);
	}
}
END_TEST

START_TEST(unreadable_is_not_asked_for_ever)
{
	struct world *w = world_new(&plain);

	w->f.iseq[0].there = w->f.klass[0].there = false;
	give(w, fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0));
	for (int i = 0; i < 100; i++)
		track_refresh(w->t);
	ck_assert_uint_le(w->f.iseq_reads, 10);
	ck_assert_uint_le(w->f.class_reads, 10);
	give(w, fake_free(FAKE_ISEQ(0), FAKE_ISEQ_FLAGS));
	give(w, fake_free(FAKE_CLASS(0), RT_CLASS));
	expect(w, "(collected code)", 0, "(collected class)", 1, 1);
	world_free(w);
}
END_TEST

/* -- GC -------------------------------------------------------------------------------------- */

static uint64_t survived(struct world *w)
{
	const struct track_row *r = row(w, "a.rb", 11, "A");

	ck_assert_ptr_nonnull(r);
	return r->survived;
}

static uint64_t survived_at(uint64_t start, uint16_t birth, uint64_t end, bool running)
{
	const struct track_opts o = {.gc_count = start};
	struct world *w = world_new(&o);
	struct ring_event ev = fake_alloc(FAKE_OBJ(0, 0), 0, 1, 0);
	uint64_t n;

	ev.gc = birth;
	give(w, ev);
	track_finish(w->t, end, running);
	n = survived(w);
	world_free(w);
	return n;
}

START_TEST(survivors)
{
	ck_assert_uint_eq(survived_at(7, 7, 7, false), 0);
	ck_assert_uint_eq(survived_at(7, 7, 7, true), 0);
	ck_assert_uint_eq(survived_at(7, 7, 8, true), 0); /* under way */
	ck_assert_uint_eq(survived_at(7, 7, 8, false), 1);
	ck_assert_uint_eq(survived_at(7, 7, 9, true), 1);
	ck_assert_uint_eq(survived_at(7, 9, 9, false), 0);
	ck_assert_uint_eq(survived_at(0, 0, 0, true), 0);
}
END_TEST

START_TEST(epoch_is_more_than_16_bits)
{
	ck_assert_uint_eq(survived_at(0x1ffff, 0xffff, 0x20000, false), 1);
	ck_assert_uint_eq(survived_at(0x1ffff, 0, 0x20000, false), 0); /* born after the wrap */
	ck_assert_uint_eq(survived_at(0x20000, 0xffff, 0x20000, false), 1); /* late record */
	ck_assert_uint_eq(survived_at(0xffffffff, 0, 0x100000000, false), 0);
	ck_assert_uint_eq(survived_at(0xffffffff, 0xffff, 0x100000000, false), 1);
}
END_TEST

START_TEST(epoch_follows_for_many_wraps)
{
	struct world *w = world_new(&plain);

	for (uint32_t gc = 0; gc < 300000; gc += 1000) {
		struct ring_event ev = fake_alloc(FAKE_OBJ(0, gc / 1000), 0, 1, 0);

		ev.gc = (uint16_t)gc;
		give(w, ev);
	}
	track_finish(w->t, 299000, false);
	ck_assert_uint_eq(survived(w), 299); /* all but the last */
	world_free(w);
}
END_TEST

/* -- bounds ---------------------------------------------------------------------------------- */

static size_t memory(struct world *w)
{
	struct track_memory m;

	track_memory(w->t, &m);
	return m.live + m.sites + m.code + m.names + m.rows;
}

/* eval in a loop: each iseq makes an object that dies, and dies itself. */
START_TEST(eval_churn_is_bounded)
{
	struct world *w = world_new(&plain);
	size_t after_warm = 0;
	struct track_totals t;

	for (unsigned i = 0; i < 200000; i++) {
		unsigned k = i % 1000;

		fake_iseq_set(&w->f, k, "(eval)", "m");
		give(w, fake_alloc(FAKE_OBJ(k / 400, k % 400), k, 1, 0));
		if (i >= 500) {
			unsigned old = (i - 500) % 1000;

			give(w, fake_free(FAKE_OBJ(old / 400, old % 400), RT_OBJECT));
			give(w, fake_free(FAKE_ISEQ(old), FAKE_ISEQ_FLAGS));
		}
		if (i == 20000)
			after_warm = memory(w);
	}
	ck_assert_uint_eq(w->f.iseq_reads, 200000);
	ck_assert_uint_le(memory(w), after_warm + after_warm / 10);
	expect(w, "(eval)", 11, "A", 200000, 500);
	track_totals(w->t, &t);
	ck_assert_uint_eq(t.other, 0);
	world_free(w);
}
END_TEST

START_TEST(too_many_sites_are_one_row)
{
	const struct track_opts o = {.sites_max = 11}; /* ten, and "(other)" */
	struct world *w = world_new(&o);
	struct track_totals t;

	for (unsigned i = 0; i < 60; i++)
		give(w, fake_alloc(FAKE_OBJ(0, i), 0, i % 30, 0));
	for (unsigned i = 0; i < 60; i += 4)
		give(w, fake_free(FAKE_OBJ(0, i), RT_OBJECT));
	expect(w, "", 0, "(other)", 40, 30);
	expect(w, "a.rb", 19, "A", 2, 2);
	ck_assert_uint_eq(w->rows.n, 11);
	track_totals(w->t, &t);
	ck_assert_uint_eq(t.other, 40);
	ck_assert_uint_eq(t.live, 45);
	for (unsigned i = 0; i < 60; i++)
		give(w, fake_free(FAKE_OBJ(0, i), RT_OBJECT));
	expect(w, "", 0, "(other)", 40, 0);
	world_free(w);
}
END_TEST

/* Any bits anywhere: nothing is read outside (ASan), nothing is lost. */
START_TEST(hostile_events)
{
	const struct track_opts o = {.live_limit = 4 << 20, .sites_max = 5000};
	struct world *w = world_new(&o);
	struct track_totals t;
	uint64_t s = 7;

	for (unsigned i = 0; i < 300000; i++) {
		uint64_t word[10];
		struct ring_event ev;

		for (size_t k = 0; k < 10; k++) {
			s = s * 6364136223846793005ull + 1442695040888963407ull;
			word[k] = s >> 62 ? s : FAKE_ISEQ(s >> 54);
		}
		memcpy(&ev, word, sizeof(ev));
		ev.kind = (uint8_t)(MP_KIND_ALLOC + i % 3);
		ev.ruby_top = i & 8;
		give(w, ev);
		if (i % 1000 == 0)
			track_refresh(w->t);
	}
	track_finish(w->t, 1, true);
	track_totals(w->t, &t);
	ck_assert_uint_eq(t.live, t.allocated - t.freed_tracked - t.untracked);
	ck_assert_uint_le(memory(w), 64 << 20);
	world_free(w);
}
END_TEST

SUITE_MAIN("track", births_and_ends, same_place_is_one_row, no_frame,
	   internal_births_go_to_the_caller, internal_births_stay_when_asked, threads_when_asked,
	   hidden_objects_have_internal_names, hidden_objects_are_revealed_at_the_end,
	   another_object_in_the_place_ends_the_old, objects_move, what_has_no_place_is_untracked,
	   iseq_reused_at_its_address, iseq_freed_before_its_name_was_read,
	   iseq_freed_just_after_its_name_was_read, class_freed_before_its_name_was_read,
	   class_freed_after_its_name_was_accepted, internal_file_not_trusted, code_moves,
	   stale_code_is_noticed, reborn_code_is_noticed, class_gets_its_name_later,
	   refreshed_name_is_not_trusted, unreadable_is_asked_again,
	   late_names_leave_last_words_alone, nothing_is_believed_across_a_gap,
	   unreadable_is_not_asked_for_ever, survivors, epoch_is_more_than_16_bits,
	   epoch_follows_for_many_wraps, eval_churn_is_bounded, too_many_sites_are_one_row,
	   hostile_events)
