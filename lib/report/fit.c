#include "report/fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#define ELLIPSIS "\xe2\x80\xa6"

void fit_locale_enter(struct fit_locale *l)
{
	l->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	l->before = l->utf8 ? uselocale(l->utf8) : (locale_t)0;
}

void fit_locale_leave(struct fit_locale *l)
{
	if (!l->utf8)
		return;
	uselocale(l->before);
	freelocale(l->utf8);
}

/* Bytes of the first character of s (not ""), and its columns. */
static size_t step(const char *s, unsigned *columns)
{
	mbstate_t st = {0};
	wchar_t c;
	size_t n = mbrtowc(&c, s, MB_CUR_MAX, &st);
	if (n == 0 || n > MB_CUR_MAX) {
		*columns = 1;
		return 1;
	}
	int w = wcwidth(c);
	*columns = w < 0 ? 1 : (unsigned)w;
	return n;
}

unsigned fit_columns(const char *s)
{
	unsigned total = 0, w;
	for (; *s; total += w)
		s += step(s, &w);
	return total;
}

size_t fit_bytes(const char *s, unsigned width)
{
	const char *end = s;
	unsigned w;

	while (*end) {
		size_t n = step(end, &w);
		if (w > width)
			break;
		width -= w;
		end += n;
	}
	return (size_t)(end - s);
}

const char *fit_tail(const char *s, unsigned width, char *buf, size_t size)
{
	unsigned left = fit_columns(s), w;
	if (left <= width)
		return s;
	for (; left > width - 1; left -= w)
		s += step(s, &w);
	snprintf(buf, size, ELLIPSIS "%s", s);
	return buf;
}

const char *fit_head(const char *s, unsigned width, char *buf, size_t size)
{
	if (fit_columns(s) <= width)
		return s;
	snprintf(buf, size, "%.*s" ELLIPSIS, (int)fit_bytes(s, width - 1), s);
	return buf;
}
