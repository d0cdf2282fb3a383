/*
 * Frame of a unit test program: UNIT_MAIN(name, tests...) lists the START_TEST functions.
 */
#ifndef EAVES_TESTS_UNIT_H
#define EAVES_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#define UNIT_MAIN(name, ...)                                                  \
	int main(void)                                                        \
	{                                                                     \
		const TTest *const tests[] = {__VA_ARGS__};                   \
		Suite *s = suite_create(name);                                \
		TCase *c = tcase_create(name);                                \
		tcase_set_timeout(c, 60);                                     \
		for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) \
			tcase_add_test(c, tests[i]);                          \
		suite_add_tcase(s, c);                                        \
		SRunner *r = srunner_create(s);                               \
		srunner_run_all(r, CK_NORMAL);                                \
		int failed = srunner_ntests_failed(r);                        \
		srunner_free(r);                                              \
		return failed ? EXIT_FAILURE : EXIT_SUCCESS;                  \
	}

#endif
