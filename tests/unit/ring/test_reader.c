#include "ring/reader.h"

#include "producer.h"
#include "suite.h"

#include <pthread.h>
#include <sched.h>

static struct producer open_ring(uint64_t units, struct ring_reader *r)
{
	struct producer p = producer_new(units);
	struct err e;

	ck_assert_int_eq(
	    ring_reader_init(r, p.shm, producer_bytes(units), MP_SHM_RING_OFF, units, &e), 0);
	return p;
}

START_TEST(geometry_is_checked)
{
	struct producer p = producer_new(64);
	struct ring_reader r;
	struct err e;
	size_t len = producer_bytes(64);

	ck_assert_int_eq(ring_reader_init(&r, p.shm, len, MP_SHM_RING_OFF, 64, &e), 0);
	ck_assert_int_eq(ring_reader_init(&r, p.shm, len - 1, MP_SHM_RING_OFF, 64, &e), -1);
	ck_assert_int_eq(e.code, ERR_BADDATA);
	ck_assert_int_eq(ring_reader_init(&r, p.shm, len, MP_SHM_RING_OFF, 48, &e), -1);
	ck_assert_int_eq(ring_reader_init(&r, p.shm, len, MP_SHM_RING_OFF, 0, &e), -1);
	ck_assert_int_eq(ring_reader_init(&r, p.shm, len, MP_SHM_RING_OFF + 8, 32, &e), -1);
	ck_assert_int_eq(ring_reader_init(&r, p.shm, len, len + 32, 2, &e), -1);
	ck_assert_int_eq(ring_reader_init(&r, p.shm, len, 0, 64, &e), -1);
	ck_assert_int_eq(ring_reader_init(&r, p.shm, len, MP_SHM_RING_OFF, 1ull << 63, &e), -1);
	free(p.shm);
}
END_TEST

START_TEST(fields_arrive)
{
	struct ring_reader r;
	struct producer p = open_ring(64, &r);
	struct ring_event ev[8];
	const uint64_t w[6] = {0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000};

	ck_assert_uint_eq(ring_read(&r, ev, 8), 0);
	producer_alloc(&p, MP_REC_RUBY_TOP | 7ull << 32 | 0xfedcull << 48, 0xdeadbeef, 0xabcdef1,
		       w);
	producer_free(&p, 1023ull << 32, 0x1000, 0xffffffff00000005, 0x2000);
	producer_move(&p, 0, 0x1000, 0x9000, 0x1a);
	ck_assert_uint_eq(ring_lag(&r), 4);
	ck_assert_uint_eq(ring_head(&r), 4);
	ck_assert_uint_eq(ring_read(&r, ev, 8), 3);
	ck_assert_uint_eq(ev[0].kind, MP_KIND_ALLOC);
	ck_assert(ev[0].ruby_top);
	ck_assert_uint_eq(ev[0].thread, 7);
	ck_assert_uint_eq(ev[0].gc, 0xfedc);
	ck_assert_uint_eq(ev[0].flags, 0xdeadbeef);
	ck_assert_uint_eq(ev[0].stack, 0xabcdef1);
	ck_assert_mem_eq(&ev[0].obj, w, sizeof(w));
	ck_assert_uint_eq(ev[0].pos, 0);
	ck_assert_uint_eq(ev[1].kind, MP_KIND_FREE);
	ck_assert(!ev[1].ruby_top);
	ck_assert_uint_eq(ev[1].thread, 1023);
	ck_assert_uint_eq(ev[1].obj, 0x1000);
	ck_assert_uint_eq(ev[1].flags, 5);
	ck_assert_uint_eq(ev[1].klass, 0x2000);
	ck_assert_uint_eq(ev[1].iseq, 0);
	ck_assert_uint_eq(ev[1].pos, 2);
	ck_assert_uint_eq(ev[2].kind, MP_KIND_MOVE);
	ck_assert_uint_eq(ev[2].obj, 0x1000);
	ck_assert_uint_eq(ev[2].to, 0x9000);
	ck_assert_uint_eq(ev[2].flags, 0x1a);
	ck_assert_uint_eq(ev[2].pos, 3);
	ck_assert_uint_eq(p.shm->tail, 4);
	ck_assert_uint_eq(ring_lag(&r), 0);
	free(p.shm);
}
END_TEST

