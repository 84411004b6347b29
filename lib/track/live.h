/*
 * The live table: which objects born under observation are alive, 8 bytes a slot. A heap page of
 * the target that holds none of them takes nothing.
 */
#ifndef MEMPROF_TRACK_LIVE_H
#define MEMPROF_TRACK_LIVE_H

#include "util/err.h"
#include "util/raddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct live; /* opaque */

struct live_entry {
	uint32_t birth; /* birth id + 1; 0: no object */
	uint32_t epoch; /* the VM's count of GC cycles at birth */
};

/*
 * page_align: alignment of the target's heap pages (power of two, at most 1 MiB); base_slot: bytes
 * of its smallest slot (multiple of 8). limit: most bytes of pages the table may take.
 * Returns 0 and an owned *ret (live_destroy), or -1 and e: ERR_BADDATA, ERR_NOMEM.
 */
int live_create(uint32_t page_align, uint32_t base_slot, size_t limit, struct live **ret,
		struct err *e);
void live_destroy(struct live *l); /* NULL is allowed */

/*
 * An object is born at addr. *old gets the entry that was there: an object whose end nobody saw.
 * False when addr can't be a slot (not 8-aligned, or off the grid of its page's other objects), or
 * over the limit: nothing is stored, and *old is zero.
 */
bool live_put(struct live *l, raddr_t addr, struct live_entry e, struct live_entry *old);

/* The object at addr ends. Returns its entry, zero when there is none. */
struct live_entry live_take(struct live *l, raddr_t addr);

/*
 * An object moves. Returns its entry (zero: it was not ours); *old as live_put, also when a foreign
 * object comes to lie on one of ours. False in *kept: it was ours, and there was no room for it.
 */
struct live_entry live_move(struct live *l, raddr_t from, raddr_t to, struct live_entry *old,
			    bool *kept);

/* Visit every object; fn may change the entry but not end it. Page by page, ascending within. */
void live_each(struct live *l, void (*fn)(void *arg, raddr_t addr, struct live_entry *e),
	       void *arg);

uint64_t live_count(const struct live *l);
size_t live_memory(const struct live *l); /* bytes */

#endif
