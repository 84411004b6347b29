/* The agent and its ring: laps, fullness, nobody reading; and what it must never touch. */
#include "suite.h"
#include "agent_room.h"

#include <pthread.h>

static struct room *with_object(void)
{
	struct room *r = room_create();

	r->heap[1] = (struct slot){.flags = 0x1234, .klass = 0xc1a55};
	return r;
}

static void one_free(struct room *r)
{
	agent(r, MP_EV_FREE, slot_at(r, 1), 0);
}

START_TEST(laps)
{
	struct room *r = with_object();

	one_free(r); /* so that an allocation wraps around the end */
	for (uint64_t i = 0; i < 5 * UNITS; i++) {
		uint64_t pos = r->shm->head;
		r->shm->tail = pos;
		alloc(r, slot_at(r, 1));
		ck_assert_uint_eq(r->shm->head, pos + 2);
		ck_assert_uint_eq(MP_REC_LAP(r->ring[pos % UNITS].head), pos / UNITS + 1);
		ck_assert_uint_eq(MP_REC_KIND(r->ring[pos % UNITS].head), MP_KIND_ALLOC);
		ck_assert_uint_eq(MP_REC_KIND(r->ring[(pos + 1) % UNITS].head), MP_KIND_MORE);
	}
	/* the lap has 24 bits */
	r->shm->head = r->shm->tail = r->ctl->tail_cached = ((1ull << 24) - 2) * UNITS + 1;
	alloc(r, slot_at(r, 1));
	ck_assert_uint_eq(MP_REC_LAP(r->ring[1].head), MP_LAP_MASK);
	r->shm->head = r->shm->tail = r->ctl->tail_cached = ((1ull << 24) - 1) * UNITS;
	alloc(r, slot_at(r, 1));
	ck_assert_uint_eq(MP_REC_LAP(r->ring[0].head), 0);
	ck_assert_uint_eq(MP_REC_KIND(r->ring[0].head), MP_KIND_ALLOC);
}
END_TEST

/* Full to the last unit, no further; what does not fit is counted by its kind, and nothing that was
 * not read yet is written over. */
START_TEST(full)
{
	struct room *r = with_object();
	struct mp_unit before[UNITS];

	r->heap[7] = r->heap[1];
	for (int i = 0; i < UNITS - 1; i++)
		one_free(r);
	alloc(r, slot_at(r, 1)); /* one unit is left, two are needed */
	ck_assert_uint_eq(r->shm->count.dropped[MP_EV_ALLOC], 1);
	ck_assert_uint_eq(r->shm->head, UNITS - 1);
	one_free(r);
	ck_assert_uint_eq(r->shm->head, UNITS);
	memcpy(before, r->ring, sizeof(before));
	for (int i = 0; i < 3; i++)
		alloc(r, slot_at(r, 1));
	for (int i = 0; i < 5; i++)
		one_free(r);
	agent(r, MP_EV_MOVE, slot_at(r, 1), slot_at(r, 7));
	ck_assert_uint_eq(r->shm->count.dropped[MP_EV_ALLOC], 4);
	ck_assert_uint_eq(r->shm->count.dropped[MP_EV_FREE], 5);
	ck_assert_uint_eq(r->shm->count.dropped[MP_EV_MOVE], 1);
	ck_assert_uint_eq(r->shm->head, UNITS);
	ck_assert_mem_eq(before, r->ring, sizeof(before));
	ck_assert_uint_eq(r->ctl->enabled, 1);
	r->shm->tail = 2;
	alloc(r, slot_at(r, 1));
	ck_assert_uint_eq(r->shm->head, UNITS + 2);
	ck_assert_uint_eq(r->shm->count.dropped[MP_EV_ALLOC], 4);
	ck_assert_mem_eq(before + 2, r->ring + 2, sizeof(before) - 2 * sizeof(before[0]));
}
END_TEST

static void fill(struct room *r)
{
	while (r->shm->head - r->shm->tail < UNITS)
		one_free(r);
}

/* Nobody reads: give up after the time set, once, and say so. A reader that moves, however little,
 * is a reader. */
START_TEST(gives_up)
{
	struct room *r = with_object();

	r->config->stale_tsc = 20000000; /* some milliseconds */
	fill(r);
	one_free(r);
	ck_assert_uint_eq(r->ctl->enabled, 1);
	for (int i = 0; i < 3; i++) {
		uint64_t start = __builtin_ia32_rdtsc();
		while (__builtin_ia32_rdtsc() - start < 15000000)
			;
		r->shm->tail++;
		fill(r);
		one_free(r);
		ck_assert_uint_eq(r->ctl->enabled, 1);
	}
	uint64_t dropped = r->shm->count.dropped[MP_EV_FREE], calls = 0;
	uint64_t start = __builtin_ia32_rdtsc();
	while (r->ctl->enabled && calls < 100000000) {
		one_free(r);
		calls++;
	}
	ck_assert_uint_eq(r->ctl->enabled, 0);
	ck_assert_uint_ge(__builtin_ia32_rdtsc() - start, 10000000);
	ck_assert_uint_eq(r->shm->count.gave_up, 1);
	ck_assert_uint_ge(r->shm->count.gave_up_tsc, start);
	ck_assert_uint_eq(r->shm->count.dropped[MP_EV_FREE], dropped + calls);
	one_free(r); /* off: not even counted */
	ck_assert_uint_eq(r->shm->count.dropped[MP_EV_FREE], dropped + calls);
	r->ctl->enabled = 1; /* on again: patience starts anew */
	one_free(r);
	ck_assert_uint_eq(r->ctl->enabled, 1);
	ck_assert_uint_eq(r->shm->count.gave_up, 1);
}
END_TEST

