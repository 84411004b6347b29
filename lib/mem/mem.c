#include "mem/mem.h"

#include <errno.h>

/* As many bytes as there are. A short read may only mean that one mapping ended and another goes
 * on, so ask again until there is nothing: then errno says why. */
static size_t read_loop(const struct mem *m, raddr_t addr, void *buf, size_t len)
{
	size_t done = 0;

	errno = EIO;
	if (addr + len < addr)
		len = -addr;
	while (done < len) {
		ssize_t n = m->read(m->ctx, addr + done, (char *)buf + done, len - done);

		if (n <= 0 || (size_t)n > len - done) {
			if (n >= 0)
				errno = EIO;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

int mem_read(const struct mem *m, raddr_t addr, void *buf, size_t len, struct err *e)
{
	size_t n = read_loop(m, addr, buf, len);

	if (n == len)
		return 0;
	if (errno == ESRCH)
		return err_set(e, ERR_GONE, "the process is gone");
	return err_set(e, ERR_FAULT, "memory at %" PRIRA ": %zu of %zu bytes", addr, n, len);
}

int mem_u16(const struct mem *m, raddr_t addr, uint16_t *ret, struct err *e)
{
	return mem_read(m, addr, ret, sizeof(*ret), e);
}

int mem_u32(const struct mem *m, raddr_t addr, uint32_t *ret, struct err *e)
{
	return mem_read(m, addr, ret, sizeof(*ret), e);
}

int mem_u64(const struct mem *m, raddr_t addr, uint64_t *ret, struct err *e)
{
	return mem_read(m, addr, ret, sizeof(*ret), e);
}

size_t mem_read_upto(const struct mem *m, raddr_t addr, void *buf, size_t len)
{
	return read_loop(m, addr, buf, len);
}
