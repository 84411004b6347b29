#include "output.h"

#include "report/figure.h"
#include "term.h"
#include "util/escape.h"

#include <stdio.h>
#include <unistd.h>

int output_open(const struct settings *s, struct output *ret, struct err *e)
{
	if (s->format)
		ret->format = s->format;
	else
		ret->format = s->output ? exporter_for_file(s->output) : exporters[0];

	if (s->output)
		return sink_file(s->output, &ret->sink, e);
	return sink_fd(STDOUT_FILENO, "stdout", &ret->sink, e);
}

int output_write(struct output *o, const struct settings *s, const struct profile *p, struct err *e)
{
	const struct export_opts opts = {
	    .by = s->by,
	    .sort = s->sort,
	    .limit = s->limit,
	    .limit_given = s->limit_given,
	    .width = s->output ? 0 : term_width(STDOUT_FILENO),
	    .colour = !s->output && !s->no_color && term_colour(STDOUT_FILENO),
	};
	if (o->format->write(p, &opts, o->sink, e) == -1)
		return -1;
	return sink_commit(o->sink, e);
}

static void caveat_drops(const struct profile *p)
{
	char n[FIGURE_SIZE];
	if (profile_dropped(p) > 0)
		dprintf(STDERR_FILENO,
			"memprof: %d: %s events were dropped, the figures are not exact\n"
			"  try: a larger --ring\n",
			(int)p->pid, figure_grouped(profile_dropped(p), n));
}

static void caveat_coverage(const struct profile *p)
{
	char share[FIGURE_SIZE];
	if (!p->vm_known)
		dprintf(STDERR_FILENO,
			"memprof: %d: coverage is unknown, the VM's counters could not "
			"be read at both ends\n",
			(int)p->pid);
	else if (p->allocated + p->dropped_alloc != p->vm_allocated && p->vm_allocated > 0)
		dprintf(STDERR_FILENO, "memprof: %d: coverage is %s of the VM's own count\n",
			(int)p->pid,
			figure_percent(p->allocated + p->dropped_alloc, p->vm_allocated, share));
}

void output_caveats(const struct output *o, const struct settings *s, const struct profile *p)
{
	char note[1024];

	if (s->quiet || (o->format == exporters[0] && !s->output))
		return;
	caveat_drops(p);
	caveat_coverage(p);
	for (size_t i = 0; i < p->nnotes; i++)
		dprintf(STDERR_FILENO, "memprof: %d: %s\n", (int)p->pid,
			escape_text(p->notes[i], note, sizeof(note)));
}

void output_close(struct output *o)
{
	sink_destroy(o->sink);
	o->sink = NULL;
}
