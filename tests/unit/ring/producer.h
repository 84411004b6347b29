/* The writing end of the ring as the agent does it: reserve by compare-and-swap, drop and count
 * when there is no room, first header last of all. */
#ifndef MEMPROF_TESTS_RING_PRODUCER_H
#define MEMPROF_TESTS_RING_PRODUCER_H

#include "agent/abi.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct producer {
	struct mp_shm *shm;
	struct mp_unit *unit;
	uint64_t units;
	uint32_t lap_shift;
};

static inline size_t producer_bytes(uint64_t units)
{
	return MP_SHM_RING_OFF + units * sizeof(struct mp_unit);
}

static inline struct producer producer_new(uint64_t units)
{
	struct mp_shm *shm = aligned_alloc(4096, (producer_bytes(units) + 4095) & ~4095ull);

	memset(shm, 0, producer_bytes(units));
	return (struct producer){shm, (void *)((char *)shm + MP_SHM_RING_OFF), units,
				 (uint32_t)__builtin_ctzll(units)};
}

static inline struct mp_unit *producer_at(const struct producer *p, uint64_t i)
{
	return &p->unit[i & (p->units - 1)];
}

static inline uint64_t producer_lap(const struct producer *p, uint64_t i)
{
	return (((i >> p->lap_shift) + 1) & MP_LAP_MASK) << 8;
}

static inline bool producer_reserve(struct producer *p, unsigned need, enum mp_event ev,
				    uint64_t *ret)
{
	uint64_t head = __atomic_load_n(&p->shm->head, __ATOMIC_RELAXED);

	do {
		uint64_t tail = __atomic_load_n(&p->shm->tail, __ATOMIC_ACQUIRE);

		if (head + need - tail > p->units && (int64_t)(head - tail) >= 0) {
			__atomic_fetch_add(&p->shm->count.dropped[ev], 1, __ATOMIC_RELAXED);
			return false;
		}
	} while (!__atomic_compare_exchange_n(&p->shm->head, &head, head + need, true,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	*ret = head;
	return true;
}

static inline void producer_word(uint64_t *to, uint64_t w)
{
	__atomic_store_n(to, w, __ATOMIC_RELAXED);
}

static inline void producer_commit(struct producer *p, uint64_t i, uint64_t head)
{
	__atomic_store_n(&producer_at(p, i)->head, head | producer_lap(p, i), __ATOMIC_RELEASE);
}

static inline void producer_words(struct producer *p, uint64_t i, uint64_t a, uint64_t b,
				  uint64_t c)
{
	struct mp_unit *u = producer_at(p, i);

	producer_word(&u->w[0], a);
	producer_word(&u->w[1], b);
	producer_word(&u->w[2], c);
}

/* head: everything but kind and lap. */
static inline bool producer_alloc(struct producer *p, uint64_t head, uint32_t flags, uint32_t stack,
				  const uint64_t w[6])
{
	uint64_t i;

	if (!producer_reserve(p, 2, MP_EV_ALLOC, &i))
		return false;
	producer_words(p, i, w[0], w[1], w[2]);
	producer_words(p, i + 1, w[3], w[4], w[5]);
	producer_word(&producer_at(p, i + 1)->head,
		      MP_KIND_MORE | (uint64_t)stack << 4 | (uint64_t)flags << 32);
	producer_commit(p, i, head | MP_KIND_ALLOC);
	return true;
}

static inline bool producer_free(struct producer *p, uint64_t head, uint64_t obj, uint64_t flags,
				 uint64_t klass)
{
	uint64_t i;

	if (!producer_reserve(p, 1, MP_EV_FREE, &i))
		return false;
	producer_words(p, i, obj, flags, klass);
	producer_commit(p, i, head | MP_KIND_FREE);
	return true;
}

static inline bool producer_move(struct producer *p, uint64_t head, uint64_t from, uint64_t to,
				 uint64_t flags)
{
	uint64_t i;

	if (!producer_reserve(p, 1, MP_EV_MOVE, &i))
		return false;
	producer_words(p, i, from, to, flags);
	producer_commit(p, i, head | MP_KIND_MOVE);
	return true;
}

#endif
