#include "elf/maps.h"

#include "suite.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIN   UINT64_C(0x10000)
#define REACH (UINT64_C(0x80000000) - 0x10000)
#define KIB16 UINT64_C(0x4000)

/* The gap in a list of maps given as text, or 0 when it is refused as out of range. */
static raddr_t gap_min(const char *text, raddr_t lo, raddr_t hi, size_t len, raddr_t min)
{
	struct maps m;
	struct err e = {0};
	raddr_t at = 0;

	ck_assert_int_eq(maps_parse(text, strlen(text), &m, &e), 0);
	if (maps_find_gap(&m, lo, hi, len, min, &at, &e) == -1) {
		ck_assert_int_eq(e.code, ERR_RANGE);
		at = 0;
	}
	maps_deinit(&m);
	return at;
}

static raddr_t gap(const char *text, raddr_t lo, raddr_t hi, size_t len)
{
	return gap_min(text, lo, hi, len, MIN);
}

#define LIB "7f0000400000-7f0000800000 r-xp 0 08:01 9 /lib/libruby.so\n"

START_TEST(right_below_with_a_page_between)
{
	ck_assert_uint_eq(gap(LIB, 0x7f0000400000, 0x7f0000800000, KIB16), 0x7f00003fb000);
	ck_assert_uint_eq(gap(LIB, 0x7f0000400000, 0x7f0000800000, 0x1000), 0x7f00003fe000);
}
END_TEST

START_TEST(nearer_side_wins)
{
	/* Below is a neighbour for 16 MiB; above there is room at once. */
	ck_assert_uint_eq(gap("7effff400000-7f0000400000 r--p 0 00:00 0\n" LIB, 0x7f0000400000,
			      0x7f0000800000, KIB16),
			  0x7f0000801000);
}
END_TEST

START_TEST(gap_needs_two_free_pages)
{
	/* Six pages: exactly four with one on either side. Five: go below all of it. */
	ck_assert_uint_eq(gap("7f00003f9000-7f00003fa000 r--p 0 00:00 0\n" LIB, 0x7f0000400000,
			      0x7f0000800000, KIB16),
			  0x7f00003fb000);
	ck_assert_uint_eq(gap("7f00003fa000-7f00003fb000 r--p 0 00:00 0\n" LIB, 0x7f0000400000,
			      0x7f0000800000, KIB16),
			  0x7f00003f5000);
}
END_TEST

/* A fixed program at 4 MiB: between the kernel's minimum and it. */
START_TEST(low_program_and_minimum)
{
	static const char exe[] = "400000-800000 r-xp 0 08:01 9 /usr/bin/ruby\n";

	ck_assert_uint_eq(gap(exe, 0x400000, 0x800000, KIB16), 0x3fb000);
	ck_assert_uint_eq(gap_min(exe, 0x400000, 0x800000, KIB16, 0x3fb000), 0x3fb000);
	ck_assert_uint_eq(gap_min(exe, 0x400000, 0x800000, KIB16, 0x3fb001), 0x801000);
	ck_assert_uint_eq(gap_min(exe, 0x400000, 0x800000, KIB16, 0), 0x3fb000);
	/* Page 0 is the free page below when nothing else is left. */
	ck_assert_uint_eq(gap_min("6000-90000000 r-xp 0 08:01 9 /x\n", 0x6000, 0x7000, KIB16, 0),
			  0x1000);
}
END_TEST

/* The last possible place on either side, and one page less of it. */
START_TEST(reach_upwards)
{
	const raddr_t lo = 0x400000, hi = 0x401000;
	const raddr_t last = (lo + REACH - (KIB16 - 1)) / 4096 * 4096;
	char text[200];

	snprintf(text, sizeof(text), "1000-%lx r-xp 0 08:01 9 /x\n", (unsigned long)(last - 4096));
	ck_assert_uint_eq(gap(text, lo, hi, KIB16), last);
	ck_assert_uint_le(last + KIB16 - 1 - lo, REACH);
	snprintf(text, sizeof(text), "1000-%lx r-xp 0 08:01 9 /x\n", (unsigned long)last);
	ck_assert_uint_eq(gap(text, lo, hi, KIB16), 0);
	ck_assert_uint_eq(gap_min(text, lo, hi, KIB16, last), 0);
	/* Code that starts with the last byte of a page is reached from one page further up. */
	ck_assert_uint_eq(gap(text, lo + 4095, hi, KIB16), last + 4096);
}
END_TEST

