/* What every Check suite shares: one main, and the run itself. */
#ifndef MEMPROF_TESTS_SUITE_H
#define MEMPROF_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Define the program's main: SUITE_MAIN("maps", test_a, test_b, ...) */
#define SUITE_MAIN(name, ...)                                                                      \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *tests[] = {__VA_ARGS__};                                              \
		Suite *s = suite_create(name);                                                     \
		TCase *tc = tcase_create(name);                                                    \
		tcase_set_timeout(tc, 300);                                                        \
		for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)                      \
			tcase_add_test(tc, tests[i]);                                              \
		suite_add_tcase(s, tc);                                                            \
		SRunner *sr = srunner_create(s);                                                   \
		srunner_run_all(sr, CK_NORMAL);                                                    \
		int failed = srunner_ntests_failed(sr);                                            \
		srunner_free(sr);                                                                  \
		return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                       \
	}

#endif
