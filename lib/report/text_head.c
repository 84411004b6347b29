#include "report/figure.h"
#include "report/text.h"
#include "util/escape.h"

#include <stdio.h>
#include <string.h>

enum { LABEL_COLUMNS = 11 };

static void put_entry(struct sink *out, const struct export_opts *o, const char *label,
		      const char *sgr, const char *value)
{
	sink_printf(out, "%-*s", LABEL_COLUMNS, label);
	text_wrap(out, o, LABEL_COLUMNS, sgr, value);
}

static void put_target(const struct profile *p, const struct export_opts *o, struct sink *out)
{
	char exe[1024], ruby[256], line[1100];

	snprintf(line, sizeof(line), "%d  %s", (int)p->pid, escape_text(p->exe, exe, sizeof(exe)));
	put_entry(out, o, "target", SGR_BOLD, line);
	escape_text(p->description, ruby, sizeof(ruby));
	const char *version = strncmp(ruby, "ruby ", 5) == 0 ? ruby + 5 : ruby;
	put_entry(out, o, "ruby", "", version);
	snprintf(line, sizeof(line), "%.1f s", p->duration_s);
	put_entry(out, o, "time", "", line);
}

static void put_objects(const struct profile *p, const struct export_opts *o, struct sink *out)
{
	char a[FIGURE_SIZE], b[FIGURE_SIZE], line[160];

	snprintf(line, sizeof(line), "%s objects", figure_grouped(p->allocated, a));
	put_entry(out, o, "allocated", "", line);
	int n = snprintf(line, sizeof(line), "%s objects", figure_grouped(p->freed, a));
	if (p->freed > p->freed_tracked)
		snprintf(line + n, sizeof(line) - (size_t)n, ", %s of them born before",
			 figure_grouped(p->freed - p->freed_tracked, b));
	put_entry(out, o, "freed", "", line);
	snprintf(line, sizeof(line), "%s objects, %s bytes", figure_grouped(p->live, a),
		 figure_grouped(p->live_bytes, b));
	put_entry(out, o, "live", SGR_BOLD, line);
	if (p->sampled > 1) {
		snprintf(line, sizeof(line), "1 allocation in %u: the figures are estimates",
			 p->sampled);
		put_entry(out, o, "sampled", SGR_YELLOW, line);
	}
}

/* Our count against the VM's own: the proof that nothing escaped us, or how much did. */
static void put_coverage(const struct profile *p, const struct export_opts *o, struct sink *out)
{
	char vm[FIGURE_SIZE], diff[FIGURE_SIZE], share[FIGURE_SIZE], line[200];
	uint64_t known = p->allocated + p->dropped_alloc;
	bool exact = p->vm_known && known == p->vm_allocated && profile_dropped(p) == 0;

	if (!p->vm_known)
		snprintf(line, sizeof(line),
			 "unknown: the VM's own counters could not be read at both ends");
	else if (exact && known == 0)
		snprintf(line, sizeof(line), "exact: the VM allocated nothing");
	else if (exact)
		snprintf(line, sizeof(line), "exact: all %s allocations that the VM counted",
			 figure_grouped(p->vm_allocated, vm));
	else if (p->vm_allocated == 0)
		snprintf(line, sizeof(line), "unknown: the VM counted no allocation");
	else if (known == p->vm_allocated)
		snprintf(line, sizeof(line),
			 "every one of the VM's %s allocations was seen or is counted as dropped",
			 figure_grouped(p->vm_allocated, vm));
	else
		snprintf(line, sizeof(line),
			 "%s: the VM counted %s allocations, %s %s than were seen",
			 figure_percent(known, p->vm_allocated, share),
			 figure_grouped(p->vm_allocated, vm),
			 figure_grouped(known < p->vm_allocated ? p->vm_allocated - known
								: known - p->vm_allocated,
					diff),
			 known < p->vm_allocated ? "more" : "fewer");
	put_entry(out, o, "coverage", exact ? SGR_GREEN : SGR_YELLOW, line);
}

static void put_drops(const struct profile *p, const struct export_opts *o, struct sink *out)
{
	char a[FIGURE_SIZE], f[FIGURE_SIZE], m[FIGURE_SIZE], line[200] = "nothing";
	bool any = profile_dropped(p) > 0;

	if (any)
		snprintf(line, sizeof(line),
			 "%s allocations, %s frees, %s moves: figures are not exact",
			 figure_grouped(p->dropped_alloc, a), figure_grouped(p->dropped_free, f),
			 figure_grouped(p->dropped_move, m));
	put_entry(out, o, "dropped", any ? SGR_YELLOW : "", line);
}

static void put_gc(const struct profile *p, const struct export_opts *o, struct sink *out)
{
	char runs[FIGURE_SIZE], moved[FIGURE_SIZE], line[160];

	int n = snprintf(line, sizeof(line), "%s %s", figure_grouped(p->gc_runs, runs),
			 p->gc_runs == 1 ? "run" : "runs");
	if (!p->moved_known)
		snprintf(line + n, sizeof(line) - (size_t)n, ", objects moved: unknown");
	else if (p->moved)
		snprintf(line + n, sizeof(line) - (size_t)n, ", %s objects moved",
			 figure_grouped(p->moved, moved));
	put_entry(out, o, "gc", "", line);
}

static void put_stops(const struct profile *p, const struct export_opts *o, struct sink *out)
{
	char line[200];

	if (p->detached)
		snprintf(line, sizeof(line),
			 "twice: attach %.3f ms, detach %.3f ms (one thread %.3f, %.3f ms)",
			 (double)p->attach_pause_us / 1e3, (double)p->detach_pause_us / 1e3,
			 (double)p->attach_hold_us / 1e3, (double)p->detach_hold_us / 1e3);
	else
		snprintf(line, sizeof(line),
			 "once: attach %.3f ms (one thread %.3f ms); it was gone before the end",
			 (double)p->attach_pause_us / 1e3, (double)p->attach_hold_us / 1e3);
	put_entry(out, o, "stopped", "", line);
	if (p->verified)
		put_entry(out, o, "restored", "",
			  "verified: its code is the file's, nothing of memprof is mapped");
}

void text_head(const struct profile *p, const struct export_opts *o, struct sink *out)
{
	put_target(p, o, out);
	put_objects(p, o, out);
	put_coverage(p, o, out);
	put_drops(p, o, out);
	put_gc(p, o, out);
	put_stops(p, o, out);
	for (size_t i = 0; i < p->nnotes; i++) {
		char note[1024];
		put_entry(out, o, "note", SGR_YELLOW, escape_text(p->notes[i], note, sizeof(note)));
	}
}
