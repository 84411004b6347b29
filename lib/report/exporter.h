/* One file a format. To add one: write it, and add its line to exporters.c. */
#ifndef MEMPROF_REPORT_EXPORTER_H
#define MEMPROF_REPORT_EXPORTER_H

#include "report/model.h"
#include "util/sink.h"

struct export_opts {
	enum profile_key by;
	enum profile_sort sort;
	size_t limit;     /* rows; 0: all */
	bool limit_given; /* else the format's own default holds */
	unsigned width;   /* of the terminal in columns; 0: no terminal */
	bool colour;
};

struct exporter {
	const char *name;   /* -f NAME */
	const char *suffix; /* ".json": chosen by -o FILE's end; NULL: none */
	const char *help;
	size_t default_limit; /* 0: all */
	int (*write)(const struct profile *p, const struct export_opts *o, struct sink *out,
		     struct err *e);
};

extern const struct exporter exporter_text, exporter_stats, exporter_json;
extern const struct exporter *const exporters[]; /* NULL-terminated; the first is the default */

/* By name (ERR_USAGE lists what there is), or by the end of a file's name (the default if none). */
int exporter_find(const char *name, const struct exporter **ret, struct err *e);
const struct exporter *exporter_for_file(const char *path);

/* How many of `have` rows x prints under o. */
size_t exporter_rows(const struct exporter *x, const struct export_opts *o, size_t have);

/* What people read for a group's key: a stand-in for "", the key itself otherwise. */
const char *exporter_key_label(const struct group *g);

#endif
