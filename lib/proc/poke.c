#include "proc/poke.h"

#include <errno.h>
#include <string.h>

static int peek_word(pid_t tid, raddr_t addr, uint8_t word[8], struct err *e)
{
	errno = 0;
	long got = ptrace(PTRACE_PEEKTEXT, tid, (void *)addr, NULL);
	if (got == -1 && errno != 0)
		return err_sys(e, ERR_FAULT, "reading text at %" PRIRA, addr);
	memcpy(word, &got, 8);
	return 0;
}

static int put_word(pid_t tid, raddr_t addr, const uint8_t word[8], struct err *e)
{
	long w;

	memcpy(&w, word, 8);
	if (ptrace(PTRACE_POKETEXT, tid, (void *)addr, (void *)w) == -1)
		return err_sys(e, ERR_SYS, "writing text at %" PRIRA, addr);
	return 0;
}

static pid_t any_stopped(const struct tracee *t)
{
	return t->n > 0 ? t->v[0].tid : 0;
}

int poke_word(const struct tracee *t, raddr_t addr, const uint8_t old[8], const uint8_t new[8],
	      struct err *e)
{
	pid_t tid = any_stopped(t);
	uint8_t seen[8];

	if (peek_word(tid, addr, seen, e) == -1)
		return -1;
	if (memcmp(seen, old, 8) != 0)
		return err_set(e, ERR_CHANGED, "text at %" PRIRA " is not what was planned for",
			       addr);
	if (put_word(tid, addr, new, e) == -1 || peek_word(tid, addr, seen, e) == -1)
		return -1;
	if (memcmp(seen, new, 8) != 0)
		return err_set(e, ERR_CHANGED, "text at %" PRIRA " did not take the new bytes",
			       addr);
	return 0;
}

int poke_bytes(const struct tracee *t, raddr_t addr, const void *bytes, size_t len, struct err *e)
{
	pid_t tid = any_stopped(t);

	for (size_t i = 0; i < len; i += 8) {
		if (put_word(tid, addr + i, (const uint8_t *)bytes + i, e) == -1)
			return -1;
	}
	return 0;
}
