#include "report/fit.h"
#include "sample.h"

#define HEAD                                                                                       \
	"target     4242  /usr/bin/ruby3.1\n"                                                      \
	"ruby       3.1.7p261 (2025-03-26 revision 0a3704f218) [x86_64-linux-gnu]\n"               \
	"time       5.0 s\n"                                                                       \
	"allocated  501,308 objects\n"                                                             \
	"freed      500,301 objects, 100 of them born before\n"                                    \
	"live       1,107 objects, 44,280 bytes\n"                                                 \
	"coverage   exact: all 501,308 allocations that the VM counted\n"                          \
	"dropped    nothing\n"                                                                     \
	"gc         31 runs\n"                                                                     \
	"stopped    twice: attach 0.131 ms, detach 0.118 ms (one thread 0.620, 0.540 ms)\n"        \
	"\n"

START_TEST(golden_80_columns)
{
	struct profile p = sample_profile();
	struct export_opts o = {.width = 80};

	sample_expect(
	    &exporter_text, &p, &o,
	    HEAD
	    " live  bytes allocated   freed survived  file:line          method     class\n"
	    "1,000 40,000     1,200     200      800  …dels/order.rb:11  block in…  …er::Line\n"
	    "  100  4,000       100       0       90  …p/lib/cache.rb:7  store      String\n"
	    "    4    160         5       1        0  …p/lib/cache.rb:7  store      …ff\"\\x0a\\\n"
	    "    3    120         3       0        3  (no Ruby frame)               (iseq)\n"
	    "    0      0   500,000 500,000        0  …ack/utils.rb:310  parse      Hash\n");
}
END_TEST

START_TEST(golden_without_a_terminal)
{
	struct profile p = sample_profile();
	struct export_opts o = {.limit = 2, .limit_given = true};

	sample_expect(
	    &exporter_text, &p, &o,
	    HEAD
	    " live   bytes  allocated  freed  survived  file:line                        method    "
	    "     class\n"
	    "1,000  40,000      1,200    200       800  /srv/app/app/models/order.rb:11  block in "
	    "leak  Order::Line\n"
	    "  100   4,000        100      0        90  /srv/app/lib/cache.rb:7          store     "
	    "     String\n"
	    "\n"
	    "3 more with 7 live objects (-n 0 prints all)\n");
}
END_TEST

START_TEST(golden_groups)
{
	struct profile p = sample_profile();
	struct export_opts o = {.by = KEY_GEM, .sort = SORT_ALLOCATED, .width = 80};

	sample_expect(&exporter_text, &p, &o,
		      HEAD " live   bytes  allocated    freed  survived  gem\n"
			   "    0       0    500,000  500,000         0  rack-2.2.4\n"
			   "1,104  44,160      1,305      201       890  app\n"
			   "    3     120          3        0         3  (unknown)\n");
}
END_TEST

/* No line is wider than the terminal, and no byte can be taken for a command by it. */
START_TEST(lines_fit_and_are_harmless)
{
	static char endless[10001];
	struct profile p = sample_profile();
	struct profile_row rows[6];
	static const char *notes[] = {
	    "a sentence that goes on and on until no terminal has room for "
	    "it and it has to be broken at one of its many spaces"};

	memset(endless, 'Q', sizeof(endless) - 1);
	memcpy(rows, sample_rows, sizeof(sample_rows));
	rows[5] = (struct profile_row){"日本語/日本語/日本語/日本語/日本語.rb",
				       1,
				       "日本語日本語",
				       endless,
				       NULL,
				       NULL,
				       1,
				       0,
				       1,
				       40,
				       0};
	p.rows = rows;
	p.nrows = 6;
	p.notes = notes;
	p.nnotes = 1;

	struct fit_locale l;
	for (unsigned width = 24; width < 250; width++) {
		struct export_opts o = {.width = width};
		char *text = sample_export(&exporter_text, &p, &o), *rest = text, *line;
		fit_locale_enter(&l);
		while ((line = strsep(&rest, "\n"))) {
			ck_assert_msg(fit_columns(line) <= width, "%u: %s", width, line);
			ck_assert_ptr_null(strpbrk(line, "\033\r\x7f"));
		}
		fit_locale_leave(&l);
		free(text);
	}
}
END_TEST

START_TEST(too_narrow_is_no_disaster)
{
	struct profile p = sample_profile();
	for (unsigned width = 1; width < 24; width++) {
		struct export_opts o = {.width = width};
		char *text = sample_export(&exporter_text, &p, &o);
		ck_assert_ptr_nonnull(strstr(text, "1,000"));
		free(text);
	}
}
END_TEST

