/* The agent's records, bit by bit. */
#include "suite.h"
#include "agent_room.h"

static void check_alloc(const struct room *r, uint64_t pos, uint64_t obj, uint64_t iseq, uint64_t pc,
			uint64_t caller, uint64_t caller_pc, bool top, unsigned thread)
{
	const struct mp_unit *u = &r->ring[pos % UNITS], *m = &r->ring[(pos + 1) % UNITS];
	const struct slot *s = (const struct slot *)obj;
	uint64_t lap = pos / UNITS + 1;

	ck_assert_uint_eq(u->head, MP_KIND_ALLOC | (top ? MP_REC_RUBY_TOP : 0) | lap << 8 |
				       (uint64_t)thread << 32 | (r->gc_count & 0xffff) << 48);
	ck_assert_uint_eq(u->w[0], obj);
	ck_assert_uint_eq(u->w[1], s->klass);
	ck_assert_uint_eq(u->w[2], iseq);
	ck_assert_uint_eq(m->head, MP_KIND_MORE | s->flags << 32);
	ck_assert_uint_eq(m->w[0], pc);
	ck_assert_uint_eq(m->w[1], caller);
	ck_assert_uint_eq(m->w[2], caller_pc);
}

static unsigned thread_of(const struct room *r, uint64_t pos)
{
	return MP_REC_THREAD(r->ring[pos % UNITS].head);
}

/* A room with an object in slot 1 and iseqs of ordinary files in slots 2 and 3. */
static struct room *furnished(uint64_t iseq[2])
{
	static uint64_t body[2][4];
	struct room *r = room_create();

	r->heap[1] = (struct slot){.flags = 0x123456789abcdef0, .klass = 0xc1a55};
	iseq[0] = make_iseq(r, 2, body[0], make_embedded(r, 12, "/a.rb"));
	iseq[1] = make_iseq(r, 3, body[1], make_string(r, 13, "/home/somebody/app/b.rb"));
	return r;
}

START_TEST(ruby_top)
{
	uint64_t iseq[2];
	struct room *r = furnished(iseq);

	push_frame(r, iseq[1], 0xbbbb);
	push_frame(r, iseq[0], 0xaaaa);
	alloc(r, slot_at(r, 1));
	ck_assert_uint_eq(r->shm->head, 2);
	unsigned th = thread_of(r, 0);
	ck_assert(th >= 1 && th <= MP_THREADS);
	ck_assert_uint_eq(r->shm->threads[th - 1], r->ec[5]);
	check_alloc(r, 0, slot_at(r, 1), iseq[0], 0xaaaa, 0, 0, true, th);
	ck_assert_uint_eq(r->shm->count.no_frame, 0);
	ck_assert_uint_eq(r->shm->count.suspect, 0);
}
END_TEST

START_TEST(c_top)
{
	uint64_t iseq[2];
	struct room *r = furnished(iseq);

	push_frame(r, iseq[1], 0xbbbb);
	push_frame(r, iseq[0], 0xaaaa);
	push_frame(r, 0, 0xdead);
	push_frame(r, 0, 0xdead);
	alloc(r, slot_at(r, 1));
	check_alloc(r, 0, slot_at(r, 1), iseq[0], 0xaaaa, 0, 0, false, thread_of(r, 0));
}
END_TEST

/* A C frame whose iseq and pc are left over from before: only ep tells. */
START_TEST(stale_c_frame)
{
	uint64_t iseq[2];
	struct room *r = furnished(iseq);

	push_frame(r, iseq[1], 0xbbbb);
	push_frame(r, iseq[0], 0xaaaa);
	((struct frame_made *)r->ec[2])->ep = (uintptr_t)r->env_c;
	alloc(r, slot_at(r, 1));
	check_alloc(r, 0, slot_at(r, 1), iseq[1], 0xbbbb, 0, 0, false, thread_of(r, 0));
}
END_TEST

START_TEST(no_frame)
{
	uint64_t iseq[2];
	struct room *r = furnished(iseq);

	alloc(r, slot_at(r, 1)); /* cfp at the dummy */
	check_alloc(r, 0, slot_at(r, 1), 0, 0, 0, 0, false, thread_of(r, 0));
	push_frame(r, 0, 0); /* only C */
	alloc(r, slot_at(r, 1));
	check_alloc(r, 2, slot_at(r, 1), 0, 0, 0, 0, false, thread_of(r, 2));
	r->ec[2] = 0; /* none yet */
	alloc(r, slot_at(r, 1));
	check_alloc(r, 4, slot_at(r, 1), 0, 0, 0, 0, false, thread_of(r, 4));
	r->ec_now = NULL; /* a fresh native thread */
	alloc(r, slot_at(r, 1));
	check_alloc(r, 6, slot_at(r, 1), 0, 0, 0, 0, false, 0);
	ck_assert_uint_eq(r->shm->count.no_frame, 4);
}
END_TEST

