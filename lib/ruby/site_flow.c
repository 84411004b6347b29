#include "ruby/site_flow.h"

#include "code/flow.h"

#include <stdlib.h>
#include <string.h>

enum {
	JUMP_LEN = 5,         /* of the jump that will fill a window */
	FLAGS_SCAN_MAX = 32,  /* instructions; longer ways count as live */
	DEF_SEARCH_MAX = 512, /* instructions of one definition search, all ways together */
	DEF_JOINS_MAX = 32,   /* branch targets on these ways */
};

static int edge_cmp(const void *a, const void *b)
{
	const struct site_flow_edge *x = a, *y = b;

	if (x->to != y->to)
		return x->to < y->to ? -1 : 1;
	return x->from < y->from ? -1 : x->from > y->from;
}

static bool is_direct(const struct insn *in)
{
	return in->op == OP_JCC || in->op == OP_JMP || in->op == OP_CALL;
}

/* Collects edges; `failed` sticks, so that the walkers need not stop. */
struct edge_list {
	struct site_flow *f;
	size_t room;
	bool failed;
};

static void edge_add(struct edge_list *l, uint64_t target, size_t from)
{
	size_t to = text_index(l->f->text, target, false);

	if (to == SIZE_MAX || l->failed)
		return;
	if (l->f->edges == l->room) {
		size_t room = l->room + l->room / 2;
		struct site_flow_edge *edge = reallocarray(l->f->edge, room, sizeof(*edge));

		if (!edge) {
			l->failed = true;
			return;
		}
		l->f->edge = edge;
		l->room = room;
	}
	l->f->edge[l->f->edges++] = (struct site_flow_edge){.to = to, .from = from};
}

static void table_edge_add(void *arg, uint64_t target)
{
	edge_add(arg, target, SIZE_MAX);
}

static int edges_collect(struct site_flow *f, struct err *e)
{
	struct edge_list l = {.f = f, .room = text_count(f->text) / 4 + 64};

	f->edge = calloc(l.room, sizeof(*f->edge));
	if (!f->edge)
		return err_set(e, ERR_NOMEM, "branch table: out of memory");
	for (size_t i = 0; i < text_count(f->text); i++)
		if (is_direct(text_at(f->text, i)))
			edge_add(&l, text_at(f->text, i)->target, i);
	if (flow_each_table_entry(f->text, table_edge_add, &l, e) == -1)
		return -1;
	return l.failed ? err_set(e, ERR_NOMEM, "branch table: out of memory") : 0;
}

int site_flow_init(const struct text *t, struct site_flow *ret, struct err *e)
{
	*ret = (struct site_flow){.text = t};
	if (edges_collect(ret, e) == -1) {
		site_flow_deinit(ret);
		return -1;
	}
	qsort(ret->edge, ret->edges, sizeof(*ret->edge), edge_cmp);
	return 0;
}

void site_flow_deinit(struct site_flow *f)
{
	free(f->edge);
	*f = (struct site_flow){0};
}

/* Index of the first edge to instruction i, or where it would be. */
static size_t first_edge(const struct site_flow *f, size_t i)
{
	size_t lo = 0, hi = f->edges;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->edge[mid].to < i)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool site_flow_is_target(const struct site_flow *f, size_t i)
{
	return text_is_target(f->text, text_at(f->text, i)->addr);
}

static bool ends_line(const struct insn *in)
{
	switch (in->op) {
	case OP_JMP:
	case OP_JMP_IND:
	case OP_RET:
	case OP_STOP:
	case OP_BAD:
		return true;
	default:
		return false;
	}
}

bool site_flow_falls_through(const struct insn *in)
{
	return !ends_line(in) && in->op != OP_CALL && in->op != OP_CALL_IND;
}

size_t site_flow_line_start(const struct site_flow *f, size_t i, size_t max)
{
	size_t start = i;

	while (start > 0 && i - start < max && site_flow_falls_through(text_at(f->text, start - 1)))
		start--;
	return start;
}

size_t site_flow_last_join(const struct site_flow *f, size_t start, size_t i)
{
	for (size_t j = i; j > start; j--)
		if (site_flow_is_target(f, j))
			return j;
	return start;
}

size_t site_flow_next(const struct site_flow *f, size_t i)
{
	const struct insn *in = text_at(f->text, i);

	if (in->op == OP_JMP)
		return text_index(f->text, in->target, false);
	if (ends_line(in) || i + 1 >= text_count(f->text))
		return SIZE_MAX;
	return i + 1;
}

void site_values_init(struct site_values *v)
{
	for (unsigned r = 0; r < ARCH_REGS; r++)
		v->id[r] = r;
	v->fresh = ARCH_REGS;
}

static bool is_copy(const struct insn *in)
{
	return in->op == OP_MOV && !in->has_mem && !in->has_imm && in->reg_size == 8 &&
	       in->src < ARCH_REGS && in->dst < ARCH_REGS;
}

void site_values_step(struct site_values *v, const struct insn *in)
{
	if (is_copy(in)) {
		v->id[in->dst] = v->id[in->src];
		return;
	}
	for (unsigned r = 0; r < ARCH_REGS; r++)
		if (in->regs_written >> r & 1)
			v->id[r] = v->fresh++;
}

uint32_t site_flow_value(const struct site_flow *f, size_t from, size_t at, uint8_t reg)
{
	struct site_values v;

	site_values_init(&v);
	for (size_t i = from; i < at; i++)
		site_values_step(&v, text_at(f->text, i));
	return v.id[reg];
}

bool insn_has_field(const struct insn *in)
{
	return in->has_mem && in->base < ARCH_REGS && in->base != REG_SP &&
	       in->index == ARCH_REG_NONE && !in->seg_fs;
}

