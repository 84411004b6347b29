#include "util/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct sink {
	int fd;
	int dirfd;      /* of the directory a file goes to; -1: not a file */
	char *name;     /* for messages: the path as given */
	char tmp[32];   /* name in dirfd until committed, then "" */
	struct err err; /* the first failure */
	size_t used;
	char buf[1 << 16];
};

static struct sink *sink_new(const char *name, struct err *e)
{
	struct sink *s = calloc(1, sizeof(*s));

	if (s != NULL)
		s->name = strdup(name);
	if (s == NULL || s->name == NULL) {
		free(s);
		err_set(e, ERR_NOMEM, "%s: out of memory", name);
		return NULL;
	}
	s->fd = s->dirfd = -1;
	return s;
}

int sink_fd(int fd, const char *name, struct sink **ret, struct err *e)
{
	struct sink *s = sink_new(name, e);

	if (s == NULL)
		return -1;
	s->fd = fd;
	*ret = s;
	return 0;
}

/* The last component of the path, which must name a file. */
static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static int dir_open(struct sink *s, struct err *e)
{
	const char *base = base_name(s->name);
	char *dir;

	if (base == s->name)
		dir = strdup(".");
	else /* with its slash, so that "/file" goes to "/" */
		dir = strndup(s->name, (size_t)(base - s->name));
	if (dir == NULL)
		return err_set(e, ERR_NOMEM, "%s: out of memory", s->name);
	s->dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd == -1)
		err_sys(e, ERR_SYS, "%s", dir);
	free(dir);
	return s->dirfd == -1 ? -1 : 0;
}

/* Rename would replace a symbolic link or a device with a plain file: hardly what was meant. */
static int final_check(const struct sink *s, struct err *e)
{
	const char *base = base_name(s->name);
	struct stat st;

	if (strcmp(base, "") == 0 || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return err_set(e, ERR_USAGE, "%s: not the name of a file", s->name);
	if (fstatat(s->dirfd, base, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return errno == ENOENT ? 0 : err_sys(e, ERR_SYS, "%s", s->name);
	if (S_ISLNK(st.st_mode))
		return err_set(e, ERR_USAGE, "%s: is a symbolic link", s->name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_USAGE, "%s: not a regular file", s->name);
	return 0;
}

static int tmp_open(struct sink *s, struct err *e)
{
	for (int tries = 0; tries < 16; tries++) {
		uint64_t r = 0;

		if (getrandom(&r, sizeof(r), GRND_NONBLOCK) == -1)
			r = (uint64_t)getpid();
		snprintf(s->tmp, sizeof(s->tmp), ".memprof-%016jx", (uintmax_t)r + tries);
		s->fd = openat(s->dirfd, s->tmp,
			       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (s->fd != -1)
			return 0;
		if (errno != EEXIST)
			break;
	}
	s->tmp[0] = '\0'; /* not ours to remove */
	return err_sys(e, ERR_SYS, "%s", s->name);
}

/* A decimal id of the environment; (uid_t)-1 means "no change" to chown(2), so it is none. */
static bool env_id(const char *name, uint32_t *ret)
{
	const char *s = getenv(name);
	char *end;
	unsigned long long v;

	if (s == NULL || *s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno != 0 || *end != '\0' || v >= UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* Under sudo the file is for the person who typed the command. */
static int owner_set(const struct sink *s, struct err *e)
{
	uint32_t uid, gid;

	if (geteuid() != 0 || !env_id("SUDO_UID", &uid) || !env_id("SUDO_GID", &gid))
		return 0;
	if (fchown(s->fd, uid, gid) == -1)
		return err_sys(e, ERR_SYS, "%s", s->name);
	return 0;
}

int sink_file(const char *path, struct sink **ret, struct err *e)
{
	struct sink *s = sink_new(path, e);

	if (s == NULL)
		return -1;
	if (dir_open(s, e) == -1 || final_check(s, e) == -1 || tmp_open(s, e) == -1 ||
	    owner_set(s, e) == -1) {
		sink_destroy(s);
		return -1;
	}
	*ret = s;
	return 0;
}

static void sink_flush(struct sink *s)
{
	size_t done = 0;

	while (s->err.code == ERR_NONE && done < s->used) {
		ssize_t n = write(s->fd, s->buf + done, s->used - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN) /* somebody else made our terminal non-blocking */
			poll(&(struct pollfd){.fd = s->fd, .events = POLLOUT}, 1, -1);
		else if (errno != EINTR)
			err_sys(&s->err, ERR_SYS, "%s", s->name);
	}
	s->used = 0;
}

void sink_write(struct sink *s, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0 && s->err.code == ERR_NONE) {
		size_t n = sizeof(s->buf) - s->used;

		if (n > len)
			n = len;
		memcpy(s->buf + s->used, p, n);
		s->used += n;
		p += n;
		len -= n;
		if (s->used == sizeof(s->buf))
			sink_flush(s);
	}
}

void sink_puts(struct sink *s, const char *str)
{
	sink_write(s, str, strlen(str));
}

void sink_printf(struct sink *s, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	if (s->err.code != ERR_NONE)
		return;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n == -1) {
		err_set(&s->err, ERR_NOMEM, "%s: out of memory", s->name);
		return;
	}
	sink_write(s, text, (size_t)n);
	free(text);
}

static void file_finish(struct sink *s)
{
	/* EINVAL: a file system that has no notion of it. */
	if ((fsync(s->fd) == -1 && errno != EINVAL) ||
	    renameat(s->dirfd, s->tmp, s->dirfd, base_name(s->name)) == -1)
		err_sys(&s->err, ERR_SYS, "%s", s->name);
	else
		s->tmp[0] = '\0';
}

int sink_commit(struct sink *s, struct err *e)
{
	sink_flush(s);
	if (s->err.code == ERR_NONE && s->tmp[0] != '\0')
		file_finish(s);
	if (s->err.code == ERR_NONE)
		return 0;
	*e = s->err;
	return -1;
}

void sink_destroy(struct sink *s)
{
	if (s == NULL)
		return;
	if (s->dirfd != -1) {
		if (s->tmp[0] != '\0')
			unlinkat(s->dirfd, s->tmp, 0);
		if (s->fd != -1)
			close(s->fd);
		close(s->dirfd);
	}
	free(s->name);
	free(s);
}