/* A thread whose stack has been given back while its cfp still points there. */
START_TEST(no_vm_stack)
{
	uint64_t iseq[2];
	struct room *r = furnished(iseq);

	r->ec[2] = (uintptr_t)r->forbidden;
	r->ec[0] = r->ec[1] = 0;
	alloc(r, slot_at(r, 1));
	check_alloc(r, 0, slot_at(r, 1), 0, 0, 0, 0, false, thread_of(r, 0));
}
END_TEST

static _Thread_local uint64_t *ec_of_thread;

START_TEST(ec_in_thread_storage)
{
	uint64_t iseq[2], base;
	struct room *r = furnished(iseq);

	__asm__("mov %%fs:0,%0" : "=r"(base));
	ec_of_thread = r->ec;
	r->config->ec_global = 0;
	r->config->ec_tls = (int64_t)((uintptr_t)&ec_of_thread - base);
	push_frame(r, iseq[0], 0xaaaa);
	alloc(r, slot_at(r, 1));
	check_alloc(r, 0, slot_at(r, 1), iseq[0], 0xaaaa, 0, 0, true, thread_of(r, 0));
}
END_TEST

/* How the path of an iseq may be kept: loop. */
static uint64_t make_path(struct room *r, int how, const char *text)
{
	uint64_t str = how % 2 == 0 ? make_embedded(r, 20, text) : make_string(r, 20, text);
	static uint64_t items[2];

	if (how < 2)
		return str;
	r->heap[21] = (struct slot){.flags = T_ARRAY};
	if (how < 4) {
		r->heap[21].flags |= ARY_EMBED;
		r->heap[21].w[0] = str;
	} else {
		items[0] = str;
		r->heap[21].w[2] = (uintptr_t)items;
	}
	return slot_at(r, 21);
}

START_TEST(internal_file)
{
	uint64_t iseq[2], body[2][4];
	struct room *r = furnished(iseq);
	uint64_t kernel = make_iseq(r, 4, body[0], make_path(r, _i, internal_path));
	uint64_t other = make_iseq(r, 5, body[1], make_embedded(r, 22, "<internal:array>"));

	push_frame(r, iseq[1], 0xbbbb);
	push_frame(r, iseq[0], 0xaaaa);
	push_frame(r, 0, 0);
	push_frame(r, other, 0x0777);
	push_frame(r, kernel, 0x1111);
	alloc(r, slot_at(r, 1));
	check_alloc(r, 0, slot_at(r, 1), kernel, 0x1111, iseq[0], 0xaaaa, true, thread_of(r, 0));
	alloc(r, slot_at(r, 1)); /* from the cache */
	check_alloc(r, 2, slot_at(r, 1), kernel, 0x1111, iseq[0], 0xaaaa, true, thread_of(r, 2));
	pop_frames(r);
	push_frame(r, kernel, 0x1111); /* nobody outside */
	alloc(r, slot_at(r, 1));
	check_alloc(r, 4, slot_at(r, 1), kernel, 0x1111, 0, 0, true, thread_of(r, 4));
}
END_TEST

START_TEST(nearly_internal_file)
{
	static const char *const names[] = {"", "<", "<intern", "internal:x", "(eval)", " <internal:"};
	uint64_t iseq[2], body[4];
	struct room *r = furnished(iseq);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		memset(r->ctl->iseq_internal, 0, sizeof(r->ctl->iseq_internal));
		uint64_t it = make_iseq(r, 4, body, make_path(r, _i, names[i]));
		pop_frames(r);
		push_frame(r, iseq[0], 0xaaaa);
		push_frame(r, it, 0x1111);
		alloc(r, slot_at(r, 1));
		check_alloc(r, 2 * i, slot_at(r, 1), it, 0x1111, 0, 0, true, thread_of(r, 2 * i));
	}
}
END_TEST

/* A path object that is none: outside the heap, or of another type. Never followed. */
START_TEST(odd_path)
{
	uint64_t iseq[2], body[4];
	struct room *r = furnished(iseq);
	const uint64_t odd[] = {8, 4, 20, (uintptr_t)r->forbidden + 1, (uintptr_t)r->heap - 64,
				slot_at(r, 1), slot_at(r, 2)};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		memset(r->ctl->iseq_internal, 0, sizeof(r->ctl->iseq_internal));
		uint64_t it = make_iseq(r, 4, body, odd[i]);
		pop_frames(r);
		push_frame(r, it, 0x1111);
		alloc(r, slot_at(r, 1));
		check_alloc(r, 2 * i, slot_at(r, 1), it, 0x1111, 0, 0, true, thread_of(r, 2 * i));
	}
}
END_TEST

