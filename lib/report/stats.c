/* The table of the first memprof (2010): live objects by birth site, and nothing else. */
#include "report/exporter.h"
#include "util/escape.h"

static void put_site(struct sink *out, const struct group *g)
{
	char file[8192], klass[8192];
	sink_printf(out, "%11llu %s:%u:%s\n", (unsigned long long)g->live,
		    escape_text(g->row->file, file, sizeof(file)), g->row->line,
		    escape_text(g->row->klass, klass, sizeof(klass)));
}

static void put_group(struct sink *out, const struct group *g)
{
	char key[8192];
	sink_printf(out, "%11llu %s\n", (unsigned long long)g->live,
		    escape_text(exporter_key_label(g), key, sizeof(key)));
}

static int stats_write(const struct profile *p, const struct export_opts *o, struct sink *out,
		       struct err *e)
{
	struct grouping all;
	if (profile_group(p, o->by, o->sort, &all, e) == -1)
		return -1;

	size_t left = exporter_rows(&exporter_stats, o, all.n);
	for (size_t i = 0; i < all.n && left > 0; i++) {
		const struct group *g = &all.v[i];
		if (g->live == 0)
			continue;
		if (g->key)
			put_group(out, g);
		else
			put_site(out, g);
		left--;
	}
	grouping_deinit(&all);
	return 0;
}

const struct exporter exporter_stats = {
    .name = "stats",
    .suffix = ".stats",
    .help = "live objects by file:line:class, as the first memprof printed them",
    .write = stats_write,
};
