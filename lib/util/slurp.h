/* A file of unknown length, whole: the files of /proc say 0 for their size. */
#ifndef MEMPROF_UTIL_SLURP_H
#define MEMPROF_UTIL_SLURP_H

#include "util/err.h"

#include <stddef.h>

/* Read the file to its end. *ret is owned (free) and has a NUL after its *len bytes. Returns 0, or
 * -1 and e: ERR_SYS with errno in e->sys; ERR_PERM, ERR_GONE; ERR_RANGE more than max bytes;
 * ERR_NOMEM. */
int slurp(const char *path, size_t max, char **ret, size_t *len, struct err *e);

#endif