/* The address of a dead iseq means other code soon: freed, moved away, moved to. */
START_TEST(dead_iseq_is_forgotten)
{
	uint64_t iseq[2], body[4], to;
	struct room *r = furnished(iseq);
	uint64_t it = make_iseq(r, 4, body, make_embedded(r, 20, internal_path));

	push_frame(r, iseq[0], 0xaaaa);
	push_frame(r, it, 0x1111);
	alloc(r, slot_at(r, 1));
	check_alloc(r, 0, slot_at(r, 1), it, 0x1111, iseq[0], 0xaaaa, true, thread_of(r, 0));
	if (_i == 0) {
		agent(r, MP_EV_FREE, it, 0);
	} else if (_i == 1) {
		to = make_iseq(r, 6, body, make_embedded(r, 20, internal_path));
		agent(r, MP_EV_MOVE, it, to);
	} else {
		agent(r, MP_EV_MOVE, make_iseq(r, 6, body, 0), it);
	}
	make_iseq(r, 4, body, make_embedded(r, 20, "/new.rb"));
	alloc(r, slot_at(r, 1));
	check_alloc(r, 3, slot_at(r, 1), it, 0x1111, 0, 0, true, thread_of(r, 3));
}
END_TEST

START_TEST(free_and_move)
{
	uint64_t iseq[2];
	struct room *r = furnished(iseq);
	const uint64_t gc = 0x42ull << 48;

	r->heap[7] = (struct slot){.flags = 0x1111111122222222, .klass = 0xc2};
	agent(r, MP_EV_FREE, slot_at(r, 1), 0);
	agent(r, MP_EV_MOVE, slot_at(r, 1), slot_at(r, 7));
	ck_assert_uint_eq(r->shm->head, 2);
	ck_assert_uint_eq(r->ring[0].head, MP_KIND_FREE | 1 << 8 | gc);
	ck_assert_uint_eq(r->ring[0].w[0], slot_at(r, 1));
	ck_assert_uint_eq(r->ring[0].w[1], 0x9abcdef0);
	ck_assert_uint_eq(r->ring[0].w[2], 0xc1a55);
	ck_assert_uint_eq(r->ring[1].head, MP_KIND_MOVE | 1 << 8 | gc);
	ck_assert_uint_eq(r->ring[1].w[0], slot_at(r, 1));
	ck_assert_uint_eq(r->ring[1].w[1], slot_at(r, 7));
	ck_assert_uint_eq(r->ring[1].w[2], 0x22222222);
}
END_TEST

START_TEST(gc_count_in_records)
{
	uint64_t iseq[2];
	struct room *r = furnished(iseq);
	static const uint64_t counts[] = {0, 1, 0xffff, 0x10000, UINT64_MAX};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		r->gc_count = counts[i];
		alloc(r, slot_at(r, 1));
		ck_assert_uint_eq(MP_REC_GC(r->ring[2 * i].head), counts[i] & 0xffff);
	}
}
END_TEST

/* Numbers are small, each for one thread, the same every time; none when the table is full. */
START_TEST(thread_numbers)
{
	enum { THREADS = 700 };
	static uint16_t number[THREADS];
	bool taken[MP_THREADS + 1] = {false};
	uint64_t iseq[2];
	struct room *r = furnished(iseq);
	unsigned unknown = 0;

	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < THREADS; i++) {
			r->ec[5] = 0x7f0000000000 + i * 0x320;
			r->shm->tail = r->shm->head;
			alloc(r, slot_at(r, 1));
			unsigned n = thread_of(r, r->shm->head - 2);
			ck_assert_uint_le(n, MP_THREADS);
			if (round == 1) {
				ck_assert_uint_eq(n, number[i]);
				continue;
			}
			number[i] = (uint16_t)n;
			unknown += n == 0;
			ck_assert(n == 0 || !taken[n]);
			taken[n] = true;
			ck_assert(n == 0 || r->shm->threads[n - 1] == r->ec[5]);
		}
	}
	ck_assert_uint_lt(unknown, THREADS / 20);
	r->ec[5] = 0; /* no thread is no thread */
	r->shm->tail = r->shm->head;
	alloc(r, slot_at(r, 1));
	ck_assert_uint_eq(thread_of(r, r->shm->head - 2), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent");
	TCase *tc = tcase_create("agent");

	tcase_add_test(tc, ruby_top);
	tcase_add_test(tc, c_top);
	tcase_add_test(tc, stale_c_frame);
	tcase_add_test(tc, no_frame);
	tcase_add_test(tc, no_vm_stack);
	tcase_add_test(tc, ec_in_thread_storage);
	tcase_add_loop_test(tc, internal_file, 0, 6);
	tcase_add_loop_test(tc, nearly_internal_file, 0, 6);
	tcase_add_test(tc, odd_path);
	tcase_add_loop_test(tc, dead_iseq_is_forgotten, 0, 3);
	tcase_add_test(tc, free_and_move);
	tcase_add_test(tc, gc_count_in_records);
	tcase_add_test(tc, thread_numbers);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
