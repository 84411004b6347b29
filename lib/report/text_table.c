#include "report/figure.h"
#include "report/fit.h"
#include "report/text.h"
#include "util/escape.h"

#include <stdio.h>
#include <string.h>

enum figure_index {
	FIGURE_LIVE,
	FIGURE_BYTES,
	FIGURE_ALLOCATED,
	FIGURE_FREED,
	FIGURE_SURVIVED,
	NFIGURES
};
enum name_index { NAME_SITE, NAME_METHOD, NAME_CLASS, NNAMES };

enum {
	NAME_SIZE = 1024, /* escaped; longer names are cut */
	PAD_MAX = 100,    /* without a terminal: one endless name must not push all others away */
	GAP = 2,
};

static const struct figure_column {
	const char *head;
	size_t offset; /* of a uint64_t in struct group */
} figure_columns[NFIGURES] = {
    [FIGURE_LIVE] = {"live", offsetof(struct group, live)},
    [FIGURE_BYTES] = {"bytes", offsetof(struct group, live_bytes)},
    [FIGURE_ALLOCATED] = {"allocated", offsetof(struct group, allocated)},
    [FIGURE_FREED] = {"freed", offsetof(struct group, freed)},
    [FIGURE_SURVIVED] = {"survived", offsetof(struct group, survived)},
};

struct name_column {
	const char *head;
	unsigned floor;  /* columns below which it says nothing any more */
	unsigned weight; /* how much of scarce room it gets, against the others */
	const char *sgr;
	void (*get)(const struct group *g, char buf[static NAME_SIZE]);
	const char *(*fit)(const char *s, unsigned width, char *buf, size_t size);
	unsigned width; /* of this table; 0: left out */
};

static void get_site(const struct group *g, char buf[static NAME_SIZE])
{
	char file[NAME_SIZE - 16];

	if (!g->row->file[0]) {
		snprintf(buf, NAME_SIZE, "(no Ruby frame)");
		return;
	}
	escape_text(g->row->file, file, sizeof(file));
	snprintf(buf, NAME_SIZE, "%s:%u", file, g->row->line);
}

static void get_method(const struct group *g, char buf[static NAME_SIZE])
{
	escape_text(g->row->method, buf, NAME_SIZE);
}

static void get_class(const struct group *g, char buf[static NAME_SIZE])
{
	escape_text(g->row->klass, buf, NAME_SIZE);
}

static void get_key(const struct group *g, char buf[static NAME_SIZE])
{
	escape_text(exporter_key_label(g), buf, NAME_SIZE);
}

/* Ends of paths and of Module::Names tell more than their beginnings. */
static const struct name_column site_columns[NNAMES] = {
    [NAME_SITE] = {"file:line", 16, 2, "", get_site, fit_tail, 0},
    [NAME_METHOD] = {"method", 7, 1, "", get_method, fit_head, 0},
    [NAME_CLASS] = {"class", 7, 1, SGR_CYAN, get_class, fit_tail, 0},
};

struct table {
	const struct group *v;
	size_t n;
	bool colour;
	unsigned figure_gap;             /* columns between two figures */
	unsigned figure_width[NFIGURES]; /* 0: left out */
	struct name_column names[NNAMES];
	size_t nnames;
};

static uint64_t figure_at(const struct group *g, size_t column)
{
	uint64_t v;
	memcpy(&v, (const char *)g + figure_columns[column].offset, sizeof(v));
	return v;
}

