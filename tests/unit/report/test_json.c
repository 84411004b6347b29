#include "sample.h"

#include <jansson.h>

/* The nth line of what the exporter wrote, parsed, owned. Duplicate keys are refused. */
static json_t *line_at(const char *text, size_t n)
{
	json_error_t err;

	for (; n > 0; n--) {
		text = strchr(text, '\n');
		ck_assert_ptr_nonnull(text);
		text++;
	}
	size_t len = strcspn(text, "\n");
	ck_assert_int_eq(text[len], '\n');
	json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &err);
	ck_assert_msg(j, "%s: %.*s", err.text, (int)len, text);
	return j;
}

static const char *string_at(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "(no string)";
}

static json_int_t number_at(const json_t *j, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(j, key)), "%s", key);
	return json_integer_value(json_object_get(j, key));
}

static const char golden[] =
    "{\"type\":\"memprof\",\"schema\":1,\"version\":\"" MEMPROF_VERSION "\"}\n"
    "{\"type\":\"target\",\"pid\":4242,\"ruby\":\"3.1.7\",\"description\":\"ruby 3.1.7p261 "
    "(2025-03-26 revision 0a3704f218) [x86_64-linux-gnu]\",\"exe\":\"/usr/bin/ruby3.1\","
    "\"image\":\"libruby-3.1.so.3.1.7\",\"build_id\":\"80c5f1\"}\n"
    "{\"type\":\"summary\",\"pid\":4242,\"duration_s\":5.001,\"allocated\":501308,"
    "\"freed\":500301,\"freed_tracked\":500201,\"live\":1107,\"live_bytes\":44280,\"dropped\":0,"
    "\"dropped_alloc\":0,\"dropped_free\":0,\"dropped_move\":0,\"moved\":0,"
    "\"vm_allocated\":501308,\"vm_freed\":500301,\"coverage\":1.0,\"gc_runs\":31,"
    "\"attach_pause_us\":131,\"attach_hold_us\":620,\"detach_pause_us\":118,"
    "\"detach_hold_us\":540,\"sampled\":1,\"verified\":false}\n"
    "{\"type\":\"site\",\"pid\":4242,\"file\":\"/srv/app/app/models/order.rb\",\"line\":11,"
    "\"method\":\"block in leak\",\"class\":\"Order::Line\",\"allocated\":1200,\"freed\":200,"
    "\"live\":1000,\"live_bytes\":40000,\"survived\":800}\n";

START_TEST(keys_and_order_are_the_contract)
{
	struct profile p = sample_profile();
	struct export_opts o = {.limit = 1, .limit_given = true};
	sample_expect(&exporter_json, &p, &o, golden);
}
END_TEST

START_TEST(every_row_comes_back)
{
	struct profile p = sample_profile();
	struct export_opts o = {.sort = SORT_ALLOCATED};
	char *text = sample_export(&exporter_json, &p, &o);

	json_t *first = line_at(text, 3), *last = line_at(text, 7);
	ck_assert_str_eq(string_at(first, "class"), "Hash");
	ck_assert_str_eq(string_at(first, "internal"), "<internal:kernel>");
	ck_assert_int_eq(number_at(first, "allocated"), 500000);
	ck_assert_str_eq(string_at(last, "file"), "");
	ck_assert_int_eq(number_at(last, "line"), 0);
	ck_assert_ptr_null(json_object_get(last, "internal"));
	ck_assert_ptr_null(json_object_get(last, "thread"));
	json_decref(first);
	json_decref(last);
	free(text);
}
END_TEST

