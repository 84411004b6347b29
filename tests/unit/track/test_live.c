#include "track/live.h"

#include "suite.h"

#include <string.h>

enum { PAGE = 16384, SLOT = 40 };

static struct live *table(size_t limit)
{
	struct live *l;
	struct err e;

	ck_assert_int_eq(live_create(PAGE, SLOT, limit, &l, &e), 0);
	return l;
}

static struct live_entry entry(uint32_t birth, uint32_t epoch)
{
	return (struct live_entry){birth, epoch};
}

START_TEST(geometry_is_checked)
{
	struct live *l;
	struct err e;

	ck_assert_int_eq(live_create(10000, SLOT, 1, &l, &e), -1);
	ck_assert_int_eq(e.code, ERR_BADDATA);
	ck_assert_int_eq(live_create(PAGE, 0, 1, &l, &e), -1);
	ck_assert_int_eq(live_create(PAGE, 41, 1, &l, &e), -1);
	ck_assert_int_eq(live_create(1u << 31, SLOT, 1, &l, &e), -1);
	live_destroy(NULL);
}
END_TEST

START_TEST(put_take)
{
	struct live *l = table(1 << 20);
	struct live_entry old, e;

	ck_assert(live_put(l, 0x7f0000000010, entry(1, 5), &old));
	ck_assert_uint_eq(old.birth, 0);
	ck_assert_uint_eq(live_count(l), 1);
	ck_assert(live_put(l, 0x7f0000000010, entry(2, 6), &old));
	ck_assert_uint_eq(old.birth, 1);
	ck_assert_uint_eq(old.epoch, 5);
	ck_assert_uint_eq(live_count(l), 1);
	ck_assert_uint_eq(live_take(l, 0x7f0000000010 + SLOT).birth, 0);
	e = live_take(l, 0x7f0000000010);
	ck_assert_uint_eq(e.birth, 2);
	ck_assert_uint_eq(e.epoch, 6);
	ck_assert_uint_eq(live_take(l, 0x7f0000000010).birth, 0);
	ck_assert_uint_eq(live_count(l), 0);
	live_destroy(l);
}
END_TEST

START_TEST(only_the_pages_grid)
{
	struct live *l = table(1 << 20);
	struct live_entry old;
	raddr_t page = 0x7f0000000000;

	ck_assert(!live_put(l, page + 17, entry(1, 0), &old));
	ck_assert(live_put(l, page + 24, entry(1, 0), &old));
	for (raddr_t off = 0; off < PAGE; off++)
		ck_assert(live_put(l, page + off, entry(2, 0), &old) == (off % SLOT == 24));
	ck_assert_uint_eq(live_take(l, page + 32).birth, 0);
	/* Another page has a grid of its own; so has this one when it is empty. */
	ck_assert(live_put(l, page + PAGE + 8, entry(3, 0), &old));
	for (raddr_t off = 24; off < PAGE; off += SLOT)
		ck_assert_uint_eq(live_take(l, page + off).birth, 2);
	ck_assert(live_put(l, page + 0, entry(4, 0), &old));
	ck_assert_uint_eq(live_count(l), 2);
	live_destroy(l);
}
END_TEST

START_TEST(moves)
{
	struct live *l = table(1 << 20);
	struct live_entry old, e;
	bool kept;

	live_put(l, 0x10000, entry(1, 3), &old);
	e = live_move(l, 0x10000, 0x20000, &old, &kept);
	ck_assert(e.birth == 1 && e.epoch == 3 && old.birth == 0 && kept);
	live_put(l, 0x10000, entry(2, 4), &old);
	e = live_move(l, 0x20000, 0x10000, &old, &kept);
	ck_assert(e.birth == 1 && old.birth == 2 && kept);
	ck_assert_uint_eq(live_count(l), 1);
	/* A stranger comes to lie on ours. */
	e = live_move(l, 0x40000, 0x10000, &old, &kept);
	ck_assert(e.birth == 0 && old.birth == 1 && kept);
	ck_assert_uint_eq(live_count(l), 0);
	live_put(l, 0x10000, entry(1, 3), &old);
	e = live_move(l, 0x10000, 0x20004, &old, &kept);
	ck_assert(e.birth == 1 && !kept);
	ck_assert_uint_eq(live_count(l), 0);
	live_destroy(l);
}
END_TEST

