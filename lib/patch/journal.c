#include "patch/journal.h"

#include "agent/abi.h"
#include "proc/shm.h"

#include <stdlib.h>
#include <string.h>

#define JOURNAL_MAGIC 0x316c6e6a6d656d01ull /* never changes; the version may */
enum { JOURNAL_VERSION = 1, FLAG_CLEAN_PAGE = 1 };

struct entry {
	uint64_t addr;
	uint8_t old[HOOK_WORD], new[HOOK_WORD];
	uint64_t flags;
};

struct page {
	uint64_t magic;
	uint32_t version, count;
	uint32_t pid, owner;
	uint64_t starttime, owner_starttime;
	uint64_t stub, stub_len, ctl, ctl_len, shm, shm_len;
	uint64_t checksum; /* of the page with this word 0 */
	uint64_t pad;
	struct entry v[JOURNAL_MAX];
};
_Static_assert(sizeof(struct page) <= JOURNAL_PAGE, "one page");

/* FNV-1a: guards against a half-written page, not against malice. */
static uint64_t checksum(const struct page *p)
{
	struct page copy = *p;
	const uint8_t *b = (const uint8_t *)&copy;
	uint64_t h = 0xcbf29ce484222325ull;

	copy.checksum = 0;
	for (size_t i = 0; i < sizeof(copy); i++)
		h = (h ^ b[i]) * 0x100000001b3ull;
	return h;
}

int journal_encode(const struct journal *j, uint8_t page[JOURNAL_PAGE], struct err *e)
{
	struct page p = {
	    .magic = JOURNAL_MAGIC,
	    .version = JOURNAL_VERSION,
	    .count = (uint32_t)j->words.n,
	    .pid = (uint32_t)j->pid,
	    .owner = (uint32_t)j->owner,
	    .starttime = j->starttime,
	    .owner_starttime = j->owner_starttime,
	    .stub = j->stub,
	    .stub_len = j->stub_len,
	    .ctl = j->ctl,
	    .ctl_len = j->ctl_len,
	    .shm = j->shm,
	    .shm_len = j->shm_len,
	};

	if (j->words.n > JOURNAL_MAX)
		return err_set(e, ERR_RANGE, "%zu sites are more than the journal holds (%d)",
			       j->words.n, JOURNAL_MAX);
	for (size_t i = 0; i < j->words.n; i++) {
		const struct patch *w = &j->words.v[i];

		p.v[i].addr = w->addr;
		p.v[i].flags = w->clean_page ? FLAG_CLEAN_PAGE : 0;
		memcpy(p.v[i].old, w->old, HOOK_WORD);
		memcpy(p.v[i].new, w->new, HOOK_WORD);
	}
	p.checksum = checksum(&p);
	memset(page, 0, JOURNAL_PAGE);
	memcpy(page, &p, sizeof(p));
	return 0;
}

static int check_page(const struct page *p, raddr_t addr, struct err *e)
{
	if (p->magic != JOURNAL_MAGIC)
		return err_set(e, ERR_BADDATA, "no journal at %" PRIRA, addr);
	if (p->version > JOURNAL_VERSION) {
		err_set(e, ERR_UNSUPPORTED,
			"the journal at %" PRIRA " has version %u, this is for %d", addr,
			p->version, JOURNAL_VERSION);
		return err_remedy(e, "use the memprof that attached, or a newer one");
	}
	if (p->count > JOURNAL_MAX || p->stub != addr || p->stub_len % JOURNAL_PAGE != 0 ||
	    p->checksum != checksum(p))
		return err_set(e, ERR_BADDATA, "the journal at %" PRIRA " is damaged", addr);
	return 0;
}

