#include "util/slurp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Room for at least one more byte and the NUL. */
static int grow(char **buf, size_t *size, const char *path, struct err *e)
{
	size_t wanted = *size == 0 ? 8192 : 2 * *size;
	char *p = realloc(*buf, wanted);

	if (p == NULL)
		return err_set(e, ERR_NOMEM, "%s: out of memory", path);
	*buf = p;
	*size = wanted;
	return 0;
}

static int read_all(int fd, const char *path, size_t max, char **buf, size_t *len, struct err *e)
{
	size_t size = 0;
	ssize_t n;

	*len = 0;
	do {
		if (*len + 1 >= size && grow(buf, &size, path, e) == -1)
			return -1;
		n = read(fd, *buf + *len, size - *len - 1);
		if (n == -1 && errno != EINTR)
			return err_sys(e, ERR_SYS, "%s", path);
		if (n > 0)
			*len += (size_t)n;
		if (*len > max)
			return err_set(e, ERR_RANGE, "%s: longer than %zu bytes", path, max);
	} while (n != 0);
	(*buf)[*len] = '\0';
	return 0;
}

int slurp(const char *path, size_t max, char **ret, size_t *len, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *buf = NULL;
	int rc;

	if (fd == -1)
		return err_sys(e, ERR_SYS, "%s", path);
	rc = read_all(fd, path, max, &buf, len, e);
	close(fd);
	if (rc == -1) {
		free(buf);
		return -1;
	}
	*ret = buf;
	return 0;
}
