#include "patch/undo.h"

#include "patch/safepoint.h"
#include "proc/procfs.h"
#include "proc/region.h"
#include "proc/shm.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	STOP_BUDGET_MS = 50,
	TRIES = 200,
	EXACT_TRIES = 20, /* to find nobody inside, for the sake of the figures */
	RETRY_MIN_NS = 500000,
	RETRY_MAX_NS = 20000000,
};

struct undoing {
	const struct undo_req *req;
	struct undo_result *out;
	struct tracee t;
	struct maps maps;
	struct arch_gadgets gadgets;
	struct safe_view view;
	struct rcall rc;
	bool reverted;
};

static void pause_between_tries(unsigned tries)
{
	long ns = (long)RETRY_MIN_NS << (tries < 6 ? tries : 6);

	nanosleep(&(struct timespec){.tv_nsec = ns < RETRY_MAX_NS ? ns : RETRY_MAX_NS}, NULL);
}

/* Put the text back, if that has not been done. Threads inside the stub do not mind: they return to
 * where the old text goes on. */
static int put_back(struct undoing *u, struct err *e)
{
	if (u->reverted)
		return 0;
	if (u->req->at_stop != NULL && u->req->at_stop(u->req->ctx, &u->t, e) == -1)
		return -1;
	if (patchset_revert(&u->req->journal->words, &u->t, &u->out->words, e) == -1)
		return -1;
	u->reverted = true;
	return 0;
}

/*
 * Stop all, and see that nobody is in our code. Returns 0 with the text put back; 1 not a safe
 * moment; -1 and e. A thread that is always inside may not keep the target patched: after some
 * tries the text is put back all the same, and only the stub page waits until it has left.
 */
static int revert_text(struct undoing *u, unsigned tries, struct err *e)
{
	const struct journal *j = u->req->journal;
	const struct safe_range stub = {j->stub, j->stub + j->stub_len};
	int ret = tracee_stop_all(&u->t, STOP_BUDGET_MS, e);

	if (ret == 0 && j->stub != 0)
		ret = safepoint_reach(&u->t, &u->view, &stub, 1, STOP_BUDGET_MS, e);
	if (ret == 1 && tries >= EXACT_TRIES && !u->reverted) {
		u->out->inexact = true;
		return put_back(u, e) == -1 ? -1 : 1;
	}
	if (ret == 0)
		ret = put_back(u, e);
	/* A thread that did not stop in time, or that exited under our hands: the next try may find
	 * it awake, or gone. */
	return ret == -1 && (e->code == ERR_TIMEOUT ||
			     (e->code == ERR_GONE && procfs_lives(u->req->pid)))
		   ? 1
		   : ret;
}

static int restore_text(struct undoing *u, struct err *e)
{
	int ret;

	for (unsigned tries = 0;; tries++) {
		uint64_t start = tracee_now_ns();
		bool before = u->reverted;

		ret = revert_text(u, tries, e);
		tracee_release_all(&u->t);
		if (!before)
			u->out->pause_us = (u->t.released_ns - start) / 1000;
		if (ret != 1)
			return ret;
		if (tries == TRIES)
			return err_set(
			    e, ERR_DIRTY, "a thread of %d never left our code; %s", u->req->pid,
			    u->reverted ? "a page of it stays mapped" : "it stays patched");
		u->out->retries++;
		pause_between_tries(tries);
	}
}

static bool is_ours(const struct undoing *u, raddr_t at, const char *name)
{
	const struct map *m = at != 0 ? maps_find(&u->maps, at) : NULL;

	return m != NULL && m->start == at && strncmp(m->path, name, strlen(name)) == 0;
}

/* Pages whose only change was ours: forget the private copy, so that the text is the file's again,
 * shared and clean. Words of one page follow each other. */
static int drop_copies(struct undoing *u, struct err *e)
{
	const struct patchset *ps = &u->req->journal->words;
	const size_t size = u->req->arch->page_size;
	raddr_t done = 0;

	for (size_t i = 0; i < ps->n; i++) {
		raddr_t page = ps->v[i].addr & ~(raddr_t)(size - 1);

		if (!ps->v[i].clean_page || page == done)
			continue;
		if (region_drop_copies(&u->rc, page, size, e) == -1)
			return -1;
		done = page;
	}
	return 0;
}

/* Descriptors that a death between memfd_create and close left open in the target. */
static int close_leftover(struct undoing *u, struct err *e)
{
	char path[300], link[64];
	struct dirent *d;
	int ret = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", u->req->pid);
	DIR *dir = opendir(path);
	while (dir != NULL && ret == 0 && (d = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", u->req->pid, d->d_name);
		ssize_t n = readlink(path, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = 0;
		if (strncmp(link, "/memfd:" SHM_NAME " ", strlen("/memfd:" SHM_NAME " ")) != 0)
			continue;
		struct shm s = {.remote_fd = (int)strtol(d->d_name, NULL, 10)};
		ret = shm_close_remote(&u->rc, &s, e);
		u->out->mappings++;
	}
	if (dir != NULL)
		closedir(dir);
	return ret;
}

static int unmap(struct undoing *u, raddr_t at, uint64_t len, const char *name, struct err *e)
{
	if (!is_ours(u, at, name))
		return 0;
	if (region_unmap(&u->rc, at, len, e) == -1)
		return -1;
	u->out->mappings++;
	return 0;
}

/* The shared memory goes last: its header tells a later process about the other two. */
static int remove_mappings(struct undoing *u, struct err *e)
{
	const struct journal *j = u->req->journal;

	if (drop_copies(u, e) == -1 || unmap(u, j->stub, j->stub_len, "", e) == -1 ||
	    unmap(u, j->ctl, j->ctl_len, "", e) == -1 ||
	    unmap(u, j->shm, j->shm_len, "/memfd:" SHM_NAME, e) == -1)
		return -1;
	return close_leftover(u, e);
}

/* Nobody can get into our code any more: one thread takes the mappings away. */
static int clear_mappings(struct undoing *u, struct err *e)
{
	struct err ignored;
	uint64_t start;

	if (rcall_hold(&u->rc, &u->t, u->req->mem_fd, &u->gadgets, &u->maps, &start, e) == -1)
		return -1;
	int ret = remove_mappings(u, e);
	if (rcall_end(&u->rc, ret == 0 ? e : &ignored) == -1)
		ret = -1;
	tracee_release_all(&u->t);
	u->out->hold_us = (u->t.released_ns - start) / 1000 + u->out->pause_us;
	return ret;
}

int undo(const struct undo_req *req, struct undo_result *ret, struct err *e)
{
	struct undoing u = {.req = req, .out = ret};
	int got = -1;

	*ret = (struct undo_result){0};
	if (maps_read(req->pid, req->pid, &u.maps, e) == -1)
		return -1;
	u.view = (struct safe_view){req->mem, &u.maps, &u.gadgets, pagemap_open(req->pid)};
	tracee_init(&u.t, req->pid, req->arch);
	u.t.suspend_seccomp = req->suspend_seccomp;
	if (rcall_find_gadgets(req->arch, req->mem_fd, &u.maps, &u.gadgets, e) == 0 &&
	    restore_text(&u, e) == 0) {
		if (req->between != NULL)
			req->between(req->ctx);
		got = clear_mappings(&u, e);
	}
	tracee_deinit(&u.t);
	if (u.view.pagemap_fd != -1)
		close(u.view.pagemap_fd);
	maps_deinit(&u.maps);
	if (got == -1 && e->code != ERR_GONE) {
		e->code = ERR_DIRTY;
		err_remedy(e, "memprof detach %d", req->pid);
	}
	return got;
}