int journal_read(const struct mem *m, raddr_t addr, struct journal *ret, struct err *e)
{
	struct page p;

	*ret = (struct journal){0};
	if (mem_read(m, addr, &p, sizeof(p), e) == -1 || check_page(&p, addr, e) == -1)
		return -1;
	*ret = (struct journal){
	    .pid = (pid_t)p.pid,
	    .owner = (pid_t)p.owner,
	    .starttime = p.starttime,
	    .owner_starttime = p.owner_starttime,
	    .stub = p.stub,
	    .stub_len = p.stub_len,
	    .ctl = p.ctl,
	    .ctl_len = p.ctl_len,
	    .shm = p.shm,
	    .shm_len = p.shm_len,
	    .words = {.v = calloc(p.count ? p.count : 1, sizeof(struct patch)), .n = p.count},
	};
	if (ret->words.v == NULL)
		return err_set(e, ERR_NOMEM, "reading the journal");
	for (size_t i = 0; i < p.count; i++) {
		struct patch *w = &ret->words.v[i];

		w->addr = p.v[i].addr;
		w->clean_page = p.v[i].flags & FLAG_CLEAN_PAGE;
		memcpy(w->old, p.v[i].old, HOOK_WORD);
		memcpy(w->new, p.v[i].new, HOOK_WORD);
	}
	return 0;
}

void journal_deinit(struct journal *j)
{
	patchset_deinit(&j->words);
}

int journal_find(const struct mem *m, const struct maps *maps, raddr_t *addr, struct err *e)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct map *map = &maps->v[i];
		uint64_t magic;

		if (!map->x || map->w || map->inode != 0 || map->path[0] == '[')
			continue;
		if (mem_read_upto(m, map->start, &magic, sizeof(magic)) == sizeof(magic) &&
		    magic == JOURNAL_MAGIC) {
			*addr = map->start;
			return 0;
		}
	}
	return err_set(e, ERR_NOSYM, "no journal in the target");
}

static int judge_word(const struct patch *w, const struct maps *maps,
		      int (*read_file)(void *, const struct map *, uint64_t, void *, size_t,
				       struct err *),
		      void *ctx, struct err *e)
{
	const struct map *m = maps_find(maps, w->addr);
	uint8_t file[HOOK_WORD];

	if (m == NULL || !m->x || m->w || m->inode == 0 || m->end - w->addr < HOOK_WORD)
		return err_set(e, ERR_BADDATA,
			       "the journal names %" PRIRA ", which is no code of a file", w->addr);
	if (read_file(ctx, m, w->addr - m->start + m->offset, file, sizeof(file), e) == -1)
		return -1;
	if (memcmp(file, w->old, HOOK_WORD) != 0)
		return err_set(e, ERR_BADDATA,
			       "the journal's old bytes for %" PRIRA " are not those of the file",
			       w->addr);
	return 0;
}

/* A mapping of ours: there, exactly so, and of the right kind; or not there at all. */
static int judge_mapping(const struct maps *maps, raddr_t at, uint64_t len, bool x,
			 const char *name, const char *what, struct err *e)
{
	const struct map *m = maps_find(maps, at);

	if (at == 0 || m == NULL)
		return 0;
	if (m->start != at || m->end - at != len || m->x != x ||
	    (name[0] == 0 ? m->path[0] != 0 || m->inode != 0
			  : strncmp(m->path, name, strlen(name)) != 0))
		return err_set(e, ERR_BADDATA, "the journal's %s at %" PRIRA " is something else",
			       what, at);
	return 0;
}

int journal_judge(const struct journal *j, const struct maps *maps,
		  int (*read_file)(void *ctx, const struct map *m, uint64_t offset, void *buf,
				   size_t len, struct err *e),
		  void *ctx, struct err *e)
{
	if (judge_mapping(maps, j->stub, j->stub_len, true, "", "stub page", e) == -1 ||
	    judge_mapping(maps, j->ctl, j->ctl_len, false, "", "control page", e) == -1 ||
	    judge_mapping(maps, j->shm, j->shm_len, false, "/memfd:" SHM_NAME " ", "shared memory",
			  e) == -1)
		return -1;
	for (size_t i = 0; i < j->words.n; i++) {
		if (judge_word(&j->words.v[i], maps, read_file, ctx, e) == -1)
			return -1;
	}
	return 0;
}