/* Ring of 8 units, records of 1 and 2: every alignment at the wrap, many laps. */
START_TEST(records_wrap)
{
	struct ring_reader r;
	struct producer p = open_ring(8, &r);
	struct ring_event ev[8];
	uint64_t next = 0, seen = 0;

	for (int round = 0; round < 10000; round++) {
		for (int k = round % 4; k >= 0; k--, next++) {
			const uint64_t w[6] = {next, 1, 2, 3, 4, 5};

			if (next % 3 == 0)
				producer_free(&p, 0, next, 0, 0);
			else
				producer_alloc(&p, 0, 0, 0xfffffff, w);
		}
		size_t n = ring_read(&r, ev, 8);

		for (size_t i = 0; i < n; i++)
			if (ev[i].obj != seen++)
				ck_abort_msg("%" PRIu64 " out of order", ev[i].obj);
		if (seen != next)
			ck_abort_msg("%" PRIu64 " of %" PRIu64 " records", seen, next);
	}
	ck_assert_uint_eq(r.corrupt, 0);
	free(p.shm);
}
END_TEST

START_TEST(full_ring_drops)
{
	struct ring_reader r;
	struct producer p = open_ring(8, &r);
	struct ring_event ev[16];
	const uint64_t w[6] = {0};

	for (int i = 0; i < 7; i++)
		ck_assert(producer_free(&p, 0, 8, 0, 0));
	ck_assert(!producer_alloc(&p, 0, 0, 0, w));
	ck_assert(producer_free(&p, 0, 8, 0, 0));
	ck_assert(!producer_free(&p, 0, 8, 0, 0));
	ck_assert_uint_eq(p.shm->count.dropped[MP_EV_ALLOC], 1);
	ck_assert_uint_eq(p.shm->count.dropped[MP_EV_FREE], 1);
	ck_assert_uint_eq(ring_read(&r, ev, 3), 3);
	ck_assert(producer_alloc(&p, 0, 0, 0, w));
	ck_assert_uint_eq(ring_read(&r, ev, 16), 6);
	free(p.shm);
}
END_TEST

