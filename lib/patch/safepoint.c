#include "patch/safepoint.h"

#include <stdlib.h>

enum {
	NUDGES_MAX = 200,
	CHUNK = 16384,
	STACK_MAX = 8 << 20, /* as deep as a stack is looked through */
	FRAMES_MAX = 16,     /* handlers interrupted by handlers */
};

static bool inside(raddr_t pc, const struct safe_range *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (pc >= r[i].lo && pc < r[i].hi)
			return true;
	}
	return false;
}

/* The next signal frame at or above sp in its mapping, by the restorer's address in its first word.
 * Returns its address or 0. */
static raddr_t next_frame(const struct mem *m, const struct maps *maps, raddr_t sp,
			  raddr_t restorer)
{
	const struct map *stack = maps_find(maps, sp);
	raddr_t end = stack != NULL ? stack->end : sp + CHUNK;
	uint64_t words[CHUNK / 8];

	sp &= ~7ull;
	if (end - sp > STACK_MAX)
		end = sp + STACK_MAX;
	while (sp < end) {
		size_t want = end - sp < CHUNK ? (size_t)(end - sp) : CHUNK;
		size_t got = mem_read_upto(m, sp, words, want) / 8;

		for (size_t i = 0; i < got; i++) {
			if (words[i] == restorer)
				return sp + 8 * i;
		}
		if (got * 8 < want)
			break;
		sp += want;
	}
	return 0;
}

/* Does a handler on this thread's stack return into the ranges? */
static bool frame_returns_inside(const struct tracee *t, const struct thread *th,
				 const struct mem *m, const struct maps *maps, raddr_t restorer,
				 const struct safe_range *r, size_t n)
{
	raddr_t sp = th->at.sp, frame;
	struct err ignored;
	uint64_t pc, saved_sp;

	for (unsigned depth = 0; depth < FRAMES_MAX; depth++) {
		frame = next_frame(m, maps, sp, restorer);
		if (frame == 0)
			return false;
		if (mem_u64(m, frame + t->arch->sigframe_pc_offset, &pc, &ignored) == -1 ||
		    mem_u64(m, frame + t->arch->sigframe_sp_offset, &saved_sp, &ignored) == -1)
			return false;
		if (inside(pc, r, n))
			return true;
		/* On the same stack go on behind this frame, else on the interrupted one. */
		const struct map *here = maps_find(maps, frame);
		sp = here != NULL && saved_sp > frame && saved_sp < here->end ? frame + 8 : saved_sp;
	}
	return false;
}

static int nudge_out(struct tracee *t, const struct safe_range *r, size_t n, bool *moved,
		     struct err *e)
{
	for (size_t i = 0; i < t->n; i++) {
		for (unsigned tries = 0; inside(t->v[i].at.pc, r, n); tries++) {
			*moved = true;
			if (tries == NUDGES_MAX)
				return 1;
			if (tracee_nudge(t, i, e) == -1)
				return -1;
		}
	}
	return 0;
}

int safepoint_reach(struct tracee *t, const struct mem *m, const struct maps *maps,
		    const struct arch_gadgets *g, const struct safe_range *ranges, size_t nranges,
		    unsigned budget_ms, struct err *e)
{
	bool moved;

	do {
		moved = false;
		int ret = nudge_out(t, ranges, nranges, &moved, e);
		if (ret != 0)
			return ret;
		if (moved && tracee_stop_all(t, budget_ms, e) == -1)
			return -1;
	} while (moved);
	for (size_t i = 0; i < t->n; i++) {
		if (frame_returns_inside(t, &t->v[i], m, maps, g->sigreturn, ranges, nranges))
			return 1;
	}
	return 0;
}
