#include "track/live.h"

#include <stdlib.h>

/* Kept apart so that the way through without them saves no registers. */
#define OUT_OF_LINE __attribute__((noinline))

enum {
	CACHE = 64,     /* pages found by their number's low bits, without the directory */
	SPARE_MAX = 64, /* empty pages kept for the next */
	DIR_MIN = 256,
};

/* slot[] is all zero when used is 0: a spare page needs no cleaning. */
struct live_page {
	uint64_t no; /* address / page_align */
	uint32_t used;
	uint32_t phase; /* every object's offset modulo the slot size */
	struct live_page *next_spare;
	struct live_entry slot[];
};

/* Page number to page, both as an entry of the directory (open addressing, linear probing, at most
 * half full) and of the cache (page NULL: known to hold nothing). */
struct live_dir {
	uint64_t no;
	struct live_page *page;
};

struct live {
	unsigned shift; /* log2(page_align) */
	uint32_t base_slot, slots;
	uint64_t reciprocal; /* of base_slot, 32 fraction bits, rounded up */
	struct live_dir cache[CACHE];
	struct live_dir *dir;
	size_t dir_size, pages;
	struct live_page *spare;
	size_t spares;
	size_t page_bytes, limit;
	uint64_t count;
};

int live_create(uint32_t page_align, uint32_t base_slot, size_t limit, struct live **ret,
		struct err *e)
{
	struct live *l;

	if (page_align < 4096 || page_align > 1u << 20 || (page_align & (page_align - 1)) != 0 ||
	    base_slot < 8 || base_slot > 4096 || base_slot % 8 != 0)
		return err_set(e, ERR_BADDATA, "heap pages of %u bytes with slots of %u",
			       page_align, base_slot);
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return err_set(e, ERR_NOMEM, "live table: out of memory");
	l->dir = calloc(DIR_MIN, sizeof(*l->dir));
	if (l->dir == NULL) {
		free(l);
		return err_set(e, ERR_NOMEM, "live table: out of memory");
	}
	l->dir_size = DIR_MIN;
	l->shift = (unsigned)__builtin_ctz(page_align);
	l->base_slot = base_slot;
	l->slots = page_align / base_slot + 1;
	/* Exact for offsets below 2^32 / base_slot, and a page is smaller. */
	l->reciprocal = ((1ull << 32) + base_slot - 1) / base_slot;
	l->page_bytes = sizeof(struct live_page) + l->slots * sizeof(struct live_entry);
	l->limit = limit;
	for (uint64_t i = 0; i < CACHE; i++)
		l->cache[i].no = ~i; /* a number that does not belong there */
	*ret = l;
	return 0;
}

void live_destroy(struct live *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < l->dir_size; i++)
		free(l->dir[i].page);
	while (l->spare != NULL) {
		struct live_page *p = l->spare;

		l->spare = p->next_spare;
		free(p);
	}
	free(l->dir);
	free(l);
}

/* -- directory ------------------------------------------------------------------------------- */

static size_t dir_home(const struct live *l, uint64_t no)
{
	return (size_t)((no * 0x9e3779b97f4a7c15ull) >> 32) & (l->dir_size - 1);
}

/* Where no is, or the free place where it belongs. */
static size_t dir_find(const struct live *l, uint64_t no)
{
	size_t i = dir_home(l, no);

	while (l->dir[i].page != NULL && l->dir[i].no != no)
		i = (i + 1) & (l->dir_size - 1);
	return i;
}

static bool dir_grow(struct live *l)
{
	struct live_dir *old = l->dir;
	size_t n = l->dir_size;

	l->dir = calloc(n * 2, sizeof(*l->dir));
	if (l->dir == NULL) {
		l->dir = old;
		return false;
	}
	l->dir_size = n * 2;
	for (size_t i = 0; i < n; i++)
		if (old[i].page != NULL)
			l->dir[dir_find(l, old[i].no)] = old[i];
	free(old);
	return true;
}

/* Close the hole: whatever follows and may not stand behind a free place moves up. */
static void dir_remove(struct live *l, uint64_t no)
{
	size_t mask = l->dir_size - 1, hole = dir_find(l, no);

	for (size_t i = (hole + 1) & mask; l->dir[i].page != NULL; i = (i + 1) & mask) {
		size_t home = dir_home(l, l->dir[i].no);

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			l->dir[hole] = l->dir[i];
			hole = i;
		}
	}
	l->dir[hole].page = NULL;
}

/* -- pages ----------------------------------------------------------------------------------- */

