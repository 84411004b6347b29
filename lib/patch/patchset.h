/* Words of text to change, and to change back. Patching as data: no knowledge of what they mean. */
#ifndef MEMPROF_PATCH_PATCHSET_H
#define MEMPROF_PATCH_PATCHSET_H

#include "hook/hook.h"
#include "proc/tracee.h"

struct patch {
	raddr_t addr;
	uint8_t old[HOOK_WORD], new[HOOK_WORD];
	bool clean_page; /* the page equalled the file before we wrote: its copy may be dropped */
};

struct patchset {
	struct patch *v;
	size_t n;
};

/* From a plan. Returns 0 and an owned *ret (patchset_deinit). clean_page is false everywhere. */
int patchset_create(const struct hook_plan *plan, struct patchset *ret, struct err *e);
void patchset_deinit(struct patchset *ps); /* zeroed is allowed */

/* Write all words, each verified before and read back after; all threads must stand. On failure
 * those written are put back, and e tells; ERR_DIRTY when even that failed. */
int patchset_apply(const struct patchset *ps, const struct tracee *t, struct err *e);

/* Put back every word that holds our bytes; words that hold the old ones already are fine. *undone
 * counts the words written. e: ERR_DIRTY a word holds something else: it is left as it is (the
 * others are restored all the same). */
int patchset_revert(const struct patchset *ps, const struct tracee *t, size_t *undone,
		    struct err *e);

#endif