/* Another thread, a moment ahead of us, has noted a later time than ours: that is not an age. */
START_TEST(clock_of_another_thread)
{
	struct room *r = with_object();

	r->config->stale_tsc = 20000000;
	fill(r);
	r->ctl->full_tail = r->shm->tail;
	r->ctl->full_tsc = __builtin_ia32_rdtsc() + 1000000000;
	one_free(r);
	ck_assert_uint_eq(r->ctl->enabled, 1);
	ck_assert_uint_eq(r->shm->count.gave_up, 0);
}
END_TEST

/* Off: neither the ring's header nor anything else of Ruby's is looked at. */
START_TEST(disabled)
{
	struct room *r = with_object();

	r->ctl->enabled = 0;
	mprotect(r->shm, MP_SHM_RING_OFF + UNITS * sizeof(struct mp_unit), PROT_NONE);
	for (int ev = 0; ev < MP_EVENTS; ev++)
		agent(r, ev, (uintptr_t)r->forbidden, (uintptr_t)r->forbidden);
	mprotect(r->shm, MP_SHM_RING_OFF, PROT_READ);
	ck_assert_uint_eq(r->shm->head, 0);
	ck_assert_uint_eq(r->shm->count.suspect, 0);
}
END_TEST

/* What is no object of the heap is counted and not touched: the page can't be read. */
START_TEST(suspects)
{
	struct room *r = with_object();
	const uint64_t end = (uintptr_t)r->forbidden + 4096, bad[] = {
	    0, 8, 0x14, 0xfffffffffffffff8, r->heap_lo - 8, end, end + 64,
	    (uintptr_t)r->forbidden + 1, (uintptr_t)r->forbidden + 4, end - 1,
	};
	const size_t n = sizeof(bad) / sizeof(bad[0]);

	for (size_t i = 0; i < n; i++) {
		alloc(r, bad[i]);
		agent(r, MP_EV_FREE, bad[i], 0);
		agent(r, MP_EV_MOVE, bad[i], slot_at(r, 1));
		agent(r, MP_EV_MOVE, slot_at(r, 1), bad[i]);
	}
	ck_assert_uint_eq(r->shm->count.suspect, 4 * n);
	ck_assert_uint_eq(r->shm->head, 0);
	ck_assert_uint_eq(r->shm->count.no_frame, 0);
}
END_TEST

/* -- several threads ------------------------------------------------------------------------- */

enum { WRITERS = 3, EACH = 200000 };

static void *write_many(void *arg)
{
	struct room *r = arg;

	for (int i = 0; i < EACH; i++)
		one_free(r);
	return NULL;
}

/* More than one Ractor: each record is there once, or counted as dropped; none is torn. */
START_TEST(writers_at_once)
{
	struct room *r = with_object();
	pthread_t th[WRITERS];
	uint64_t read = 0, tail = 0, idle = 0;

	one_free(r);
	ck_assert_uint_eq(r->ctl->parallel, 0);
	r->ractors = 2;
	for (int i = 0; i < WRITERS; i++)
		pthread_create(&th[i], NULL, write_many, r);
	while (idle < 100000 || read + __atomic_load_n(&r->shm->count.dropped[MP_EV_FREE],
						       __ATOMIC_ACQUIRE) < WRITERS * EACH + 1) {
		const struct mp_unit *u = &r->ring[tail % UNITS];
		uint64_t head = __atomic_load_n(&u->head, __ATOMIC_ACQUIRE);

		if (MP_REC_KIND(head) != MP_KIND_FREE || MP_REC_LAP(head) != tail / UNITS + 1) {
			idle++;
			ck_assert_uint_lt(idle, 4000000000);
			continue;
		}
		idle = 0;
		ck_assert_uint_eq(u->w[0], slot_at(r, 1));
		ck_assert_uint_eq(u->w[1], 0x1234);
		ck_assert_uint_eq(u->w[2], 0xc1a55);
		read++;
		__atomic_store_n(&r->shm->tail, ++tail, __ATOMIC_RELEASE);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(th[i], NULL);
	ck_assert_uint_eq(r->ctl->parallel, 1);
	ck_assert_uint_eq(read + r->shm->count.dropped[MP_EV_FREE], WRITERS * EACH + 1);
	ck_assert_uint_eq(r->shm->head, read);
	ck_assert_uint_gt(read, UNITS);
}
END_TEST

SUITE_MAIN("agent_ring", laps, full, gives_up, clock_of_another_thread, disabled, suspects,
	   writers_at_once)
