/*
 * Where output goes: a descriptor, or a file that appears under its name only when it is whole.
 */
#ifndef MEMPROF_UTIL_SINK_H
#define MEMPROF_UTIL_SINK_H

#include "util/err.h"

#include <stddef.h>

struct sink; /* opaque, buffered: a failure may show only at sink_commit */

/* Write to an open descriptor (borrowed, not closed). name is used in messages. */
int sink_fd(int fd, const char *name, struct sink **ret, struct err *e);

/* Write to a new file beside path: mode 0600, never through a symbolic link, owned by the user who
 * called sudo when there is one (SUDO_UID/SUDO_GID). sink_commit renames it into place; without
 * that, sink_destroy removes it. e: ERR_SYS, ERR_PERM with the path; ERR_USAGE what is there
 * already is a symbolic link or no regular file. */
int sink_file(const char *path, struct sink **ret, struct err *e);

/* Bytes to the sink. The first failure is kept and all later calls do nothing. */
void sink_write(struct sink *s, const void *buf, size_t len);
void sink_puts(struct sink *s, const char *str);
void sink_printf(struct sink *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Flush, and for a file fsync and rename into place. Returns 0, or -1 and the first failure
 * (EPIPE included). */
int sink_commit(struct sink *s, struct err *e);

/* Free; a file that was not committed is removed. NULL is allowed. */
void sink_destroy(struct sink *s);

#endif
