/*
 * A process we look at: its identity, its memory, and the Ruby in it. Opening one writes nothing;
 * learning where its threads keep their execution context stops one thread for an instant.
 */
#ifndef MEMPROF_SESSION_TARGET_H
#define MEMPROF_SESSION_TARGET_H

#include "arch.h"
#include "elf/image.h"
#include "elf/maps.h"
#include "mem/mem.h"
#include "patch/plant.h"
#include "proc/procfs.h"
#include "ruby/ruby.h"

struct target {
	const struct arch *arch;
	pid_t pid;
	uint64_t starttime; /* with the pid, its identity */
	struct procfs_status status;
	int pid_fd; /* readable when it exits; -1: kernel without pidfd */
	int mem_fd; /* /proc/PID/mem, the one way its memory is read */
	struct mem mem;
	struct maps maps; /* as they were when it was opened */
	char exe[256];    /* printable */
	bool suspend_seccomp;

	/* target_find_ruby */
	struct image *image;  /* the object that holds the VM */
	char image_base[128]; /* its file's name, printable */
	uint64_t bias;
	struct ruby_version version;
	const struct ruby_layout *layout;
	struct text *text;
	struct ruby_code code;
	struct site_list sites;
	bool moves_known;

	/* target_probe */
	struct ruby ruby;
};

/* Who is it, may we, and is there anything that rules it out? Returns 0 and *ret (target_close), or
 * -1 and e with the refusal and its remedy. */
int target_open(pid_t pid, struct target *ret, struct err *e);
void target_close(struct target *t); /* zeroed is allowed */

/* Find the Ruby, derive its addresses and prove its sites. Takes a fraction of a second. */
int target_find_ruby(struct target *t, struct err *e);

/* Hold the layout against the live VM. */
int target_probe(struct target *t, struct err *e);

/* ERR_BUSY if a memprof has patched it: names it, or says that it is dead. */
int target_check_unpatched(const struct target *t, struct err *e);

/* Does every site still hold the file's bytes? ERR_BUSY: somebody else changed them. */
int target_check_sites(const struct target *t, struct err *e);

/* True if the process is still the one that was opened, in the same address space. */
bool target_is_alive(const struct target *t);

/* What plant() needs to know of it, after target_probe. Borrows from t; ring_bytes, stale_tsc and
 * the callback are the caller's to fill in. */
int target_plant_req(const struct target *t, struct plant_req *ret, struct err *e);

/* Bytes of the file behind a map of the target. For journal_judge. */
int target_read_file(void *target, const struct map *m, uint64_t offset, void *buf, size_t len,
		     struct err *e);

/* Is this the living process that it was then? */
bool target_process_lives(pid_t pid, uint64_t starttime);

#endif
