/*
 * From sites to a plan: pure, no tracee in sight. A plan holds the thunks' bytes and, for every
 * site, the one word that is poked over it.
 */
#ifndef MEMPROF_HOOK_HOOK_H
#define MEMPROF_HOOK_HOOK_H

#include "arch.h"
#include "code/site.h"
#include "elf/image.h"

enum { HOOK_WORD = 8 };

/* One word of text, before and after. */
struct hook {
	raddr_t addr;		  /* of the word: within one page, covers the whole window */
	uint8_t old[HOOK_WORD];	  /* as in the file */
	uint8_t new[HOOK_WORD];
	raddr_t site, site_end;	  /* the window in the tracee */
	raddr_t thunk, thunk_end;
	const struct site *of;	  /* borrowed from the site list */
};

struct hook_plan {
	struct hook *v;
	size_t n;
	uint8_t *thunks; /* to be written at thunks_at */
	size_t thunks_len;
	raddr_t thunks_at;
};

/* Where things will lie in the tracee. */
struct hook_place {
	uint64_t bias;			 /* load bias of the image */
	raddr_t thunks;			 /* room for the thunks */
	size_t thunks_size;
	raddr_t entry[SITE_EVENTS];	 /* agent entry points by event */
};

/* Upper bound in bytes of the thunks for n sites. */
size_t hook_thunks_bound(const struct arch *arch, size_t n);

/*
 * Plan all sites or none. Returns 0 and *ret (hook_plan_deinit), or -1 and e, ERR_UNSUPPORTED with
 * the reason: a window shorter than a jump, one that crosses a page, two that overlap or whose
 * words overlap, a branch target inside a window (inside: predicate, may be NULL), an instruction
 * that can't be moved; ERR_RANGE: out of a jump's reach.
 */
int hook_plan_create(const struct arch *arch, const struct image *img,
		     const struct site_list *sites, const struct hook_place *place,
		     bool (*is_target)(const void *ctx, uint64_t vaddr), const void *ctx,
		     struct hook_plan *ret, struct err *e);
void hook_plan_deinit(struct hook_plan *p); /* zeroed is allowed */

#endif
