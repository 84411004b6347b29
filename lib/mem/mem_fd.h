/* struct mem over one open /proc/PID/mem: the only way a live tracee is read. */
#ifndef MEMPROF_MEM_MEM_FD_H
#define MEMPROF_MEM_MEM_FD_H

#include "mem/mem.h"

/* The descriptor is carried in the context; the caller keeps it open as long as *ret is used.
 * A read on a dead address space (exec, exit) gives 0 bytes from the kernel and errno ESRCH here.
 */
struct mem mem_fd(int fd);

#endif
