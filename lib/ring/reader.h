/*
 * The reading end of the ring. The shared memory belongs to a process that may write anything into
 * it: geometry and position are kept here, each record is copied once and then checked.
 */
#ifndef MEMPROF_RING_READER_H
#define MEMPROF_RING_READER_H

#include "agent/abi.h"
#include "ring/event.h"
#include "util/err.h"

#include <stddef.h>

struct ring_reader {
	struct mp_shm *shm; /* borrowed */
	struct mp_unit *unit;
	uint64_t units;     /* power of two */
	uint32_t lap_shift; /* log2(units) */
	bool resync;        /* behind a broken record: second units may follow */
	uint64_t tail;      /* units consumed: ours, shm->tail is only told */
	uint64_t head;      /* units reserved when we last looked */
	uint64_t published; /* tail as the agent knows it */

	uint64_t corrupt;   /* records that broke their own rules: skipped */
	uint64_t abandoned; /* records reserved and never written, at least: skipped */
};

/*
 * Read from len bytes of shared memory whose ring of `units` units begins at ring_off, from the
 * position where the ring stands now. shm is borrowed. Returns 0, or -1 and e: ERR_BADDATA the
 * ring does not fit.
 */
int ring_reader_init(struct ring_reader *r, void *shm, size_t len, size_t ring_off, uint64_t units,
		     struct err *e);

/*
 * Decode up to max committed records, oldest first, and give their room back to the agent. Returns
 * how many; 0 when the oldest one is not committed yet or there is none. The heartbeat is the
 * caller's.
 */
size_t ring_read(struct ring_reader *r, struct ring_event *out, size_t max);

/* The agent's head now, never less than what was read and never more than a ring ahead of it. */
uint64_t ring_head(const struct ring_reader *r);

/* Units reserved and not read yet. */
uint64_t ring_lag(const struct ring_reader *r);

/*
 * For a target that is dead or has stopped recording for good: step over what was reserved and
 * never committed, up to the next committed record. Returns true if there was such a gap; read
 * again then.
 */
bool ring_skip_abandoned(struct ring_reader *r);

#endif