START_TEST(uncommitted_is_waited_for)
{
	struct ring_reader r;
	struct producer p = open_ring(8, &r);
	struct ring_event ev[8];
	const uint64_t w[6] = {1, 2, 3, 4, 5, 6};
	uint64_t hole;

	/* Leave second units where first ones will be, and the next lap's number in their stacks.
	 */
	for (int i = 0; i < 4; i++)
		producer_alloc(&p, 0, 0, 2 << 4, w);
	ck_assert_uint_eq(ring_read(&r, ev, 8), 4);
	producer_free(&p, 0, 8, 0, 0);
	ck_assert_uint_eq(ring_read(&r, ev, 8), 1);
	ck_assert(producer_reserve(&p, 1, MP_EV_FREE, &hole));
	producer_free(&p, 0, 24, 0, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(ring_read(&r, ev, 8), 0);
	producer_words(&p, hole, 16, 0, 0);
	producer_commit(&p, hole, MP_KIND_FREE);
	ck_assert_uint_eq(ring_read(&r, ev, 8), 2);
	ck_assert_uint_eq(ev[0].obj, 16);
	ck_assert_uint_eq(ev[1].obj, 24);
	ck_assert_uint_eq(r.corrupt, 0);
	free(p.shm);
}
END_TEST

START_TEST(abandoned_is_skipped)
{
	struct ring_reader r;
	struct producer p = open_ring(16, &r);
	struct ring_event ev[8];
	uint64_t hole;

	ck_assert(!ring_skip_abandoned(&r));
	producer_free(&p, 0, 8, 0, 0);
	ck_assert(producer_reserve(&p, 2, MP_EV_ALLOC, &hole));
	producer_word(&producer_at(&p, hole + 1)->head, MP_KIND_MORE);
	producer_free(&p, 0, 16, 0, 0);
	ck_assert(producer_reserve(&p, 1, MP_EV_FREE, &hole));
	ck_assert(!ring_skip_abandoned(&r)); /* the oldest is a good one */
	ck_assert_uint_eq(ring_read(&r, ev, 8), 1);
	ck_assert(ring_skip_abandoned(&r));
	ck_assert_uint_eq(ring_read(&r, ev, 8), 1);
	ck_assert_uint_eq(ev[0].obj, 16);
	ck_assert(ring_skip_abandoned(&r));
	ck_assert(!ring_skip_abandoned(&r));
	ck_assert_uint_eq(r.abandoned, 2);
	ck_assert_uint_eq(r.corrupt, 0);
	ck_assert_uint_eq(ring_lag(&r), 0);
	ck_assert_uint_eq(p.shm->tail, p.shm->head);
	free(p.shm);
}
END_TEST

/* Right lap, wrong kind; an allocation without its second unit. What follows is still read. */
START_TEST(broken_records_are_skipped)
{
	struct ring_reader r;
	struct producer p = open_ring(64, &r);
	struct ring_event ev[16];
	const uint64_t w[6] = {40, 0, 0, 0, 0, 0};
	size_t n = 0, got;
	uint64_t i;

	ck_assert(producer_reserve(&p, 1, MP_EV_FREE, &i));
	producer_commit(&p, i, 9);
	producer_free(&p, 0, 8, 0, 0);
	producer_alloc(&p, 0, 0, 0, w);
	producer_at(&p, i + 2)->head = (producer_lap(&p, i + 2) | MP_KIND_ALLOC) ^ 9; /* no kind */
	producer_free(&p, 0, 16, 0, 0);
	producer_alloc(&p, 0, 0, 0, w);
	producer_at(&p, i + 6)->head = producer_lap(&p, i + 6) | MP_KIND_FREE;
	producer_free(&p, 1 << 5, 24, 0, 0); /* a bit that is always zero */
	producer_free(&p, 0, 32, 0, 0);
	for (int k = 0; k < 8; k++, n += got)
		got = ring_read(&r, &ev[n], 16 - n);
	ck_assert_uint_eq(r.corrupt, 4);
	ck_assert_uint_eq(ring_lag(&r), 0);
	ck_assert_uint_eq(ev[0].obj, 8);
	ck_assert_uint_eq(ev[1].obj, 16);
	ck_assert_uint_eq(ev[n - 1].obj, 32);
	free(p.shm);
}
END_TEST

START_TEST(lying_head_is_survived)
{
	static const uint64_t lies[] = {UINT64_MAX, 1ull << 63, 65, 1u << 20};
	struct ring_reader r;
	struct producer p = open_ring(64, &r);
	struct ring_event ev[8];

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		uint64_t corrupt = r.corrupt;

		p.shm->head = r.tail + lies[i];
		ck_assert_uint_eq(ring_lag(&r), 0);
		ck_assert_uint_eq(ring_read(&r, ev, 8), 0);
		ck_assert_uint_eq(r.corrupt, corrupt + 1);
		p.shm->head = p.shm->tail = r.tail;
		producer_free(&p, 0, 8 * i, 0, 0);
		ck_assert_uint_eq(ring_read(&r, ev, 8), 1);
		ck_assert_uint_eq(ev[0].obj, 8 * i);
	}
	free(p.shm);
}
END_TEST

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Rubbish everywhere, now and then with the right lap: it ends, and stays inside (ASan). */
START_TEST(rubbish_ends)
{
	struct ring_reader r;
	struct producer p = open_ring(256, &r);
	struct ring_event ev[64];
	uint64_t seed = 88172645463325252ull;

	for (int round = 0; round < 20000; round++) {
		for (int k = 0; k < 16; k++) {
			uint64_t i = rnd(&seed) % 256, h = rnd(&seed);

			if (h & 1 << 20)
				h = (h & ~0xffffff00ull) | producer_lap(&p, r.tail + i % 64);
			p.unit[(r.tail + i) % 256].head = h;
		}
		p.shm->head = rnd(&seed) % 8 == 0 ? rnd(&seed) : r.tail + rnd(&seed) % 300;
		for (int k = 0; k < 4; k++) {
			size_t n = ring_read(&r, ev, 64);

			for (size_t i = 0; i < n; i++)
				if (ev[i].kind < MP_KIND_ALLOC || ev[i].kind > MP_KIND_MOVE)
					ck_abort_msg("kind %u", ev[i].kind);
		}
		if (round % 16 == 0)
			ring_skip_abandoned(&r);
	}
	ck_assert_uint_gt(r.corrupt, 0);
	free(p.shm);
}
END_TEST

/* -- threads --------------------------------------------------------------------------------- */

enum { STRESS = 200000, THREADS = 2 };

struct stress {
	struct producer p;
	unsigned no;
	uint64_t written, lost[MP_EVENTS];
};

