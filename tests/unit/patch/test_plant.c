/* Hooks in, hooks out, under threads that run through them all the time. */
#include "suite.h"
#include "plant_room.h"

enum { ROUNDS = 25 };

struct job {
	void (*run)(atomic_int *, const void *, struct counter *);
	struct counter *c;
};

static void *run_job(void *arg)
{
	const struct job *j = arg;

	j->run(&j->c->quit, room_object, j->c);
	return NULL;
}

static void body_one_thread(struct victim *v)
{
	struct page *p = v->page;

	victim_say(v, 'r');
	run_one(&p->c[0].quit, room_object, &p->c[0]);
	victim_say(v, 'e');
}

/* All its time in the middle of a window: the one thread there is, so it makes our calls, too. */
static void body_in_window(struct victim *v)
{
	struct page *p = v->page;

	victim_say(v, 'r');
	run_two(&p->c[0].quit, room_object, &p->c[0]);
	victim_say(v, 'e');
}

static void body_threads(struct victim *v)
{
	struct page *p = v->page;
	struct job job[COUNTERS];
	pthread_t th[COUNTERS];

	for (int i = 0; i < COUNTERS; i++) {
		job[i] = (struct job){i % 2 ? run_two : run_one, &p->c[i]};
		pthread_create(&th[i], NULL, run_job, &job[i]);
		while (counts(&p->c[i]) == 0)
			usleep(100);
	}
	victim_say(v, 'r');
	for (int i = 0; i < COUNTERS; i++)
		pthread_join(th[i], NULL);
	victim_say(v, 'e');
}

static void body_locked(struct victim *v)
{
	if (mlockall(MCL_CURRENT) == -1)
		_exit(4);
	body_threads(v);
}

/* -- rounds ---------------------------------------------------------------------------------- */

struct figures {
	uint64_t most_pause, most_hold, undo_pause, undo_hold;
	unsigned retries;
};

static void higher(uint64_t *most, uint64_t n)
{
	if (n > *most)
		*most = n;
}

static void one_round(struct room *r, int threads, struct figures *f)
{
	const struct mp_shm *shm;
	struct undo_result done;
	struct err e = {0};

	OK(plant(&r->req, &r->planted, &e));
	shm = r->planted.shm.local;
	ck_assert(EVENTUALLY(__atomic_load_n(&shm->head, __ATOMIC_RELAXED) > 1000));
	ck_assert_msg(room_counts_on(r, threads), "a thread hangs, or died");
	OK(room_undo(r, &done, &e));
	ck_assert_uint_eq(done.words, 2);
	ck_assert_uint_eq(done.mappings, 3);
	room_is_exact(r, &done, threads);
	victim_look(&r->v);
	room_is_clean(r);
	shm_deinit(&r->planted.shm);
	higher(&f->most_pause, r->planted.pause_us);
	higher(&f->most_hold, r->planted.hold_us);
	higher(&f->undo_pause, done.pause_us);
	higher(&f->undo_hold, done.hold_us);
	f->retries += done.retries;
}

static void rounds(void (*body)(struct victim *), int threads, const char *name)
{
	struct figures f = {0};
	struct room r;

	room_open(&r, body);
	for (int i = 0; i < ROUNDS; i++)
		one_round(&r, threads, &f);
	room_close(&r, threads);
	printf("%s, %d times, worst in us: plant pause %" PRIu64 " hold %" PRIu64
	       ", undo pause %" PRIu64 " hold %" PRIu64 ", %u retries\n",
	       name, ROUNDS, f.most_pause, f.most_hold, f.undo_pause, f.undo_hold, f.retries);
}

START_TEST(one_thread)
{
	rounds(body_one_thread, 1, "one thread");
}
END_TEST

START_TEST(four_threads)
{
	rounds(body_threads, COUNTERS, "four threads on the sites");
}
END_TEST

START_TEST(worker_in_a_window)
{
	rounds(body_in_window, 1, "a thread in a window");
}
END_TEST

/* Memory locked by mlockall: private copies can't be dropped there, but all the rest can be undone. */
START_TEST(locked_memory)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;

	room_open(&r, body_locked);
	OK(plant(&r.req, &r.planted, &e));
	ck_assert(room_counts_on(&r, COUNTERS));
	OK(room_undo(&r, &done, &e));
	ck_assert_uint_eq(done.mappings, 3);
	char *maps = slurp_proc(r.v.pid, "maps");
	ck_assert_msg(strcmp(maps, r.maps_before) == 0, "a mapping is left");
	free(maps);
	room_close(&r, COUNTERS);
}
END_TEST

