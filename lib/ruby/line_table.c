#include "ruby/line_table.h"

#include <stdlib.h>
#include <string.h>

/*
 * iseq.c, succ_index_table (VM_INSN_INFO_TABLE_IMPL 2): a bit vector over the words of the code
 * with a bit wherever an entry starts; the entry of a word is the number of bits up to and
 * including it, less one. The first 54 words have these counts ready, 9 to a u64 of 7 bits each:
 *
 *   u64 ready[6]                      as many as the code has words for
 *   { u32 before; u32 pad;            bits before this block of 512
 *     u64 before_small;               7 times 9 bits: bits of the block before its u64 1 to 7
 *     u64 bits[8]; } blocks[]
 */
enum { READY_WORDS = 54, READY_PER_U64 = 9, READY_BYTES = 48 };
enum { BLOCK_WORDS = 512, BLOCK_BYTES = 80, BLOCK_SMALL = 8, BLOCK_BITS = 16 };

static size_t index_bytes(uint32_t words)
{
	if (words < READY_WORDS)
		return (words + READY_PER_U64 - 1) / READY_PER_U64 * 8;
	return READY_BYTES +
	       (words - READY_WORDS + BLOCK_WORDS - 1) / BLOCK_WORDS * (size_t)BLOCK_BYTES;
}

static uint64_t u64_at(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* Bits up to and including pos. */
static uint32_t index_rank(const uint8_t *index, uint32_t pos)
{
	if (pos < READY_WORDS)
		return (uint32_t)(u64_at(index + pos / READY_PER_U64 * 8) >>
				  7 * (pos % READY_PER_U64)) &
		       0x7f;

	uint32_t at = pos - READY_WORDS;
	const uint8_t *block = index + READY_BYTES + at / BLOCK_WORDS * (size_t)BLOCK_BYTES;
	uint32_t bit = at % BLOCK_WORDS, small = bit / 64;
	uint64_t bits = u64_at(block + BLOCK_BITS + small * 8) << (63 - bit % 64);
	uint32_t rank = u32_at(block) + (uint32_t)__builtin_popcountll(bits);
	if (small > 0)
		rank += (uint32_t)(u64_at(block + BLOCK_SMALL) >> 9 * (small - 1)) & 0x1ff;
	return rank;
}

static uint32_t entry_line(const struct ruby *rb, const uint8_t *entries, uint32_t i)
{
	uint32_t line = u32_at(entries + (size_t)i * (size_t)rb->lay->body.insn_info_size);
	return line <= INT32_MAX ? line : 0;
}

/* Runs of equal lines. The index must count every entry once, in order: one that does not was
 * torn, or is no index. runs has room for one an entry. */
static int runs_decode(const struct ruby *rb, const struct line_source *src, const uint8_t *entries,
		       const uint8_t *index, struct line_run *runs, uint32_t *n, struct err *e)
{
	uint32_t seen = 0;
	*n = 0;
	for (uint32_t pos = 0; pos < src->words; pos++) {
		uint32_t rank = index ? index_rank(index, pos) : 1;
		if (rank == seen && pos > 0)
			continue;
		if (rank != seen + 1 || rank > src->n)
			return err_set(e, ERR_BADDATA, "line table: entry %u after %u of %u", rank,
				       seen, src->n);
		seen = rank;
		uint32_t line = entry_line(rb, entries, rank - 1);
		if (*n == 0 || runs[*n - 1].line != line)
			runs[(*n)++] = (struct line_run){pos, line};
	}
	if (seen != src->n)
		return err_set(e, ERR_BADDATA, "line table: %u of %u entries", seen, src->n);
	return 0;
}

int line_table_read(const struct ruby *rb, const struct line_source *src, struct line_run **runs,
		    uint32_t *n, struct err *e)
{
	*runs = NULL;
	*n = 0;
	if (src->n == 0)
		return 0;
	if (src->words > ISEQ_WORDS_CAP || src->n > src->words)
		return err_set(e, ERR_BADDATA, "line table: %u entries for %u words", src->n,
			       src->words);

	/* With one entry Ruby does not look at the index. */
	size_t entries_len = src->n * (size_t)rb->lay->body.insn_info_size;
	size_t index_len = src->n > 1 ? index_bytes(src->words) : 0;
	uint8_t *bytes = malloc(entries_len + index_len);
	struct line_run *v = malloc(src->n * sizeof(*v));
	int ret = -1;
	if (!bytes || !v) {
		err_set(e, ERR_NOMEM, "line table of %u words: out of memory", src->words);
		goto out;
	}
	if (mem_read(rb->mem, src->entries, bytes, entries_len, e) == -1 ||
	    (index_len > 0 &&
	     mem_read(rb->mem, src->index, bytes + entries_len, index_len, e) == -1))
		goto out;
	ret = runs_decode(rb, src, bytes, index_len > 0 ? bytes + entries_len : NULL, v, n, e);
out:
	free(bytes);
	if (ret == 0)
		*runs = v;
	else
		free(v);
	return ret;
}

uint32_t line_table_find(const struct line_run *runs, uint32_t n, uint32_t pos)
{
	uint32_t lo = 0, hi = n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (runs[mid].pos <= pos)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 ? runs[lo - 1].line : 0;
}
