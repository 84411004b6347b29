/*
 * Birth sites: who gave birth to what, and how many of those live. A site is open as long as the
 * code and class it names exist; closed after that. A closed one whose last object has ended is
 * folded into its row, and its id is used again.
 */
#ifndef MEMPROF_TRACK_BIRTH_H
#define MEMPROF_TRACK_BIRTH_H

#include "track/code.h"
#include "track/rows.h"

/* Class words of objects without a class to show: this bit, and what is known of their kind. */
#define BIRTH_HIDDEN (1ull << 63)

struct birth_key {
	raddr_t iseq, pc, caller_iseq, caller_pc;
	uint64_t klass; /* class word, or BIRTH_HIDDEN | kind bits of the flags word; 0 in none */
	uint64_t who;   /* thread << 1 | ruby_top */
};

/* What every event touches: one cache line a site. A closed or unused one has klass 0. */
struct birth_hot {
	_Alignas(64) struct birth_key key;
	uint64_t allocated, live;
};
_Static_assert(sizeof(struct birth_hot) == 64, "one cache line");

enum birth_part { BIRTH_ISEQ, BIRTH_CALLER, BIRTH_CLASS, BIRTH_PARTS };

struct birth {
	bool used, waiting;             /* waiting: dead, but its names are not trusted yet */
	enum birth_part site;           /* the frame that gave file, line and method */
	uint32_t hidden;                /* kind bits, when it has no class */
	struct row_key row;             /* klass is the class's own as long as code[] has it */
	uint64_t untracked;             /* objects the live table had no room for */
	struct code *code[BIRTH_PARTS]; /* NULL: none, or ended */
	struct code_ref ref[BIRTH_PARTS];
	TAILQ_ENTRY(birth) wait;
	UT_hash_handle hh;
};

enum { BIRTH_FRONT = 4096, BIRTH_OTHER = 0 };

struct births {
	struct birth_hot *hot; /* by id, max of them, touched as they are used */
	struct birth *cold;
	uint32_t max, high, nfree;
	uint32_t *free; /* ids to use again */
	uint32_t front[BIRTH_FRONT];
	struct birth *table; /* open ones by key */
	TAILQ_HEAD(, birth) waiting;
	struct codes codes;
	struct names names;
	struct rows rows;
	const struct track_source *src; /* borrowed */
};

/* max: sites at a time. Site BIRTH_OTHER takes what is over that. Returns 0, or -1 and e. */
int births_init(struct births *bs, const struct track_source *src, uint32_t max, struct err *e);
void births_deinit(struct births *bs);

/* As births_get for a site that is not in front. */
uint32_t births_look_up(struct births *bs, const struct birth_key *key, uint32_t front);

static inline uint32_t birth_front(const struct birth_key *k)
{
	uint64_t h = k->pc + k->klass * 0x9e3779b97f4a7c15ull + k->caller_pc * 31 + k->who;

	return (uint32_t)(h * 0xd6e8feb86659fd93ull >> 52);
}

static inline bool birth_key_equal(const struct birth_key *a, const struct birth_key *b)
{
	return ((a->pc ^ b->pc) | (a->klass ^ b->klass) | (a->iseq ^ b->iseq) |
		(a->caller_pc ^ b->caller_pc) | (a->caller_iseq ^ b->caller_iseq) |
		(a->who ^ b->who)) == 0;
}

/* The id of a site, new or known; names of a new one are read from the target now. */
static inline uint32_t births_get(struct births *bs, const struct birth_key *key)
{
	uint32_t front = birth_front(key), id = bs->front[front];

	return birth_key_equal(&bs->hot[id].key, key) ? id : births_look_up(bs, key, front);
}

/* A closed site has no live objects any more: fold it, now or when its names are trusted. pos: of
 * the record that made it so. */
void births_dead(struct births *bs, uint32_t id, uint64_t pos);

/* One of its objects ended. */
static inline void births_ended(struct births *bs, uint32_t id, uint64_t pos)
{
	struct birth_hot *h = &bs->hot[id];

	if (--h->live == 0 && h->key.klass == 0)
		births_dead(bs, id, pos);
}

/* The iseq or class at addr ends, or moves: sites that name it are closed. */
void births_close(struct births *bs, enum code_kind kind, raddr_t addr, uint64_t pos);

/* Records are missing from here on: whatever is known by address may be another by now. All sites
 * are closed; names not trusted yet never will be. */
void births_gap(struct births *bs, uint64_t pos);

/* Fold what waits for names to be trusted, now that all records before pos have been seen. */
void births_settle(struct births *bs, uint64_t pos);

/* Read again up to max names that could not be read or may change. */
void births_refresh(struct births *bs, size_t max, uint64_t pos);

/* A new closed site beside id, of the same place, with a class: for hidden objects that got one. */
uint32_t births_reveal(struct births *bs, uint32_t id, raddr_t klass);

struct row *birth_row(struct births *bs, uint32_t id);
struct row_figures birth_figures(const struct births *bs, uint32_t id);
size_t births_memory(const struct births *bs); /* sites and their index, bytes */

#endif
