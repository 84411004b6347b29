#include "sample.h"

static struct grouping group_by(const struct profile *p, enum profile_key key,
				enum profile_sort sort)
{
	struct grouping g;
	struct err e = {0};
	ck_assert_int_eq(profile_group(p, key, sort, &g, &e), 0);
	return g;
}

/* Whatever the key, nothing is lost or counted twice. */
START_TEST(sums_are_kept)
{
	struct profile p = sample_profile();

	for (int key = KEY_SITE; key <= KEY_THREAD; key++) {
		struct grouping g = group_by(&p, (enum profile_key)key, SORT_LIVE);
		struct group want = {0}, got = {0};
		for (size_t i = 0; i < p.nrows; i++) {
			want.allocated += p.rows[i].allocated;
			want.freed += p.rows[i].freed;
			want.live += p.rows[i].live;
			want.live_bytes += p.rows[i].live_bytes;
			want.survived += p.rows[i].survived;
		}
		for (size_t i = 0; i < g.n; i++) {
			got.allocated += g.v[i].allocated;
			got.freed += g.v[i].freed;
			got.live += g.v[i].live;
			got.live_bytes += g.v[i].live_bytes;
			got.survived += g.v[i].survived;
			ck_assert(key == KEY_SITE ? !g.v[i].key : !!g.v[i].key);
		}
		ck_assert_mem_eq(&want, &got, sizeof(want));
		grouping_deinit(&g);
	}
}
END_TEST

static const struct {
	enum profile_key key;
	size_t n;
	const char *first;
	uint64_t live;
} by_key[] = {
    {KEY_CLASS, 5, "Order::Line", 1000},
    {KEY_FILE, 4, "/srv/app/app/models/order.rb", 1000},
    {KEY_LINE, 4, "/srv/app/app/models/order.rb:11", 1000},
    {KEY_METHOD, 4, "block in leak", 1000},
    {KEY_GEM, 3, "app", 1104},
    {KEY_THREAD, 1, "", 1107},
};

START_TEST(rows_meet_under_their_key)
{
	struct profile p = sample_profile();

	for (size_t i = 0; i < sizeof(by_key) / sizeof(by_key[0]); i++) {
		struct grouping g = group_by(&p, by_key[i].key, SORT_LIVE);
		ck_assert_uint_eq(g.n, by_key[i].n);
		ck_assert_str_eq(g.v[0].key, by_key[i].first);
		ck_assert_uint_eq(g.v[0].live, by_key[i].live);
		grouping_deinit(&g);
	}
}
END_TEST

static const struct {
	enum profile_sort sort;
	const char *order; /* of the classes "a" to "d" below */
} by_sort[] = {
    {SORT_LIVE, "dcba"},  {SORT_BYTES, "abcd"},    {SORT_ALLOCATED, "bacd"},
    {SORT_FREED, "cbad"}, {SORT_SURVIVED, "adbc"},
};

START_TEST(each_figure_sorts)
{
	struct profile_row rows[] = {
	    {"f", 1, "", "a", NULL, NULL, 7, 2, 1, 90, 5},
	    {"f", 1, "", "b", NULL, NULL, 8, 3, 2, 80, 3},
	    {"f", 1, "", "c", NULL, NULL, 6, 4, 3, 70, 0},
	    {"f", 1, "", "d", NULL, NULL, 5, 1, 4, 60, 4},
	};
	struct profile p = {.rows = rows, .nrows = 4};

	for (size_t i = 0; i < sizeof(by_sort) / sizeof(by_sort[0]); i++)
		for (int key = KEY_SITE; key <= KEY_CLASS; key++) {
			struct grouping g = group_by(&p, (enum profile_key)key, by_sort[i].sort);
			char order[5] = "";
			for (size_t j = 0; j < g.n && j < 4; j++)
				order[j] = g.v[j].row->klass[0];
			ck_assert_str_eq(order, by_sort[i].order);
			grouping_deinit(&g);
		}
}
END_TEST

