/*
 * The agent: runs inside somebody else's process, on whatever thread is allocating, sweeping or
 * compacting. No libc, no lock, no system call, no call into the VM, nothing left on a stack.
 * Entered from agent_entry.S, which has seen that recording is enabled and has saved the registers.
 */
#include "abi.h"

/* Lies MP_STUB_AGENT - MP_STUB_CONFIG bytes before this code, in the same mapping (agent.ld). */
extern const struct mp_config mp_config __attribute__((visibility("hidden")));

void mp_alloc(uint64_t obj);
void mp_free(uint64_t obj);
void mp_move(uint64_t from, uint64_t to);

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define COLD          static __attribute__((noinline, cold))
#define UNLIKELY(x)   __builtin_expect(!!(x), 0)

enum { TOUCH = 65536 / sizeof(struct mp_unit) }; /* fault_around_bytes, kernel mm/memory.c */

ALWAYS_INLINE uint64_t load64(uint64_t addr)
{
	return *(const volatile uint64_t *)addr;
}

ALWAYS_INLINE struct mp_ctl *ctl_page(void)
{
	return (struct mp_ctl *)mp_config.ctl;
}

ALWAYS_INLINE struct mp_shm *shm_head(void)
{
	return (struct mp_shm *)mp_config.shm;
}

/* The safety belt: an object that is not in the VM's heap is counted and never touched. The bounds
 * are the VM's own words, so they grow with the heap. */
ALWAYS_INLINE int in_heap(uint64_t obj)
{
	return !(obj & 7) && obj >= load64(mp_config.heap_lo) && obj < load64(mp_config.heap_hi);
}

COLD void count_suspect(void)
{
	__atomic_fetch_add(&shm_head()->count.suspect, 1, __ATOMIC_RELAXED);
}

/* -- ring ------------------------------------------------------------------------------------ */

/*
 * No room. When the reader has not moved for stale_tsc ticks there is none any more: stop recording
 * until somebody switches us on again, so that an orphaned target pays next to nothing.
 */
COLD void ring_full(enum mp_event ev, uint64_t tail)
{
	struct mp_ctl *ctl = ctl_page();
	struct mp_counters *n = &shm_head()->count;
	uint64_t now = __builtin_ia32_rdtsc();

	__atomic_fetch_add(&n->dropped[ev], 1, __ATOMIC_RELAXED);
	if (ctl->full_tsc == 0 || ctl->full_tail != tail) {
		ctl->full_tail = tail;
		ctl->full_tsc = now;
	} else if ((int64_t)(now - ctl->full_tsc) > (int64_t)mp_config.stale_tsc && ctl->enabled) {
		ctl->enabled = 0;
		ctl->full_tsc = 0;
		n->gave_up_tsc = now;
		__atomic_fetch_add(&n->gave_up, 1, __ATOMIC_RELEASE);
	}
}

/*
 * One thread at a time allocates and sweeps, the one that holds the VM's global lock: then a
 * compare-and-swap need only be whole for this CPU (a signal may come between), and the lock
 * prefix, most of the cost of an event, is saved. With a second Ractor that is over for good; its
 * creator holds the lock while it raises the count, so nobody is in here with the old answer.
 */
ALWAYS_INLINE int swap_head(uint64_t *head, uint64_t *expected, uint64_t desired)
{
	struct mp_ctl *ctl = ctl_page();
	uint64_t seen = *expected;
	uint8_t done;

	if (UNLIKELY(ctl->parallel))
		return __atomic_compare_exchange_n(head, expected, desired, 1, __ATOMIC_RELAXED,
						   __ATOMIC_RELAXED);
	if (mp_config.ractors && UNLIKELY(*(const volatile uint32_t *)mp_config.ractors > 1)) {
		ctl->parallel = 1;
		return 0;
	}
	__asm__ volatile("cmpxchgq %3, %1"
			 : "=@ccz"(done), "+m"(*head), "+a"(seen)
			 : "r"(desired)
			 : "memory");
	*expected = seen;
	return done;
}

/* Reserve n units; false when the event was dropped. Compare-and-swap, because a plain addition
 * could not be taken back when the ring turns out to be full. */
ALWAYS_INLINE int ring_reserve(enum mp_event ev, uint64_t n, uint64_t *pos)
{
	struct mp_shm *shm = shm_head();
	struct mp_ctl *ctl = ctl_page();
	uint64_t head = __atomic_load_n(&shm->head, __ATOMIC_RELAXED);

	do {
		if (UNLIKELY(head + n - ctl->tail_cached > mp_config.units)) {
			uint64_t tail = __atomic_load_n(&shm->tail, __ATOMIC_ACQUIRE);

			ctl->tail_cached = tail;
			if (UNLIKELY(head + n - tail > mp_config.units)) {
				ring_full(ev, tail);
				return 0;
			}
		}
	} while (UNLIKELY(!swap_head(&shm->head, &head, head + n)));
	*pos = head;
	return 1;
}

