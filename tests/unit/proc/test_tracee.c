/* Stopping threads and letting them go, in every weather. */
#include "suite.h"
#include "victim.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

struct page {
	atomic_int quit, vfork_child;
	atomic_ulong births, rounds[4];
	atomic_ulong longest_ns[4]; /* that a counter stood still */
};

static void begin(struct tracee *t, const struct victim *v)
{
	tracee_init(t, v->pid, arch_native());
}

static uint64_t ms_since(uint64_t ns)
{
	return (tracee_now_ns() - ns) / 1000000;
}

struct counter {
	struct page *p;
	int i;
};

static void *count(void *arg)
{
	const struct counter *c = arg;
	uint64_t last = tracee_now_ns(), now;

	while (!c->p->quit) {
		usleep(500);
		now = tracee_now_ns();
		if (now - last > c->p->longest_ns[c->i])
			c->p->longest_ns[c->i] = now - last;
		last = now;
		c->p->rounds[c->i]++;
	}
	return NULL;
}

/* Wait for all counters to move on; false when one does not. */
static bool all_move(struct page *p, int n)
{
	unsigned long before[4];

	for (int i = 0; i < n; i++)
		before[i] = p->rounds[i];
	for (int i = 0; i < n; i++)
		if (!EVENTUALLY(p->rounds[i] > before[i] + 1))
			return false;
	return true;
}

static void body_counters(struct victim *v)
{
	struct counter c[3];
	pthread_t th[3];

	for (int i = 0; i < 3; i++) {
		c[i] = (struct counter){v->page, i};
		pthread_create(&th[i], NULL, count, &c[i]);
	}
	victim_say(v, 'r');
	for (int i = 0; i < 3; i++)
		pthread_join(th[i], NULL);
	victim_say(v, 'e');
}

static void end_normally(struct victim *v)
{
	struct page *p = v->page;

	p->quit = 1;
	ck_assert_int_eq(victim_listen(v), 'e');
	victim_end(v);
}

/* -- threads that make threads --------------------------------------------------------------- */

static void *short_life(void *arg)
{
	((struct page *)arg)->births++;
	return NULL;
}

static void *create(void *arg)
{
	struct page *p = ((struct counter *)arg)->p;
	pthread_t th;

	while (!p->quit)
		if (pthread_create(&th, NULL, short_life, p) == 0)
			pthread_join(th, NULL);
	return NULL;
}

static void body_creators(struct victim *v)
{
	struct counter c = {v->page, 0};
	pthread_t th[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&th[i], NULL, create, &c);
	while (c.p->births < 3)
		usleep(100);
	victim_say(v, 'r');
	for (int i = 0; i < 3; i++)
		pthread_join(th[i], NULL);
	victim_say(v, 'e');
}

/* Threads of pid that are neither in a stop of ours nor dying. */
static unsigned still_running(pid_t pid)
{
	char path[32];
	struct dirent *d;
	unsigned n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((d = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);
		char c = tid > 0 ? thread_state_of(pid, tid) : 0;
		n += c != 0 && c != 't' && c != 'Z' && c != 'X';
	}
	closedir(dir);
	return n;
}

START_TEST(creators_stand)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};
	uint64_t most = 0;

	victim_start(&v, body_creators, sizeof(struct page));
	struct page *p = v.page;
	for (int i = 0; i < 200; i++) {
		uint64_t start = tracee_now_ns();
		begin(&t, &v);
		OK(tracee_stop_all(&t, 1000, &e));
		unsigned long births = p->births;
		ck_assert_uint_ge(t.n, 4);
		ck_assert_uint_eq(still_running(v.pid), 0);
		ck_assert_uint_eq(p->births, births);
		tracee_deinit(&t);
		most = tracee_now_ns() - start > most ? tracee_now_ns() - start : most;
		ck_assert(EVENTUALLY(p->births > births + 3));
	}
	printf("200 stops under 3 thread creators, longest %.1f ms\n", (double)most / 1e6);
	end_normally(&v);
}
END_TEST

/* -- stop signals ---------------------------------------------------------------------------- */

START_TEST(stopped_stays_stopped)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};

	victim_start(&v, body_counters, sizeof(struct page));
	kill(v.pid, SIGSTOP);
	ck_assert(EVENTUALLY(thread_state_of(v.pid, v.pid) == 'T'));
	for (int i = 0; i < 20; i++) {
		begin(&t, &v);
		OK(tracee_stop_all(&t, 1000, &e));
		ck_assert_uint_eq(t.n, 4);
		tracee_deinit(&t);
		ck_assert(EVENTUALLY(thread_state_of(v.pid, v.pid) == 'T'));
	}
	kill(v.pid, SIGCONT);
	ck_assert(all_move(v.page, 3));
	end_normally(&v);
}
END_TEST

