/* JSON lines, schema 1: a program reads these, so every byte outside ASCII goes out as \uXXXX and
 * no name can reach a terminal that shows the file. */
#include "report/exporter.h"
#include "util/escape.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCHEMA = 1 };

/* Target bytes as a JSON string; null for NULL. */
static json_t *text(const char *s)
{
	if (!s)
		return json_null();

	size_t size = strlen(s) * 4 + 1; /* \xNN for each */
	char *buf = malloc(size);
	if (!buf)
		return NULL;
	json_t *j = json_string(escape_utf8(s, buf, size));
	free(buf);
	return j;
}

static json_int_t number(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (json_int_t)v;
}

static json_t *number_if(bool known, uint64_t v)
{
	return known ? json_integer(number(v)) : json_null();
}

/* Print and release one line. NULL (out of memory while it was built) is an error. */
static int put_line(struct sink *out, json_t *j, struct err *e)
{
	char *s =
	    j ? json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15)) : NULL;
	json_decref(j);
	if (!s)
		return err_set(e, ERR_NOMEM, "json: out of memory");
	sink_puts(out, s);
	sink_puts(out, "\n");
	free(s);
	return 0;
}

static json_t *head_line(void)
{
	return json_pack("{s:s,s:i,s:s}", "type", "memprof", "schema", SCHEMA, "version",
			 MEMPROF_VERSION);
}

static json_t *target_line(const struct profile *p)
{
	return json_pack("{s:s,s:I,s:o,s:o,s:o,s:o,s:o}", "type", "target", "pid",
			 (json_int_t)p->pid, "ruby", text(p->ruby), "description",
			 text(p->description), "exe", text(p->exe), "image", text(p->image),
			 "build_id", text(p->build_id));
}

static json_t *coverage_value(const struct profile *p)
{
	double c = profile_coverage(p);
	return c < 0 ? json_null() : json_real(c);
}

static json_t *summary_line(const struct profile *p)
{
	json_t *j = json_pack("{s:s,s:I,s:f,s:I,s:I,s:I,s:I,s:I}", "type", "summary", "pid",
			      (json_int_t)p->pid, "duration_s", round(p->duration_s * 1e6) / 1e6,
			      "allocated", number(p->allocated), "freed", number(p->freed),
			      "freed_tracked", number(p->freed_tracked), "live", number(p->live),
			      "live_bytes", number(p->live_bytes));
	json_t *drops =
	    json_pack("{s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "dropped", number(profile_dropped(p)),
		      "dropped_alloc", number(p->dropped_alloc), "dropped_free",
		      number(p->dropped_free), "dropped_move", number(p->dropped_move), "moved",
		      p->moved_known ? json_integer(number(p->moved)) : json_string("unknown"),
		      "vm_allocated", number_if(p->vm_known, p->vm_allocated), "vm_freed",
		      number_if(p->vm_known, p->vm_freed), "coverage", coverage_value(p));
	json_t *stops = json_pack(
	    "{s:I,s:I,s:I,s:o,s:o,s:I,s:o}", "gc_runs", number(p->gc_runs), "attach_pause_us",
	    number(p->attach_pause_us), "attach_hold_us", number(p->attach_hold_us),
	    "detach_pause_us", number_if(p->detached, p->detach_pause_us), "detach_hold_us",
	    number_if(p->detached, p->detach_hold_us), "sampled", (json_int_t)p->sampled,
	    "verified", p->detached ? json_boolean(p->verified) : json_null());

	if (!j || !drops || !stops || json_object_update(j, drops) ||
	    json_object_update(j, stops)) {
		json_decref(j);
		j = NULL;
	}
	json_decref(drops);
	json_decref(stops);
	return j;
}

static json_t *note_line(const char *note)
{
	return json_pack("{s:s,s:o}", "type", "note", "text", text(note));
}

static json_t *names(const struct profile *p, const struct group *g)
{
	const struct profile_row *r = g->row;
	if (g->key)
		return json_pack("{s:s,s:I,s:o}", "type", "group", "pid", (json_int_t)p->pid, "key",
				 text(g->key));
	return json_pack("{s:s,s:I,s:o,s:I,s:o,s:o}", "type", "site", "pid", (json_int_t)p->pid,
			 "file", text(r->file), "line", (json_int_t)r->line, "method",
			 text(r->method), "class", text(r->klass));
}

/* Facts that only some sites have. */
static int add_extras(json_t *j, const struct group *g)
{
	if (g->key)
		return 0;
	if (g->row->internal && json_object_set_new(j, "internal", text(g->row->internal)))
		return -1;
	if (g->row->thread && json_object_set_new(j, "thread", text(g->row->thread)))
		return -1;
	return 0;
}

static json_t *row_line(const struct profile *p, const struct group *g)
{
	json_t *j = names(p, g);
	json_t *figures =
	    json_pack("{s:I,s:I,s:I,s:I,s:I}", "allocated", number(g->allocated), "freed",
		      number(g->freed), "live", number(g->live), "live_bytes",
		      number(g->live_bytes), "survived", number(g->survived));
	if (!j || !figures || json_object_update(j, figures) || add_extras(j, g)) {
		json_decref(j);
		j = NULL;
	}
	json_decref(figures);
	return j;
}

static int put_head(const struct profile *p, struct sink *out, struct err *e)
{
	if (put_line(out, head_line(), e) == -1 || put_line(out, target_line(p), e) == -1 ||
	    put_line(out, summary_line(p), e) == -1)
		return -1;
	for (size_t i = 0; i < p->nnotes; i++)
		if (put_line(out, note_line(p->notes[i]), e) == -1)
			return -1;
	return 0;
}

static int json_write(const struct profile *p, const struct export_opts *o, struct sink *out,
		      struct err *e)
{
	struct grouping all;
	if (put_head(p, out, e) == -1 || profile_group(p, o->by, o->sort, &all, e) == -1)
		return -1;

	int r = 0;
	size_t n = exporter_rows(&exporter_json, o, all.n);
	for (size_t i = 0; i < n && r == 0; i++)
		r = put_line(out, row_line(p, &all.v[i]), e);
	grouping_deinit(&all);
	return r;
}

const struct exporter exporter_json = {
    .name = "json",
    .suffix = ".json",
    .help = "one JSON object a line (schema 1)",
    .write = json_write,
};
