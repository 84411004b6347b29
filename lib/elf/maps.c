#include "elf/maps.h"

#include "util/slurp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PAGE = 4096,
	TEXT_MAX = 64 << 20, /* bytes of a maps file */
	READ_TRIES = 8,
};

static bool take_number(const char **s, unsigned base, uint64_t max, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	for (;; p++) {
		unsigned digit = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
				 : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a') + 10
							  : 99;
		if (digit >= base)
			break;
		if (v > (max - digit) / base)
			return false;
		v = v * base + digit;
	}
	if (p == *s)
		return false;
	*s = p;
	*ret = v;
	return true;
}

static bool take_char(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

static bool take_flag(const char **s, char yes, char no, bool *ret)
{
	*ret = **s == yes;
	return take_char(s, *ret ? yes : no);
}

/* One line without its newline: "START-END rwxp OFFSET MAJ:MIN INODE    PATH" (proc(5)). */
static bool line_parse(const char *s, struct map *m)
{
	uint64_t major, minor;

	if (!take_number(&s, 16, UINT64_MAX, &m->start) || !take_char(&s, '-') ||
	    !take_number(&s, 16, UINT64_MAX, &m->end) || !take_char(&s, ' ') ||
	    !take_flag(&s, 'r', '-', &m->r) || !take_flag(&s, 'w', '-', &m->w) ||
	    !take_flag(&s, 'x', '-', &m->x) || !take_flag(&s, 's', 'p', &m->shared) ||
	    !take_char(&s, ' ') || !take_number(&s, 16, UINT64_MAX, &m->offset) ||
	    !take_char(&s, ' ') || !take_number(&s, 16, UINT32_MAX, &major) ||
	    !take_char(&s, ':') || !take_number(&s, 16, UINT32_MAX, &minor) ||
	    !take_char(&s, ' ') || !take_number(&s, 10, UINT64_MAX, &m->inode))
		return false;
	if (*s != '\0' && *s != ' ')
		return false;
	m->dev_major = (unsigned)major;
	m->dev_minor = (unsigned)minor;
	m->path = s + strspn(s, " ");
	return m->start < m->end && m->start % PAGE == 0 && m->end % PAGE == 0;
}

static size_t count_lines(const char *text, size_t len)
{
	const char *end = text + len, *p = text;
	size_t n = 0;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		n++;
	}
	return n;
}

/* Parse text (len bytes, ours to cut into lines), which *ret then owns. */
static int parse_own(char *text, size_t len, struct maps *ret, struct err *e)
{
	size_t lines = count_lines(text, len);
	struct map *v = calloc(lines + 1, sizeof(*v));
	char *line = text;

	if (v == NULL) {
		free(text);
		return err_set(e, ERR_NOMEM, "maps: out of memory");
	}
	*ret = (struct maps){.v = v, .text = text};
	if (len > 0 && text[len - 1] != '\n')
		goto bad;
	for (size_t i = 0; i < lines; i++) {
		char *nl = memchr(line, '\n', len - (size_t)(line - text));

		*nl = '\0';
		if (strlen(line) != (size_t)(nl - line) || !line_parse(line, &v[i]))
			goto bad;
		if (i > 0 && v[i].start < v[i - 1].end)
			goto bad;
		ret->n++;
		line = nl + 1;
	}
	return 0;
bad:
	err_set(e, ERR_BADDATA, "maps: line %zu is malformed or out of order", ret->n + 1);
	maps_deinit(ret);
	return -1;
}

int maps_parse(const char *text, size_t len, struct maps *ret, struct err *e)
{
	char *copy = malloc(len + 1);

	if (copy == NULL)
		return err_set(e, ERR_NOMEM, "maps: out of memory");
	memcpy(copy, text, len);
	copy[len] = '\0';
	return parse_own(copy, len, ret, e);
}

static int read_once(const char *path, struct maps *ret, struct err *e)
{
	char *text = NULL;
	size_t len;

	if (slurp(path, TEXT_MAX, &text, &len, e) == -1) {
		if (e->sys == ENOENT)
			e->code = ERR_GONE;
		return -1;
	}
	if (len == 0) {
		free(text);
		return err_set(e, ERR_GONE, "%s: the process is gone", path);
	}
	return parse_own(text, len, ret, e);
}

int maps_read(pid_t pid, pid_t tid, struct maps *ret, struct err *e)
{
	char path[64];
	int rc, tries = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", pid, tid);
	/* The kernel hands the file out a page of text at a time and lets go of the address space
	 * in between. A mapping that grows downwards or merges just then is listed again,
	 * overlapping what came before: look once more. */
	do
		rc = read_once(path, ret, e);
	while (rc == -1 && e->code == ERR_BADDATA && ++tries < READ_TRIES);
	return rc;
}

void maps_deinit(struct maps *m)
{
	free(m->v);
	free(m->text); /* NOLINT(clang-analyzer-unix.Malloc): it takes a retry's text for the first */
	*m = (struct maps){0};
}

const struct map *maps_find(const struct maps *m, raddr_t addr)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (addr < m->v[mid].start)
			hi = mid;
		else if (addr >= m->v[mid].end)
			lo = mid + 1;
		else
			return &m->v[mid];
	}
	return NULL;
}
