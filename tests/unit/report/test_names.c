#include "report/figure.h"
#include "report/fit.h"
#include "report/gem.h"
#include "sample.h"

START_TEST(keys_and_sorts_parse)
{
	struct err e = {0};
	enum profile_key key;
	enum profile_sort sort;

	ck_assert_int_eq(profile_key_parse("thread", &key, &e), 0);
	ck_assert_int_eq(key, KEY_THREAD);
	ck_assert_int_eq(profile_sort_parse("survived", &sort, &e), 0);
	ck_assert_int_eq(sort, SORT_SURVIVED);
	for (int k = KEY_SITE; k <= KEY_THREAD; k++) {
		ck_assert_int_eq(profile_key_parse(profile_key_name((enum profile_key)k), &key, &e),
				 0);
		ck_assert_int_eq(key, k);
	}
}
END_TEST

START_TEST(unknown_names_list_what_there_is)
{
	struct err e = {0};
	enum profile_key key;
	enum profile_sort sort;
	const struct exporter *x;

	ck_assert_int_eq(profile_key_parse("foo", &key, &e), -1);
	ck_assert_int_eq(e.code, ERR_USAGE);
	ck_assert_str_eq(e.msg, "--by foo: there is no such choice");
	ck_assert_str_eq(e.remedy, "--by site, class, file, line, method, gem or thread");
	ck_assert_int_eq(profile_sort_parse("", &sort, &e), -1);
	ck_assert_str_eq(e.remedy, "--sort live, bytes, allocated, freed or survived");
	ck_assert_int_eq(exporter_find("yaml", &x, &e), -1);
	ck_assert_int_eq(e.code, ERR_USAGE);
	ck_assert_str_eq(e.remedy, "--format text, stats or json");
}
END_TEST

START_TEST(formats_by_name_and_by_file)
{
	struct err e;
	const struct exporter *x;

	for (size_t i = 0; exporters[i]; i++) {
		ck_assert_int_eq(exporter_find(exporters[i]->name, &x, &e), 0);
		ck_assert_ptr_eq(x, exporters[i]);
	}
	ck_assert_ptr_eq(exporter_for_file("/tmp/a.json"), &exporter_json);
	ck_assert_ptr_eq(exporter_for_file("a.stats"), &exporter_stats);
	ck_assert_ptr_eq(exporter_for_file("a.json.gz"), &exporter_text);
	ck_assert_ptr_eq(exporter_for_file(".json"), &exporter_text);
	ck_assert_ptr_eq(exporter_for_file(""), &exporter_text);
}
END_TEST

START_TEST(coverage_is_known_or_negative)
{
	struct profile p = {.allocated = 90, .dropped_alloc = 5, .vm_allocated = 100};

	ck_assert_double_lt(profile_coverage(&p), 0);
	p.vm_known = true;
	ck_assert_double_eq_tol(profile_coverage(&p), 0.95, 1e-12);
	p.vm_allocated = 0;
	ck_assert_double_lt(profile_coverage(&p), 0);
}
END_TEST

START_TEST(destroy_frees_the_owner)
{
	profile_destroy(NULL);
	struct profile *p = calloc(1, sizeof(*p));
	p->rows = calloc(3, sizeof(*p->rows));
	p->notes = calloc(3, sizeof(*p->notes));
	p->owner = malloc(10);
	p->owner_free = free;
	profile_destroy(p); /* the leak checker is the judge */
}
END_TEST