START_TEST(colour_only_when_asked_for)
{
	struct profile p = sample_profile();
	struct export_opts o = {.width = 160};

	char *plain = sample_export(&exporter_text, &p, &o);
	o.colour = true;
	char *coloured = sample_export(&exporter_text, &p, &o);
	ck_assert_ptr_null(strchr(plain, '\033'));
	ck_assert_ptr_nonnull(strstr(coloured, "\033[32mexact: "));

	char *to = coloured; /* without its colours it is the same text */
	for (char *c = coloured; *c; c++) {
		if (*c == '\033')
			c += strcspn(c, "m");
		else
			*to++ = *c;
	}
	*to = '\0';
	ck_assert_str_eq(coloured, plain);
	free(plain);
	free(coloured);
}
END_TEST

START_TEST(thirty_rows_by_default)
{
	struct profile_row rows[50];
	struct profile p = sample_profile();
	struct export_opts o = {0};

	for (uint32_t i = 0; i < 50; i++)
		rows[i] = (struct profile_row){"f", i + 1, "", "X", NULL, NULL, 1, 0, 1, 40, 0};
	p.rows = rows;
	p.nrows = 50;
	char *text = sample_export(&exporter_text, &p, &o);
	ck_assert_ptr_nonnull(strstr(text, "f:30 "));
	ck_assert_ptr_null(strstr(text, "f:31 "));
	ck_assert_ptr_nonnull(strstr(text, "20 more with 20 live objects"));
	free(text);

	o.limit_given = true; /* -n 0 */
	text = sample_export(&exporter_text, &p, &o);
	ck_assert_ptr_nonnull(strstr(text, "f:50 "));
	ck_assert_ptr_null(strstr(text, " more with "));
	free(text);
}
END_TEST

START_TEST(empty_profile_says_so)
{
	struct profile p = sample_profile();
	struct export_opts o = {0};

	p.nrows = 0;
	char *text = sample_export(&exporter_text, &p, &o);
	ck_assert_ptr_nonnull(
	    strstr(text, "\nNo Ruby object was allocated while memprof watched.\n"));
	ck_assert_ptr_null(strstr(text, "survived"));
	free(text);
}
END_TEST

static const struct {
	uint64_t allocated, dropped, vm;
	bool vm_known;
	const char *want;
} coverages[] = {
    {10, 0, 10, true, "coverage   exact: all 10 allocations that the VM counted\n"},
    {0, 0, 0, true, "coverage   exact: the VM allocated nothing\n"},
    {10, 0, 10, false, "coverage   unknown: the VM's own counters could not be read"},
    {5, 0, 0, true, "coverage   unknown: the VM counted no allocation\n"},
    {9, 1, 10, true, "coverage   every one of the VM's 10 allocations was seen or is counted as"},
    {999999, 0, 1000000, true,
     "99.99 %: the VM counted 1,000,000 allocations, 1 more than were seen\n"},
    {11, 0, 10, true, "110.00 %: the VM counted 10 allocations, 1 fewer than were seen\n"},
};

START_TEST(coverage_in_words)
{
	for (size_t i = 0; i < sizeof(coverages) / sizeof(coverages[0]); i++) {
		struct profile p = sample_profile();
		struct export_opts o = {0};
		p.allocated = coverages[i].allocated;
		p.dropped_alloc = coverages[i].dropped;
		p.vm_allocated = coverages[i].vm;
		p.vm_known = coverages[i].vm_known;
		char *text = sample_export(&exporter_text, &p, &o);
		ck_assert_msg(strstr(text, coverages[i].want), "%zu: %s", i, text);
		ck_assert(!strstr(text, "exact: ") == (i > 1));
		free(text);
	}
}
END_TEST

START_TEST(what_the_head_admits)
{
	static const char *notes[] = {"births by \033[2J are missing"};
	struct profile p = sample_profile();
	struct export_opts o = {0};

	p.detached = p.moved_known = false;
	p.dropped_free = 1234;
	p.notes = notes;
	p.nnotes = 1;
	char *text = sample_export(&exporter_text, &p, &o);
	static const char *const admitted[] = {
	    "dropped    0 allocations, 1,234 frees, 0 moves: figures are not exact\n",
	    "gc         31 runs, objects moved: unknown\n",
	    "stopped    once: attach 0.131 ms (one thread 0.620 ms); it was gone before the end\n",
	    "note       births by \\x1b[2J are missing\n",
	};
	for (size_t i = 0; i < sizeof(admitted) / sizeof(admitted[0]); i++)
		ck_assert_msg(strstr(text, admitted[i]), "%s", text);
	free(text);
}
END_TEST

SUITE_MAIN("report text", golden_80_columns, golden_without_a_terminal, golden_groups,
	   lines_fit_and_are_harmless, too_narrow_is_no_disaster, colour_only_when_asked_for,
	   thirty_rows_by_default, empty_profile_says_so, coverage_in_words, what_the_head_admits)
