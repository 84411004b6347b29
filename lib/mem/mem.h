/*
 * Memory that is not ours: a live tracee, a snapshot, a core file or a buffer of a unit test.
 * Everything in the reading tower sees memory through this and nothing else.
 */
#ifndef MEMPROF_MEM_MEM_H
#define MEMPROF_MEM_MEM_H

#include "util/err.h"
#include "util/raddr.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mem {
	/* Bytes read (may be short at the end of what is mapped), or -1 and errno: EIO nothing is
	 * mapped at addr, ESRCH the process is gone. */
	ssize_t (*read)(void *ctx, raddr_t addr, void *buf, size_t len);
	void *ctx;
};

/* Read exactly len bytes. Returns 0, or -1 and e: ERR_FAULT short or unmapped, ERR_GONE. */
int mem_read(const struct mem *m, raddr_t addr, void *buf, size_t len, struct err *e);

int mem_u16(const struct mem *m, raddr_t addr, uint16_t *ret, struct err *e);
int mem_u32(const struct mem *m, raddr_t addr, uint32_t *ret, struct err *e);
int mem_u64(const struct mem *m, raddr_t addr, uint64_t *ret, struct err *e);

/* Read up to len bytes, as many as there are. Returns the count (0 when nothing is mapped). */
size_t mem_read_upto(const struct mem *m, raddr_t addr, void *buf, size_t len);

#endif
