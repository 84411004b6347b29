/* The report for people: a header that says how far the figures can be trusted, then the table. */
#include "report/text.h"

#include "report/figure.h"
#include "report/fit.h"

#include <stdio.h>
#include <string.h>

void text_paint(struct sink *out, bool colour, const char *sgr, const char *s)
{
	if (colour && sgr[0] && s[0])
		sink_printf(out, "%s%s\033[0m", sgr, s);
	else
		sink_puts(out, s);
}

enum {
	WRAP_PLAIN = 100, /* columns, where there is no terminal to ask */
	WRAP_MIN = 8,     /* never less for the text itself */
};

/* Bytes of s that go on a line of room columns: up to a space, or, when one word alone is wider,
 * as much of it as there is room for. */
static size_t wrap_at(const char *s, unsigned room, bool cut)
{
	size_t fits = fit_bytes(s, room), len = fits;

	if (s[fits] == '\0')
		return fits;
	while (len > 0 && s[len] != ' ')
		len--;
	if (len > 0)
		return len;
	return cut && fits > 0 ? fits : strcspn(s, " ");
}

void text_wrap(struct sink *out, const struct export_opts *o, unsigned indent, const char *sgr,
	       const char *s)
{
	unsigned width = o->width ? o->width : WRAP_PLAIN;
	unsigned room = width > indent + WRAP_MIN ? width - indent : WRAP_MIN;

	for (;;) {
		char line[2048];
		size_t len = wrap_at(s, room, o->width > 0);
		snprintf(line, sizeof(line), "%.*s", (int)len, s);
		text_paint(out, o->colour, sgr, line);
		sink_puts(out, "\n");
		s += len + strspn(s + len, " ");
		if (!*s)
			return;
		sink_printf(out, "%*s", (int)indent, "");
	}
}

/* What -n left out, so that nobody takes the table for the whole. */
static void text_rest(const struct grouping *all, size_t shown, const struct export_opts *o,
		      struct sink *out)
{
	if (shown == all->n)
		return;

	uint64_t live = 0;
	for (size_t i = shown; i < all->n; i++)
		live += all->v[i].live;

	char rows[FIGURE_SIZE], objects[FIGURE_SIZE], line[128];
	snprintf(line, sizeof(line), "%s more with %s live objects (-n 0 prints all)",
		 figure_grouped(all->n - shown, rows), figure_grouped(live, objects));
	sink_puts(out, "\n");
	text_wrap(out, o, 0, SGR_DIM, line);
}

static int text_write(const struct profile *p, const struct export_opts *o, struct sink *out,
		      struct err *e)
{
	struct grouping all;
	if (profile_group(p, o->by, o->sort, &all, e) == -1)
		return -1;

	struct fit_locale l;
	fit_locale_enter(&l);
	text_head(p, o, out);
	sink_puts(out, "\n");
	size_t n = exporter_rows(&exporter_text, o, all.n);
	if (all.n == 0)
		text_wrap(out, o, 0, "", "No Ruby object was allocated while memprof watched.");
	else
		text_table(all.v, n, o, out);
	text_rest(&all, n, o, out);
	fit_locale_leave(&l);
	grouping_deinit(&all);
	return 0;
}

const struct exporter exporter_text = {
    .name = "text",
    .suffix = ".txt",
    .help = "header and table for people",
    .default_limit = 30,
    .write = text_write,
};