START_TEST(stop_signal_while_held)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};

	victim_start(&v, body_counters, sizeof(struct page));
	for (int i = 0; i < 20; i++) {
		begin(&t, &v);
		OK(tracee_stop_all(&t, 1000, &e));
		kill(v.pid, SIGSTOP);
		tracee_deinit(&t);
		ck_assert_msg(EVENTUALLY(thread_state_of(v.pid, v.pid) == 'T'), "round %d", i);
		kill(v.pid, SIGCONT);
		ck_assert(all_move(v.page, 3));
	}
	end_normally(&v);
}
END_TEST

/* -- a thread that can't stop ---------------------------------------------------------------- */

enum { VFORK_MS = 700 };

static void *vfork_slowly(void *arg)
{
	struct page *p = ((struct counter *)arg)->p;
	pid_t pid = vfork();

	if (pid == 0) {
		p->vfork_child = 1;
		syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = VFORK_MS * 1000000}, NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	p->vfork_child = 2;
	return NULL;
}

/* The vforking thread has counters before and behind it in the task list. */
static void body_vfork(struct victim *v)
{
	struct counter c[4];
	pthread_t th[4], slow;

	for (int i = 0; i < 4; i++) {
		c[i] = (struct counter){v->page, i};
		if (i == 1)
			pthread_create(&slow, NULL, vfork_slowly, &c[0]);
		pthread_create(&th[i], NULL, count, &c[i]);
	}
	while (c[0].p->vfork_child == 0)
		usleep(100);
	victim_say(v, 'r');
	for (int i = 0; i < 4; i++)
		pthread_join(th[i], NULL);
	pthread_join(slow, NULL);
	victim_say(v, 'e');
}

START_TEST(vfork_is_not_waited_for)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};

	victim_start(&v, body_vfork, sizeof(struct page));
	struct page *p = v.page;
	uint64_t start = tracee_now_ns();
	begin(&t, &v);
	ck_assert_int_eq(tracee_stop_all(&t, 50, &e), -1);
	ck_assert_int_eq(e.code, ERR_TIMEOUT);
	ck_assert_uint_lt(ms_since(start), 250);
	ck_assert_uint_le(t.n, 1); /* all but the one that would not stop run again */
	tracee_deinit(&t);
	ck_assert(EVENTUALLY(p->vfork_child == 2));
	for (int i = 0; i < 4; i++)
		ck_assert_msg(p->longest_ns[i] < 400000000, "counter %d stood still for %lu ms", i,
			      p->longest_ns[i] / 1000000);
	end_normally(&v);
}
END_TEST

/* The same when only letting go is looked at: nobody waits for the slow one with others in hand. */
START_TEST(vfork_holds_up_nobody)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};

	victim_start(&v, body_vfork, sizeof(struct page));
	struct page *p = v.page;
	begin(&t, &v);
	ck_assert_int_eq(tracee_stop_all(&t, 50, &e), -1);
	tracee_deinit(&t);
	ck_assert(EVENTUALLY(p->vfork_child == 2));
	for (int i = 0; i < 4; i++)
		ck_assert_msg(p->longest_ns[i] < 400000000, "counter %d stood still for %lu ms", i,
			      p->longest_ns[i] / 1000000);
	end_normally(&v);
}
END_TEST

/* -- many threads ---------------------------------------------------------------------------- */

enum { MANY = 1500 };

static void *wait_for_quit(void *arg)
{
	struct page *p = arg;

	while (!p->quit)
		usleep(200000);
	return NULL;
}

static void body_many(struct victim *v)
{
	pthread_t th;
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (int i = 0; i < MANY; i++)
		if (pthread_create(&th, &small, wait_for_quit, v->page) != 0)
			_exit(3);
	victim_say(v, 'r');
	wait_for_quit(v->page);
	victim_say(v, 'e');
}

START_TEST(budget_is_kept)
{
	struct victim v;
	struct tracee t;
	struct err e = {0};

	victim_start(&v, body_many, sizeof(struct page));
	uint64_t start = tracee_now_ns();
	begin(&t, &v);
	OK(tracee_stop_all(&t, 5000, &e));
	printf("%d threads stopped in %" PRIu64 " ms", MANY + 1, ms_since(start));
	start = tracee_now_ns();
	tracee_deinit(&t);
	printf(", released in %" PRIu64 " ms\n", ms_since(start));
	start = tracee_now_ns();
	begin(&t, &v);
	int ret = tracee_stop_all(&t, 5, &e);
	uint64_t took = ms_since(start);
	tracee_deinit(&t);
	ck_assert_msg(ret == -1 || took <= 15, "a budget of 5 ms, and it took %" PRIu64, took);
	end_normally(&v);
}
END_TEST

SUITE_MAIN("tracee", creators_stand, stopped_stays_stopped, stop_signal_while_held,
	   vfork_is_not_waited_for, vfork_holds_up_nobody, budget_is_kept)
