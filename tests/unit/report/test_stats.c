#include "sample.h"

/* The two lines of the README of 2010. */
START_TEST(looks_as_in_2010)
{
	struct profile_row rows[] = {
	    {"test.rb", 7, "a", "String", NULL, NULL, 100, 0, 100, 4000, 0},
	    {"test.rb", 11, "b", "String", NULL, NULL, 1000, 0, 1000, 40000, 0},
	    {"test.rb", 12, "b", "Hash", NULL, NULL, 5, 5, 0, 0, 0},
	};
	struct profile p = {.rows = rows, .nrows = 3};
	struct export_opts o = {0};

	sample_expect(&exporter_stats, &p, &o,
		      "       1000 test.rb:11:String\n"
		      "        100 test.rb:7:String\n");
}
END_TEST

START_TEST(nasty_names_are_harmless)
{
	struct profile p = sample_profile();
	struct export_opts o = {0};

	sample_expect(&exporter_stats, &p, &o,
		      "       1000 /srv/app/app/models/order.rb:11:Order::Line\n"
		      "        100 /srv/app/lib/cache.rb:7:String\n"
		      "          4 /srv/app/lib/cache.rb:7:\\x1b[31mEvil\\u{202e}\\xff\"\\x0a\\\n"
		      "          3 :0:(iseq)\n");
}
END_TEST

START_TEST(groups_have_a_key)
{
	struct profile p = sample_profile();
	struct export_opts o = {.by = KEY_GEM};

	sample_expect(&exporter_stats, &p, &o,
		      "       1104 app\n"
		      "          3 (unknown)\n");
}
END_TEST

/* The limit counts printed rows, not those without live objects. */
START_TEST(limit_and_sort)
{
	struct profile p = sample_profile();
	struct export_opts o = {.sort = SORT_ALLOCATED, .limit = 2, .limit_given = true};

	sample_expect(&exporter_stats, &p, &o,
		      "       1000 /srv/app/app/models/order.rb:11:Order::Line\n"
		      "        100 /srv/app/lib/cache.rb:7:String\n");
}
END_TEST

START_TEST(nothing_is_no_output)
{
	struct profile p = {0};
	struct export_opts o = {0};
	sample_expect(&exporter_stats, &p, &o, "");
}
END_TEST

SUITE_MAIN("report stats", looks_as_in_2010, nasty_names_are_harmless, groups_have_a_key,
	   limit_and_sort, nothing_is_no_output)
