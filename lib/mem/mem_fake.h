/* struct mem over segments in our own memory, for tests. */
#ifndef MEMPROF_MEM_MEM_FAKE_H
#define MEMPROF_MEM_MEM_FAKE_H

#include "mem/mem.h"

struct mem_fake_seg {
	raddr_t addr;
	const void *bytes;
	size_t len;
};

/* Segments are borrowed; segs must be terminated by one with bytes == NULL. */
struct mem mem_fake(const struct mem_fake_seg *segs);

#endif
