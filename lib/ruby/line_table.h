/* An iseq's table of line numbers: read from the VM once, kept as runs. */
#ifndef MEMPROF_RUBY_LINE_TABLE_H
#define MEMPROF_RUBY_LINE_TABLE_H

#include "ruby/ruby.h"

enum { ISEQ_WORDS_CAP = 1 << 20 };

struct line_run {
	uint32_t pos, line; /* from this word of the code on */
};

/* Where an iseq's body says that its table lies. */
struct line_source {
	raddr_t entries, index; /* insns_info.body, insns_info.succ_index_table */
	uint32_t n;             /* entries */
	uint32_t words;         /* of the code: 1 to ISEQ_WORDS_CAP */
};

/* Read and decode. *runs is owned by the caller (free), ascending by pos, NULL when *n is 0.
 * Returns 0, or -1 and e: ERR_FAULT, ERR_BADDATA, ERR_NOMEM. */
int line_table_read(const struct ruby *rb, const struct line_source *src, struct line_run **runs,
		    uint32_t *n, struct err *e);

/* The line of a word of the code; 0 when there is none. */
uint32_t line_table_find(const struct line_run *runs, uint32_t n, uint32_t pos);

#endif
