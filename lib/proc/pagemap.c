#include "proc/pagemap.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int pagemap_open(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void pagemap_held(int fd, raddr_t addr, size_t page_size, bool *held, size_t n)
{
	uint64_t entry[PAGEMAP_BATCH];
	ssize_t got = -1;

	if (n > PAGEMAP_BATCH)
		n = PAGEMAP_BATCH;
	if (fd != -1)
		got = pread(fd, entry, n * sizeof(entry[0]),
			    (off_t)(addr / page_size * sizeof(entry[0])));
	for (size_t i = 0; i < n; i++)
		held[i] = got < 0 || i >= (size_t)got / sizeof(entry[0]) || entry[i] >> 62 != 0;
}
