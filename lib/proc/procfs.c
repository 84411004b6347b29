#include "proc/procfs.h"

#include "util/escape.h"
#include "util/slurp.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	STAT_MAX = 1 << 16,
	STATUS_MAX = 4 << 20, /* "Groups:" alone lists up to 65,536 numbers */
	CMDLINE_MAX = 4 << 20,
	TASKS_MAX = 1000000,
};

#define PF_KTHREAD 0x00200000u /* include/linux/sched.h */

/* What is missing under /proc/PID is a process that went away. */
static int gone_if_missing(struct err *e)
{
	if (e->sys == ENOENT)
		e->code = ERR_GONE;
	return -1;
}

static int task_read(pid_t pid, pid_t tid, const char *file, size_t max, char **ret, size_t *len,
		     struct err *e)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, file);
	if (slurp(path, max, ret, len, e) == -1)
		return gone_if_missing(e);
	return 0;
}

/* -- stat ------------------------------------------------------------------------------------ */

/* The fields after "TID (COMM)", numbered as in proc(5), where the state is field 3. */
static bool stat_fields(const char *s, struct procfs_stat *ret)
{
	return sscanf(s,
		      " %c %d"                    /* 3 state, 4 ppid */
		      " %*d %*d %*d %*d %" SCNu32 /* 9 flags */
		      " %*u %*u %*u %*u %*u %*u"  /* 10-15 */
		      " %*d %*d %*d %*d %*d %*d"  /* 16-21 */
		      " %" SCNu64,                /* 22 starttime */
		      &ret->state, &ret->ppid, &ret->flags, &ret->starttime) == 4;
}

int procfs_stat_parse(const char *text, struct procfs_stat *ret, struct err *e)
{
	/* The name may hold brackets, spaces and newlines; what follows it can't hold a bracket. */
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	size_t len;

	*ret = (struct procfs_stat){0};
	if (open == NULL || close == NULL || close < open || sscanf(text, "%d", &ret->tid) != 1 ||
	    !stat_fields(close + 1, ret))
		return err_set(e, ERR_BADDATA, "stat: unexpected format");
	len = (size_t)(close - open) - 1;
	if (len >= sizeof(ret->comm))
		len = sizeof(ret->comm) - 1;
	memcpy(ret->comm, open + 1, len);
	return 0;
}

int procfs_stat(pid_t pid, pid_t tid, struct procfs_stat *ret, struct err *e)
{
	char *text;
	size_t len;
	int rc;

	if (task_read(pid, tid, "stat", STAT_MAX, &text, &len, e) == -1)
		return -1;
	rc = procfs_stat_parse(text, ret, e);
	free(text);
	return rc;
}

bool procfs_is_kthread(const struct procfs_stat *st)
{
	return (st->flags & PF_KTHREAD) != 0;
}

bool procfs_is_zombie(const struct procfs_stat *st)
{
	return st->state == 'Z' || st->state == 'X';
}

/* -- status ---------------------------------------------------------------------------------- */

/* What follows "KEY:" at the start of a line, or NULL. The name of the process can't fake a line:
 * the kernel escapes newlines in it. */
static const char *status_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

/* The first numbers after "KEY:", at most max. Returns how many there are in that line. */
static size_t status_numbers(const char *text, const char *key, uint32_t *ret, size_t max)
{
	const char *s = status_value(text, key);
	size_t n = 0;

	while (s != NULL && n < max) {
		char *end;

		s += strspn(s, " \t"); /* not the newline, which strtoul would skip */
		if (*s < '0' || *s > '9')
			break;
		errno = 0;
		unsigned long v = strtoul(s, &end, 10);
		if (errno != 0 || v > UINT32_MAX)
			break;
		ret[n++] = (uint32_t)v;
		s = end;
	}
	return n;
}

static bool status_pid(const char *text, const char *key, pid_t *ret)
{
	uint32_t v;

	if (status_numbers(text, key, &v, 1) != 1 || v > INT32_MAX)
		return false;
	*ret = (pid_t)v;
	return true;
}

/* True if the word stands in the line. */
static bool line_has(const char *line, const char *word)
{
	size_t len = strlen(word), n;

	while (line != NULL && *line != '\n' && *line != '\0') {
		line += strspn(line, " \t");
		n = strcspn(line, " \t\n");
		if (n == len && memcmp(line, word, n) == 0)
			return true;
		line += n;
	}
	return false;
}

