/* One record of the ring, decoded: what happened to which object, and where. */
#ifndef MEMPROF_RING_EVENT_H
#define MEMPROF_RING_EVENT_H

#include "agent/abi.h"
#include "util/raddr.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The form is checked (kind, lap, both units of an allocation); the values are still the target's
 * word: any 64 bits may stand in an address. Fields that a kind does not have are 0.
 */
struct ring_event {
	uint8_t kind;    /* MP_KIND_ALLOC, MP_KIND_FREE or MP_KIND_MOVE */
	bool ruby_top;   /* ALLOC: no C frame above the birth frame */
	uint16_t gc;     /* low bits of the VM's count of GC cycles */
	uint16_t thread; /* number from 1, 0 unknown */
	uint16_t pad;
	uint32_t flags;                 /* low half of the object's flags word */
	uint32_t stack;                 /* ALLOC: stack id, 0 none */
	raddr_t obj;                    /* MOVE: where it was */
	raddr_t klass;                  /* ALLOC, FREE: class word */
	raddr_t iseq, pc;               /* ALLOC: the birth frame; 0 no Ruby frame */
	raddr_t caller_iseq, caller_pc; /* ALLOC: first frame outside <internal:...>, or 0 */
	raddr_t to;                     /* MOVE: where it is now */
	uint64_t pos; /* the record's place in the stream: count of units before it */
};
_Static_assert(sizeof(struct ring_event) == 80, "five vector stores");

#endif
