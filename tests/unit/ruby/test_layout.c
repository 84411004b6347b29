#include "ruby/layout.h"
#include "suite.h"

START_TEST(test_range)
{
	ck_assert_ptr_null(ruby_layout_find(0));
	ck_assert_ptr_null(ruby_layout_find(RUBY_VERSION_OF(3, 0, 255)));
	const struct ruby_layout *first = ruby_layout_find(RUBY_VERSION_OF(3, 1, 0));
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_eq(first, ruby_layout_find(RUBY_VERSION_OF(3, 1, 255)));
	ck_assert_ptr_null(ruby_layout_find(RUBY_VERSION_OF(3, 2, 0)));
	ck_assert_ptr_null(ruby_layout_find(UINT32_MAX));
}
END_TEST

/* What moves inside a patch series must not come from a row. */
START_TEST(test_no_drifting_field)
{
	const struct ruby_layout *lay = ruby_layout_find(RUBY_VERSION_OF(3, 1, 2));
	ck_assert_int_lt(lay->vm.main_ractor, 432);
	ck_assert_int_lt(lay->vm.ractor_count, 432);
}
END_TEST

SUITE_MAIN("layout", test_range, test_no_drifting_field)
