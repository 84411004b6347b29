#include "mem/mem_fd.h"

#include <errno.h>
#include <unistd.h>

static ssize_t fd_read(void *ctx, raddr_t addr, void *buf, size_t len)
{
	ssize_t n;

	if (addr > INT64_MAX || len > INT64_MAX - addr) { /* not a user address, nor an off_t */
		errno = EIO;
		return -1;
	}
	do
		n = pread((int)(intptr_t)ctx, buf, len, (off_t)addr);
	while (n == -1 && errno == EINTR);
	/* The kernel's word for an address space that has gone: mem_rw(), mmget_not_zero(). */
	if (n == 0 && len > 0) {
		errno = ESRCH;
		return -1;
	}
	return n;
}

struct mem mem_fd(int fd)
{
	/* The context is the number itself: nothing to allocate, nothing to free. */
	void *ctx = (void *)(intptr_t)fd; /* NOLINT(performance-no-int-to-ptr) */

	return (struct mem){.read = fd_read, .ctx = ctx};
}
