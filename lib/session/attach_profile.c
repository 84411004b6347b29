/* What an attach has seen, as plain data that outlives it. */
#include "session/attach_priv.h"

#include "ruby/object.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOTES_MAX = 16 };

/* Storage behind a profile's strings. */
struct owner {
	char **v;
	size_t n, cap;
	bool failed;
};

static void owner_free(void *arg)
{
	struct owner *o = arg;

	for (size_t i = 0; i < o->n; i++)
		free(o->v[i]);
	free(o->v);
	free(o);
}

static const char *keep(struct owner *o, const char *s)
{
	if (o->n == o->cap) {
		size_t cap = o->cap ? 2 * o->cap : 256;
		char **v = reallocarray(o->v, cap, sizeof(*v));

		if (v == NULL) {
			o->failed = true;
			return "";
		}
		o->v = v;
		o->cap = cap;
	}
	char *copy = strdup(s);
	if (copy == NULL) {
		o->failed = true;
		return "";
	}
	o->v[o->n] = copy;
	return o->v[o->n++];
}

struct building {
	struct attach *a;
	struct profile *p;
	struct owner *o;
	size_t cap;
};

static __attribute__((format(printf, 2, 3))) void note(struct building *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (b->p->nnotes < NOTES_MAX)
		b->p->notes[b->p->nnotes++] = keep(b->o, text);
}

/* "main", its name, or its number. A thread that has ended may have left its name behind, or not.
 */
static const char *thread_label(struct building *b, uint32_t number)
{
	const struct attach *a = b->a;
	const struct ruby *rb = &a->target.ruby;
	const struct mp_shm *shm = a->planted.shm.local;
	char text[128];
	uint64_t th, main_th = 0, name = 0;
	struct err ignored;

	if (number == 0 || number > MP_THREADS)
		return "(unknown thread)";
	th = shm->threads[number - 1];
	mem_u64(rb->mem, rb->main_ractor + (uint64_t)rb->lay->ractor.main_thread, &main_th,
		&ignored);
	if (th == main_th)
		return "main";
	if (mem_u64(rb->mem, th + (uint64_t)rb->lay->thread.name, &name, &ignored) == 0 &&
	    ruby_str_read(rb, name, text, sizeof(text), &ignored) > 0)
		return keep(b->o, text);
	snprintf(text, sizeof(text), "thread %u", number);
	return keep(b->o, text);
}

static void add_row(void *arg, const struct track_row *r)
{
	struct building *b = arg;
	struct profile *p = b->p;

	if (p->nrows == b->cap) {
		size_t cap = b->cap ? 2 * b->cap : 256;
		struct profile_row *v = reallocarray(p->rows, cap, sizeof(*v));

		if (v == NULL) {
			b->o->failed = true;
			return;
		}
		p->rows = v;
		b->cap = cap;
	}
	p->rows[p->nrows++] = (struct profile_row){
	    .file = keep(b->o, r->file),
	    .line = r->line,
	    .method = keep(b->o, r->method),
	    .klass = keep(b->o, r->klass),
	    .internal = r->internal != NULL ? keep(b->o, r->internal) : NULL,
	    .thread = b->a->opts.by_thread ? thread_label(b, r->thread) : NULL,
	    .allocated = r->allocated,
	    .freed = r->freed,
	    .live = r->live,
	    .live_bytes = r->live_bytes,
	    .survived = r->survived,
	};
}

static void fill_target(struct building *b)
{
	const struct target *t = &b->a->target;
	struct profile *p = b->p;

	p->pid = t->pid;
	p->ruby = keep(b->o, t->version.text);
	p->description = keep(b->o, t->version.description);
	p->exe = keep(b->o, t->exe);
	p->image = keep(b->o, t->image_base);
	p->build_id = keep(b->o, image_build_id(t->image));
}

