#include "util/slurp.h"

#include "suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file of n bytes, reached by a path. */
static int file_of(size_t n, char *path, size_t size)
{
	int fd = memfd_create("slurp", MFD_CLOEXEC);
	char *bytes = malloc(n + 1);

	ck_assert_int_ne(fd, -1);
	memset(bytes, 'x', n);
	ck_assert_int_eq((int)write(fd, bytes, n), (int)n);
	free(bytes);
	snprintf(path, size, "/proc/self/fd/%d", fd);
	return fd;
}

START_TEST(every_length_around_the_buffer)
{
	static const size_t lengths[] = {0, 1, 8190, 8191, 8192, 8193, 16383, 16384, 100000};
	struct err e;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		char path[64], *text;
		size_t len;
		int fd = file_of(lengths[i], path, sizeof(path));

		ck_assert_int_eq(slurp(path, 1 << 20, &text, &len, &e), 0);
		ck_assert_uint_eq(len, lengths[i]);
		ck_assert_uint_eq(strlen(text), len);
		free(text);
		close(fd);
	}
}
END_TEST

START_TEST(too_long_is_refused)
{
	char path[64], *text = NULL;
	size_t len;
	struct err e;
	int fd = file_of(1000, path, sizeof(path));

	ck_assert_int_eq(slurp(path, 999, &text, &len, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	ck_assert_ptr_null(text);
	ck_assert_int_eq(slurp(path, 1000, &text, &len, &e), 0);
	free(text);
	close(fd);
}
END_TEST

START_TEST(errors_carry_errno)
{
	char *text;
	size_t len;
	struct err e;

	ck_assert_int_eq(slurp("/nonexistent/file", 10, &text, &len, &e), -1);
	ck_assert_int_eq(e.code, ERR_SYS);
	ck_assert_int_eq(e.sys, ENOENT);
	ck_assert_int_eq(slurp("/", 10, &text, &len, &e), -1);
	ck_assert_int_eq(e.sys, EISDIR);
}
END_TEST

SUITE_MAIN("slurp", every_length_around_the_buffer, too_long_is_refused, errors_carry_errno)