int procfs_status_parse(const char *text, struct procfs_status *ret, struct err *e)
{
	*ret = (struct procfs_status){0};
	if (status_numbers(text, "Uid", ret->uid, 4) != 4 ||
	    !status_pid(text, "Tgid", &ret->tgid) || !status_pid(text, "PPid", &ret->ppid) ||
	    !status_pid(text, "TracerPid", &ret->tracer) ||
	    status_numbers(text, "Threads", &ret->threads, 1) != 1)
		return err_set(e, ERR_BADDATA, "status: unexpected format");
	status_numbers(text, "Seccomp", &ret->seccomp, 1);
	ret->shstk = line_has(status_value(text, "x86_Thread_features"), "shstk");
	ret->n_nspid = status_numbers(text, "NSpid", (uint32_t *)ret->nspid, PROCFS_NS_MAX);
	return 0;
}

int procfs_status(pid_t pid, pid_t tid, struct procfs_status *ret, struct err *e)
{
	char *text;
	size_t len;
	int rc;

	if (task_read(pid, tid, "status", STATUS_MAX, &text, &len, e) == -1)
		return -1;
	rc = procfs_status_parse(text, ret, e);
	free(text);
	return rc;
}

/* -- the rest -------------------------------------------------------------------------------- */

bool procfs_exists(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return access(path, F_OK) == 0;
}

int procfs_exe(pid_t pid, char *buf, size_t size, struct err *e)
{
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, buf, size);
	if (n == -1) {
		err_sys(e, ERR_SYS, "%s", path);
		return gone_if_missing(e);
	}
	if ((size_t)n >= size)
		return err_set(e, ERR_RANGE, "%s: longer than %zu bytes", path, size);
	buf[n] = '\0';
	return 0;
}

int procfs_cmdline(pid_t pid, char *buf, size_t size, struct err *e)
{
	char path[32], *text;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (slurp(path, CMDLINE_MAX, &text, &len, e) == -1)
		return gone_if_missing(e);
	while (len > 0 && text[len - 1] == '\0')
		len--;
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0')
			text[i] = ' ';
	escape_text(text, buf, size);
	free(text);
	return 0;
}

static int tasks_add(struct procfs_tasks *t, pid_t tid, struct err *e)
{
	if (t->n == TASKS_MAX)
		return err_set(e, ERR_RANGE, "more than %d threads", TASKS_MAX);
	if (t->n == t->cap) {
		size_t cap = t->cap == 0 ? 64 : 2 * t->cap;
		pid_t *v = realloc(t->v, cap * sizeof(*v));

		if (v == NULL)
			return err_set(e, ERR_NOMEM, "threads: out of memory");
		t->v = v;
		t->cap = cap;
	}
	t->v[t->n++] = tid;
	return 0;
}

static int tasks_fill(DIR *dir, const char *path, struct procfs_tasks *t, struct err *e)
{
	const struct dirent *d;

	while ((errno = 0, d = readdir(dir)) != NULL) {
		char *end;
		long tid = strtol(d->d_name, &end, 10);

		if (*end == '\0' && tid > 0 && tid <= INT32_MAX &&
		    tasks_add(t, (pid_t)tid, e) == -1)
			return -1;
	}
	if (errno != 0) {
		err_sys(e, ERR_SYS, "%s", path);
		return gone_if_missing(e);
	}
	if (t->n == 0)
		return err_set(e, ERR_GONE, "%s: the process is gone", path);
	return 0;
}

int procfs_tasks(pid_t pid, struct procfs_tasks *t, struct err *e)
{
	char path[32];
	DIR *dir;
	int rc;

	t->n = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (dir == NULL) {
		err_sys(e, ERR_SYS, "%s", path);
		return gone_if_missing(e);
	}
	rc = tasks_fill(dir, path, t, e);
	closedir(dir);
	return rc;
}

void procfs_tasks_deinit(struct procfs_tasks *t)
{
	free(t->v);
	*t = (struct procfs_tasks){0};
}

bool procfs_lives(pid_t pid)
{
	struct procfs_stat st;
	struct procfs_status status;
	struct err ignored;

	if (procfs_stat(pid, pid, &st, &ignored) == -1)
		return false;
	return !procfs_is_zombie(&st) ||
	       (procfs_status(pid, pid, &status, &ignored) == 0 && status.threads > 1);
}
