/* Instruction sequences: file, label, and the line of a program counter. */
#ifndef MEMPROF_RUBY_ISEQ_H
#define MEMPROF_RUBY_ISEQ_H

#include "ruby/ruby.h"

struct iseq; /* opaque copy of what was read: valid after the original died */

/* Read an iseq. Everything is checked for consistency (the body's size, the tables' bounds): a
 * torn or reused one is an error. Returns 0 and an owned *ret (iseq_destroy), or -1 and e:
 * ERR_FAULT, ERR_BADDATA. */
int iseq_read(const struct ruby *rb, raddr_t addr, struct iseq **ret, struct err *e);
void iseq_destroy(struct iseq *i); /* NULL is allowed */

const char *iseq_path(const struct iseq *i);  /* as Ruby has it; borrowed */
const char *iseq_label(const struct iseq *i); /* as a backtrace of that version prints it */
bool iseq_is_internal(const struct iseq *i);  /* path begins with "<internal:" */
size_t iseq_memory(const struct iseq *i);     /* bytes it takes here */

/* True if pc can be a program counter of this iseq (one past the end included). */
bool iseq_holds(const struct iseq *i, raddr_t pc);

/*
 * The line that ObjectSpace.allocation_sourceline of that Ruby gives for an allocation made with
 * the frame at pc. ruby_top: the frame was the top one, no C frame above it. 0 when unknown.
 */
uint32_t iseq_line(const struct iseq *i, const struct ruby_layout *lay, raddr_t pc, bool ruby_top);

#endif
