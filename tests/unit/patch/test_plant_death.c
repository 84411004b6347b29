/* The planting process dies; another one, which knows nothing but the victim's memory, cleans up. */
#include "suite.h"
#include "plant_room.h"
#include "../proc/killed.h"

enum { POINTS = 60 };

static void body(struct victim *v)
{
	struct page *p = v->page;

	victim_say(v, 'r');
	run_one(&p->c[0].quit, room_object, &p->c[0]);
	victim_say(v, 'e');
}

static void plant_only(void *arg)
{
	struct room *r = arg;
	struct err e;

	if (plant(&r->req, &r->planted, &e) == -1)
		_exit(1);
}

/* All of it; the undo from the journal, as a normal detach does it. */
static void plant_and_undo(void *arg)
{
	struct room *r = arg;
	struct undo_result done;
	struct err e;

	plant_only(arg);
	if (room_undo(r, &done, &e) != 0)
		_exit(2);
}

/* What the ring's header says was meant to be mapped: enough when there is no journal yet, or none
 * any more. A memfd that was never mapped is found by undo itself. */
static void intents(struct room *r, struct journal *j)
{
	struct mp_shm head;
	struct err e;

	*j = (struct journal){0};
	for (size_t i = 0; i < r->v.maps.n; i++) {
		const struct map *m = &r->v.maps.v[i];
		if (strncmp(m->path, "/memfd:" SHM_NAME, strlen("/memfd:" SHM_NAME)) != 0)
			continue;
		j->shm = m->start;
		j->shm_len = m->end - m->start;
		if (mem_read(&r->v.mem, m->start, &head, sizeof(head), &e) == 0 &&
		    head.magic == MP_SHM_MAGIC) {
			j->stub = head.stub_addr;
			j->stub_len = head.stub_len;
			j->ctl = head.ctl_addr;
			j->ctl_len = head.ctl_len;
		}
	}
}

static int recover(struct room *r, struct undo_result *done, struct err *e)
{
	struct journal j;
	int ret = room_undo(r, done, e);

	if (ret == 0 || (ret == -1 && e->code != ERR_BADDATA))
		return ret;
	intents(r, &j);
	const struct undo_req req = {.pid = r->v.pid, .arch = arch_native(), .mem = &r->v.mem,
				     .mem_fd = r->v.mem_fd, .journal = &j};
	return undo(&req, done, e);
}

START_TEST(killed_when_planted)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;

	room_open(&r, body);
	killed_at(0, plant_only, &r); /* 0: never; it just ends without a word */
	ck_assert(room_counts_on(&r, 1));
	OK(recover(&r, &done, &e));
	ck_assert_uint_eq(done.words, 2);
	ck_assert_uint_eq(done.mappings, 3);
	victim_look(&r.v);
	room_is_clean(&r);
	room_close(&r, 1);
}
END_TEST

/* Loop: at points spread evenly over everything that plant and undo do. */
START_TEST(killed_anywhere)
{
	struct undo_result done;
	struct err e = {0};
	struct room r;
	unsigned words = 0, mappings = 0, tried = 0;

	room_open(&r, body);
	unsigned all = killed_at(0, plant_and_undo, &r);
	victim_look(&r.v);
	room_is_clean(&r);
	for (unsigned i = 0; i < POINTS; i++, tried++) {
		unsigned point = 1 + i * (all - 1) / (POINTS - 1);
		killed_at(point, plant_and_undo, &r);
		ck_assert_msg(room_counts_on(&r, 1), "killed at %u of %u: harmed", point, all);
		ck_assert_msg(recover(&r, &done, &e) == 0, "killed at %u of %u: %d %s", point, all,
			      (int)e.code, e.msg);
		ck_assert_msg(room_counts_on(&r, 1), "recovered from %u of %u: harmed", point, all);
		words += done.words != 0;
		mappings += done.mappings != 0;
		victim_look(&r.v);
		room_is_clean(&r);
	}
	printf("killed at %u of %u stops of plant and undo: %u needed text, %u mappings undone\n",
	       tried, all, words, mappings);
	room_close(&r, 1);
}
END_TEST

SUITE_MAIN("plant_death", killed_when_planted, killed_anywhere)
