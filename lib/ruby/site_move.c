/*
 * The move site: where gc_move turns the old slot into a forwarding address.
 *
 *	movdqa 0x1c9f39(%rip),%xmm0	{T_MOVED, Qundef}
 *	...
 *	mov    %rbx,0x10(%r15)		where it went: rbx
 *	movups %xmm0,(%r15)		where it was: r15
 *	mov    0x28(%rsp),%rax		<- window: both are stored
 */
#include "ruby/sites.h"

#include <string.h>

enum {
	MARK_MAX = 64,    /* instructions from the load of the constant to its store */
	FORWARD_NEAR = 8, /* instructions between the two stores */
	WINDOW_MIN = 5,
};

/* True if instruction i loads {T_MOVED, Qundef} from read-only data. */
static bool loads_mark(const struct site_search *q, size_t i)
{
	const struct insn *in = text_at(q->flow.text, i);
	const uint64_t want[2] = {T_MOVED_FLAGS, q->qundef};
	const void *bytes;

	if (in->op != OP_MOVV || in->base != ARCH_REG_PC || !in->mem_read || in->mem_size != 16)
		return false;
	bytes = image_bytes(text_image(q->flow.text), (uint64_t)in->disp, sizeof(want));
	return bytes && memcmp(bytes, want, sizeof(want)) == 0;
}

/* The store of the vector register that instruction i loads: in straight line, without a way in
 * between that might bring another vector. SIZE_MAX: none. */
static size_t mark_store(const struct site_flow *f, size_t i)
{
	uint8_t vreg = text_at(f->text, i)->vreg;

	for (size_t j = i + 1; j < text_count(f->text) && j - i < MARK_MAX; j++) {
		const struct insn *in = text_at(f->text, j);

		if (site_flow_is_target(f, j) || !site_flow_falls_through(in))
			break;
		if (in->vreg == vreg && insn_is_store(in, 16, 0))
			return j;
		if (in->vreg == vreg && !in->mem_write)
			break;
	}
	return SIZE_MAX;
}

/* The store of T_MOVED that instruction i stands for, by a constant it loads or (2.7) an immediate.
 * SIZE_MAX: none was found, though there should be one if *mark is set. */
static size_t moved_store(const struct site_search *q, size_t i, bool *mark)
{
	*mark = true;
	if (site_stores_moved(text_at(q->flow.text, i)))
		return i;
	if (loads_mark(q, i))
		return mark_store(&q->flow, i);
	*mark = false;
	return SIZE_MAX;
}

/* The end of the straight line around i that nobody jumps into after i. */
static size_t line_end(const struct site_flow *f, size_t i, size_t max)
{
	size_t end = i + 1;

	while (end < text_count(f->text) && end - i <= max && !site_flow_is_target(f, end) &&
	       site_flow_falls_through(text_at(f->text, end)))
		end++;
	return end;
}

/* A T_MOVED store and the store of the forwarding address next to it, by instruction index. */
struct move {
	size_t first, last;
	uint8_t from, to; /* registers that still hold both after `last` */
};

/* The store of the forwarding address into the slot that `mark` marks. */
static bool find_forward(const struct site_search *q, size_t mark, struct move *m)
{
	const struct site_flow *f = &q->flow;
	size_t lo = site_flow_last_join(f, site_flow_line_start(f, mark, FORWARD_NEAR), mark);
	size_t hi = line_end(f, mark, FORWARD_NEAR);
	uint8_t from = text_at(f->text, mark)->base;
	uint32_t slot = site_flow_value(f, lo, mark, from);

	for (size_t j = lo; j < hi; j++) {
		const struct insn *in = text_at(f->text, j);

		if (!insn_is_store(in, 8, q->moved_to) || in->src >= ARCH_REGS ||
		    site_flow_value(f, lo, j, in->base) != slot)
			continue;
		*m = (struct move){.first = j < mark ? j : mark,
				   .last = j < mark ? mark : j,
				   .from = from,
				   .to = in->src};
		return site_flow_value(f, lo, m->last + 1, from) == slot &&
		       site_flow_value(f, lo, m->last + 1, m->to) ==
			   site_flow_value(f, lo, j, m->to);
	}
	return false;
}

/*
 * After both stores: the next instruction if it has room for a jump; else the last store itself,
 * with the hook behind it; else the next two instructions. What runs before the hook must have come
 * through both stores, so nobody may jump to what we replace.
 */
static bool move_window(const struct site_flow *f, const struct move *m, struct site *s)
{
	size_t next = m->last + 1;
	bool next_ours;

	if (next >= text_count(f->text))
		return false;
	next_ours = !site_flow_is_target(f, next);
	if (next_ours && text_at(f->text, next)->len >= WINDOW_MIN && site_flow_window(f, next, s))
		return true;
	if (text_at(f->text, m->last)->len >= WINDOW_MIN && site_flow_window(f, m->last, s))
		return s->hook_after = true;
	return next_ours && site_flow_window(f, next, s);
}

static bool prove_move(const struct site_search *q, size_t mark, struct site *s)
{
	struct move m;

	*s = (struct site){.event = SITE_MOVE};
	if (!find_forward(q, mark, &m) || !move_window(&q->flow, &m, s))
		return false;
	s->obj = m.from;
	s->dst = m.to;
	s->flags_live = site_flow_flags_live(&q->flow, m.last + 1);
	s->why = "T_MOVED and the new address stored through the register";
	return true;
}

bool sites_move_find(const struct site_search *q, struct site *ret)
{
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < text_count(q->flow.text); i++) {
		bool mark;
		size_t store = moved_store(q, i, &mark);

		if (!mark)
			continue;
		if (store == SIZE_MAX || found != SIZE_MAX)
			return false;
		found = store;
	}
	return found != SIZE_MAX && prove_move(q, found, ret);
}
