#include "mem/mem_fake.h"

#include <errno.h>
#include <string.h>

static ssize_t fake_read(void *ctx, raddr_t addr, void *buf, size_t len)
{
	for (const struct mem_fake_seg *s = ctx; s->bytes != NULL; s++) {
		if (addr < s->addr || addr - s->addr >= s->len)
			continue;
		size_t off = (size_t)(addr - s->addr);
		if (len > s->len - off)
			len = s->len - off;
		memcpy(buf, (const char *)s->bytes + off, len);
		return (ssize_t)len;
	}
	errno = EIO;
	return -1;
}

struct mem mem_fake(const struct mem_fake_seg *segs)
{
	return (struct mem){.read = fake_read, .ctx = (void *)segs};
}
