/*
 * The journal: what must be undone, kept in the first page of the stub mapping inside the tracee,
 * complete before the first word of text is written. Every normal detach works from it, and so
 * does a later process after our death. Its bytes are hostile when read back.
 */
#ifndef MEMPROF_PATCH_JOURNAL_H
#define MEMPROF_PATCH_JOURNAL_H

#include "elf/maps.h"
#include "mem/mem.h"
#include "patch/patchset.h"

enum { JOURNAL_PAGE = 4096, JOURNAL_MAX = 120 };

struct journal {
	pid_t pid, owner; /* the tracee, as it calls itself to us; the memprof that patched */
	uint64_t starttime, owner_starttime; /* clock ticks since boot */
	raddr_t stub, ctl, shm;              /* our mappings; 0: not known */
	uint64_t stub_len, ctl_len, shm_len;
	struct patchset words;
};

/* Serialise into one page. e: ERR_RANGE more than JOURNAL_MAX words. */
int journal_encode(const struct journal *j, uint8_t page[JOURNAL_PAGE], struct err *e);

/* Read and check the journal at addr: magic, version, checksum, counts, and that it describes
 * itself. Addresses of words are not judged here (journal_judge). Returns 0 and *ret
 * (journal_deinit), or -1 and e: ERR_BADDATA no journal; ERR_UNSUPPORTED a newer version. */
int journal_read(const struct mem *m, raddr_t addr, struct journal *ret, struct err *e);
void journal_deinit(struct journal *j);

/* Where is a journal in these maps? Looks at the first bytes of every anonymous read-execute
 * mapping. Returns 0 and *addr, or -1 and e: ERR_NOSYM there is none. */
int journal_find(const struct mem *m, const struct maps *maps, raddr_t *addr, struct err *e);

/*
 * Is it safe to believe this journal? Every word must lie in one executable, non-writable file
 * mapping, and its old bytes must be what that file holds there; the mappings named must look like
 * ours. read_file: read bytes of the file behind a map. e: ERR_BADDATA with the reason.
 */
int journal_judge(const struct journal *j, const struct maps *maps,
		  int (*read_file)(void *ctx, const struct map *m, uint64_t offset, void *buf,
				   size_t len, struct err *e),
		  void *ctx, struct err *e);

#endif
