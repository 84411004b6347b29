#include "util/err.h"

#include "suite.h"

#include <errno.h>
#include <string.h>

START_TEST(set_clears_the_rest)
{
	struct err e = {.sys = 7, .remedy = "old"};

	ck_assert_int_eq(err_set(&e, ERR_BADELF, "%s: %d", "file", 3), -1);
	ck_assert_int_eq(e.code, ERR_BADELF);
	ck_assert_int_eq(e.sys, 0);
	ck_assert_str_eq(e.msg, "file: 3");
	ck_assert_str_eq(e.remedy, "");
}
END_TEST

START_TEST(sys_maps_errno)
{
	struct err e;

	errno = ENOSPC;
	ck_assert_int_eq(err_sys(&e, ERR_SYS, "out"), -1);
	ck_assert_int_eq(e.code, ERR_SYS);
	ck_assert_int_eq(e.sys, ENOSPC);
	ck_assert_str_eq(e.msg, "out: No space left on device");
	errno = EACCES;
	err_sys(&e, ERR_SYS, "out");
	ck_assert_int_eq(e.code, ERR_PERM);
	errno = EPERM;
	err_sys(&e, ERR_FAILED, "out");
	ck_assert_int_eq(e.code, ERR_PERM);
	errno = ESRCH;
	err_sys(&e, ERR_SYS, "out");
	ck_assert_int_eq(e.code, ERR_GONE);
}
END_TEST

START_TEST(prefix_and_remedy)
{
	struct err e;

	err_set(&e, ERR_FAULT, "short");
	ck_assert_int_eq(err_remedy(&e, "try %s", "again"), -1);
	ck_assert_int_eq(err_prefix(&e, "pid %d", 42), -1);
	ck_assert_str_eq(e.msg, "pid 42: short");
	ck_assert_str_eq(e.remedy, "try again");
	ck_assert_int_eq(e.code, ERR_FAULT);
}
END_TEST

START_TEST(own_message_as_argument)
{
	struct err e;

	err_set(&e, ERR_FAULT, "inner");
	err_set(&e, ERR_FAILED, "outer: %s", e.msg);
	ck_assert_str_eq(e.msg, "outer: inner");
}
END_TEST

START_TEST(names_from_outside_are_harmless)
{
	struct err e;

	err_set(&e, ERR_BADELF, "%s", "a\033[2J\nb");
	ck_assert_str_eq(e.msg, "a\\x1b[2J\\x0ab");
	err_remedy(&e, "%s", "\xff");
	ck_assert_str_eq(e.remedy, "\\xff");
}
END_TEST

START_TEST(long_texts_are_cut)
{
	struct err e;
	char name[2000];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	err_set(&e, ERR_BADELF, "%s", name);
	ck_assert_uint_eq(strlen(e.msg), sizeof(e.msg) - 1);
	err_prefix(&e, "pid %d", 1);
	ck_assert_uint_eq(strlen(e.msg), sizeof(e.msg) - 1);
	ck_assert_int_eq(strncmp(e.msg, "pid 1: nnn", 10), 0);
	err_remedy(&e, "%s", name);
	ck_assert_uint_eq(strlen(e.remedy), sizeof(e.remedy) - 1);
}
END_TEST

START_TEST(exit_codes)
{
	for (int c = ERR_NONE; c <= ERR_DIRTY; c++)
		ck_assert_int_eq(err_exit_code(&(struct err){.code = (enum err_code)c}), c);
	for (int c = ERR_SYS; c <= ERR_RANGE; c++)
		ck_assert_int_eq(err_exit_code(&(struct err){.code = (enum err_code)c}), 1);
}
END_TEST

SUITE_MAIN("err", set_clears_the_rest, sys_maps_errno, prefix_and_remedy, own_message_as_argument,
	   names_from_outside_are_harmless, long_texts_are_cut, exit_codes)