static bool stress_record(struct stress *s, uint64_t i)
{
	const uint64_t w[6] = {i, ~i, i * 3, i * 5, i * 7, i * 11};
	uint64_t head = (uint64_t)s->no << 32;

	switch (i % 3) {
	case 0:
		return producer_alloc(&s->p, head, (uint32_t)i, s->no, w);
	case 1:
		return producer_free(&s->p, head, i, (uint32_t)i, ~i);
	default:
		return producer_move(&s->p, head, i, ~i, (uint32_t)i);
	}
}

static void *stress_write(void *arg)
{
	struct stress *s = arg;

	for (uint64_t i = 0; i < STRESS; i++) {
		bool ok = stress_record(s, i);

		s->written += ok;
		s->lost[i % 3] += !ok;
	}
	return NULL;
}

static bool stress_is_whole(const struct ring_event *ev)
{
	static const uint8_t kinds[] = {MP_KIND_ALLOC, MP_KIND_FREE, MP_KIND_MOVE};
	uint64_t i = ev->obj;

	if (ev->kind != kinds[i % 3] || ev->flags != (uint32_t)i ||
	    (ev->kind == MP_KIND_MOVE ? ev->to : ev->klass) != ~i)
		return false;
	return ev->kind != MP_KIND_ALLOC ||
	       (ev->stack == ev->thread && ev->iseq == i * 3 && ev->pc == i * 5 &&
		ev->caller_iseq == i * 7 && ev->caller_pc == i * 11);
}

struct stress_seen {
	uint64_t next[THREADS], count[THREADS], pos;
};

static void stress_take(struct stress_seen *seen, const struct ring_event *ev, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned t = ev[i].thread - 1u;

		/* Each assertion of Check is a system call: one for what should never be. */
		if (t >= THREADS || ev[i].obj < seen->next[t] || ev[i].pos < seen->pos ||
		    !stress_is_whole(&ev[i]))
			ck_abort_msg("thread %u, object %" PRIu64 ": torn or out of order", t + 1,
				     ev[i].obj);
		seen->next[t] = ev[i].obj + 1;
		seen->pos = ev[i].pos + 1;
		seen->count[t]++;
	}
}

/* Read until both writers are through and nothing is left. */
static void stress_read(struct ring_reader *r, const pthread_t *th, struct stress_seen *seen)
{
	for (bool over = false;;) {
		struct ring_event ev[256];
		size_t n = ring_read(r, ev, 256);

		stress_take(seen, ev, n);
		if (n > 0)
			continue;
		if (over)
			return;
		sched_yield();
		if (pthread_tryjoin_np(th[0], NULL) == 0) {
			ck_assert_int_eq(pthread_join(th[1], NULL), 0);
			over = true;
		}
	}
}

/* Returns how many were dropped. */
static uint64_t stress_run(uint64_t units)
{
	struct ring_reader r;
	struct producer p = open_ring(units, &r);
	struct stress s[THREADS] = {{.p = p, .no = 1}, {.p = p, .no = 2}};
	struct stress_seen seen = {0};
	uint64_t lost[MP_EVENTS] = {0};
	pthread_t th[THREADS];

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&th[i], NULL, stress_write, &s[i]), 0);
	stress_read(&r, th, &seen);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_uint_eq(seen.count[i], s[i].written);
		for (int k = 0; k < MP_EVENTS; k++)
			lost[k] += s[i].lost[k];
	}
	ck_assert_mem_eq(lost, p.shm->count.dropped, sizeof(lost));
	ck_assert_uint_eq(r.corrupt + r.abandoned, 0);
	free(p.shm);
	return lost[0] + lost[1] + lost[2];
}

/* Room for all: every record arrives. */
START_TEST(threads_lose_nothing)
{
	ck_assert_uint_eq(stress_run(1 << 20), 0);
}
END_TEST

/* Hardly any room: what does not arrive is accounted for. */
START_TEST(threads_drops_add_up)
{
	for (int round = 0; round < 10; round++)
		stress_run(64u << round);
}
END_TEST

SUITE_MAIN("reader", geometry_is_checked, fields_arrive, records_wrap, full_ring_drops,
	   uncommitted_is_waited_for, abandoned_is_skipped, broken_records_are_skipped,
	   lying_head_is_survived, rubbish_ends, threads_lose_nothing, threads_drops_add_up)