START_TEST(nasty_names_come_back)
{
	static char endless[10001];
	struct profile_row rows[] = {
	    {"\xc3\xa4\xff.rb", 1, "m\"\\", NASTY, NULL, "t\n1", 2, 0, 2, 80, 0},
	    {"f", 1, "", endless, NULL, NULL, 1, 0, 1, 40, 0},
	};
	struct profile p = sample_profile();
	struct export_opts o = {0};

	memset(endless, 'Q', sizeof(endless) - 1);
	p.rows = rows;
	p.nrows = 2;
	char *text = sample_export(&exporter_json, &p, &o);
	for (const char *c = text; *c; c++)
		ck_assert_msg(*c == '\n' || (*c >= 0x20 && *c < 0x7f), "byte %#x", *c & 0xff);
	json_t *j = line_at(text, 3), *k = line_at(text, 4);
	ck_assert_str_eq(string_at(j, "file"), "\xc3\xa4\\xff.rb");
	ck_assert_str_eq(string_at(j, "method"), "m\"\\");
	ck_assert_str_eq(string_at(j, "class"), "\033[31mEvil\xe2\x80\xae\\xff\"\n\\");
	ck_assert_str_eq(string_at(j, "thread"), "t\n1");
	ck_assert_str_eq(string_at(k, "class"), endless);
	json_decref(j);
	json_decref(k);
	free(text);
}
END_TEST

START_TEST(what_is_unknown_is_null)
{
	struct profile p = sample_profile();
	struct export_opts o = {0};

	p.vm_known = p.detached = p.moved_known = false;
	p.build_id = NULL;
	char *text = sample_export(&exporter_json, &p, &o);
	json_t *target = line_at(text, 1), *sum = line_at(text, 2);
	ck_assert(json_is_null(json_object_get(target, "build_id")));
	static const char *const nulls[] = {"vm_allocated", "vm_freed", "coverage",
					    "detach_pause_us", "detach_hold_us", "verified"};
	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		ck_assert_msg(json_is_null(json_object_get(sum, nulls[i])), "%s", nulls[i]);
	ck_assert_str_eq(string_at(sum, "moved"), "unknown");
	ck_assert_int_eq(number_at(sum, "attach_pause_us"), 131);
	json_decref(target);
	json_decref(sum);
	free(text);
}
END_TEST

START_TEST(no_allocation_has_no_coverage)
{
	struct profile p = sample_profile();
	struct export_opts o = {0};

	p.vm_allocated = 0;
	char *text = sample_export(&exporter_json, &p, &o);
	json_t *sum = line_at(text, 2);
	ck_assert(json_is_null(json_object_get(sum, "coverage")));
	ck_assert_int_eq(number_at(sum, "vm_allocated"), 0);
	json_decref(sum);
	free(text);
}
END_TEST

START_TEST(drops_count_for_coverage)
{
	struct profile p = sample_profile();
	struct export_opts o = {0};

	p.allocated = 900;
	p.dropped_alloc = 50;
	p.dropped_free = 3;
	p.dropped_move = 1;
	p.vm_allocated = 1000;
	char *text = sample_export(&exporter_json, &p, &o);
	json_t *sum = line_at(text, 2);
	ck_assert_int_eq(number_at(sum, "dropped"), 54);
	ck_assert_double_eq(json_real_value(json_object_get(sum, "coverage")), 0.95);
	json_decref(sum);
	free(text);
}
END_TEST

START_TEST(notes_and_groups)
{
	static const char *notes[] = {"one thing", "another"};
	struct profile p = sample_profile();
	struct export_opts o = {.by = KEY_GEM};

	p.notes = notes;
	p.nnotes = 2;
	char *text = sample_export(&exporter_json, &p, &o);
	const char *want = "{\"type\":\"note\",\"text\":\"one thing\"}\n"
			   "{\"type\":\"note\",\"text\":\"another\"}\n"
			   "{\"type\":\"group\",\"pid\":4242,\"key\":\"app\",\"allocated\":1305,"
			   "\"freed\":201,\"live\":1104,\"live_bytes\":44160,\"survived\":890}\n"
			   "{\"type\":\"group\",\"pid\":4242,\"key\":\"\",\"allocated\":3,"
			   "\"freed\":0,\"live\":3,\"live_bytes\":120,\"survived\":3}\n";
	ck_assert_ptr_nonnull(strstr(text, want));
	free(text);
}
END_TEST

SUITE_MAIN("report json", keys_and_order_are_the_contract, every_row_comes_back,
	   nasty_names_come_back, what_is_unknown_is_null, no_allocation_has_no_coverage,
	   drops_count_for_coverage, notes_and_groups)
