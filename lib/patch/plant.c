#include "patch/plant.h"

#include "patch/safepoint.h"
#include "patch/stub.h"
#include "proc/poke.h"
#include "proc/procfs.h"
#include "proc/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	STOP_BUDGET_MS = 50,
	PLACE_TRIES = 5, /* the target may map something where we wanted to */
	RETRY_MIN_NS = 500000,
	RETRY_MAX_NS = 20000000,
	SAFE_TRIES = 60, /* a thread may stand in the way for a while, or not stop in time */
};

/* One attempt, from the first held thread to the release of the last. */
struct attempt {
	const struct plant_req *req;
	struct tracee t;
	struct maps maps;
	struct arch_gadgets gadgets;
	struct rcall rc;
	struct stub stub;
	struct planted *out;
	int pagemap_fd;
	bool mapped_shm, mapped_ctl, mapped_stub;
	uint64_t held_ns;
};

/* Half a millisecond at first, then longer. */
static void pause_between_tries(unsigned tries)
{
	long ns = (long)RETRY_MIN_NS << (tries < 6 ? tries : 6);

	nanosleep(&(struct timespec){.tv_nsec = ns < RETRY_MAX_NS ? ns : RETRY_MAX_NS}, NULL);
}

/* -- one thread held ------------------------------------------------------------------------- */

static void write_identity(const struct attempt *a, struct mp_shm *shm)
{
	const struct plant_req *r = a->req;

	shm->abi = MP_ABI_VERSION;
	shm->pid = (uint32_t)r->pid;
	shm->starttime = r->starttime;
	shm->owner_pid = (uint32_t)r->owner;
	shm->owner_starttime = r->owner_starttime;
	shm->stub_addr = a->stub.at;
	shm->stub_len = a->stub.len;
	shm->ctl_addr = a->stub.ctl;
	shm->ctl_len = a->stub.journal.ctl_len;
	shm->shm_addr = a->stub.shm;
	shm->shm_len = a->stub.shm_len;
	shm->ring = (struct mp_region){MP_SHM_RING_OFF, r->ring_bytes};
	__atomic_store_n(&shm->heartbeat, tracee_now_ns(), __ATOMIC_RELAXED);
	__atomic_store_n(&shm->magic, MP_SHM_MAGIC, __ATOMIC_RELEASE);
}

static int map_all(struct attempt *a, struct err *e)
{
	struct stub *s = &a->stub;
	const uint64_t ctl_len = s->journal.ctl_len;

	/* The shared memory's header says what will be mapped where before any of it is. */
	if (shm_create(&a->rc, s->shm_len, &a->out->shm, e) == -1)
		return -1;
	write_identity(a, a->out->shm.local);
	if (region_map(&a->rc, s->shm, s->shm_len, PROT_READ | PROT_WRITE, MAP_SHARED,
		       a->out->shm.remote_fd, e) == -1)
		return -1;
	a->mapped_shm = true;
	if (shm_keep_from_children(&a->rc, s->shm, s->shm_len, e) == -1 ||
	    shm_close_remote(&a->rc, &a->out->shm, e) == -1 ||
	    region_map(&a->rc, s->ctl, ctl_len, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, e) == -1)
		return -1;
	a->mapped_ctl = true;
	if (region_wipe_on_fork(&a->rc, s->ctl, ctl_len, e) == -1 ||
	    region_map(&a->rc, s->at, s->len, PROT_READ | PROT_EXEC, MAP_PRIVATE, -1, e) == -1)
		return -1;
	a->mapped_stub = true;
	return 0;
}

