/*
 * Profiling one live Ruby, from the first look to the last restored byte. This is where the
 * reading and the writing tower meet.
 */
#ifndef MEMPROF_SESSION_ATTACH_H
#define MEMPROF_SESSION_ATTACH_H

#include "report/model.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct attach; /* opaque */

enum { ATTACH_RING_DEFAULT = 32 << 20, ATTACH_RING_MIN = 1 << 16, ATTACH_RING_MAX = 1 << 30 };

struct attach_opts {
	size_t ring_bytes;  /* 0: ATTACH_RING_DEFAULT; rounded up to a power of two */
	bool keep_internal; /* births stay in <internal:...> frames */
	bool by_thread;     /* rows know their thread */
};

/* Check the target, plan, patch, let it run. On failure the target is as it was, or e->code is
 * ERR_DIRTY and says what is left. Returns 0 and an owned *ret (attach_destroy). */
int attach_start(pid_t pid, const struct attach_opts *o, struct attach **ret, struct err *e);

/* Progress since the start, for a status line. */
struct attach_status {
	double elapsed_s;
	uint64_t allocated, freed, live, dropped;
	double unwatched_s; /* for how long nobody read and the agent had stopped */
};

/*
 * Read what has happened, for up to ms milliseconds. Returns 1 while the target runs patched, 0
 * when it is gone (exit or exec), or -1 and e.
 */
int attach_step(struct attach *a, unsigned ms, struct attach_status *st, struct err *e);

/* Take everything out of the target and verify from outside. Once; later calls do nothing. A target
 * that is gone is no error. e: ERR_DIRTY what could not be taken out. */
int attach_stop(struct attach *a, struct err *e);

/* What was seen. After attach_stop. Owned by the caller: profile_destroy; outlives the attach. */
int attach_profile(struct attach *a, struct profile **ret, struct err *e);

/* About ourselves, for -v: lines of text, owned by a until destroyed. The first line of the
 * description names the Ruby ("ruby 3.1.7"). */
const char *attach_memory_report(struct attach *a);
const char *attach_describe(struct attach *a);

void attach_destroy(struct attach *a); /* stops first if need be; NULL is allowed */

#endif
