/* Room near some code, where it disturbs nobody. */
#include "elf/maps.h"

#include <string.h>

#define PAGE       UINT64_C(4096)
#define REACH      (UINT64_C(0x80000000) - 0x10000)
#define USER_TOP   UINT64_C(0x7ffffffff000) /* end of user space with four page-table levels */
#define BRK_ROOM   (UINT64_C(1) << 30)      /* left free above [heap] for brk(2) to grow into */
#define STACK_ROOM (UINT64_C(128) << 20)    /* left free below [stack]: the kernel's MIN_GAP */

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* Where the gap before map i begins and ends (i == n: the one above the last). */
static uint64_t gap_start(const struct maps *m, size_t i)
{
	if (i == 0)
		return 0;
	return m->v[i - 1].end + (strcmp(m->v[i - 1].path, "[heap]") == 0 ? BRK_ROOM : 0);
}

static uint64_t gap_end(const struct maps *m, size_t i)
{
	if (i == m->n || m->v[i].start > USER_TOP)
		return USER_TOP;
	return minus(m->v[i].start, strcmp(m->v[i].path, "[stack]") == 0 ? STACK_ROOM : 0);
}

/* The address nearest to `want` for len bytes in [first, last] that leaves a page free on either
 * side inside [start, end). */
static bool gap_fit(uint64_t start, uint64_t end, size_t len, uint64_t first, uint64_t last,
		    uint64_t want, raddr_t *ret)
{
	if (end <= start || end - start < len + 2 * PAGE)
		return false;
	if (first < start + PAGE)
		first = start + PAGE;
	if (last > end - PAGE - len)
		last = end - PAGE - len;
	first = (first + PAGE - 1) / PAGE * PAGE;
	last = last / PAGE * PAGE;
	want = want / PAGE * PAGE;
	if (first > last)
		return false;
	*ret = want < first ? first : want > last ? last : want;
	return true;
}

int maps_find_gap(const struct maps *m, raddr_t lo, raddr_t hi, size_t len, raddr_t min,
		  raddr_t *ret, struct err *e)
{
	raddr_t best = 0, at;

	if (lo >= hi || hi > USER_TOP || min > USER_TOP || len == 0 || len % PAGE != 0 ||
	    len > REACH)
		return err_set(e, ERR_RANGE, "no room for %zu bytes near %" PRIRA, len, lo);
	/* The far ends decide: from our first byte up to hi, and from lo up to our last byte. */
	uint64_t first = minus(hi - 1, REACH), last = lo + REACH - (len - 1);
	if (first < min)
		first = min;
	for (size_t i = 0; i <= m->n; i++) {
		if (gap_fit(gap_start(m, i), gap_end(m, i), len, first, last, lo, &at) &&
		    (best == 0 || distance(at, lo) < distance(best, lo)))
			best = at;
	}
	if (best == 0)
		return err_set(e, ERR_RANGE, "no room for %zu bytes within 2 GiB of %" PRIRA, len,
			       lo);
	*ret = best;
	return 0;
}