ALWAYS_INLINE struct mp_unit *ring_unit(uint64_t pos)
{
	return (struct mp_unit *)mp_config.ring + (pos & (mp_config.units - 1));
}

/* Commit: the header goes last, and with it the record becomes visible. */
ALWAYS_INLINE void ring_commit(struct mp_unit *u, uint64_t pos, uint64_t head)
{
	uint64_t lap = ((pos >> mp_config.lap_shift) + 1) & MP_LAP_MASK;

	__atomic_store_n(&u->head, head | lap << 8, __ATOMIC_RELEASE);
}

/*
 * The reader's core owns the lines ahead of us: ask for them before they are needed, or our stores
 * pile up behind them. Pages are new to this process on the first lap: a read lets the kernel map
 * the 64 KiB around it at once, a write only its own page.
 */
ALWAYS_INLINE void ring_prefetch(uint64_t pos)
{
	__builtin_prefetch(ring_unit(pos + 24), 1);
	if (UNLIKELY((pos & (TOUCH - 1)) < 2))
		(void)load64((uint64_t)ring_unit((pos & ~(uint64_t)(TOUCH - 1)) + TOUCH));
}

/* -- frames ---------------------------------------------------------------------------------- */

struct frame {
	uint64_t iseq, pc;
};

struct birth {
	struct frame top, caller; /* caller: only if top is in an <internal:...> file */
	uint64_t head;            /* bits for the record's header */
};

ALWAYS_INLINE uint64_t *internal_slot(uint64_t iseq)
{
	return &ctl_page()->iseq_internal[(iseq >> 3 ^ iseq >> 11) & (MP_ISEQ_CACHE - 1)];
}

/* "<internal:" as Ruby's path of this iseq begins? Reads Ruby's objects: every pointer is one that
 * the running frame keeps alive. */
COLD int path_is_internal(uint64_t iseq)
{
	const struct mp_ruby *r = &mp_config.ruby;
	uint64_t str = load64(load64(iseq + r->iseq_body) + r->body_pathobj);
	uint64_t flags, bytes;

	if (!in_heap(str))
		return 0;
	flags = load64(str);
	if ((flags & r->type_mask) == r->type_array) {
		str = flags & r->ary_embedded ? load64(str + r->ary_embed)
					      : load64(load64(str + r->ary_ptr));
		if (!in_heap(str))
			return 0;
		flags = load64(str);
	}
	if ((flags & r->type_mask) != r->type_string)
		return 0;
	bytes = str + r->str_embed;
	if (flags & r->str_noembed) {
		if (load64(str + r->str_len) < 10)
			return 0;
		bytes = load64(str + r->str_ptr);
	}
	return load64(bytes) == 0x616e7265746e693cull; /* "<interna" */
}

ALWAYS_INLINE int iseq_is_internal(uint64_t iseq)
{
	uint64_t *slot = internal_slot(iseq);
	uint64_t known = *slot;

	if (UNLIKELY((known & ~1ull) != iseq)) {
		known = iseq | (uint64_t)path_is_internal(iseq);
		*slot = known;
	}
	return (int)(known & 1);
}

/* An iseq died or moved: its address may soon mean other code. */
ALWAYS_INLINE void forget_iseq(uint64_t obj, uint64_t flags)
{
	const struct mp_ruby *r = &mp_config.ruby;

	if ((flags & r->type_mask) == r->type_imemo &&
	    (flags >> r->imemo_shift & r->imemo_mask) == r->imemo_iseq) {
		uint64_t *slot = internal_slot(obj);

		if ((*slot & ~1ull) == obj)
			*slot = 0;
	}
}

ALWAYS_INLINE uint64_t current_ec(void)
{
	uint64_t ec;

	if (mp_config.ec_global)
		return load64(mp_config.ec_global);
	__asm__("movq %%fs:(%1), %0" : "=r"(ec) : "r"(mp_config.ec_tls));
	return ec;
}

/* A small number for a thread, the same for as long as its rb_thread_t lives. */
COLD uint64_t thread_enter(uint64_t th)
{
	uint64_t *table = shm_head()->threads;

	if (th == 0)
		return 0;
	uint32_t i = (uint32_t)((th >> 5) * 0x9e3779b97f4a7c15ull >> 54);

	for (uint32_t probe = 0; probe < 8; probe++, i++) {
		uint64_t *e = &table[i & (MP_THREADS - 1)];
		uint64_t known = 0;

		if (*e == th ||
		    __atomic_compare_exchange_n(e, &known, th, 0, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED) ||
		    known == th) {
			ctl_page()->last_thread = th << 16 | ((i & (MP_THREADS - 1)) + 1);
			return (i & (MP_THREADS - 1)) + 1;
		}
	}
	return 0;
}

ALWAYS_INLINE uint64_t thread_number(uint64_t th)
{
	uint64_t last = ctl_page()->last_thread; /* read once: another thread may change it */

	return (last >> 16) == th ? last & 0xffff : thread_enter(th);
}

