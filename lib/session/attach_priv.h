/* What the files of one attach share. */
#ifndef MEMPROF_SESSION_ATTACH_PRIV_H
#define MEMPROF_SESSION_ATTACH_PRIV_H

#include "patch/plant.h"
#include "patch/undo.h"
#include "ring/reader.h"
#include "session/attach.h"
#include "session/target.h"
#include "track/track.h"

enum { ATTACH_BATCH = 512 };

struct attach {
	struct attach_opts opts;
	struct target target;
	struct planted planted;
	struct ring_reader ring;
	struct track_ruby track_ruby;
	struct track *track;
	struct ring_event batch[ATTACH_BATCH];

	struct ruby_counters begin, end; /* the VM's, with all threads stopped */
	bool end_known;
	uint64_t start_ns, stop_ns;
	uint64_t last_alive_ns, last_refresh_ns;
	unsigned idle_us;

	bool stopped; /* attach_stop has done its work */
	bool gone;    /* the target exited or became another program */
	bool clean;   /* verified from outside after the detach */
	struct undo_result undone;

	double tick_ns;        /* nanoseconds a time stamp tick */
	uint64_t dropped_ends; /* FREE and MOVE events dropped, when we last looked */
	uint64_t gave_up_seen; /* times the agent stopped for want of a reader */
	double unwatched_s;

	char describe[1024], memory[1024];
};

/* attach_run.c */
void attach_run_init(struct attach *a);

/* Drain what is committed, until about until_ns. Returns how many events. */
size_t attach_drain(struct attach *a, uint64_t until_ns);

/* The agent stops when nobody reads (we were suspended, or starved): note for how long, and switch
 * it on again. */
void attach_rewatch(struct attach *a);

/* Is it still the process that we patched? Its stub page is there as long as its memory is. */
bool attach_target_is_there(const struct attach *a);

#endif
