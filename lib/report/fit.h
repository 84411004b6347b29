/* How many columns of a terminal a name takes, and cutting it to fit. Names are valid UTF-8 without
 * control characters (escape_text). */
#ifndef MEMPROF_REPORT_FIT_H
#define MEMPROF_REPORT_FIT_H

#include <locale.h>
#include <stddef.h>

/* Columns are known only under a UTF-8 locale: hold one around the calls below. Without it (no such
 * locale on this machine) every byte beyond ASCII counts as a column. */
struct fit_locale {
	locale_t utf8, before;
};
void fit_locale_enter(struct fit_locale *l);
void fit_locale_leave(struct fit_locale *l);

unsigned fit_columns(const char *s);
size_t fit_bytes(const char *s, unsigned width); /* of s that take at most width columns */

/* s itself if it takes at most width (> 0) columns, else its end or its beginning in buf with an
 * ellipsis for the rest. */
const char *fit_tail(const char *s, unsigned width, char *buf, size_t size);
const char *fit_head(const char *s, unsigned width, char *buf, size_t size);

#endif
