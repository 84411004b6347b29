/* Is any thread where code is about to change? Program counters, and those saved in the frames of
 * interrupted signal handlers. */
#ifndef MEMPROF_PATCH_SAFEPOINT_H
#define MEMPROF_PATCH_SAFEPOINT_H

#include "elf/maps.h"
#include "mem/mem.h"
#include "proc/pagemap.h"
#include "proc/tracee.h"

struct safe_range {
	raddr_t lo, hi; /* [lo, hi) must hold no program counter */
};

/* The tracee's memory, as far as stacks are concerned. Borrowed. */
struct safe_view {
	const struct mem *mem;
	const struct maps *maps;
	const struct arch_gadgets *gadgets;
	int pagemap_fd; /* pagemap_open, or -1: look at every page */
};

/*
 * With all threads stopped, bring every thread out of the ranges: one that stands inside runs on
 * for a moment and is stopped again. Returns 0 when none is inside; 1 when a signal handler has to
 * finish first (release, wait, try again); -1 and e. Threads born meanwhile are stopped, too.
 */
int safepoint_reach(struct tracee *t, const struct safe_view *view, const struct safe_range *ranges,
		    size_t nranges, unsigned budget_ms, struct err *e);

#endif
