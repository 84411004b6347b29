/* What the files of the façade share. */
#ifndef MEMPROF_TRACK_TRACK_PRIV_H
#define MEMPROF_TRACK_TRACK_PRIV_H

#include "track/birth.h"
#include "track/live.h"
#include "track/track.h"

struct track {
	struct track_source src;
	struct live *live;
	struct births births;
	bool keep_internal, by_thread;
	uint32_t classed;   /* bit n: objects of type n have a class to show, if they have one */
	uint32_t gc_latest; /* highest count of GC cycles seen */
	uint32_t gc_done;   /* cycles up to this one have finished; after track_finish */
	bool finished;
	uint64_t pos;               /* every record before this has been seen */
	struct track_totals totals; /* but for other and live */
};

/* Objects born without a class that have one now go to a site with that class. */
void track_reveal(struct track *t);

#endif
