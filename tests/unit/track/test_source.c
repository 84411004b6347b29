/* The seam over a live VM, as far as it does more than pass on. */
#include "mem/mem_fake.h"
#include "suite.h"
#include "track/source.h"

enum { BASE = 0x10000, SIZE = 200000 };

START_TEST(peek_reads_neighbours_and_strays)
{
	uint64_t *words = calloc(1, SIZE);
	const struct mem_fake_seg segs[] = {{BASE, words, SIZE}, {0, NULL, 0}};
	struct mem mem = mem_fake(segs);
	const struct ruby_layout lay = {.heap = {.base_slot = 40, .page_align = 16384}};
	const struct ruby rb = {.mem = &mem, .lay = &lay};
	const struct track_ruby tr = {.rb = &rb};
	struct track_source src;
	/* near, near, one span on, back again, at the end, beyond it, nowhere */
	const raddr_t obj[] = {BASE,          BASE + 40,        BASE + 65536 - 16, BASE + 65536 - 8,
			       BASE + 8,      BASE + SIZE - 16, BASE + SIZE - 8,   8,
			       UINT64_MAX - 7};
	const size_t n = sizeof(obj) / sizeof(obj[0]);
	struct track_peek peek[sizeof(obj) / sizeof(obj[0])];

	for (size_t i = 0; i < SIZE / 8; i++)
		words[i] = i;
	track_source_ruby(&tr, &src);
	src.peek(src.ctx, obj, n, peek);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(peek[i].ok, i < 6);
		if (!peek[i].ok)
			continue;
		ck_assert_uint_eq(peek[i].flags, (obj[i] - BASE) / 8);
		ck_assert_uint_eq(peek[i].klass, (obj[i] - BASE) / 8 + 1);
	}
	ck_assert_uint_eq(src.base_slot, 40);
	ck_assert_uint_eq(src.slot_bytes(src.ctx, BASE), 40);
	free(words);
}
END_TEST

SUITE_MAIN("source", peek_reads_neighbours_and_strays)
