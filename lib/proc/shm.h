/* Memory shared with the tracee: a sealed memfd that the tracee creates at our request and forgets
 * (its descriptor is closed again before the thread runs on). */
#ifndef MEMPROF_PROC_SHM_H
#define MEMPROF_PROC_SHM_H

#include "proc/rcall.h"

#define SHM_NAME "memprof" /* /proc/PID/maps shows "/memfd:memprof (deleted)" */

struct shm {
	void *local; /* our mapping, or NULL */
	size_t len;
	int remote_fd; /* open in the tracee, or -1 */
};

/* Create it and map it here. Sealed against shrinking, growing and further seals: a file cut short
 * would be a SIGBUS in the target. */
int shm_create(struct rcall *c, size_t len, struct shm *ret, struct err *e);

/* Keep the tracee's mapping at [at, at + len) out of its forked children. */
int shm_keep_from_children(struct rcall *c, raddr_t at, size_t len, struct err *e);

/* Close the tracee's descriptor. */
int shm_close_remote(struct rcall *c, struct shm *s, struct err *e);

/* Have the pages allocated and charged to us, not to the target. */
void shm_populate(struct shm *s);

/* Give all pages from offset `from` back, on both sides, at our expense: unmapping a ring that was
 * written to would otherwise take the target's thread milliseconds. */
void shm_discard(struct shm *s, size_t from);

void shm_deinit(struct shm *s); /* unmaps here; the tracee's side is the caller's */

#endif
