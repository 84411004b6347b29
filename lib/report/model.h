/*
 * A profile as plain data: what every report, live view and recording consumes. Strings are Ruby's
 * own bytes, unescaped; each exporter escapes for its medium.
 */
#ifndef MEMPROF_REPORT_MODEL_H
#define MEMPROF_REPORT_MODEL_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One birth site: file:line:class (and thread, when grouped by it). */
struct profile_row {
	const char *file;     /* "" : no Ruby frame */
	uint32_t line;        /* 0: unknown */
	const char *method;   /* label as that Ruby's backtraces have it; "" : none */
	const char *klass;    /* "String", "(iseq)", "#<Class:0x...>" */
	const char *internal; /* the <internal:...> file skipped for the birth site, or NULL */
	const char *thread;   /* NULL unless it was asked for */
	uint64_t allocated, freed, live, live_bytes, survived;
};

struct profile {
	/* target */
	pid_t pid;
	const char *ruby;        /* "3.1.7" */
	const char *description; /* "ruby 3.1.7p261 (...)" */
	const char *exe;         /* /usr/bin/ruby3.1 */
	const char *image;       /* base name of the object that holds the VM */
	const char *build_id;

	/* summary; see cli: `allocated` and `freed` are events seen */
	double duration_s;
	uint64_t allocated, freed, freed_tracked, live, live_bytes;
	uint64_t dropped_alloc, dropped_free, dropped_move;
	uint64_t moved;
	bool moved_known;
	uint64_t vm_allocated, vm_freed;
	bool vm_known; /* the VM's counters could be read at both ends */
	uint64_t gc_runs;
	uint64_t attach_pause_us, attach_hold_us, detach_pause_us, detach_hold_us;
	bool verified; /* after the detach, from outside: its code is the file's, nothing is mapped */
	bool detached;         /* false: the target was gone, detach figures are meaningless */
	unsigned sampled;      /* 1: every allocation */
	unsigned survived_gcs; /* unused groups are 0 */

	struct profile_row *rows;
	size_t nrows;

	/* Sentences for people: what limits these figures. Never empty strings. */
	const char **notes;
	size_t nnotes;

	void *owner; /* storage behind the strings; profile_destroy frees it */
	void (*owner_free)(void *owner);
};

void profile_destroy(struct profile *p); /* NULL is allowed; frees rows, notes, owner and p */

/* (allocated + dropped_alloc) / vm_allocated; negative when there is none (unknown or 0). */
double profile_coverage(const struct profile *p);
/* All events that the ring had no room for. */
uint64_t profile_dropped(const struct profile *p);

enum profile_key { KEY_SITE, KEY_CLASS, KEY_FILE, KEY_LINE, KEY_METHOD, KEY_GEM, KEY_THREAD };
enum profile_sort { SORT_LIVE, SORT_BYTES, SORT_ALLOCATED, SORT_FREED, SORT_SURVIVED };

/* Names on the command line <-> values. Return 0, or -1 and e: ERR_USAGE listing what there is. */
int profile_key_parse(const char *name, enum profile_key *ret, struct err *e);
int profile_sort_parse(const char *name, enum profile_sort *ret, struct err *e);
const char *profile_key_name(enum profile_key key);

struct group {
	const char *key; /* NULL for KEY_SITE: row tells; "": unknown (no Ruby frame) */
	const struct profile_row *row; /* the group's first member */
	uint64_t allocated, freed, live, live_bytes, survived;
};

struct grouping {
	struct group *v; /* sorted: the chosen figure descending, then key or file, line, class */
	size_t n;        /* all there are */
	void *strings;
};

/* Group and sort the rows; rows with the same file, line, class (and thread) are one site. Returns
 * 0 and *ret (grouping_deinit), or -1 and e: ERR_NOMEM. */
int profile_group(const struct profile *p, enum profile_key key, enum profile_sort sort,
		  struct grouping *ret, struct err *e);
void grouping_deinit(struct grouping *g);

#endif