/* First Ruby frame at or above cfp; 0 when there is none. A frame is Ruby's if ep[0] says so; pc
 * and iseq of a C frame may be stale under a JIT. */
ALWAYS_INLINE uint64_t ruby_frame(uint64_t cfp, uint64_t end)
{
	const struct mp_ruby *r = &mp_config.ruby;

	for (; cfp < end; cfp += r->cfp_size) {
		if (!(load64(load64(cfp + r->cfp_ep)) & r->frame_cframe) &&
		    load64(cfp + r->cfp_iseq) != 0)
			return cfp;
	}
	return 0;
}

ALWAYS_INLINE void frame_read(uint64_t cfp, struct frame *f)
{
	f->iseq = load64(cfp + mp_config.ruby.cfp_iseq);
	f->pc = load64(cfp + mp_config.ruby.cfp_pc);
}

COLD void find_caller(uint64_t cfp, uint64_t end, struct frame *f)
{
	const struct mp_ruby *r = &mp_config.ruby;

	while ((cfp = ruby_frame(cfp + r->cfp_size, end)) != 0) {
		if (!iseq_is_internal(load64(cfp + r->cfp_iseq))) {
			frame_read(cfp, f);
			return;
		}
	}
}

/* Where is this being born? A fresh native thread has no ec, and an ec may have no frame yet. */
ALWAYS_INLINE void find_birth(struct birth *b)
{
	const struct mp_ruby *r = &mp_config.ruby;
	uint64_t ec = current_ec(), top, cfp, stack, end;

	b->top = b->caller = (struct frame){0, 0};
	b->head = (load64(mp_config.gc_count) & 0xffff) << 48;
	if (UNLIKELY(ec == 0))
		return;
	b->head |= thread_number(load64(ec + r->ec_thread)) << 32;
	top = load64(ec + r->ec_cfp);
	stack = load64(ec + r->ec_vm_stack);
	if (UNLIKELY(top == 0 || stack == 0))
		return;
	end = stack + 8 * load64(ec + r->ec_vm_stack_size) - r->cfp_size;
	cfp = ruby_frame(top, end);
	if (UNLIKELY(cfp == 0))
		return;
	frame_read(cfp, &b->top);
	if (cfp == top)
		b->head |= MP_REC_RUBY_TOP;
	if (UNLIKELY(iseq_is_internal(b->top.iseq)))
		find_caller(cfp, end, &b->caller);
}

/* -- events ---------------------------------------------------------------------------------- */

void mp_alloc(uint64_t obj)
{
	struct birth b;
	struct mp_unit *u, *more;
	uint64_t pos;

	if (UNLIKELY(!in_heap(obj))) {
		count_suspect();
		return;
	}
	find_birth(&b);
	if (UNLIKELY(b.top.iseq == 0))
		__atomic_fetch_add(&shm_head()->count.no_frame, 1, __ATOMIC_RELAXED);
	if (!ring_reserve(MP_EV_ALLOC, 2, &pos))
		return;
	u = ring_unit(pos);
	more = ring_unit(pos + 1);
	ring_prefetch(pos);
	more->head = MP_KIND_MORE | load64(obj) << 32;
	more->w[0] = b.top.pc;
	more->w[1] = b.caller.iseq;
	more->w[2] = b.caller.pc;
	u->w[0] = obj;
	u->w[1] = load64(obj + 8);
	u->w[2] = b.top.iseq;
	ring_commit(u, pos, MP_KIND_ALLOC | b.head);
}

/* One-unit records: no frame, for nobody asks where a sweep was started. */
ALWAYS_INLINE void record(enum mp_event ev, uint64_t kind, uint64_t a, uint64_t b, uint64_t c)
{
	struct mp_unit *u;
	uint64_t pos;

	if (!ring_reserve(ev, 1, &pos))
		return;
	u = ring_unit(pos);
	ring_prefetch(pos);
	u->w[0] = a;
	u->w[1] = b;
	u->w[2] = c;
	ring_commit(u, pos, kind | (load64(mp_config.gc_count) & 0xffff) << 48);
}

void mp_free(uint64_t obj)
{
	uint64_t flags;

	if (UNLIKELY(!in_heap(obj))) {
		count_suspect();
		return;
	}
	flags = load64(obj);
	forget_iseq(obj, flags);
	record(MP_EV_FREE, MP_KIND_FREE, obj, flags & 0xffffffff, load64(obj + 8));
}

/* The old slot already says T_MOVED; the object is whole at its new address. */
void mp_move(uint64_t from, uint64_t to)
{
	uint64_t flags;

	if (UNLIKELY(!in_heap(from) || !in_heap(to))) {
		count_suspect();
		return;
	}
	flags = load64(to);
	forget_iseq(from, flags);
	forget_iseq(to, flags);
	record(MP_EV_MOVE, MP_KIND_MOVE, from, to, flags & 0xffffffff);
}