static const struct {
	const char *path, *gem;
} gems[] = {
    {"", ""},
    {"app.rb", "app"},
    {"-e", "app"},
    {"(eval)", "app"},
    {"(collected code)", "(collected code)"},
    {"<internal:kernel>", "ruby core"},
    {"/srv/app/app/models/order.rb", "app"},
    {"/usr/lib/ruby/3.1.0/set.rb", "stdlib"},
    {"/usr/lib/x86_64-linux-gnu/ruby/3.1.0/rbconfig.rb", "stdlib"},
    {"/usr/local/lib/ruby/3.4.0/json/common.rb", "stdlib"},
    {"/usr/lib/ruby/vendor_ruby/rubygems.rb", "vendor_ruby"},
    {"/usr/local/lib/ruby/site_ruby/3.1.0/rubygems.rb", "site_ruby"},
    {"/srv/ruby/3.1.0/mine.rb", "app"},
    {"/usr/lib/ruby/3.x.0/set.rb", "app"},
    {"/var/lib/gems/3.1.0/gems/rack-3.1.8/lib/rack.rb", "rack-3.1.8"},
    {"/usr/local/lib/ruby/gems/3.1.0/gems/net-http-0.4.1/lib/net/http.rb", "net-http-0.4.1"},
    {"/b/ruby/3.1.0/gems/nokogiri-1.16.7-x86_64-linux/lib/n.rb", "nokogiri-1.16.7-x86_64-linux"},
    {"/b/ruby/3.1.0/bundler/gems/rails-ab12cd34ef56/lib/r.rb", "rails-ab12cd34ef56"},
    {"/b/bundler/gems/rails-main/lib/r.rb", "rails-main"},
    {"/srv/gems/shop-1.0/vendor/gems/tax-2.1/lib/tax.rb", "tax-2.1"},
    {"/srv/app/gems/pricing/lib/pricing.rb", "app"},
    {"/srv/app/gems/rack-3.1.8", "app"},
    {"(eval at /g/gems/erb-4.0.2/lib/erb.rb:429)", "erb-4.0.2"},
    {"//gems//x", "app"},
    {"/", "app"},
};

START_TEST(gem_by_path)
{
	for (size_t i = 0; i < sizeof(gems) / sizeof(gems[0]); i++) {
		size_t len;
		const char *gem = gem_of(gems[i].path, &len);
		ck_assert_msg(len == strlen(gems[i].gem) && memcmp(gem, gems[i].gem, len) == 0,
			      "%s: %.*s", gems[i].path, (int)len, gem);
	}
}
END_TEST

START_TEST(figures_for_people)
{
	char buf[FIGURE_SIZE];

	ck_assert_str_eq(figure_grouped(0, buf), "0");
	ck_assert_str_eq(figure_grouped(999, buf), "999");
	ck_assert_str_eq(figure_grouped(1000, buf), "1,000");
	ck_assert_str_eq(figure_grouped(123456, buf), "123,456");
	ck_assert_str_eq(figure_grouped(UINT64_MAX, buf), "18,446,744,073,709,551,615");
	ck_assert_str_eq(figure_short(0, buf), "0");
	ck_assert_str_eq(figure_short(999.4, buf), "999");
	ck_assert_str_eq(figure_short(999.6, buf), "1.0k");
	ck_assert_str_eq(figure_short(1234567, buf), "1.2M");
	ck_assert_str_eq(figure_short(999960, buf), "1.0M");
	ck_assert_str_eq(figure_percent(1, 3, buf), "33.33 %");
	ck_assert_str_eq(figure_percent(999999, 1000000, buf), "99.99 %");
	ck_assert_str_eq(figure_percent(UINT64_MAX, UINT64_MAX, buf), "100.00 %");
}
END_TEST

START_TEST(names_are_cut_at_characters)
{
	struct fit_locale l;
	char buf[64];

	fit_locale_enter(&l);
	ck_assert_uint_eq(fit_columns("abc"), 3);
	ck_assert_uint_eq(fit_columns("日本"), 4);
	ck_assert_uint_eq(fit_columns("e\xcc\x81"), 1); /* e with a combining accent */
	ck_assert_str_eq(fit_tail("abc", 3, buf, sizeof(buf)), "abc");
	ck_assert_str_eq(fit_tail("abcdef", 3, buf, sizeof(buf)), "…ef");
	ck_assert_str_eq(fit_head("abcdef", 3, buf, sizeof(buf)), "ab…");
	ck_assert_str_eq(fit_head("abcdef", 1, buf, sizeof(buf)), "…");
	ck_assert_str_eq(fit_tail("abcdef", 1, buf, sizeof(buf)), "…");
	/* a wide character that would stick out by half is left out */
	ck_assert_str_eq(fit_tail("日本語", 4, buf, sizeof(buf)), "…語");
	ck_assert_str_eq(fit_head("日本語", 4, buf, sizeof(buf)), "日…");
	fit_locale_leave(&l);
}
END_TEST

SUITE_MAIN("report names", keys_and_sorts_parse, unknown_names_list_what_there_is,
	   formats_by_name_and_by_file, coverage_is_known_or_negative, destroy_frees_the_owner,
	   gem_by_path, figures_for_people, names_are_cut_at_characters)
