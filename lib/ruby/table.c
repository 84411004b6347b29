#include "ruby/table.h"

#include <string.h>

/* st.c, RESERVED_HASH_VAL: the hash of a deleted entry, which is the entry's first word. */
#define DELETED UINT64_MAX

enum { CHUNK = 32 }; /* entries read at once */
enum { ENTRY_MAX = 32 };

struct head {
	uint64_t num, start, bound;
	raddr_t entries;
};

static int head_read(const struct ruby *rb, raddr_t addr, struct head *ret, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	if (mem_u64(rb->mem, addr + lay->st.num_entries, &ret->num, e) == -1 ||
	    mem_u64(rb->mem, addr + lay->st.entries_start, &ret->start, e) == -1 ||
	    mem_u64(rb->mem, addr + lay->st.entries_bound, &ret->bound, e) == -1 ||
	    mem_u64(rb->mem, addr + lay->st.entries, &ret->entries, e) == -1)
		return -1;
	if (ret->bound > RUBY_TABLE_CAP || ret->start > ret->bound ||
	    ret->num > ret->bound - ret->start)
		return err_set(e, ERR_BADDATA, "table at %" PRIRA " has impossible bounds", addr);
	return 0;
}

static uint64_t word_at(const uint8_t *p)
{
	uint64_t w;
	memcpy(&w, p, sizeof(w));
	return w;
}

int ruby_table_each(const struct ruby *rb, raddr_t addr,
		    bool (*fn)(void *arg, uint64_t key, uint64_t record), void *arg, struct err *e)
{
	const struct ruby_layout *lay = rb->lay;
	size_t size = (size_t)lay->st.entry_size;
	uint8_t chunk[CHUNK * ENTRY_MAX];
	struct head seen, now;
	bool more = true;

	if (head_read(rb, addr, &seen, e) == -1)
		return -1;
	for (uint64_t i = seen.start; more && i < seen.bound; i += CHUNK) {
		size_t n = seen.bound - i < CHUNK ? (size_t)(seen.bound - i) : CHUNK;
		if (mem_read(rb->mem, seen.entries + i * size, chunk, n * size, e) == -1)
			return -1;
		for (const uint8_t *p = chunk; more && p < chunk + n * size; p += size)
			if (word_at(p) != DELETED)
				more = fn(arg, word_at(p + lay->st.entry_key),
					  word_at(p + lay->st.entry_record));
	}
	if (head_read(rb, addr, &now, e) == -1)
		return -1;
	if (memcmp(&seen, &now, sizeof(seen)) != 0)
		return err_set(e, ERR_BADDATA, "table at %" PRIRA " changed while it was read",
			       addr);
	return 0;
}
