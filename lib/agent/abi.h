/*
 * The bytes that memprof and the agent in the tracee share: the ring's header and records, the
 * private control page, the agent's configuration. Included by both sides; no libc, no pointers.
 * Changing anything here means a new MP_ABI_VERSION.
 */
#ifndef MEMPROF_AGENT_ABI_H
#define MEMPROF_AGENT_ABI_H

#include <stddef.h>
#include <stdint.h>

#define MP_ABI_VERSION 1u
#define MP_SHM_MAGIC   0x31676e6972706d6dull /* "mmpring1" */

/* -- records --------------------------------------------------------------------------------- */

/*
 * The ring is an array of 32-byte units. A record is one unit, or two for an allocation (each unit
 * has its own place modulo the ring, so a record may wrap around the end). The first
 * word of every unit is a header, so that whatever an earlier lap left behind can't be taken for a
 * record of this lap: the lap number would not match, and a second unit's kind is no first kind.
 * A record is committed by the release store of its first header, last of all its words.
 *
 * header:  bits 0..3 kind | 4 MP_REC_RUBY_TOP | 5..7 zero | 8..31 lap | 32..47 thread | 48..63 gc
 * second:  bits 0..3 MP_KIND_MORE | 4..31 stack id | 32..63 low half of the object's flags word
 */
enum {
	MP_KIND_NONE = 0,
	MP_KIND_ALLOC = 1, /* 2 units */
	MP_KIND_FREE = 2,
	MP_KIND_MOVE = 3,
	MP_KIND_MORE = 15,
};

#define MP_REC_KIND(h)	   ((uint32_t)(h) & 15u)
#define MP_REC_RUBY_TOP	   (1ull << 4) /* the top frame is the Ruby frame itself, no C frame above */
#define MP_REC_LAP(h)	   ((uint32_t)((h) >> 8) & 0xffffffu)
#define MP_REC_THREAD(h)   ((uint32_t)((h) >> 32) & 0xffffu)
#define MP_REC_GC(h)	   ((uint32_t)((h) >> 48) & 0xffffu)
#define MP_MORE_STACK(h)   ((uint32_t)((h) >> 4) & 0xfffffffu)
#define MP_MORE_FLAGS(h)   ((uint32_t)((h) >> 32))
#define MP_LAP_MASK	   0xffffffu

struct mp_unit {
	uint64_t head;
	uint64_t w[3];
};
_Static_assert(sizeof(struct mp_unit) == 32, "a unit is half a cache line");

/*
 * w[] of each kind:
 *   ALLOC  unit 0: object, class word, iseq of the birth frame; unit 1: its pc, and, when the birth
 *          frame's file is <internal:...>, iseq and pc of the first Ruby frame outside (else 0, 0).
 *          iseq 0: no Ruby frame.
 *   FREE   object, low half of its flags word, class word
 *   MOVE   from, to, low half of the flags word
 */

/* -- shared memory: the ring's file ---------------------------------------------------------- */

/* Regions by offset from the start; size 0: not there. */
struct mp_region {
	uint64_t off, size;
};

enum { MP_THREADS = 1024 }; /* power of two; thread number = index + 1, 0 = unknown or full */

enum mp_event { MP_EV_ALLOC, MP_EV_FREE, MP_EV_MOVE, MP_EVENTS };

/* Written by the agent; on lines of their own, apart from what the reader writes. */
struct mp_counters {
	uint64_t dropped[MP_EVENTS]; /* ring full: not recorded */
	uint64_t suspect;	     /* objects outside the heap's bounds or misaligned: not touched */
	uint64_t no_frame;	     /* allocations without a Ruby frame */
	uint64_t gave_up;	     /* times the agent stopped because nobody read */
	uint64_t gave_up_tsc;	     /* time stamp of the last such stop */
	uint64_t pad[1];
};
_Static_assert(sizeof(struct mp_counters) == 64, "one cache line");

struct mp_shm {
	/* Identity: written before anything is mapped, so that a later process can tell what is
	 * whose and clean up, whatever instruction we died at. */
	uint64_t magic;
	uint32_t abi, pid;	    /* of the tracee */
	uint64_t starttime;	    /* of the tracee, clock ticks, /proc/PID/stat field 22 */
	uint32_t owner_pid, pad0;   /* the memprof that reads */
	uint64_t owner_starttime;
	uint64_t stub_addr, stub_len;	/* where the stub page was to be mapped */
	uint64_t ctl_addr, ctl_len;	/* where the control page was to be mapped */
	uint64_t shm_addr, shm_len;	/* where this very memory was to be mapped */
	struct mp_region ring, stacks, filter;
	uint64_t pad1[8];

