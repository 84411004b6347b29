/* Not a judgement, a figure: what an event costs the reader, warm. Asserted is only that nothing
 * got lost on the way. */
#include "../ring/producer.h"
#include "fake.h"
#include "ring/reader.h"
#include "suite.h"

#include <time.h>

enum {
	UNITS = 1 << 20, /* the default ring: 32 MiB */
	ROUNDS = 24,
	LIVE = 400000, /* objects that stay a while */
	SITES = 300,
	BATCH = 256,
};

struct load {
	struct producer p;
	uint64_t next, gone; /* objects born and ended so far */
};

static raddr_t object(uint64_t n)
{
	n %= LIVE * 2;
	return FAKE_OBJ(n / 400, n % 400);
}

/* As many births and, LIVE objects later, ends as the ring takes. Returns the events. */
static uint64_t fill(struct load *l)
{
	uint64_t events = 0, units = 0;

	while (units + 3 <= UNITS) {
		uint64_t site = l->next * 7 % SITES;
		const uint64_t w[6] = {object(l->next++),
				       FAKE_CLASS(site % 20),
				       FAKE_ISEQ(site / 10),
				       FAKE_PC(site / 10, site % 10),
				       0,
				       0};

		producer_alloc(&l->p, MP_REC_RUBY_TOP, RT_OBJECT, 0, w);
		events++;
		units += 2;
		if (l->next - l->gone > LIVE) {
			producer_free(&l->p, 0, object(l->gone++), RT_OBJECT, 0);
			events++;
			units++;
		}
	}
	return events;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t drain(struct ring_reader *r, struct track *t)
{
	struct ring_event ev[BATCH];
	uint64_t events = 0;
	size_t n;

	while ((n = ring_read(r, ev, BATCH)) > 0) {
		if (t != NULL)
			track_events(t, ev, n);
		events += n;
	}
	return events;
}

/* Nanoseconds an event, best round; t NULL: decoding alone. */
static double measure(struct load *l, struct track *t)
{
	struct ring_reader r;
	struct err e;
	double best = 1e9;

	ck_assert_int_eq(
	    ring_reader_init(&r, l->p.shm, producer_bytes(UNITS), MP_SHM_RING_OFF, UNITS, &e), 0);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t events = fill(l), start = now_ns();

		ck_assert_uint_eq(drain(&r, t), events);
		double ns = (double)(now_ns() - start) / (double)events;

		best = ns < best ? ns : best;
	}
	return best;
}

START_TEST(speed)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct track_source src = fake_source(f);
	const struct track_opts o = {0};
	struct load with = {.p = producer_new(UNITS)}, bare = {.p = producer_new(UNITS)};
	struct track_totals totals;
	struct track *t;
	struct err e;

	for (size_t i = 0; i < SITES; i++) {
		fake_iseq_set(f, i, "speed.rb", "m");
		fake_class_set(f, i, "C");
	}
	ck_assert_int_eq(track_create(&src, &o, &t, &e), 0);
	printf("decode %.1f ns an event\n", measure(&bare, NULL));
	printf("decode and track %.1f ns an event\n", measure(&with, t));
	track_totals(t, &totals);
	ck_assert_uint_eq(totals.live, with.next - with.gone);
	ck_assert_uint_eq(totals.implicit_ends, 0);
	track_destroy(t);
	free(with.p.shm);
	free(bare.p.shm);
	free(f);
}
END_TEST

SUITE_MAIN("speed", speed)
