/* Mappings in the tracee, made and removed by remote calls. */
#ifndef MEMPROF_PROC_REGION_H
#define MEMPROF_PROC_REGION_H

#include "proc/rcall.h"

/* Map len bytes at exactly `at`, where nothing is mapped. fd -1: anonymous. e: ERR_RANGE something
 * is there meanwhile (look again); ERR_FAILED the kernel refused. */
int region_map(struct rcall *c, raddr_t at, size_t len, int prot, int flags, int fd, struct err *e);

int region_unmap(struct rcall *c, raddr_t at, size_t len, struct err *e);

/* Fork children find zeroes there. */
int region_wipe_on_fork(struct rcall *c, raddr_t at, size_t len, struct err *e);

/* Forget private copies of file pages: what is read next is the file's. */
int region_drop_copies(struct rcall *c, raddr_t at, size_t len, struct err *e);

#endif
