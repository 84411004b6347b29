#include "session/attach_priv.h"

#include "patch/journal.h"
#include "session/quiet.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STALE_NS = 1000000000 }; /* a full ring that nobody reads for so long: the agent stops */

/* -- start ----------------------------------------------------------------------------------- */

static int choose_ring(struct attach *a, struct err *e)
{
	size_t want = a->opts.ring_bytes ? a->opts.ring_bytes : ATTACH_RING_DEFAULT, n;

	if (want < ATTACH_RING_MIN || want > ATTACH_RING_MAX)
		return err_set(e, ERR_USAGE, "a ring of %zu bytes: from %d to %d", want,
			       ATTACH_RING_MIN, ATTACH_RING_MAX);
	for (n = ATTACH_RING_MIN; n < want; n *= 2)
		;
	a->opts.ring_bytes = n;
	return 0;
}

/* How long a tick is: over the analysis, which takes long enough for a good figure. */
struct clock_mark {
	uint64_t ns, ticks;
};

static struct clock_mark clock_mark(const struct arch *arch)
{
	return (struct clock_mark){tracee_now_ns(), arch->ticks()};
}

static double tick_length(const struct arch *arch, struct clock_mark since)
{
	struct clock_mark now = clock_mark(arch);

	if (now.ticks <= since.ticks || now.ns <= since.ns)
		return 1.0;
	return (double)(now.ns - since.ns) / (double)(now.ticks - since.ticks);
}

/* All threads stand, nothing is written yet: the figures to start from. */
static int at_start(void *ctx, const struct tracee *t, struct err *e)
{
	struct attach *a = ctx;

	(void)t;
	return ruby_counters_read(&a->target.ruby, &a->begin, e);
}

static int plant_agent(struct attach *a, struct err *e)
{
	struct plant_req req;
	struct quiet q;

	if (target_plant_req(&a->target, &req, e) == -1)
		return -1;
	req.ring_bytes = a->opts.ring_bytes;
	req.config.stale_tsc = (uint64_t)(STALE_NS / a->tick_ns);
	req.at_stop = at_start;
	req.ctx = a;
	quiet_begin(&q);
	int ret = plant(&req, &a->planted, e);
	a->start_ns = tracee_now_ns();
	quiet_end(&q);
	if (ret == -1 && e->code == ERR_CHANGED)
		e->code = ERR_BUSY;
	return ret;
}

static int start_reading(struct attach *a, struct err *e)
{
	struct track_source src;
	struct track_opts o = {
	    .keep_internal = a->opts.keep_internal,
	    .by_thread = a->opts.by_thread,
	    .gc_count = a->begin.gc_count,
	};

	if (ring_reader_init(&a->ring, a->planted.shm.local, a->planted.shm.len, MP_SHM_RING_OFF,
			     a->opts.ring_bytes / sizeof(struct mp_unit), e) == -1)
		return -1;
	a->track_ruby = (struct track_ruby){&a->target.ruby, &a->ring};
	track_source_ruby(&a->track_ruby, &src);
	return track_create(&src, &o, &a->track, e);
}

static int check_all(struct attach *a, struct err *e)
{
	struct target *t = &a->target;
	struct clock_mark mark = clock_mark(t->arch);

	if (target_check_unpatched(t, e) == -1 || target_find_ruby(t, e) == -1 ||
	    target_check_sites(t, e) == -1 || target_probe(t, e) == -1)
		return -1;
	a->tick_ns = tick_length(t->arch, mark);
	return 0;
}

int attach_start(pid_t pid, const struct attach_opts *o, struct attach **ret, struct err *e)
{
	struct attach *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return err_set(e, ERR_NOMEM, "attaching");
	a->opts = *o;
	a->planted.shm.remote_fd = -1;
	if (choose_ring(a, e) == -1 || target_open(pid, &a->target, e) == -1) {
		free(a);
		return -1;
	}
	if (check_all(a, e) == -1 || plant_agent(a, e) == -1) {
		/* A target that died under our hands was never profiled, whatever step saw it. */
		if (e->code != ERR_DIRTY && !target_process_lives(pid, a->target.starttime))
			err_set(e, ERR_GONE, "%d: exited before it could be profiled", pid);
		target_close(&a->target);
		free(a);
		return -1;
	}
	/* Patched: from here on every way out goes through attach_stop. */
	if (start_reading(a, e) == -1) {
		struct err why;

		if (attach_stop(a, &why) == -1)
			*e = why;
		attach_destroy(a);
		return -1;
	}
	shm_populate(&a->planted.shm);
	text_destroy(a->target.text); /* tens of megabytes, and the plan is made */
	a->target.text = NULL;
	attach_run_init(a);
	*ret = a;
	return 0;
}

/* -- stop ------------------------------------------------------------------------------------ */

