/* Ruby's hash table (st.c), as instance variables of classes are kept in it until 3.1. */
#ifndef MEMPROF_RUBY_TABLE_H
#define MEMPROF_RUBY_TABLE_H

#include "ruby/ruby.h"

enum { RUBY_TABLE_CAP = 1 << 14 }; /* entries; no class has so many instance variables */

/*
 * Call fn for the live entries of the st_table at addr, in order, until it returns false. The
 * table's head is read again afterwards: what fn has seen counts only when 0 is returned.
 * Returns 0, or -1 and e: ERR_FAULT; ERR_BADDATA impossible, or changed while it was read.
 */
int ruby_table_each(const struct ruby *rb, raddr_t addr,
		    bool (*fn)(void *arg, uint64_t key, uint64_t record), void *arg, struct err *e);

#endif
