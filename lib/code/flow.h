/* Where control may go without a direct branch saying so. */
#ifndef MEMPROF_CODE_FLOW_H
#define MEMPROF_CODE_FLOW_H

#include "code/text.h"

/*
 * Call fn for every entry of every switch table: position-independent ones (32-bit distances from
 * the table's start, which some lea names) and absolute ones (64-bit addresses, named by a jump or
 * a load through an index). Errs to the side of too many: what looks like a table is one.
 * Returns 0, or -1 and e: ERR_NOMEM.
 */
int flow_each_table_entry(const struct text *t, void (*fn)(void *arg, uint64_t target), void *arg,
			  struct err *e);

#endif
