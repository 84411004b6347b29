/*
 * Where things lie inside one Ruby's structures. All difference between versions is a row here;
 * a row is trusted only after ruby_probe() has seen it hold in the live target.
 * Offsets are bytes; a field that a version does not have is LAYOUT_NONE.
 */
#ifndef MEMPROF_RUBY_LAYOUT_H
#define MEMPROF_RUBY_LAYOUT_H

#include "agent/abi.h"
#include "ruby/version.h"

#include <stdbool.h>

#define LAYOUT_NONE (-1)

struct ruby_layout {
	uint32_t from, until; /* RUBY_VERSION_OF: from <= version < until */
	const char *source;   /* where the numbers come from */

	struct mp_ruby agent; /* what the agent walks: handed over as it is */

	struct {
		int32_t total_allocated, total_freed, final_slots, flags, gc_count, major_gc_count;
		int32_t heap_range, total_moved;
		/* the two totals are sums over this many pools, so many bytes apart; 1 and 0 when
		 * the VM counts in one place */
		int32_t pools, pool_stride;
		uint32_t mode_mask; /* of flags: 0 when no GC cycle is under way */
	} objspace;
	struct {
		int32_t main_ractor, ractor_count;
	} vm;
	struct {
		int32_t running_ec, main_thread;
	} ractor;
	struct {
		int32_t ec, name, tid;
	} thread;
	struct {
		int32_t type, iseq_size, iseq_encoded, pathobj, base_label, label, first_lineno;
		int32_t insns_info_body, insns_info_size, succ_index_table;
		int32_t insn_info_size; /* of one entry; its line number comes first */
		bool lineno_fixnum;	/* first_lineno is a Fixnum, else an int */
		int32_t local_iseq, parent_iseq;
	} body;
	struct {
		uint32_t noembed;	/* flag bit: bytes are on the malloc heap */
		int32_t embed, ptr, heap_len;
		/* in flags; mask 0: heap_len holds for every String */
		int32_t embed_len_shift, embed_len_mask;
	} str;
	struct {
		uint32_t embedded;
		int32_t embed, ptr;
	} ary;
	struct {
		int32_t super, ext, iv_tbl;  /* ext: pointer to the class extension; iv_tbl in it */
		uint32_t singleton;	     /* flag bit */
		int32_t word; /* class word of any object; of a T_ICLASS the module */
	} klass;
	struct {
		int32_t num_entries, entries_start, entries_bound, entries;
		int32_t entry_size, entry_key, entry_record;
	} st;
	struct {
		uint32_t base_slot, page_align; /* slot bytes, heap page alignment */
		uint32_t page_slot_size;	/* offset in heap_page of its slot size (u16) */
	} heap;
	/* (flags >> 12) & 15 -> name, up to the first NULL */
	const char *const *imemo_names;
	/* line of the birth frame: 1 when the VM itself looks one instruction further while a Ruby
	 * frame is on top (it does `pc++` around its own allocation event) */
	bool leaf_pc_is_current;
};

/* The row for a version, or NULL. */
const struct ruby_layout *ruby_layout_find(uint32_t version);

#endif
