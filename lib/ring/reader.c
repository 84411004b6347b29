#include "ring/reader.h"

enum {
	RUN_RECORDS = 512,   /* between two words to the agent: at most 1024 units */
	PREFETCH_UNITS = 32, /* 1 KiB ahead: some 100 ns of decoding */
};

/* Why a unit can't be decoded, or how many units its record takes. */
enum { UNIT_UNCOMMITTED = -1, UNIT_CORRUPT = 0 };

int ring_reader_init(struct ring_reader *r, void *shm, size_t len, size_t ring_off, uint64_t units,
		     struct err *e)
{
	if (units < 2 || (units & (units - 1)) != 0 || ring_off % sizeof(struct mp_unit) != 0 ||
	    ring_off < sizeof(struct mp_shm) || ring_off > len ||
	    units > (len - ring_off) / sizeof(struct mp_unit))
		return err_set(e, ERR_BADDATA,
			       "ring: %" PRIu64 " units at %zu do not fit %zu bytes", units,
			       ring_off, len);
	*r = (struct ring_reader){
	    .shm = shm,
	    .unit = (struct mp_unit *)(void *)((char *)shm + ring_off),
	    .units = units,
	    .lap_shift = (uint32_t)__builtin_ctzll(units),
	};
	r->tail = __atomic_load_n(&r->shm->tail, __ATOMIC_RELAXED);
	r->published = r->head = r->tail;
	return 0;
}

static inline uint64_t word(const uint64_t *w)
{
	return __atomic_load_n(w, __ATOMIC_RELAXED);
}

static void publish(struct ring_reader *r)
{
	if (r->published == r->tail)
		return;
	__atomic_store_n(&r->shm->tail, r->tail, __ATOMIC_RELEASE);
	r->published = r->tail;
}

/* Look at the head again. Less than we have read, or more than a ring holds, is a lie: believe the
 * place but not the records. False when there is nothing to read. */
static bool head_load(struct ring_reader *r)
{
	uint64_t head = __atomic_load_n(&r->shm->head, __ATOMIC_ACQUIRE);

	if (head - r->tail > r->units) {
		r->corrupt++;
		r->tail = head;
	}
	r->head = head;
	return head != r->tail;
}

/* What decoding needs to know of the ring: by value, so that it stays in registers. */
struct view {
	const struct mp_unit *unit;
	uint64_t mask, head;
	uint32_t lap_shift;
};

static inline struct view view_of(const struct ring_reader *r)
{
	return (struct view){r->unit, r->units - 1, r->head, r->lap_shift};
}

/* The header as a bare kind: what belongs to this lap has nothing left above bit 3. */
static inline uint32_t kind_of(struct view v, uint64_t i, uint64_t head)
{
	uint32_t lap = (uint32_t)((i >> v.lap_shift) + 1) & MP_LAP_MASK;

	return ((uint32_t)head & ~(uint32_t)MP_REC_RUBY_TOP) ^ lap << 8;
}

/* Fields are stored one by one: gcc 12 builds a whole struct elsewhere and copies it in pieces of
 * another width, which stalls for 20 ns. */
static inline void header_decode(struct ring_event *ev, uint64_t head, uint8_t kind, uint64_t pos)
{
	ev->kind = kind;
	ev->ruby_top = (head & MP_REC_RUBY_TOP) != 0;
	ev->gc = (uint16_t)MP_REC_GC(head);
	ev->thread = (uint16_t)MP_REC_THREAD(head);
	ev->pad = 0;
	ev->pos = pos;
}

static inline int decode_alloc(struct view v, uint64_t i, uint64_t head, struct ring_event *ev)
{
	const struct mp_unit *u = &v.unit[i & v.mask], *more = &v.unit[(i + 1) & v.mask];
	uint64_t second = word(&more->head);

	/* Its units were reserved together: the head is never between them. */
	if (v.head - i < 2 || MP_REC_KIND(second) != MP_KIND_MORE)
		return UNIT_CORRUPT;
	header_decode(ev, head, MP_KIND_ALLOC, i);
	ev->flags = MP_MORE_FLAGS(second);
	ev->stack = MP_MORE_STACK(second);
	ev->obj = word(&u->w[0]);
	ev->klass = word(&u->w[1]);
	ev->iseq = word(&u->w[2]);
	ev->pc = word(&more->w[0]);
	ev->caller_iseq = word(&more->w[1]);
	ev->caller_pc = word(&more->w[2]);
	ev->to = 0;
	return 2;
}