START_TEST(reach_downwards)
{
	const raddr_t lo = 0x7f0000000000, hi = 0x7f0000001000;
	const raddr_t first = (hi - 1 - REACH + 4095) / 4096 * 4096;
	char text[200];

	ck_assert_uint_le(hi - 1 - first, REACH);
	snprintf(text, sizeof(text), "%lx-7fffffff0000 r-xp 0 08:01 9 /x\n",
		 (unsigned long)(first + KIB16 + 4096));
	ck_assert_uint_eq(gap(text, lo, hi, KIB16), first);
	snprintf(text, sizeof(text), "%lx-7fffffff0000 r-xp 0 08:01 9 /x\n",
		 (unsigned long)(first + KIB16));
	ck_assert_uint_eq(gap(text, lo, hi, KIB16), 0);
	/* Code that ends with the first byte of a page is reached from one page further down. */
	ck_assert_uint_eq(gap(text, lo, hi - 4095, KIB16), first - 4096);
}
END_TEST

/* Code of 2 GiB has no place that reaches both ends. */
START_TEST(code_too_large)
{
	ck_assert_uint_eq(
	    gap("10000000-8fff0000 r-xp 0 08:01 9 /x\n", 0x10000000, 0x8fff0000, KIB16), 0);
	ck_assert_uint_ne(
	    gap("10000000-8f000000 r-xp 0 08:01 9 /x\n", 0x10000000, 0x8f000000, KIB16), 0);
}
END_TEST

START_TEST(top_of_user_space)
{
	/* The only room is above: the last page stays free. */
	static const char text[] = "1000-7fffffff9000 r-xp 0 08:01 9 /x\n"
				   "ffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [vsyscall]\n";

	ck_assert_uint_eq(gap(text, 0x7fffffff0000, 0x7fffffff9000, KIB16), 0x7fffffffa000);
	ck_assert_uint_eq(gap(text, 0x7fffffff0000, 0x7fffffff9000, KIB16 + 0x1000), 0);
}
END_TEST

/* The heap grows upwards and the stack downwards: stay out of their way. */
START_TEST(room_for_heap_and_stack)
{
	ck_assert_uint_eq(gap("10000-800000 r-xp 0 08:01 9 /x\n"
			      "801000-900000 rw-p 0 00:00 0 [heap]\n",
			      0x400000, 0x800000, KIB16),
			  0x40901000);
	ck_assert_uint_eq(gap("1000-7ffff0000000 r-xp 0 08:01 9 /x\n"
			      "7ffff7000000-7ffff7100000 rw-p 0 00:00 0 [stack]\n",
			      0x7fffe0000000, 0x7ffff0000000, KIB16),
			  0x7ffff7101000);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	ck_assert_uint_eq(gap(LIB, 0x7f0000800000, 0x7f0000400000, KIB16), 0);
	ck_assert_uint_eq(gap(LIB, 0x7f0000400000, 0x7f0000400000, KIB16), 0);
	ck_assert_uint_eq(gap(LIB, 0x7f0000400000, 0x7f0000800000, 0), 0);
	ck_assert_uint_eq(gap(LIB, 0x7f0000400000, 0x7f0000800000, 100), 0);
	ck_assert_uint_eq(gap(LIB, 0x7f0000400000, 0x7f0000800000, (size_t)1 << 40), 0);
	ck_assert_uint_eq(gap(LIB, 0x7f0000400000, 0x7f0000800000, SIZE_MAX - 4095), 0);
	ck_assert_uint_eq(gap(LIB, 0, UINT64_MAX, KIB16), 0);
	ck_assert_uint_eq(gap(LIB, UINT64_MAX - 4096, UINT64_MAX, KIB16), 0);
	ck_assert_uint_eq(gap_min(LIB, 0x7f0000400000, 0x7f0000800000, KIB16, UINT64_MAX), 0);
	ck_assert_uint_eq(gap_min(LIB, 0x7f0000400000, 0x7f0000800000, KIB16, 0x7f8000000000), 0);
}
END_TEST

/* The kernel maps there, and a new mapping does not merge with a neighbour. */
START_TEST(the_kernel_agrees)
{
	struct maps before, after;
	struct err e;
	raddr_t code = (raddr_t)maps_find_gap, at;
	void *p;

	ck_assert_int_eq(maps_read(getpid(), getpid(), &before, &e), 0);
	ck_assert_int_eq(maps_find_gap(&before, code, code + 1, KIB16, MIN, &at, &e), 0);
	p = mmap((void *)at, KIB16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		 -1, 0);
	ck_assert_uint_eq((raddr_t)p, at);
	ck_assert_int_eq(maps_read(getpid(), getpid(), &after, &e), 0);
	const struct map *m = maps_find(&after, at);
	ck_assert(m != NULL && m->start == at && m->end == at + KIB16);
	maps_deinit(&before);
	maps_deinit(&after);
}
END_TEST

SUITE_MAIN("maps_gap", right_below_with_a_page_between, nearer_side_wins, gap_needs_two_free_pages,
	   low_program_and_minimum, reach_upwards, reach_downwards, code_too_large,
	   top_of_user_space, room_for_heap_and_stack, nonsense_is_refused, the_kernel_agrees)
