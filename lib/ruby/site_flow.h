/*
 * Questions of the site finders about straight lines of code: which registers hold the same value,
 * where a register's value came from, whether flags are still wanted. Pure; no Ruby in here.
 */
#ifndef MEMPROF_RUBY_SITE_FLOW_H
#define MEMPROF_RUBY_SITE_FLOW_H

#include "code/site.h"
#include "code/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Registers that the calling convention gives a role (AMD64 psABI 3.2), by the CPU's numbers. The
 * finders' patterns are written for this CPU. */
enum { REG_RET = 0, REG_ARG3 = 2, REG_SP = 4 };

/* A direct branch or call, or an entry of a switch table, by instruction index. */
struct site_flow_edge {
	size_t to;
	size_t from; /* SIZE_MAX: a switch table */
};

struct site_flow {
	const struct text *text;
	struct site_flow_edge *edge; /* ascending by to */
	size_t edges;
};

/* Returns 0 and *ret (site_flow_deinit), or -1 and e: ERR_NOMEM. Borrows t. */
int site_flow_init(const struct text *t, struct site_flow *ret, struct err *e);
void site_flow_deinit(struct site_flow *f); /* zeroed is allowed */

/* True if some branch or call goes to instruction i, as far as the text knows. */
bool site_flow_is_target(const struct site_flow *f, size_t i);

/* True if control can go from instruction i to the next one with the registers still meaning what
 * they did: no jump, return or end, and no call. */
bool site_flow_falls_through(const struct insn *in);

/* First instruction of the straight line that ends before i, at most max instructions back. */
size_t site_flow_line_start(const struct site_flow *f, size_t i, size_t max);

/* The last branch target in [start, i], or start when there is none: what was established before
 * it need not hold for who jumps in. */
size_t site_flow_last_join(const struct site_flow *f, size_t start, size_t i);

/* The instruction control goes to after i when no conditional jump is taken: the next one, or a
 * direct jump's target. SIZE_MAX: unknown, or the function ends. */
size_t site_flow_next(const struct site_flow *f, size_t i);

/* Which registers hold the same value: equal numbers, equal values. */
struct site_values {
	uint32_t id[ARCH_REGS];
	uint32_t fresh;
};
void site_values_init(struct site_values *v); /* all different */
void site_values_step(struct site_values *v, const struct insn *in);

/* The value of reg before instruction `at`, counted from instruction `from` on the straight line
 * that holds both. Values counted from the same `from` compare. */
uint32_t site_flow_value(const struct site_flow *f, size_t from, size_t at, uint8_t reg);

/* True if in is a plain load of 8 bytes (base, displacement, nothing else) into a register. */
bool insn_is_load8(const struct insn *in);

/* True if in stores `size` bytes (16: a vector) at disp off a general register but the stack's. */
bool insn_is_store(const struct insn *in, unsigned size, int64_t disp);

/* True if in has a memory operand off a general register but the stack's, without index. */
bool insn_has_field(const struct insn *in);

/* Does instruction i define a value of the wanted kind? */
typedef bool site_flow_def_fn(const struct site_flow *f, size_t i, const void *arg);

/* True if on every way back from instruction `at` (exclusive) the definition of reg, followed
 * through copies, satisfies fn. Bounded: gives up (false) after some hundred instructions. */
bool site_flow_defined_by(const struct site_flow *f, size_t at, uint8_t reg, site_flow_def_fn *fn,
			  const void *arg);

/* True unless the arithmetic flags at instruction i are written before anything reads them. */
bool site_flow_flags_live(const struct site_flow *f, size_t i);

/* A window of whole instructions from i on, one if that is long enough for a jump, else two.
 * Fills addr, len, ninsn and old of *s. False: too short, a branch target inside, or instructions
 * that can't be displaced. */
bool site_flow_window(const struct site_flow *f, size_t i, struct site *s);

#endif
