#include "proc/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020 /* Linux 6.3 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

static int remote_memfd(struct rcall *c, long *fd, struct err *e)
{
	raddr_t name = rcall_put(c, SHM_NAME, sizeof(SHM_NAME));
	uint64_t flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	if (name == 0)
		return err_set(e, ERR_FAILED, "writing to the target's stack");
	if (rcall_syscall(c, SYS_memfd_create, (const uint64_t[6]){name, flags | MFD_NOEXEC_SEAL},
			  fd, e) == -1)
		return -1;
	if (*fd == -EINVAL &&
	    rcall_syscall(c, SYS_memfd_create, (const uint64_t[6]){name, flags}, fd, e) == -1)
		return -1;
	if (*fd < 0) {
		errno = (int)-*fd;
		err_sys(e, ERR_FAILED, "creating shared memory in the target");
		e->code = ERR_FAILED;
		if (*fd == -EMFILE)
			err_remedy(e, "raise its limit of open files by one");
		return -1;
	}
	return 0;
}

/* The target's other threads run, and may have put another file under this number: we are about to
 * change its size, so it must be an empty memfd that takes seals, and nothing else. */
static bool is_fresh_memfd(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals != -1 && (seals & ~F_SEAL_EXEC) == 0 && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_nlink == 0 && st.st_size == 0;
}

int shm_create(struct rcall *c, size_t len, struct shm *ret, struct err *e)
{
	char path[48];
	long fd;

	*ret = (struct shm){.len = len, .remote_fd = -1};
	if (remote_memfd(c, &fd, e) == -1)
		return -1;
	ret->remote_fd = (int)fd;
	snprintf(path, sizeof(path), "/proc/%d/fd/%ld", c->t->pid, fd);
	int local = open(path, O_RDWR | O_CLOEXEC);
	if (local == -1)
		return err_sys(e, ERR_SYS, "%s", path);
	if (!is_fresh_memfd(local)) {
		close(local);
		return err_set(e, ERR_FAILED, "%s is not the shared memory that was just created",
			       path);
	}
	if (ftruncate(local, (off_t)len) == -1 ||
	    fcntl(local, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1) {
		err_sys(e, ERR_SYS, "sizing %zu bytes of shared memory", len);
		close(local);
		return -1;
	}
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, local, 0);
	close(local);
	if (p == MAP_FAILED)
		return err_sys(e, ERR_SYS, "mapping %zu bytes of shared memory", len);
	ret->local = p;
	return 0;
}

int shm_keep_from_children(struct rcall *c, raddr_t at, size_t len, struct err *e)
{
	return RCALL(c, "madvise(DONTFORK)", SYS_madvise, NULL, e, at, len, MADV_DONTFORK);
}

int shm_close_remote(struct rcall *c, struct shm *s, struct err *e)
{
	if (s->remote_fd == -1)
		return 0;
	if (RCALL(c, "close", SYS_close, NULL, e, (uint64_t)s->remote_fd) == -1)
		return -1;
	s->remote_fd = -1;
	return 0;
}

void shm_populate(struct shm *s)
{
	/* Best effort: without it the target's first lap costs it page faults. */
	if (madvise(s->local, s->len, MADV_POPULATE_WRITE) == -1)
		errno = 0;
}

void shm_discard(struct shm *s, size_t from)
{
	/* Best effort: a kernel that refuses only makes the unmapping slower. */
	if (madvise((char *)s->local + from, s->len - from, MADV_REMOVE) == -1)
		errno = 0;
}

void shm_deinit(struct shm *s)
{
	if (s->local != NULL)
		munmap(s->local, s->len);
	s->local = NULL;
}