static unsigned wider(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* Every column as wide as its widest entry. */
static void measure(struct table *t)
{
	char figure[FIGURE_SIZE], name[NAME_SIZE];

	for (size_t c = 0; c < NFIGURES; c++)
		t->figure_width[c] = (unsigned)strlen(figure_columns[c].head);
	for (size_t c = 0; c < t->nnames; c++)
		t->names[c].width = (unsigned)strlen(t->names[c].head);
	for (size_t i = 0; i < t->n; i++) {
		for (size_t c = 0; c < NFIGURES; c++) {
			figure_grouped(figure_at(&t->v[i], c), figure);
			t->figure_width[c] = wider(t->figure_width[c], (unsigned)strlen(figure));
		}
		for (size_t c = 0; c < t->nnames; c++) {
			t->names[c].get(&t->v[i], name);
			t->names[c].width = wider(t->names[c].width, fit_columns(name));
		}
	}
}

static unsigned total_width(const struct table *t)
{
	unsigned sum = 0;
	for (size_t c = 0; c < NFIGURES; c++)
		sum += t->figure_width[c] ? (c ? t->figure_gap : 0) + t->figure_width[c] : 0;
	for (size_t c = 0; c < t->nnames; c++)
		sum += t->names[c].width ? GAP + t->names[c].width : 0;
	return sum;
}

/* The widest column of names (for its weight) that can still give one. */
static struct name_column *widest(struct table *t)
{
	struct name_column *w = NULL;
	for (size_t c = 0; c < t->nnames; c++) {
		struct name_column *n = &t->names[c];
		if (n->width > n->floor && (!w || n->width * w->weight > w->width * n->weight))
			w = n;
	}
	return w;
}

static bool fit_names(struct table *t, unsigned width)
{
	while (total_width(t) > width) {
		struct name_column *w = widest(t);
		if (!w)
			return false;
		w->width--;
	}
	return true;
}

/* What a narrow terminal does without: first the method, since the line already tells where, then
 * the figures that say least about what stays. */
static bool drop_column(struct table *t, unsigned natural[NNAMES])
{
	static const size_t figures[] = {FIGURE_FREED, FIGURE_ALLOCATED, FIGURE_BYTES,
					 FIGURE_SURVIVED};

	if (t->nnames == NNAMES && natural[NAME_METHOD]) {
		natural[NAME_METHOD] = 0;
		return true;
	}
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (t->figure_width[figures[i]]) {
			t->figure_width[figures[i]] = 0;
			return true;
		}
	return false;
}

/* Close up the figures, take from the names, drop a column; in that order until all fit. */
static void shrink(struct table *t, unsigned width)
{
	unsigned natural[NNAMES] = {0};

	if (total_width(t) <= width)
		return;
	t->figure_gap = 1;
	for (size_t c = 0; c < t->nnames; c++)
		natural[c] = t->names[c].width;
	while (!fit_names(t, width)) {
		bool dropped = drop_column(t, natural);
		for (size_t c = 0; c < t->nnames; c++) {
			t->names[c].width = natural[c];
			t->names[c].floor = dropped ? t->names[c].floor : 1;
		}
		if (!dropped) {
			fit_names(t, width);
			return;
		}
	}
}

static void cap_padding(struct table *t)
{
	for (size_t c = 0; c < t->nnames; c++)
		if (t->names[c].width > PAD_MAX)
			t->names[c].width = PAD_MAX;
}

static void put_name(const struct table *t, size_t c, const char *s, const char *sgr,
		     struct sink *out)
{
	if (t->names[c].width == 0)
		return;
	unsigned columns = fit_columns(s), width = t->names[c].width;
	sink_printf(out, "%*s", GAP, "");
	text_paint(out, t->colour, sgr, s);
	if (c + 1 < t->nnames && columns < width)
		sink_printf(out, "%*s", (int)(width - columns), "");
}

static void put_figure(const struct table *t, size_t c, const char *s, const char *sgr,
		       struct sink *out)
{
	char cell[64];
	if (t->figure_width[c] == 0)
		return;
	snprintf(cell, sizeof(cell), "%*s%*s", c ? (int)t->figure_gap : 0, "",
		 (int)t->figure_width[c], s);
	text_paint(out, t->colour, sgr, cell);
}

static void put_heading(const struct table *t, bool cut, struct sink *out)
{
	char fitted[64];
	for (size_t c = 0; c < NFIGURES; c++)
		put_figure(t, c, figure_columns[c].head, SGR_DIM, out);
	for (size_t c = 0; c < t->nnames; c++) {
		const struct name_column *n = &t->names[c];
		put_name(t, c,
			 cut && n->width ? fit_head(n->head, n->width, fitted, sizeof(fitted))
					 : n->head,
			 SGR_DIM, out);
	}
	sink_puts(out, "\n");
}

static void put_row(const struct table *t, const struct group *g, bool cut, struct sink *out)
{
	char figure[FIGURE_SIZE], name[NAME_SIZE], fitted[NAME_SIZE + 8];

	for (size_t c = 0; c < NFIGURES; c++)
		put_figure(t, c, figure_grouped(figure_at(g, c), figure),
			   c == FIGURE_LIVE ? SGR_BOLD : "", out);
	for (size_t c = 0; c < t->nnames; c++) {
		const struct name_column *n = &t->names[c];
		n->get(g, name);
		put_name(t, c,
			 cut && n->width ? n->fit(name, n->width, fitted, sizeof(fitted)) : name,
			 n->sgr, out);
	}
	sink_puts(out, "\n");
}

void text_table(const struct group *v, size_t n, const struct export_opts *o, struct sink *out)
{
	struct table t = {.v = v, .n = n, .colour = o->colour, .figure_gap = GAP};

	if (o->by == KEY_SITE) {
		memcpy(t.names, site_columns, sizeof(site_columns));
		t.nnames = NNAMES;
	} else {
		t.names[0] = (struct name_column){profile_key_name(o->by),
						  16,
						  1,
						  SGR_CYAN,
						  get_key,
						  o->by == KEY_METHOD ? fit_head : fit_tail,
						  0};
		t.nnames = 1;
	}
	measure(&t);
	if (o->width)
		shrink(&t, o->width);
	else
		cap_padding(&t);

	put_heading(&t, o->width > 0, out);
	for (size_t i = 0; i < n; i++)
		put_row(&t, &v[i], o->width > 0, out);
}
