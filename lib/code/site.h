/*
 * A place to patch: the only word between the reading tower, which finds it and proves which
 * register holds the object there, and the writing tower, which patches it without knowing Ruby.
 */
#ifndef MEMPROF_CODE_SITE_H
#define MEMPROF_CODE_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum site_event { SITE_ALLOC, SITE_FREE, SITE_MOVE, SITE_EVENTS };

enum { SITE_WINDOW_MAX = 16 };

struct site {
	enum site_event event;
	uint64_t addr;			/* vaddr of the first displaced instruction */
	uint8_t len;			/* bytes of the window: whole instructions, 5 or more */
	uint8_t ninsn;			/* how many instructions that is */
	uint8_t old[SITE_WINDOW_MAX];	/* the window's bytes in the file */
	uint8_t obj;			/* register number that holds the object at the hook */
	uint8_t dst;			/* SITE_MOVE: register that holds where it moved to */
	bool hook_after;		/* the hook runs after the window, else before it */
	bool flags_live;		/* the code around needs the arithmetic flags preserved */
	uint8_t redo_len;		/* bytes right before addr to run again after the hook, so that */
					/* flags the window reads are right (a test; 0: none) */
	const char *why;		/* the proof in a few words; a string literal */
};

struct site_list {
	struct site *v; /* ascending by addr */
	size_t n;
};

#endif