static inline int decode_end(struct view v, uint64_t i, uint64_t head, uint8_t kind,
			     struct ring_event *ev)
{
	const struct mp_unit *u = &v.unit[i & v.mask];
	bool move = kind == MP_KIND_MOVE;
	uint64_t second = word(&u->w[1]), third = word(&u->w[2]);

	header_decode(ev, head, kind, i);
	ev->flags = (uint32_t)(move ? third : second);
	ev->stack = 0;
	ev->obj = word(&u->w[0]);
	ev->klass = move ? 0 : third;
	ev->iseq = ev->pc = ev->caller_iseq = ev->caller_pc = 0;
	ev->to = move ? second : 0;
	return 1;
}

/*
 * A unit that is no record of this lap is one not committed yet, whatever an earlier lap left there
 * (a second unit included: its bits 8 to 31 are no lap). Only a header that carries this lap and
 * makes no sense is known to be broken.
 */
static int undecodable(uint32_t kind)
{
	if (kind > 255 || (kind & 15) == MP_KIND_MORE)
		return UNIT_UNCOMMITTED;
	return UNIT_CORRUPT;
}

/* Decode the record at position i. Returns its units, or why there is none. */
static inline __attribute__((always_inline)) int decode(struct view v, uint64_t i,
							struct ring_event *ev)
{
	uint64_t head = __atomic_load_n(&v.unit[i & v.mask].head, __ATOMIC_ACQUIRE);
	uint32_t kind = kind_of(v, i, head);

	switch (kind) {
	case MP_KIND_ALLOC:
		return decode_alloc(v, i, head, ev);
	case MP_KIND_FREE:
	case MP_KIND_MOVE:
		return decode_end(v, i, head, (uint8_t)kind, ev);
	default:
		return undecodable(kind);
	}
}

static bool skip_broken(struct ring_reader *r, int why)
{
	uint64_t head = word(&r->unit[r->tail & (r->units - 1)].head);
	bool leftover = r->resync && MP_REC_KIND(head) == MP_KIND_MORE;

	if (why == UNIT_UNCOMMITTED && !leftover)
		return false;
	r->corrupt += !leftover;
	r->resync = true;
	r->tail++;
	return true;
}

/* Decode as long as it goes well. Returns the count; *last is what decode() said last, or 1. */
static size_t run(struct ring_reader *r, struct ring_event *out, size_t max, int *last)
{
	struct view v = view_of(r);
	uint64_t i = r->tail;
	size_t n = 0;

	*last = 1;
	while (n < max && i != v.head) {
		/* Not beyond the head: those lines are the writer's. */
		if (v.head - i > PREFETCH_UNITS)
			__builtin_prefetch(&v.unit[(i + PREFETCH_UNITS) & v.mask]);
		int units = decode(v, i, &out[n]);

		if (units <= 0) {
			*last = units;
			break;
		}
		i += (unsigned)units;
		n++;
	}
	r->tail = i;
	return n;
}

size_t ring_read(struct ring_reader *r, struct ring_event *out, size_t max)
{
	size_t n = 0;

	/* A broken record takes a turn as well, so that a ring of rubbish ends, too. */
	for (size_t turn = 0; n < max && turn < max; turn++) {
		size_t want = max - n < RUN_RECORDS ? max - n : RUN_RECORDS, got;
		int last;

		if (r->head == r->tail && !head_load(r))
			break;
		got = run(r, &out[n], want, &last);
		n += got;
		r->resync = r->resync && got == 0;
		if (last <= 0 && !skip_broken(r, last))
			break;
		publish(r);
	}
	publish(r);
	return n;
}

uint64_t ring_head(const struct ring_reader *r)
{
	return r->tail + ring_lag(r);
}

uint64_t ring_lag(const struct ring_reader *r)
{
	uint64_t lag = __atomic_load_n(&r->shm->head, __ATOMIC_ACQUIRE) - r->tail;

	return lag <= r->units ? lag : 0;
}

bool ring_skip_abandoned(struct ring_reader *r)
{
	struct ring_event ev;
	struct view v;
	uint64_t from;

	if (!head_load(r))
		return false;
	v = view_of(r);
	from = r->tail;
	while (r->tail != r->head && decode(v, r->tail, &ev) == UNIT_UNCOMMITTED)
		r->tail++;
	r->abandoned += (r->tail - from + 1) / 2; /* a record is two units at most */
	publish(r);
	return r->tail != from;
}
