/*
 * From events to figures: which birth sites made how many objects, and which of those live.
 *
 *	track_create -> track_events, track_idle, track_refresh ... -> track_finish -> track_rows
 */
#ifndef MEMPROF_TRACK_TRACK_H
#define MEMPROF_TRACK_TRACK_H

#include "ring/event.h"
#include "track/source.h"

struct track; /* opaque */

struct track_opts {
	bool keep_internal; /* births stay in <internal:...> frames */
	bool by_thread;     /* rows know their thread */
	uint64_t gc_count;  /* the VM's count of GC cycles now */
	size_t live_limit;  /* bytes the live table may take; 0: 2 GiB */
	uint32_t sites_max; /* birth sites at a time; 0: 131072 */
};

/* src is copied, its ctx borrowed. Returns 0 and an owned *ret (track_destroy), or -1 and e. */
int track_create(const struct track_source *src, const struct track_opts *o, struct track **ret,
		 struct err *e);
void track_destroy(struct track *t); /* NULL is allowed */

/* Take events in the order of the ring. Reads the target's memory for each new name, never for an
 * event as such. */
void track_events(struct track *t, const struct ring_event *ev, size_t n);

/* The reader has caught up: every record before ring position pos has been handed over. */
void track_idle(struct track *t, uint64_t pos);

/* About once a second: read again names that could not be read, and of classes without a permanent
 * name, a bounded number of each a call. */
void track_refresh(struct track *t);

/*
 * Ends and moves are missing from the stream here (drops, a time nobody read): what is known of
 * code and classes by address is forgotten, so that no site gets the name of what lay there before.
 * Names are read again as they are needed, at some 20 us each: not more often than once a second.
 */
void track_gap(struct track *t);

/*
 * After the last event, while the target's memory can be read, if it still can: the last word on
 * names, and on objects that were born without a class and have one now. gc_count, gc_running: the
 * VM's word at the end. Once; no events after it.
 */
void track_finish(struct track *t, uint64_t gc_count, bool gc_running);

/* Strings as Ruby has them; borrowed from the track. */
struct track_row {
	const char *file;     /* "": no Ruby frame; "(collected code)" */
	uint32_t line;        /* 0: unknown */
	const char *method;   /* "": none */
	const char *klass;    /* "String", "(iseq)", "(collected class)" */
	const char *internal; /* the <internal:...> file skipped, or NULL */
	uint32_t thread;      /* number; 0: unknown, or not asked for */
	uint64_t allocated, freed, live, live_bytes;
	uint64_t survived; /* live, and a GC cycle that began after the birth has finished */
};

/* Every row once, in no order. Before track_finish too: names and figures of that moment.
 * Returns 0, or -1 and e: ERR_NOMEM. */
int track_rows(struct track *t, void (*fn)(void *arg, const struct track_row *row), void *arg,
	       struct err *e);

/* live = allocated - freed_tracked - untracked, and so in every row. */
struct track_totals {
	uint64_t allocated, freed, moves; /* events seen */
	uint64_t freed_tracked;           /* ends of objects born under observation */
	uint64_t implicit_ends; /* of these: seen only because another object took the place */
	uint64_t untracked;     /* objects that the live table had no place for */
	uint64_t other;         /* objects in the row of class "(other)": too many sites */
	uint64_t live;
};
void track_totals(const struct track *t, struct track_totals *ret);

struct track_memory {
	size_t live, sites, code, names, rows; /* bytes */
};
void track_memory(const struct track *t, struct track_memory *ret);

#endif