bool insn_is_load8(const struct insn *in)
{
	return in->op == OP_MOV && in->has_mem && in->mem_read && !in->mem_write &&
	       in->mem_size == 8 && in->index == ARCH_REG_NONE && !in->seg_fs &&
	       in->dst < ARCH_REGS;
}

bool insn_is_store(const struct insn *in, unsigned size, int64_t disp)
{
	return in->op == (size == 16 ? OP_MOVV : OP_MOV) && insn_has_field(in) && in->mem_write &&
	       in->mem_size == size && in->disp == disp;
}

/* -- where a value came from ----------------------------------------------------------------- */

struct def_search {
	const struct site_flow *f;
	site_flow_def_fn *fn;
	const void *arg;
	size_t left; /* instructions we may still look at */
	struct def_join {
		size_t at;
		uint8_t reg;
	} seen[DEF_JOINS_MAX];
	size_t nseen;
};

static bool search_back(struct def_search *s, size_t at, uint8_t reg);

/* 1 good, 0 not good, -1 not defined here (reg may have changed its name). */
static int judge_definition(struct def_search *s, size_t i, uint8_t *reg)
{
	const struct insn *in = text_at(s->f->text, i);

	if (!(in->regs_written >> *reg & 1))
		return -1;
	if (is_copy(in)) {
		*reg = in->src;
		return -1;
	}
	return s->fn(s->f, i, s->arg);
}

/* A join we have been at is either proven already or lies on a loop, which adds no definition of
 * its own: one bad way ends the whole search. */
static bool join_seen(const struct def_search *s, size_t at, uint8_t reg)
{
	for (size_t k = 0; k < s->nseen; k++)
		if (s->seen[k].at == at && s->seen[k].reg == reg)
			return true;
	return false;
}

/* All who jump to instruction `at` must bring a good definition. A call among them makes it a
 * function's entry, where reg is whatever the caller had; of a switch table's entry we don't know
 * who comes. */
static bool search_jumps(struct def_search *s, size_t at, uint8_t reg)
{
	const struct site_flow *f = s->f;
	size_t k = first_edge(f, at);

	if (k == f->edges || f->edge[k].to != at || s->nseen == DEF_JOINS_MAX)
		return false;
	s->seen[s->nseen++] = (struct def_join){.at = at, .reg = reg};
	for (; k < f->edges && f->edge[k].to == at; k++)
		if (f->edge[k].from == SIZE_MAX ||
		    text_at(f->text, f->edge[k].from)->op == OP_CALL ||
		    !search_back(s, f->edge[k].from, reg))
			return false;
	return true;
}

/* Does control fall into instruction `at` from the one before? Padding behind a function's or a
 * block's end is passed by nobody. */
static bool falls_into(const struct site_flow *f, size_t at)
{
	while (at > 0 && text_at(f->text, at - 1)->op == OP_NOP && !site_flow_is_target(f, at - 1))
		at--;
	return at > 0 && !ends_line(text_at(f->text, at - 1));
}

/* Is reg's value on entry to instruction `at` defined as wanted, whichever way control came? */
static bool search_back(struct def_search *s, size_t at, uint8_t reg)
{
	while (s->left-- > 0) {
		bool target = site_flow_is_target(s->f, at);
		int verdict;

		if (target && join_seen(s, at, reg))
			return true;
		if (target && !search_jumps(s, at, reg))
			return false;
		if (!falls_into(s->f, at))
			return target;
		verdict = judge_definition(s, --at, &reg);
		if (verdict != -1)
			return verdict;
	}
	s->left = 0;
	return false;
}

bool site_flow_defined_by(const struct site_flow *f, size_t at, uint8_t reg, site_flow_def_fn *fn,
			  const void *arg)
{
	struct def_search s = {.f = f, .fn = fn, .arg = arg, .left = DEF_SEARCH_MAX};

	return reg < ARCH_REGS && search_back(&s, at, reg);
}

/* -- flags and windows ----------------------------------------------------------------------- */

bool site_flow_flags_live(const struct site_flow *f, size_t i)
{
	for (size_t n = 0; n < FLAGS_SCAN_MAX && i != SIZE_MAX; n++, i = site_flow_next(f, i)) {
		const struct insn *in = text_at(f->text, i);

		if (in->flags_read || in->op == OP_JCC || in->op == OP_JMP_IND)
			return true;
		/* the calling convention carries no arithmetic flags */
		if (in->flags_written || in->op == OP_CALL || in->op == OP_CALL_IND ||
		    in->op == OP_RET)
			return false;
	}
	return true;
}

static bool can_displace(const struct insn *in, bool last)
{
	switch (in->op) {
	case OP_JCC:
	case OP_JMP:
		return last;
	default:
		return site_flow_falls_through(in);
	}
}

bool site_flow_window(const struct site_flow *f, size_t i, struct site *s)
{
	const struct insn *first = text_at(f->text, i);
	const void *bytes;

	*s = (struct site){.event = s->event, .addr = first->addr, .len = first->len, .ninsn = 1};
	if (s->len < JUMP_LEN) {
		if (i + 1 >= text_count(f->text) || site_flow_is_target(f, i + 1) ||
		    !can_displace(first, false) || !can_displace(text_at(f->text, i + 1), true))
			return false;
		s->len = (uint8_t)(s->len + text_at(f->text, i + 1)->len);
		s->ninsn = 2;
	}
	if (!can_displace(first, s->ninsn == 1) || s->len < JUMP_LEN || s->len > SITE_WINDOW_MAX)
		return false;
	bytes = image_bytes(text_image(f->text), s->addr, s->len);
	if (!bytes)
		return false;
	memcpy(s->old, bytes, s->len);
	return true;
}