static OUT_OF_LINE struct live_page *page_look_up(struct live *l, uint64_t no)
{
	struct live_dir *c = &l->cache[no % CACHE];

	c->no = no;
	c->page = l->dir[dir_find(l, no)].page;
	return c->page;
}

static inline struct live_page *page_find(struct live *l, raddr_t addr)
{
	uint64_t no = addr >> l->shift;
	struct live_dir *c = &l->cache[no % CACHE];

	return c->no == no ? c->page : page_look_up(l, no);
}

static struct live_page *page_new(struct live *l)
{
	struct live_page *p = l->spare;

	if (p != NULL) {
		l->spare = p->next_spare;
		l->spares--;
		return p;
	}
	if ((l->pages + 1) * l->page_bytes > l->limit)
		return NULL;
	return calloc(1, l->page_bytes);
}

static OUT_OF_LINE struct live_page *page_add(struct live *l, raddr_t addr, uint32_t phase)
{
	uint64_t no = addr >> l->shift;
	struct live_page *p;

	if ((l->pages + 1) * 2 > l->dir_size && !dir_grow(l))
		return NULL;
	p = page_new(l);
	if (p == NULL)
		return NULL;
	p->no = no;
	p->phase = phase;
	l->dir[dir_find(l, no)] = (struct live_dir){no, p};
	l->cache[no % CACHE] = (struct live_dir){no, p};
	l->pages++;
	return p;
}

static OUT_OF_LINE void page_remove(struct live *l, struct live_page *p)
{
	dir_remove(l, p->no);
	l->cache[p->no % CACHE] = (struct live_dir){p->no, NULL};
	l->pages--;
	if (l->spares >= SPARE_MAX) {
		free(p);
		return;
	}
	p->next_spare = l->spare;
	l->spare = p;
	l->spares++;
}

/* -- objects --------------------------------------------------------------------------------- */

/* The slot's number in its page; *phase: the offset of the page's grid, 0 to base_slot - 1. */
static inline uint32_t slot_of(const struct live *l, raddr_t addr, uint32_t *phase)
{
	uint32_t off = (uint32_t)addr & ((1u << l->shift) - 1);
	uint32_t i = (uint32_t)((off * l->reciprocal) >> 32);

	*phase = off - i * l->base_slot;
	return i;
}

bool live_put(struct live *l, raddr_t addr, struct live_entry e, struct live_entry *old)
{
	uint32_t phase, i = slot_of(l, addr, &phase);
	struct live_page *p = page_find(l, addr);

	*old = (struct live_entry){0, 0};
	if (addr % 8 != 0)
		return false;
	if (p == NULL) {
		p = page_add(l, addr, phase);
		if (p == NULL)
			return false;
	}
	if (p->phase != phase)
		return false;
	*old = p->slot[i];
	p->slot[i] = e;
	if (old->birth == 0) {
		p->used++;
		l->count++;
	}
	return true;
}

struct live_entry live_take(struct live *l, raddr_t addr)
{
	struct live_entry e = {0, 0};
	uint32_t phase, i = slot_of(l, addr, &phase);
	struct live_page *p = page_find(l, addr);

	if (p == NULL || p->phase != phase)
		return e;
	e = p->slot[i];
	if (e.birth == 0)
		return e;
	p->slot[i] = (struct live_entry){0, 0};
	l->count--;
	if (--p->used == 0)
		page_remove(l, p);
	return e;
}

struct live_entry live_move(struct live *l, raddr_t from, raddr_t to, struct live_entry *old,
			    bool *kept)
{
	struct live_entry e = live_take(l, from);

	*kept = true;
	if (e.birth != 0)
		*kept = live_put(l, to, e, old);
	else
		*old = live_take(l, to);
	return e;
}

void live_each(struct live *l, void (*fn)(void *arg, raddr_t addr, struct live_entry *e), void *arg)
{
	for (size_t d = 0; d < l->dir_size; d++) {
		struct live_page *p = l->dir[d].page;

		for (uint32_t i = 0; p != NULL && i < l->slots; i++)
			if (p->slot[i].birth != 0)
				fn(arg, (p->no << l->shift) + i * l->base_slot + p->phase,
				   &p->slot[i]);
	}
}

uint64_t live_count(const struct live *l)
{
	return l->count;
}

size_t live_memory(const struct live *l)
{
	return sizeof(*l) + l->dir_size * sizeof(*l->dir) + (l->pages + l->spares) * l->page_bytes;
}