/* -- group stop ------------------------------------------------------------------------------ */

START_TEST(stopped_target)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;

	room_open(&r, body_threads);
	kill(r.v.pid, SIGSTOP);
	ck_assert(EVENTUALLY(thread_state_of(r.v.pid, r.v.pid) == 'T'));
	OK(plant(&r.req, &r.planted, &e));
	ck_assert(EVENTUALLY(thread_state_of(r.v.pid, r.v.pid) == 'T'));
	OK(room_undo(&r, &done, &e));
	ck_assert(EVENTUALLY(thread_state_of(r.v.pid, r.v.pid) == 'T'));
	victim_look(&r.v);
	room_is_clean(&r);
	kill(r.v.pid, SIGCONT);
	room_close(&r, COUNTERS);
}
END_TEST

/* -- twice, and not at all ------------------------------------------------------------------- */

static struct journal journal_of(const struct room *r)
{
	struct journal j;
	struct err e = {0};

	OK(journal_read(&r->v.mem, r->planted.stub, &j, &e));
	return j;
}

START_TEST(undo_twice)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;

	room_open(&r, body_threads);
	OK(plant(&r.req, &r.planted, &e));
	struct journal j = journal_of(&r);
	const struct undo_req req = {.pid = r.v.pid, .arch = arch_native(), .mem = &r.v.mem,
				     .mem_fd = r.v.mem_fd, .journal = &j};
	OK(undo(&req, &done, &e));
	ck_assert_uint_eq(done.words, 2);
	OK(undo(&req, &done, &e));
	ck_assert_uint_eq(done.words, 0);
	ck_assert_uint_eq(done.mappings, 0);
	victim_look(&r.v);
	room_is_clean(&r);
	journal_deinit(&j);
	room_close(&r, COUNTERS);
}
END_TEST

static int refuse(void *ctx, const struct tracee *t, struct err *e)
{
	(void)ctx, (void)t;
	return err_set(e, ERR_UNSUPPORTED, "no, thanks");
}

START_TEST(refused_at_the_last_moment)
{
	struct err e = {0};
	struct room r;

	room_open(&r, body_threads);
	r.req.at_stop = refuse;
	ck_assert_int_eq(plant(&r.req, &r.planted, &e), -1);
	ck_assert_int_eq(e.code, ERR_UNSUPPORTED);
	room_is_clean(&r);
	room_close(&r, COUNTERS);
}
END_TEST

/* Somebody else has been at a site since the file was read: told, and nothing of ours is left. */
START_TEST(changed_text)
{
	static const uint8_t nop3[] = {0x66, 0x66, 0x90};
	struct err e = {0};
	struct room r;

	room_open(&r, body_threads);
	ck_assert_int_eq(pwrite(r.v.mem_fd, nop3, 3, (off_t)(uintptr_t)site_one + 5), 3);
	ck_assert_int_eq(plant(&r.req, &r.planted, &e), -1);
	char *maps = slurp_proc(r.v.pid, "maps");
	ck_assert_msg(strcmp(maps, r.maps_before) == 0, "a mapping is left");
	free(maps);
	ck_assert_msg(e.code == ERR_CHANGED, "%d %s", (int)e.code, e.msg);
	room_close(&r, COUNTERS);
}
END_TEST

START_TEST(target_dies)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;

	room_open(&r, body_threads);
	OK(plant(&r.req, &r.planted, &e));
	struct journal j = journal_of(&r);
	kill(r.v.pid, SIGKILL);
	const struct undo_req req = {.pid = r.v.pid, .arch = arch_native(), .mem = &r.v.mem,
				     .mem_fd = r.v.mem_fd, .journal = &j};
	ck_assert_int_eq(undo(&req, &done, &e), -1);
	ck_assert_msg(e.code == ERR_GONE, "%d %s", (int)e.code, e.msg);
	ck_assert_int_eq(plant(&r.req, &r.planted, &e), -1);
	ck_assert_msg(e.code == ERR_GONE, "%d %s", (int)e.code, e.msg);
	journal_deinit(&j);
	room_free(&r);
}
END_TEST

SUITE_MAIN("plant", one_thread, four_threads, worker_in_a_window, locked_memory, stopped_target,
	   undo_twice, refused_at_the_last_moment, changed_text, target_dies)
