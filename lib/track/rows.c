#include "track/rows.h"

#include "track/names.h"

void rows_init(struct rows *rs, uint32_t max)
{
	*rs = (struct rows){
	    .max = max,
	    .other.key = {.file = names_none, .method = names_none, .klass = names_other},
	};
}

void rows_deinit(struct rows *rs)
{
	struct row *r, *next;

	HASH_ITER(hh, rs->table, r, next)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): uthash walks by its own links */
		HASH_DEL(rs->table, r);
		free(r);
	}
}

struct row *rows_get(struct rows *rs, const struct row_key *key)
{
	struct row *r;

	if (memcmp(key, &rs->other.key, sizeof(*key)) == 0)
		return &rs->other;
	HASH_FIND(hh, rs->table, key, sizeof(*key), r);
	if (r != NULL)
		return r;
	if (HASH_COUNT(rs->table) >= rs->max)
		return &rs->other;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return &rs->other;
	r->key = *key;
	HASH_ADD(hh, rs->table, key, sizeof(r->key), r);
	if (r->hh.tbl == NULL) {
		free(r);
		return &rs->other;
	}
	return r;
}

size_t rows_memory(const struct rows *rs)
{
	return HASH_COUNT(rs->table) * sizeof(struct row) + HASH_OVERHEAD(hh, rs->table);
}
