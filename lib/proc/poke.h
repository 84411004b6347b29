/* Writing to the tracee's text, and to mappings of ours that it may only read: PTRACE_POKETEXT,
 * which works whatever the page's protection is. */
#ifndef MEMPROF_PROC_POKE_H
#define MEMPROF_PROC_POKE_H

#include "proc/tracee.h"

/* One word of text, written as one: read back and compared. t must hold a stopped thread.
 * e: ERR_CHANGED the word was not `old` (nothing written) or not what we wrote. */
int poke_word(const struct tracee *t, raddr_t addr, const uint8_t old[8], const uint8_t new[8],
	      struct err *e);

/* len bytes (a multiple of 8) to a mapping of ours that is not writable for its owner. */
int poke_bytes(const struct tracee *t, raddr_t addr, const void *bytes, size_t len, struct err *e);

#endif
