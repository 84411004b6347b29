/* What the site finders share: one search over one image's code, and the list it fills. */
#ifndef MEMPROF_RUBY_SITES_H
#define MEMPROF_RUBY_SITES_H

#include "ruby/code_derive.h"
#include "ruby/ruby.h"
#include "ruby/site_flow.h"

/* Event bits of the objspace's hook_events (include/ruby/internal/event.h). */
enum { EVENT_NEWOBJ_BIT = 20, EVENT_FREEOBJ_BIT = 21 };

enum { T_MOVED_FLAGS = 0x1e }; /* the flags word of a slot whose object has moved away */

struct site_search {
	struct site_flow flow;
	struct vm_access vm;     /* how exported code reaches the objspace */
	int32_t total_allocated; /* offsets in the objspace */
	int32_t flags;
	int32_t hook_events;
	uint64_t qundef;  /* what gc_move stores next to T_MOVED_FLAGS; 0: nothing */
	int32_t moved_to; /* offset of the new address in a slot whose object has moved */
	struct site_list list;
	size_t room;
};

/* Append a copy of *s. Returns 0, or -1 and e: ERR_NOMEM. */
int site_add(struct site_search *q, const struct site *s, struct err *e);

/* True if instruction i reads bit `bit` of the 32-bit word at offset disp of what base points to,
 * in a test of a byte, a word or all four; false as well for the stack pointer. */
bool site_tests_bit(const struct site_flow *f, size_t i, int32_t disp, unsigned bit);

/* True if instruction i loads the objspace from the VM, and the VM from its variable. */
bool site_loads_objspace(const struct site_search *q, size_t i);

/* True if reg at instruction i has been loaded like that, whichever way control came. */
bool site_objspace_loaded(const struct site_search *q, size_t i, uint8_t reg);

/* As site_objspace_loaded; or the code around tests the objspace's event mask or its flags through
 * reg. */
bool site_objspace_proven(const struct site_search *q, size_t i, uint8_t reg);

/* True if reg at instruction i was loaded from where the VM keeps the objspace, of a struct that
 * need not be the VM. */
bool site_objspace_likely(const struct site_search *q, size_t i, uint8_t reg);

/* True if in stores T_MOVED_FLAGS as an immediate at offset 0 (2.7's gc_move). */
bool site_stores_moved(const struct insn *in);

/* True if in adds 1 to the eight bytes where the objspace would have its counter. */
bool site_is_increment(const struct site_search *q, const struct insn *in);

/* -- the finders of family I (2.7 to 3.2); each appends to q->list --------------------------- */

/* Sites where the allocation counter is incremented. Returns 0, or -1 and e: ERR_UNSUPPORTED. */
int sites_counter_find(struct site_search *q, struct err *e);

/* The one place where the sweep tests for a FREEOBJ hook. Returns 0, or -1 and e. */
int sites_sweep_find(struct site_search *q, struct err *e);

/* The one place where gc_move marks the old slot. True if it was found and proven. */
bool sites_move_find(const struct site_search *q, struct site *ret);

/* Refuse when something that allocates has no site. Returns 0, or -1 and e: ERR_UNSUPPORTED. */
int sites_check_complete(const struct site_search *q, struct err *e);

#endif