/* What is left in the ring when nobody writes to it any more. */
static void read_ring_out(struct attach *a)
{
	do {
		attach_drain(a, UINT64_MAX);
	} while (ring_skip_abandoned(&a->ring));
	track_idle(a->track, a->ring.tail);
}

/* All threads stand, none of them in our code: every event so far is recorded, or counted as
 * dropped, and the VM has counted the same ones. */
static int at_end(void *ctx, const struct tracee *t, struct err *e)
{
	struct attach *a = ctx;

	(void)t;
	if (ruby_counters_read(&a->target.ruby, &a->end, e) == -1)
		return -1;
	a->end_known = true;
	a->stop_ns = tracee_now_ns();
	return 0;
}

/* The text is the file's again and the target runs: nothing more can come. Empty the ring and give
 * its pages back, so that unmapping it costs the target's thread nothing. */
static void at_leave(void *ctx)
{
	struct attach *a = ctx;

	if (a->track != NULL)
		read_ring_out(a);
	shm_discard(&a->planted.shm, MP_SHM_RING_OFF);
}

static int undo_from_journal(struct attach *a, struct err *e)
{
	struct target *t = &a->target;
	struct journal j;

	if (journal_read(&t->mem, a->planted.stub, &j, e) == -1)
		return -1;
	struct undo_req req = {
	    .pid = t->pid,
	    .arch = t->arch,
	    .mem = &t->mem,
	    .mem_fd = t->mem_fd,
	    .suspend_seccomp = t->suspend_seccomp,
	    .journal = &j,
	    .at_stop = at_end,
	    .between = at_leave,
	    .ctx = a,
	};
	int ret = undo(&req, &a->undone, e);
	journal_deinit(&j);
	return ret;
}

/* From outside, with nothing stopped: is the text the file's, and is nothing of ours mapped? */
static int verify(struct attach *a, struct err *e)
{
	struct target *t = &a->target;
	struct maps maps;
	struct image_range text;
	raddr_t journal;
	struct err why;
	int ret = 0;

	if (maps_read(t->pid, t->pid, &maps, e) == -1 || image_text(t->image, &text, e) == -1)
		return -1;
	if (journal_find(&t->mem, &maps, &journal, &why) == 0)
		ret = err_set(e, ERR_DIRTY, "%d: still holds a stub page of memprof", t->pid);
	for (size_t i = 0; i < maps.n && ret == 0; i++) {
		if (strstr(maps.v[i].path, "/memfd:" SHM_NAME " ") != NULL)
			ret = err_set(e, ERR_DIRTY, "%d: still maps memprof's ring", t->pid);
	}
	maps_deinit(&maps);
	for (uint64_t at = text.addr; at < text.addr + text.size && ret == 0;) {
		uint8_t seen[65536];
		size_t n = text.addr + text.size - at < sizeof(seen) ? text.addr + text.size - at
								     : sizeof(seen);
		const void *file = image_bytes(t->image, at, n);

		if (file == NULL || mem_read(&t->mem, t->bias + at, seen, n, e) == -1)
			return -1;
		if (memcmp(seen, file, n) != 0)
			ret = err_set(e, ERR_DIRTY, "%d: its code still differs from the file's",
				      t->pid);
		at += n;
	}
	return ret == 0 ? 0 : err_remedy(e, "memprof detach %d", t->pid);
}

int attach_stop(struct attach *a, struct err *e)
{
	struct err why = {0};
	struct quiet q;
	int ret = 0;

	if (a->stopped)
		return 0;
	a->stopped = true;
	if (!a->gone) {
		if (a->track != NULL)
			track_refresh(a->track); /* names as late as the target surely has them */
		quiet_begin(&q);
		ret = undo_from_journal(a, &why);
		quiet_end(&q);
		/* A target that exited or became another program holds nothing of ours. */
		if (ret == -1 && !attach_target_is_there(a)) {
			a->gone = true;
			ret = 0;
		}
	}
	if (!a->end_known)
		a->stop_ns = tracee_now_ns();
	if (a->track != NULL) {
		read_ring_out(a);
		attach_rewatch(a);
		track_finish(a->track, a->end_known ? a->end.gc_count : 0,
			     a->end_known && a->end.gc_running);
	}
	if (ret == 0 && !a->gone) {
		ret = verify(a, &why);
		a->clean = ret == 0;
		if (ret == -1 && !target_is_alive(&a->target))
			ret = 0; /* it exited after the detach */
	}
	if (ret == -1) {
		*e = why;
		e->code = ERR_DIRTY;
		if (e->remedy[0] == 0)
			err_remedy(e, "memprof detach %d", a->target.pid);
	}
	return ret;
}

void attach_destroy(struct attach *a)
{
	struct err ignored;

	if (a == NULL)
		return;
	attach_stop(a, &ignored);
	track_destroy(a->track);
	shm_deinit(&a->planted.shm);
	target_close(&a->target);
	free(a);
}
