/*
 * Put everything of ours into a live process: ring, control page, stub page with journal, thunks
 * and agent, then the jumps. In two steps, so that the other threads stand only for the second:
 * mappings with one thread held, patches with all stopped.
 */
#ifndef MEMPROF_PATCH_PLANT_H
#define MEMPROF_PATCH_PLANT_H

#include "agent/abi.h"
#include "code/site.h"
#include "elf/image.h"
#include "elf/maps.h"
#include "mem/mem.h"
#include "proc/shm.h"
#include "proc/tracee.h"

struct plant_req {
	pid_t pid;
	uint64_t starttime;
	pid_t owner; /* us */
	uint64_t owner_starttime;
	const struct arch *arch;
	const struct mem *mem;
	int mem_fd; /* /proc/PID/mem, writable; borrowed */
	bool suspend_seccomp;
	const struct image *image;
	uint64_t bias;
	const struct site_list *sites;
	bool (*is_target)(const void *text, uint64_t vaddr); /* branch target? for windows */
	const void *text;
	struct mp_config config; /* Ruby's part and stale_tsc filled in */
	size_t ring_bytes;       /* power of two */
	/* Called with all threads stopped, before the first word is written: last checks, and the
	 * figures to start from. May be NULL. */
	int (*at_stop)(void *ctx, const struct tracee *t, struct err *e);
	void *ctx;
};

struct planted {
	struct shm shm; /* our side of the ring; shm_deinit */
	raddr_t stub, ctl;
	size_t stub_len;
	uint64_t pause_us; /* from the first thread asked to stop for the patch until all run */
	uint64_t hold_us;  /* the thread that ran our remote calls: first stop to release */
	unsigned threads;  /* stopped for the patch */
};

/* All that plant() does before its first stop: find the gadgets, choose the places, plan the hooks,
 * build the bytes. Returns 0 and where the stub page would lie, or -1 and e as plant(). */
int plant_rehearse(const struct plant_req *req, raddr_t *stub, struct err *e);

/* Returns 0 and *ret, or -1 and e with the target as it was (ERR_DIRTY: it is not, and what is
 * left; ERR_BUSY, ERR_GONE, ERR_PERM as they come; ERR_FAILED no safe moment was found). */
int plant(const struct plant_req *req, struct planted *ret, struct err *e);

#endif
