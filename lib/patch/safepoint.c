#include "patch/safepoint.h"

#include <stdlib.h>

enum {
	NUDGES_MAX = 50,      /* then the others have stood long enough */
	MARGIN_NS = 10000000, /* before the deadline: a nudged thread must be able to stop again */
	RUN_PAGES = 16,       /* read at once */
	STACK_MAX = 8 << 20,  /* as deep as a stack is looked through */
	STACKS_MAX = 16,      /* that the handlers of one thread may run on */
	PAGE_MAX = 4096,
};

static bool inside(raddr_t pc, const struct safe_range *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (pc >= r[i].lo && pc < r[i].hi)
			return true;
	}
	return false;
}

/* One search through the stacks of one thread. */
struct search {
	const struct safe_view *view;
	const struct arch *arch;
	const struct safe_range *ranges;
	size_t nranges;
	raddr_t tls_base;
	struct safe_range seen[STACKS_MAX]; /* parts of stacks, searched or to be */
	size_t nseen;
	bool unsafe; /* a frame returns into the ranges, or there was too much to look at */
};

/*
 * Where the stack that sp points into ends: with its mapping, or, when the thread's base lies above
 * sp in the same mapping, there: C libraries put it at the top of a thread's stack, and what
 * follows (the kernel merges neighbours) are other people's megabytes. A stack that was mapped
 * after the maps were read goes on as long as there is memory.
 */
static raddr_t stack_end(const struct search *s, raddr_t sp)
{
	const struct map *stack = maps_find(s->view->maps, sp);
	raddr_t end = stack != NULL ? stack->end : UINT64_MAX;

	if (s->tls_base > sp && s->tls_base < end)
		end = s->tls_base;
	return end - sp > STACK_MAX ? sp + STACK_MAX : end;
}

static void add_stack(struct search *s, raddr_t sp)
{
	if (sp > UINT64_MAX - 2 * (raddr_t)STACK_MAX)
		return; /* no memory of a process lies there */
	for (size_t i = 0; i < s->nseen; i++) {
		if (sp >= s->seen[i].lo && sp < s->seen[i].hi)
			return;
	}
	if (s->nseen == STACKS_MAX)
		s->unsafe = true;
	else
		s->seen[s->nseen++] = (struct safe_range){sp, stack_end(s, sp)};
}

/* A word that is a restorer's address: perhaps a signal frame. One that isn't (they lie about where
 * handlers were installed) only costs a look: the search goes on behind it in any case. */
static void look_at_frame(struct search *s, raddr_t at)
{
	uint64_t pc, sp;
	struct err ignored;
	const struct map *m;

	if (mem_u64(s->view->mem, at + s->arch->sigframe_pc_offset, &pc, &ignored) == -1 ||
	    mem_u64(s->view->mem, at + s->arch->sigframe_sp_offset, &sp, &ignored) == -1)
		return;
	if (inside(pc, s->ranges, s->nranges))
		s->unsafe = true;
	/* A handler on the alternate stack: what it interrupted is on another one. */
	m = maps_find(s->view->maps, sp);
	if (m != NULL && m->w)
		add_stack(s, sp);
}

static bool is_restorer(const struct arch_gadgets *g, uint64_t word)
{
	for (unsigned i = 0; i < g->nrestorers; i++) {
		if (g->restorer[i] == word)
			return true;
	}
	return false;
}

/* Look at the words of [lo, hi), a few pages. False: the memory ends there. */
static bool search_words(struct search *s, raddr_t lo, raddr_t hi)
{
	uint64_t words[RUN_PAGES * PAGE_MAX / 8];
	size_t got = mem_read_upto(s->view->mem, lo, words, (size_t)(hi - lo));

	for (size_t i = 0; i < got / 8 && !s->unsafe; i++) {
		if (is_restorer(s->view->gadgets, words[i]))
			look_at_frame(s, lo + 8 * i);
	}
	return got == hi - lo;
}

/* Ruby lays a megabyte of VM stack on each thread's own; most of its pages were never touched and
 * are passed over. */
static void search_stack(struct search *s, raddr_t sp, raddr_t end)
{
	const size_t page = s->arch->page_size;
	bool held[PAGEMAP_BATCH];
	raddr_t at = sp & ~7ull;

	while (at < end && !s->unsafe) {
		const raddr_t base = at & ~(raddr_t)(page - 1);

		pagemap_held(s->view->pagemap_fd, base, page, held, PAGEMAP_BATCH);
		for (size_t i = 0, run; i < PAGEMAP_BATCH && base + i * page < end; i += run) {
			for (run = 1; run < RUN_PAGES && i + run < PAGEMAP_BATCH &&
				      held[i + run] == held[i];)
				run++;
			raddr_t lo = base + i * page, hi = lo + run * page;
			if (held[i] && !search_words(s, lo < at ? at : lo, hi < end ? hi : end))
				return;
		}
		at = base + PAGEMAP_BATCH * page;
	}
}

/* Does a handler on this thread's stacks return into the ranges? */
static bool frame_returns_inside(const struct tracee *t, const struct thread *th,
				 const struct safe_view *v, const struct safe_range *r, size_t n)
{
	struct search s = {
	    .view = v, .arch = t->arch, .ranges = r, .nranges = n, .tls_base = th->at.tls_base};

	add_stack(&s, th->at.sp);
	for (size_t i = 0; i < s.nseen && !s.unsafe; i++)
		search_stack(&s, s.seen[i].lo, s.seen[i].hi);
	return s.unsafe;
}

static int nudge_out(struct tracee *t, const struct safe_range *r, size_t n, bool *moved,
		     struct err *e)
{
	for (size_t i = 0; i < t->n; i++) {
		for (unsigned tries = 0; inside(t->v[i].at.pc, r, n); tries++) {
			*moved = true;
			if (tries == NUDGES_MAX || tracee_now_ns() + MARGIN_NS > t->deadline_ns)
				return 1;
			if (tracee_nudge(t, i, e) == -1)
				return -1;
		}
	}
	return 0;
}

int safepoint_reach(struct tracee *t, const struct safe_view *view, const struct safe_range *ranges,
		    size_t nranges, unsigned budget_ms, struct err *e)
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
		if (frame_returns_inside(t, &t->v[i], view, ranges, nranges))
			return 1;
	}
	return 0;
}
