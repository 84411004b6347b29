#include "proc/region.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

int region_map(struct rcall *c, raddr_t at, size_t len, int prot, int flags, int fd, struct err *e)
{
	long got;
	const uint64_t kind =
	    (uint64_t)flags | MAP_FIXED_NOREPLACE | (fd == -1 ? MAP_ANONYMOUS : 0);
	const uint64_t args[6] = {at, len, (uint64_t)prot, kind, (uint64_t)(int64_t)fd, 0};

	if (rcall_syscall(c, SYS_mmap, args, &got, e) == -1)
		return err_prefix(e, "mmap in the target");
	if (got == (long)at)
		return 0;
	if (got < 0 && got > -4096) {
		errno = (int)-got;
		err_sys(e, ERR_FAILED, "mapping %zu bytes in the target", len);
		e->code = got == -EEXIST ? ERR_RANGE : ERR_FAILED;
		return -1;
	}
	/* A kernel before 4.17 does not know the flag and chose an address of its own. */
	RCALL(c, "munmap", SYS_munmap, NULL, e, (uint64_t)got, len);
	return err_set(e, ERR_RANGE, "mapping in the target: %" PRIRA " is taken", at);
}

int region_unmap(struct rcall *c, raddr_t at, size_t len, struct err *e)
{
	return RCALL(c, "munmap", SYS_munmap, NULL, e, at, len);
}

int region_wipe_on_fork(struct rcall *c, raddr_t at, size_t len, struct err *e)
{
	return RCALL(c, "madvise(WIPEONFORK)", SYS_madvise, NULL, e, at, len, MADV_WIPEONFORK);
}

int region_drop_copies(struct rcall *c, raddr_t at, size_t len, struct err *e)
{
	long got = 0;

	/* Pages that the target locked want another word (Linux 5.18). A kernel that knows neither
	 * leaves the copy: its bytes are the file's again, only its memory is not shared. */
	if (rcall_syscall(c, SYS_madvise, (const uint64_t[6]){at, len, MADV_DONTNEED}, &got, e) ==
	    -1)
		return -1;
	if (got == -EINVAL)
		return rcall_syscall(c, SYS_madvise,
				     (const uint64_t[6]){at, len, MADV_DONTNEED_LOCKED}, &got, e);
	return 0;
}
