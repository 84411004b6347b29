/* What attach would do, and whether it can. Writes nothing to the target. */
#ifndef MEMPROF_SESSION_CHECK_H
#define MEMPROF_SESSION_CHECK_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct check_site {
	const char *event; /* "alloc", "free", "move" */
	uint64_t addr;     /* in the tracee */
	uint64_t vaddr;    /* in the image */
	unsigned len;      /* bytes displaced */
	char insn[96];     /* the displaced instructions, as text */
	const char *why;
};

struct check_result {
	pid_t pid;
	char ruby[16], description[160], exe[256], image[128], build_id[64];
	char layout[128]; /* the row, and what its probes saw */
	char tls[64];
	unsigned threads;
	bool moves_known;
	struct check_site *sites;
	size_t nsites;
	char notes[8][200]; /* namespaces, seccomp, JIT and the like */
	size_t nnotes;
};

/* Returns 0 and *ret (check_deinit), or -1 and e with the refusal and its remedy. */
int check_run(pid_t pid, struct check_result *ret, struct err *e);
void check_deinit(struct check_result *r); /* zeroed is allowed */

/* A Ruby that could be attached to. */
struct candidate {
	pid_t pid;
	char user[32], command[128]; /* printable */
};

/* The processes on this machine that map a Ruby and are ours to see. *ret is owned: free(). */
int check_candidates(struct candidate **ret, size_t *n, struct err *e);

#endif
