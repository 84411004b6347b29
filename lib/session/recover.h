/* Clean a target that a dead memprof left patched, from what lies inside the target. */
#ifndef MEMPROF_SESSION_RECOVER_H
#define MEMPROF_SESSION_RECOVER_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct recover_result {
	size_t sites;      /* words restored */
	size_t mappings;   /* mappings of ours removed */
	bool found;        /* there was something of ours */
	unsigned pause_us; /* all threads stopped */
};

/* Every byte found in the target is hostile: addresses must lie in executable maps, old bytes must
 * equal the mapped file. Returns 0, or -1 and e: ERR_BUSY a living memprof holds it (named);
 * ERR_DIRTY what is left and why. */
int recover_run(pid_t pid, struct recover_result *ret, struct err *e);

#endif