/* Equal figures are ordered by name, and lines by number, whatever order the rows came in. */
START_TEST(order_is_deterministic)
{
	struct profile_row rows[] = {
	    {"b", 1, "", "X", NULL, NULL, 1, 0, 1, 40, 0},
	    {"a", 10, "", "X", NULL, NULL, 1, 0, 1, 40, 0},
	    {"a", 9, "", "Y", NULL, NULL, 1, 0, 1, 40, 0},
	    {"a", 9, "", "X", NULL, NULL, 1, 0, 1, 40, 0},
	};
	struct profile p = {.rows = rows, .nrows = 4};
	struct grouping g = group_by(&p, KEY_SITE, SORT_LIVE);

	ck_assert_uint_eq(g.n, 4);
	ck_assert_ptr_eq(g.v[0].row, &rows[3]);
	ck_assert_ptr_eq(g.v[1].row, &rows[2]);
	ck_assert_ptr_eq(g.v[2].row, &rows[1]);
	ck_assert_ptr_eq(g.v[3].row, &rows[0]);
	grouping_deinit(&g);
}
END_TEST

START_TEST(a_site_is_file_line_class_and_thread)
{
	struct profile_row rows[] = {
	    {"a", 1, "m", "X", NULL, NULL, 1, 0, 1, 40, 0},
	    {"a", 1, "block in m", "X", NULL, NULL, 2, 0, 2, 80, 0},
	    {"a", 1, "m", "X", NULL, "worker", 4, 0, 4, 160, 0},
	    {"a", 11, "m", "X", NULL, NULL, 8, 0, 8, 320, 0},
	    {"a1", 1, "m", "X", NULL, NULL, 16, 0, 16, 640, 0},
	};
	struct profile p = {.rows = rows, .nrows = 5};
	struct grouping g = group_by(&p, KEY_SITE, SORT_LIVE);

	ck_assert_uint_eq(g.n, 4);
	ck_assert_uint_eq(g.v[0].live, 16);
	ck_assert_uint_eq(g.v[1].live, 8);
	ck_assert_uint_eq(g.v[2].live, 4);
	ck_assert_uint_eq(g.v[3].live, 3);
	ck_assert_ptr_eq(g.v[3].row, &rows[0]);
	grouping_deinit(&g);
}
END_TEST

START_TEST(no_rows)
{
	struct profile p = {0};
	struct grouping g = group_by(&p, KEY_GEM, SORT_BYTES);
	ck_assert_uint_eq(g.n, 0);
	grouping_deinit(&g);
}
END_TEST

START_TEST(many_rows_with_long_names)
{
	enum { N = 20000, LONG = 10000 };
	static struct profile_row rows[N];
	static char names[N / 2][8], endless[LONG + 1];
	struct profile p = {.rows = rows, .nrows = N};

	memset(endless, 'Q', LONG);
	for (size_t i = 0; i < N; i++) {
		snprintf(names[i % (N / 2)], sizeof(names[0]), "c%zu", i % (N / 2));
		rows[i] = (struct profile_row){
		    "f", (uint32_t)i, "", names[i % (N / 2)], NULL, NULL, 1, 0, 1, 40, 0};
	}
	rows[0].klass = endless;
	struct grouping g = group_by(&p, KEY_CLASS, SORT_LIVE);
	ck_assert_uint_eq(g.n, N / 2 + 1);
	ck_assert_uint_eq(g.v[0].live, 2);
	ck_assert_str_eq(g.v[N / 2 - 1].key, endless); /* once, like c0: "Q" sorts before "c" */
	ck_assert_str_eq(g.v[N / 2].key, "c0");
	grouping_deinit(&g);
}
END_TEST

SUITE_MAIN("report group", sums_are_kept, rows_meet_under_their_key, each_figure_sorts,
	   order_is_deterministic, a_site_is_file_line_class_and_thread, no_rows,
	   many_rows_with_long_names)