	/* Reader to agent, and to whoever asks who is alive. */
	_Alignas(64) uint64_t tail;	/* units consumed */
	_Alignas(64) uint64_t heartbeat; /* CLOCK_MONOTONIC ns of the reader's last look */

	/* Agent. */
	_Alignas(64) uint64_t head;	/* units reserved: compare-and-swap */
	_Alignas(64) struct mp_counters count;
	_Alignas(64) uint64_t threads[MP_THREADS]; /* rb_thread_t by thread number - 1 */
};

enum { MP_SHM_RING_OFF = 16384 };
_Static_assert(sizeof(struct mp_shm) <= MP_SHM_RING_OFF, "the ring starts after the header");

/* -- control page: private to the tracee, zeroed in its forked children --------------------- */

enum { MP_ISEQ_CACHE = 256 };

struct mp_ctl {
	uint64_t enabled;     /* 0: thunks do nothing */
	uint64_t tail_cached; /* the agent's copy of mp_shm.tail */
	uint64_t full_tail;   /* tail seen at the last full ring, and when */
	uint64_t full_tsc;
	uint64_t parallel;    /* several threads may allocate at once: lock the bus */
	uint64_t last_thread; /* rb_thread_t << 16 | its number */
	uint64_t pad[2];
	uint64_t iseq_internal[MP_ISEQ_CACHE]; /* iseq address | 1 if its file is <internal:...> */
};
_Static_assert(sizeof(struct mp_ctl) <= 4096, "one page");

/* -- configuration: constants in the stub page ----------------------------------------------- */

/* Offsets of one Ruby version. Negative: that Ruby has no such thing. */
struct mp_ruby {
	int32_t ec_cfp, ec_vm_stack, ec_vm_stack_size, ec_thread;
	int32_t cfp_pc, cfp_iseq, cfp_ep, cfp_size;
	int32_t iseq_body, body_pathobj;
	int32_t str_embed, str_ptr, str_len, ary_embed, ary_ptr; /* str_len: of a heap string */
	uint32_t str_noembed, ary_embedded; /* flag bits */
	uint32_t type_mask, type_string, type_array, type_imemo;
	uint32_t imemo_shift, imemo_mask, imemo_iseq;
	uint32_t frame_cframe; /* bit of ep[0] that marks a C frame */
};

struct mp_config {
	uint64_t magic;
	uint64_t shm, ctl;	/* addresses in the tracee */
	uint64_t ring;		/* address of unit 0 */
	uint64_t units;		/* power of two */
	uint32_t lap_shift, abi; /* log2(units) */
	uint64_t stale_tsc;	/* time stamp ticks of a full ring without a reader until we stop */
	uint64_t gc_count;	/* address of the VM's count of GC cycles */
	uint64_t ractors;	/* address of the VM's 32-bit count of Ractors; 0: it has none */
	uint64_t heap_lo, heap_hi; /* address of the words that bound the heap */
	int64_t ec_tls;		/* current execution context, relative to the thread base; */
	uint64_t ec_global;	/* or, when not 0, the address of the variable (2.7) */
	struct mp_ruby ruby;
};

/* -- the blob -------------------------------------------------------------------------------- */

/* The stub mapping: page 0 the journal, page 1 configuration and thunks, page 2... the agent.
 * The blob is linked to reach its configuration at this distance before its own start. */
enum {
	MP_STUB_JOURNAL = 0,
	MP_STUB_CONFIG = 4096,
	MP_STUB_THUNKS = 4096 + 512,
	MP_STUB_AGENT = 8192,
};
_Static_assert(sizeof(struct mp_config) <= MP_STUB_THUNKS - MP_STUB_CONFIG, "config fits");

/* First bytes of the blob: offsets of the entry points from its start. */
struct mp_blob_head {
	uint32_t magic, size; /* MP_BLOB_MAGIC; bytes in all */
	uint32_t entry[MP_EVENTS];
	uint32_t abi;
};
#define MP_BLOB_MAGIC 0x626c706du

#endif
