/* /proc/PID/maps: parsing and questions asked of it. */
#ifndef MEMPROF_ELF_MAPS_H
#define MEMPROF_ELF_MAPS_H

#include "util/err.h"
#include "util/raddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct map {
	raddr_t start, end;
	uint64_t offset; /* in the file */
	bool r, w, x, shared;
	unsigned dev_major, dev_minor;
	uint64_t inode;   /* 0: anonymous */
	const char *path; /* "" when anonymous; may end in " (deleted)"; a newline in it stands as
			   * \012; other bytes are raw; borrowed from struct maps */
};

struct maps {
	struct map *v; /* ascending, disjoint */
	size_t n;
	char *text; /* what the paths point into */
};

/* Parse the text of a maps file (len bytes, no NUL needed; every line ends in a newline). Returns
 * 0, or -1 and e: ERR_BADDATA a malformed, overlapping or descending line; ERR_NOMEM. *ret is owned
 * by the caller: maps_deinit. */
int maps_parse(const char *text, size_t len, struct maps *ret, struct err *e);

/* Read and parse /proc/PID/task/TID/maps (a process whose first thread is dead has an empty
 * /proc/PID/maps). Returns 0, or -1 and e: ERR_GONE, also when the file is empty; ERR_PERM; else as
 * maps_parse. *ret is owned by the caller: maps_deinit. */
int maps_read(pid_t pid, pid_t tid, struct maps *ret, struct err *e);

void maps_deinit(struct maps *m); /* zeroed struct is allowed */

/* The map that holds addr, or NULL. Borrowed from m. */
const struct map *maps_find(const struct maps *m, raddr_t addr);

/*
 * Room for len bytes (a multiple of the page size) with at least one unmapped page on either side
 * (so that the kernel never merges it with a neighbour), such that every byte lies within 2 GiB -
 * 64 KiB of every byte of [lo, hi). `min` is the lowest address the kernel will map
 * (vm.mmap_min_addr or higher). Keeps 1 GiB above [heap] and 128 MiB below [stack] for them to grow
 * into. Prefers what starts nearest to lo. Returns 0 and *ret, or -1 and e: ERR_RANGE.
 */
int maps_find_gap(const struct maps *m, raddr_t lo, raddr_t hi, size_t len, raddr_t min,
		  raddr_t *ret, struct err *e);

#endif