/* Best effort, backwards; what stays behind is told. */
static void unmap_all(struct attempt *a, struct err *e)
{
	struct err why = {0};
	int left = 0;

	if (a->mapped_stub)
		left |= region_unmap(&a->rc, a->stub.at, a->stub.len, &why);
	if (a->mapped_ctl)
		left |= region_unmap(&a->rc, a->stub.ctl, a->stub.journal.ctl_len, &why);
	if (a->mapped_shm)
		left |= region_unmap(&a->rc, a->stub.shm, a->stub.shm_len, &why);
	if (a->out->shm.remote_fd != -1)
		left |= shm_close_remote(&a->rc, &a->out->shm, &why);
	if (left != 0 && (why.code != ERR_GONE || procfs_lives(a->req->pid)))
		err_set(e, ERR_DIRTY, "a mapping was left behind in the target: %s", why.msg);
	else if (left != 0)
		*e = why;
}

/* Everybody runs; one thread is held once more, to take away what was mapped. */
static void unmap_again(struct attempt *a, struct err *e)
{
	struct err why;
	uint64_t since;

	if (!a->mapped_shm && a->out->shm.remote_fd == -1)
		return;
	if (rcall_hold(&a->rc, &a->t, a->req->mem_fd, &a->gadgets, &a->maps, &since, &why) == -1) {
		if (procfs_lives(a->req->pid))
			err_set(e, ERR_DIRTY, "mappings were left behind in the target: %s",
				why.msg);
		return;
	}
	unmap_all(a, e);
	if (rcall_end(&a->rc, &why) == -1 && procfs_lives(a->req->pid))
		*e = why;
	tracee_release_all(&a->t);
}

/* Runs of bytes that are not zero; a fresh mapping is zero already. */
static int write_stub(struct attempt *a, struct err *e)
{
	const struct stub *s = &a->stub;
	static const uint8_t zero[8];
	uint8_t *seen;
	int ret = -1;

	if (s->len == 0)
		return err_set(e, ERR_FAILED, "there is no stub page to write");
	for (size_t i = 0; i < s->len; i += 8) {
		if (memcmp(s->bytes + i, zero, 8) != 0 &&
		    poke_bytes(&a->t, s->at + i, s->bytes + i, 8, e) == -1)
			return -1;
	}
	seen = calloc(1, s->len);
	if (seen == NULL)
		return err_set(e, ERR_NOMEM, "verifying the stub page");
	if (mem_read(a->req->mem, s->at, seen, s->len, e) == 0) {
		ret = 0;
		if (memcmp(seen, s->bytes, s->len) != 0)
			ret = err_set(e, ERR_FAILED, "the stub page did not take its bytes");
	}
	free(seen);
	return ret;
}

/* -- all threads stopped --------------------------------------------------------------------- */

/* Insides of windows of more than one instruction: a thread there would find itself in the middle
 * of the jump. Returns how many. */
static size_t window_insides(const struct hook_plan *p, struct safe_range *r)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].of->ninsn > 1)
			r[n++] = (struct safe_range){p->v[i].site + 1, p->v[i].site_end};
	}
	return n;
}

static int enable(const struct attempt *a, struct err *e)
{
	const uint64_t one = 1;

	if (pwrite(a->req->mem_fd, &one, sizeof(one),
		   (off_t)(a->stub.ctl + offsetof(struct mp_ctl, enabled))) != sizeof(one))
		return err_sys(e, ERR_FAILED, "enabling the agent");
	return 0;
}

/* Returns 0 patched, 1 not a safe moment, -1 and e. Other threads run again in every case. */
static int patch_once(struct attempt *a, const struct safe_range *r, size_t nr, struct err *e)
{
	const struct plant_req *req = a->req;
	const struct safe_view view = {req->mem, &a->maps, &a->gadgets, a->pagemap_fd};
	uint64_t start = tracee_now_ns();
	int ret;

	ret = tracee_stop_all(&a->t, STOP_BUDGET_MS, e);
	if (ret == 0 && nr > 0)
		ret = safepoint_reach(&a->t, &view, r, nr, STOP_BUDGET_MS, e);
	if (ret == 0 && req->at_stop != NULL)
		ret = req->at_stop(req->ctx, &a->t, e);
	if (ret == 0)
		ret = patchset_apply(&a->stub.journal.words, &a->t, e);
	if (ret == 0 && (ret = enable(a, e)) == -1) {
		size_t undone;
		struct err why;

		if (patchset_revert(&a->stub.journal.words, &a->t, &undone, &why) == -1)
			*e = why;
	}
	a->out->threads = (unsigned)a->t.n;
	tracee_release_others(&a->t, a->rc.tid);
	/* A worker that is all the threads there are goes a moment later. */
	a->out->pause_us =
	    ((a->out->threads > 1 ? a->t.released_ns : tracee_now_ns()) - start) / 1000;
	return ret;
}

