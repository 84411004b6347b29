/* /proc/PID/pagemap: which pages of the tracee hold anything. Reading one that doesn't would only
 * bring zeroes, slowly. */
#ifndef MEMPROF_PROC_PAGEMAP_H
#define MEMPROF_PROC_PAGEMAP_H

#include "util/raddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PAGEMAP_BATCH = 512 };

/* An open descriptor, or -1 when the kernel has none for us: then every page may hold something. */
int pagemap_open(pid_t pid);

/* Fill in held[] for the n <= PAGEMAP_BATCH pages of page_size bytes from addr on: in memory or
 * swapped out. What can't be asked counts as held.
 * Source: kernel Documentation/admin-guide/mm/pagemap.rst, bits 63 and 62. */
void pagemap_held(int fd, raddr_t addr, size_t page_size, bool *held, size_t n);

#endif
