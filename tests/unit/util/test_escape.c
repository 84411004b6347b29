#include "util/escape.h"

#include "suite.h"

#include <string.h>

struct sample {
	const char *in, *text, *utf8; /* utf8 NULL: the same as in */
};

static const struct sample samples[] = {
    {"", "", NULL},
    {"plain ~", "plain ~", NULL},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x92\x8e",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x92\x8e", NULL},
    {"a\033[31mb", "a\\x1b[31mb", NULL},
    {"tab\tnl\ndel\x7f", "tab\\x09nl\\x0adel\\x7f", NULL},
    {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\u{0080}\\u{009b}\\u{009f}\xc2\xa0", NULL}, /* C1 */
    {"\xe2\x80\xaa\xe2\x80\xae", "\\u{202a}\\u{202e}", NULL},
    {"\xe2\x80\xa9\xe2\x80\xa8", "\\u{2029}\\u{2028}", NULL},
    {"\xe2\x80\xaf\xe2\x80\xa7", "\xe2\x80\xaf\xe2\x80\xa7", NULL}, /* the neighbours stay */
    {"\xe2\x81\xa6\xe2\x81\xa9", "\\u{2066}\\u{2069}", NULL},
    {"\xe2\x81\xa5\xe2\x81\xaa", "\xe2\x81\xa5\xe2\x81\xaa", NULL},
    {"\xe2\x80\x8e\xe2\x80\x8f", "\\u{200e}\\u{200f}", NULL},
    {"\xd8\x9c", "\\u{061c}", NULL},
    {"\xff\xfe", "\\xff\\xfe", "\\xff\\xfe"},
    {"\x80x", "\\x80x", "\\x80x"},               /* stray continuation */
    {"\xc3", "\\xc3", "\\xc3"},                  /* cut short by the end */
    {"\xe2\x82z", "\\xe2\\x82z", "\\xe2\\x82z"}, /* cut short by a letter */
    {"\xf0\x9f\x92", "\\xf0\\x9f\\x92", "\\xf0\\x9f\\x92"},
    {"\xc0\xaf\xc1\xbf", "\\xc0\\xaf\\xc1\\xbf", "\\xc0\\xaf\\xc1\\xbf"}, /* overlong */
    {"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf", "\\xe0\\x9f\\xbf"},
    {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf", "\\xf0\\x8f\\xbf\\xbf"},
    {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80"}, /* surrogates */
    {"\xed\xbf\xbf", "\\xed\\xbf\\xbf", "\\xed\\xbf\\xbf"},
    {"\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80", NULL},
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\xf4\\x90\\x80\\x80"}, /* above 10ffff */
    {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", NULL},
    {"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80", "\\xf8\\x88\\x80\\x80\\x80"},
};

START_TEST(every_sample)
{
	char buf[200];

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		ck_assert_str_eq(escape_text(s->in, buf, sizeof(buf)), s->text);
		ck_assert_str_eq(escape_utf8(s->in, buf, sizeof(buf)), s->utf8 ? s->utf8 : s->in);
	}
}
END_TEST

/* A cut never leaves half a character or half an escape, and stays inside the buffer. */
START_TEST(cut_at_a_character)
{
	char buf[16];

	memset(buf, 'Z', sizeof(buf));
	ck_assert_str_eq(escape_text("ab\xe2\x82\xac", buf, 5), "ab");
	ck_assert_str_eq(escape_text("ab\xe2\x82\xac", buf, 6), "ab\xe2\x82\xac");
	ck_assert_str_eq(escape_text("a\033", buf, 5), "a");
	ck_assert_str_eq(escape_text("a\033", buf, 6), "a\\x1b");
	ck_assert_str_eq(escape_text("a", buf, 1), "");
	ck_assert_str_eq(escape_text("a", buf, 0), "");
	ck_assert_int_eq(buf[6], 'Z');
}
END_TEST

START_TEST(returns_the_buffer)
{
	char buf[8];

	ck_assert_ptr_eq(escape_text("x", buf, sizeof(buf)), buf);
	ck_assert_ptr_eq(escape_utf8("x", buf, sizeof(buf)), buf);
}
END_TEST

SUITE_MAIN("escape", every_sample, cut_at_a_character, returns_the_buffer)