START_TEST(limit_holds)
{
	struct live *l = table(256 << 10);
	struct live_entry old;
	uint64_t put = 0, a = 1;

	for (int i = 0; i < 100000; i++) {
		a = a * 6364136223846793005ull + 1442695040888963407ull;
		put += live_put(l, a & ~7ull, entry(1, 0), &old) && old.birth == 0;
		live_put(l, a | 1, entry(1, 0), &old);
	}
	ck_assert_uint_gt(put, 10);
	ck_assert_uint_eq(live_count(l), put);
	ck_assert_uint_le(live_memory(l), 300 << 10);
	live_destroy(l);
}
END_TEST

START_TEST(memory_comes_back)
{
	struct live *l = table((size_t)1 << 30);
	struct live_entry old;
	size_t empty = live_memory(l), slots = 4000ull * (PAGE / SLOT);

	for (raddr_t p = 0; p < 4000; p++)
		for (raddr_t i = 0; i < PAGE / SLOT; i++)
			live_put(l, p * PAGE + i * SLOT, entry(1, 0), &old);
	ck_assert_uint_eq(live_count(l), slots);
	ck_assert_uint_le(live_memory(l), slots * 8 + slots / 2);
	for (raddr_t p = 4000; p-- > 0;)
		for (raddr_t i = 0; i < PAGE / SLOT; i++)
			if (live_take(l, p * PAGE + i * SLOT).birth != 1)
				ck_abort_msg("page %d", (int)p);
	ck_assert_uint_eq(live_count(l), 0);
	ck_assert_uint_le(live_memory(l), empty + (512 << 10)); /* spare pages, directory */
	live_destroy(l);
}
END_TEST

/* -- against an array ------------------------------------------------------------------------ */

/* Pages 1 MiB apart in the first half, neighbours in the second: their numbers collide both ways.
 */
enum { PAGES = 4000, PER_PAGE = 4 };

struct model {
	struct live_entry v[PAGES * PER_PAGE];
	size_t seen;
};

static raddr_t model_addr(size_t i)
{
	raddr_t page = i / PER_PAGE;

	page = page < PAGES / 2 ? page << 20 : (1ull << 40) + page * PAGE;
	return page + 8 + (i % PER_PAGE) * SLOT;
}

static void model_visit(void *arg, raddr_t addr, struct live_entry *e)
{
	struct model *m = arg;

	raddr_t page = addr < 1ull << 40 ? addr >> 20 : (addr - (1ull << 40)) / PAGE;
	size_t i = page * PER_PAGE + (addr % PAGE - 8) / SLOT;

	m->seen += model_addr(i) == addr && memcmp(e, &m->v[i], sizeof(*e)) == 0;
}

START_TEST(random_operations)
{
	struct live *l = table((size_t)1 << 30);
	struct model *m = calloc(1, sizeof(*m));
	uint64_t s = 1, count = 0;

	for (uint32_t n = 1; n < 2000000; n++) {
		s = s * 6364136223846793005ull + 1442695040888963407ull;
		/* Most pages hold one object or none: they come and go all the time. */
		size_t i = (s >> 33) % (PAGES * PER_PAGE);
		size_t i2 = (s >> 20) % (PAGES * PER_PAGE);
		unsigned op = (unsigned)(s >> 60), puts = n % 400000 < 100000 ? 8 : 2;
		struct live_entry old = m->v[i], got;
		bool kept;

		if (op < puts) {
			if (!live_put(l, model_addr(i), entry(n, n * 3), &got))
				ck_abort_msg("no room");
			m->v[i] = entry(n, n * 3);
			count += old.birth == 0;
		} else if (op < 15) {
			got = live_take(l, model_addr(i));
			m->v[i] = entry(0, 0);
			count -= old.birth != 0;
		} else {
			struct live_entry at = m->v[i2];

			if (i == i2)
				continue;
			if (live_move(l, model_addr(i), model_addr(i2), &got, &kept).birth !=
			    old.birth)
				ck_abort_msg("moved another");
			m->v[i2] = old;
			m->v[i] = entry(0, 0);
			count -= at.birth != 0;
			old = at;
		}
		if (memcmp(&old, &got, sizeof(old)) != 0 || live_count(l) != count)
			ck_abort_msg("operation %u at %zu", n, i);
	}
	live_each(l, model_visit, m);
	ck_assert_uint_eq(m->seen, count);
	ck_assert_uint_gt(count, 1000);
	live_destroy(l);
	free(m);
}
END_TEST

SUITE_MAIN("live", geometry_is_checked, put_take, only_the_pages_grid, moves, limit_holds,
	   memory_comes_back, random_operations)