static int patch_text(struct attempt *a, struct err *e)
{
	struct safe_range *r = calloc(a->stub.plan.n, sizeof(*r));
	int ret;

	if (r == NULL)
		return err_set(e, ERR_NOMEM, "patching");
	size_t nr = window_insides(&a->stub.plan, r);
	ret = patch_once(a, r, nr, e);
	free(r);
	if (ret == 1)
		return err_set(e, ERR_TIMEOUT, "a thread stands where code must change");
	return ret;
}

/* -- the whole ------------------------------------------------------------------------------- */

static int prepare(struct attempt *a, struct err *e)
{
	if (maps_read(a->req->pid, a->req->pid, &a->maps, e) == -1 ||
	    rcall_find_gadgets(a->req->arch, a->req->mem_fd, &a->maps, &a->gadgets, e) == -1 ||
	    stub_place(a->req, &a->maps, &a->stub, e) == -1 ||
	    stub_build(a->req, &a->stub, e) == -1)
		return -1;
	return 0;
}

static int plant_once(struct attempt *a, struct err *e)
{
	struct err ignored;

	if (prepare(a, e) == -1)
		return -1;
	if (rcall_hold(&a->rc, &a->t, a->req->mem_fd, &a->gadgets, &a->maps, &a->held_ns, e) == -1)
		return -1;
	int ret = map_all(a, e) == 0 && write_stub(a, e) == 0 ? 0 : -1;
	/* The worker is an ordinary thread again before the text changes: it may stand in the way
	 * as any other. */
	if (rcall_end(&a->rc, ret == 0 ? e : &ignored) == -1)
		ret = -1;
	if (ret == 0)
		ret = patch_text(a, e);
	tracee_release_all(&a->t);
	a->out->hold_us = (a->t.released_ns - a->held_ns) / 1000;
	a->out->stub = a->stub.at;
	a->out->stub_len = a->stub.len;
	a->out->ctl = a->stub.ctl;
	if (ret == -1 && e->code != ERR_DIRTY)
		unmap_again(a, e);
	return ret;
}

int plant(const struct plant_req *req, struct planted *ret, struct err *e)
{
	for (unsigned tries = 0;; tries++) {
		struct attempt a = {.req = req, .out = ret, .pagemap_fd = pagemap_open(req->pid)};

		*ret = (struct planted){.shm = {.remote_fd = -1}};
		tracee_init(&a.t, req->pid, req->arch);
		a.t.suspend_seccomp = req->suspend_seccomp;
		int got = plant_once(&a, e);
		tracee_deinit(&a.t);
		if (a.pagemap_fd != -1)
			close(a.pagemap_fd);
		stub_deinit(&a.stub);
		maps_deinit(&a.maps);
		if (got == 0)
			return 0;
		shm_deinit(&ret->shm);
		if (e->code != ERR_DIRTY && !procfs_lives(req->pid))
			return err_set(e, ERR_GONE, "%d is gone", req->pid);
		/* Something was mapped where we wanted to go, or a thread stood in the way. */
		if (!(e->code == ERR_RANGE && tries < PLACE_TRIES) &&
		    !(e->code == ERR_TIMEOUT && tries < SAFE_TRIES))
			return -1;
		pause_between_tries(tries);
	}
}

int plant_rehearse(const struct plant_req *req, raddr_t *stub, struct err *e)
{
	struct attempt a = {.req = req};
	int ret = prepare(&a, e);

	*stub = a.stub.at;
	stub_deinit(&a.stub);
	maps_deinit(&a.maps);
	return ret;
}
