/*
 * Iseqs and classes that births refer to, by address, with their names.
 *
 * A name is read as soon as somebody asks, which is some time after the record that made him ask
 * was written: what lies at the address may already be another object. Whether that is so is known
 * only when every record up to the moment after the reading has been seen (ready_at): had the old
 * one ended before, its FREE or MOVE is among them. So a name is trusted when the entry outlives
 * its ready_at, and replaced by "(collected ...)" when it doesn't.
 */
#ifndef MEMPROF_TRACK_CODE_H
#define MEMPROF_TRACK_CODE_H

#include "track/hash.h"
#include "track/names.h"
#include "track/source.h"

#include <sys/queue.h>

/* A birth site on the list of an entry that it refers to. */
struct code_ref {
	LIST_ENTRY(code_ref) link;
	uint64_t ready_at; /* the entry's, when this site took its names from it */
	uint32_t birth;
};

enum code_kind { CODE_ISEQ, CODE_CLASS, CODE_KINDS };

struct code {
	raddr_t addr;
	enum code_kind kind;
	bool known;             /* it could be read */
	bool settled;           /* nothing to ask for any more */
	uint8_t tries;          /* to read what could not be read */
	uint64_t ready_at;      /* ring position from which on its names are trusted */
	struct track_code iseq; /* CODE_ISEQ: impl is NULL when not held at the moment */
	const char *name;       /* CODE_CLASS: interned */
	const char *fallback;   /* CODE_CLASS: what was trusted before this name was read */
	LIST_HEAD(, code_ref) births;
	TAILQ_ENTRY(code) unsettled;
	UT_hash_handle hh;
};

struct codes {
	const struct track_source *src; /* borrowed */
	struct names *names;            /* borrowed */
	struct code *table[CODE_KINDS];
	TAILQ_HEAD(code_queue, code) unsettled; /* unreadable or without a permanent name */
	size_t iseq_bytes;                      /* of all held copies */
};

void codes_init(struct codes *cs, const struct track_source *src, struct names *names);
void codes_deinit(struct codes *cs);

/* The entry at addr, or NULL. */
struct code *code_find(const struct codes *cs, enum code_kind kind, raddr_t addr);

/* The entry at addr, read now if it is new or its copy was let go. NULL: out of memory or over the
 * cap. Borrowed until code_end. */
struct code *code_get(struct codes *cs, enum code_kind kind, raddr_t addr);

/* Copies of iseqs are only there to spare a reading: when they take too much, let them all go. */
void codes_trim(struct codes *cs);

/* The name of a class that ends (or moves) at ring position pos. */
const char *code_last_name(const struct code *c, uint64_t pos);

/* Forget an entry. Its list of births must be empty, or forgotten too. */
void code_end(struct codes *cs, struct code *c);

/* Ask again for up to max unsettled ones, the longest not asked first; changed() is told of iseqs
 * that can be read now. Class names just change. */
void codes_refresh(struct codes *cs, size_t max, uint64_t pos,
		   void (*changed)(void *arg, struct code *c), void *arg);

size_t codes_memory(const struct codes *cs); /* bytes */

#endif
