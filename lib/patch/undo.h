/*
 * Take everything of ours out of a live process, working from the journal inside it: the normal
 * end of a profile and the recovery after our death are the same code.
 */
#ifndef MEMPROF_PATCH_UNDO_H
#define MEMPROF_PATCH_UNDO_H

#include "mem/mem.h"
#include "patch/journal.h"
#include "proc/tracee.h"

struct undo_req {
	pid_t pid;
	const struct arch *arch;
	const struct mem *mem;
	int mem_fd;
	bool suspend_seccomp;
	/* What to undo; addresses that are 0, or where nothing of ours is mapped any more, are
	 * passed over. */
	const struct journal *journal;
	/* Called once with all threads stopped, before the words are put back: the figures to end
	 * with. No thread is in our code then, unless it stays there try after try (inexact). May
	 * be NULL. */
	int (*at_stop)(void *ctx, const struct tracee *t, struct err *e);
	/* Called when the text is the file's again and all threads run: the last chance to read the
	 * ring before it is unmapped. May be NULL. */
	void (*between)(void *ctx);
	void *ctx;
};

struct undo_result {
	uint64_t pause_us; /* all threads stopped, in the try that worked */
	uint64_t hold_us;  /* the thread that ran remote calls: pause_us and the time it was held */
	size_t words;      /* put back */
	size_t mappings;   /* removed */
	unsigned retries;  /* times a thread was in the way */
	bool inexact; /* a thread was in our code at at_stop: its event may be counted on one side
			 only */
};

/* Returns 0 and *ret; or -1 and e: ERR_GONE the process went (nothing to undo then), ERR_DIRTY what
 * is left and why. */
int undo(const struct undo_req *req, struct undo_result *ret, struct err *e);

#endif
