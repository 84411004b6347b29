#include "report/exporter.h"

#include "report/choice.h"

#include <string.h>

const struct exporter *const exporters[] = {
    &exporter_text,
    &exporter_stats,
    &exporter_json,
    NULL,
};

int exporter_find(const char *name, const struct exporter **ret, struct err *e)
{
	const char *names[sizeof(exporters) / sizeof(exporters[0])] = {NULL};
	for (size_t i = 0; exporters[i]; i++)
		names[i] = exporters[i]->name;

	int i = choice_find("--format", name, names, e);
	if (i == -1)
		return -1;
	*ret = exporters[i];
	return 0;
}

static int ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n > m && strcmp(s + n - m, end) == 0;
}

const struct exporter *exporter_for_file(const char *path)
{
	for (size_t i = 0; exporters[i]; i++)
		if (exporters[i]->suffix && ends_with(path, exporters[i]->suffix))
			return exporters[i];
	return exporters[0];
}

size_t exporter_rows(const struct exporter *x, const struct export_opts *o, size_t have)
{
	size_t limit = o->limit_given ? o->limit : x->default_limit;
	return limit == 0 || limit > have ? have : limit;
}

const char *exporter_key_label(const struct group *g)
{
	return g->key && g->key[0] ? g->key : "(unknown)";
}
