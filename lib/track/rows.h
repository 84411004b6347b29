/* Figures by what a report shows: file, line, method, class, internal file, thread. */
#ifndef MEMPROF_TRACK_ROWS_H
#define MEMPROF_TRACK_ROWS_H

#include "track/hash.h"

#include <stdbool.h>
#include <stdint.h>

/* Names are interned. All bytes count: assign the whole struct. */
struct row_key {
	const char *file, *method, *klass;
	const char *internal; /* NULL: none */
	uint32_t line, thread;
};

struct row_figures {
	uint64_t allocated, freed, live, live_bytes, survived;
};

struct row {
	struct row_key key;
	struct row_figures ended; /* birth sites that are no more */
	struct row_figures now;   /* scratch of track_rows: with those that still are */
	UT_hash_handle hh;
};

struct rows {
	struct row *table;
	struct row other; /* what the table has no room for: file "", class "(other)" */
	uint32_t max;
};

void rows_init(struct rows *rs, uint32_t max);
void rows_deinit(struct rows *rs);

/* The row of a key, made if need be; never NULL. */
struct row *rows_get(struct rows *rs, const struct row_key *key);

size_t rows_memory(const struct rows *rs); /* bytes */

#endif