static void fill_counts(struct building *b)
{
	const struct attach *a = b->a;
	const struct mp_shm *shm = a->planted.shm.local;
	const struct ruby_counters *x = &a->begin, *y = &a->end;
	struct profile *p = b->p;
	struct track_totals tot;

	track_totals(a->track, &tot);
	p->duration_s = (double)(a->stop_ns - a->start_ns) / 1e9;
	p->allocated = tot.allocated;
	p->freed = tot.freed;
	p->freed_tracked = tot.freed_tracked;
	p->live = tot.live;
	p->dropped_alloc = shm->count.dropped[MP_EV_ALLOC];
	p->dropped_free = shm->count.dropped[MP_EV_FREE];
	p->dropped_move = shm->count.dropped[MP_EV_MOVE];
	p->moved = tot.moves;
	p->moved_known = a->target.moves_known;
	p->sampled = 1;
	for (size_t i = 0; i < p->nrows; i++)
		p->live_bytes += p->rows[i].live_bytes;
	p->attach_pause_us = a->planted.pause_us;
	p->attach_hold_us = a->planted.hold_us;
	p->detach_pause_us = a->undone.pause_us;
	p->detach_hold_us = a->undone.hold_us;
	p->detached = !a->gone;
	p->verified = a->clean;
	p->vm_known = a->end_known;
	if (a->end_known) {
		p->vm_allocated = y->allocated - x->allocated;
		/* A zombie was freed for us when it became one, for the VM when its finalizer has
		 * run: count those that wait, too. */
		p->vm_freed = y->freed + y->zombies - x->freed - x->zombies;
		p->gc_runs = y->gc_count - x->gc_count;
	}
}

static void note_limits(struct building *b)
{
	const struct attach *a = b->a;
	const struct profile *p = b->p;
	struct track_totals tot;
	uint64_t dropped = p->dropped_alloc + p->dropped_free + p->dropped_move;

	track_totals(a->track, &tot);
	if (a->gone)
		note(b, "the target exited or started another program while it was profiled: live "
			"means alive at that moment");
	if (a->unwatched_s > 0)
		note(b,
		     "nobody read for %.1f s and recording was off meanwhile: what was born and "
		     "freed then is missing, live figures are upper bounds",
		     a->unwatched_s);
	if (dropped > 0)
		note(b, "%llu events did not fit into the ring: a larger --ring keeps them",
		     (unsigned long long)dropped);
	if (!p->moved_known && a->end_known && a->end.moved != a->begin.moved)
		note(b, "the heap was compacted and moves could not be followed: the live figures "
			"are void");
	if (a->undone.inexact)
		note(
		    b,
		    "a thread stayed in memprof's code while the VM's counters were read: they may "
		    "be off by one a thread");
	if (a->ring.corrupt + a->ring.abandoned > 0)
		note(b, "%" PRIu64 " records were unreadable", a->ring.corrupt + a->ring.abandoned);
	if (tot.untracked > 0)
		note(b,
		     "%llu objects were counted but not followed: memory limit of the live table",
		     (unsigned long long)tot.untracked);
	if (tot.other > 0)
		note(b, "%llu objects are in the row (other): too many birth sites at a time",
		     (unsigned long long)tot.other);
	if (a->end_known && a->begin.ractors > 1)
		note(b,
		     "several Ractors: this Ruby's own counter loses updates, coverage may exceed "
		     "1");
}

int attach_profile(struct attach *a, struct profile **ret, struct err *e)
{
	struct profile *p = calloc(1, sizeof(*p));
	struct owner *o = calloc(1, sizeof(*o));
	struct building b = {.a = a, .p = p, .o = o};

	if (p == NULL || o == NULL || (p->notes = calloc(NOTES_MAX, sizeof(*p->notes))) == NULL) {
		free(p);
		free(o);
		return err_set(e, ERR_NOMEM, "building the report");
	}
	p->owner = o;
	p->owner_free = owner_free;
	fill_target(&b);
	if (track_rows(a->track, add_row, &b, e) == -1) {
		profile_destroy(p);
		return -1;
	}
	fill_counts(&b);
	note_limits(&b);
	if (o->failed) {
		profile_destroy(p);
		return err_set(e, ERR_NOMEM, "building the report");
	}
	*ret = p;
	return 0;
}

const char *attach_describe(struct attach *a)
{
	const struct target *t = &a->target;

	snprintf(
	    a->describe, sizeof(a->describe),
	    "ruby %s\n%s, build id %s, %zu sites\nstub page at %" PRIRA
	    ", ring of %zu KiB\n%u thread(s) stopped for %llu us, one of them held for %llu us",
	    t->version.text, t->image_base, image_build_id(t->image), t->sites.n, a->planted.stub,
	    a->opts.ring_bytes >> 10, a->planted.threads, (unsigned long long)a->planted.pause_us,
	    (unsigned long long)a->planted.hold_us);
	return a->describe;
}

const char *attach_memory_report(struct attach *a)
{
	struct track_memory m;

	track_memory(a->track, &m);
	snprintf(a->memory, sizeof(a->memory),
		 "memory: ring %zu KiB, live table %zu KiB, sites %zu KiB, code %zu KiB, names %zu "
		 "KiB, rows %zu KiB",
		 a->opts.ring_bytes >> 10, m.live >> 10, m.sites >> 10, m.code >> 10, m.names >> 10,
		 m.rows >> 10);
	return a->memory;
}
