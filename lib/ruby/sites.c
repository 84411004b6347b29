/* Which family of finders serves which Ruby, and what all of them share. */
#include "ruby/sites.h"

#include <stdlib.h>

enum {
	NEAR_BEFORE = 40, /* instructions around a use of the objspace that may show what it is */
	NEAR_AFTER = 8,
	HEAD_MAX = 0x4000, /* offsets a layout row may claim */
};

typedef int site_family_fn(struct site_search *q, bool *moves_known, struct err *e);

struct site_family {
	uint32_t from, until;
	site_family_fn *find;
	uint64_t qundef;  /* include/ruby/internal/special_consts.h */
	int32_t moved_to; /* gc.c, struct RMoved */
};

/* Family I: every inlined copy of newobj counts in objspace->total_allocated_objects. */
static int family_counter(struct site_search *q, bool *moves_known, struct err *e)
{
	struct site move;

	if (sites_counter_find(q, e) == -1 || sites_check_complete(q, e) == -1 ||
	    sites_sweep_find(q, e) == -1)
		return -1;
	*moves_known = sites_move_find(q, &move);
	return *moves_known ? site_add(q, &move, e) : 0;
}

static const struct site_family families[] = {
	{
		.from = RUBY_VERSION_OF(3, 1, 0),
		.until = RUBY_VERSION_OF(3, 2, 0),
		.find = family_counter,
		.qundef = 0x34,
		.moved_to = 16,
	},
};

static const struct site_family *family_of(const struct ruby_version *v)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (v->num >= families[i].from && v->num < families[i].until)
			return &families[i];
	return NULL;
}

static int site_cmp(const void *a, const void *b)
{
	const struct site *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int search_init(struct site_search *q, const struct text *t, const struct ruby_code *code,
		       const struct ruby_layout *lay, struct err *e)
{
	*q = (struct site_search){
	    .total_allocated = lay->objspace.total_allocated,
	    .flags = code->objspace_flags,
	    .hook_events = code->objspace_flags + 4, /* gc.c, struct rb_objspace: 2.7 to 3.3 */
	};
	if (code->objspace_flags != lay->objspace.flags)
		return err_set(e, ERR_UNSUPPORTED,
			       "the objspace's flags are at %d in code, at %d in the layout",
			       code->objspace_flags, lay->objspace.flags);
	if (q->total_allocated < 0 || q->total_allocated > HEAD_MAX)
		return err_set(e, ERR_UNSUPPORTED, "no allocation counter in this Ruby's layout");
	if (vm_access_derive(t, "rb_during_gc", &q->vm, e) == -1)
		return -1;
	return site_flow_init(t, &q->flow, e);
}

int ruby_sites_find(const struct text *t, const struct ruby_version *v,
		    const struct ruby_code *code, const struct ruby_layout *lay,
		    struct site_list *ret, bool *moves_known, struct err *e)
{
	const struct site_family *family = family_of(v);
	struct site_search q;
	int rc;

	*ret = (struct site_list){0};
	*moves_known = false;
	if (!family)
		return err_set(e, ERR_UNSUPPORTED, "Ruby %s: how it allocates is not known",
			       v->text);
	if (search_init(&q, t, code, lay, e) == -1)
		return -1;
	q.qundef = family->qundef;
	q.moved_to = family->moved_to;
	rc = family->find(&q, moves_known, e);
	site_flow_deinit(&q.flow);
	if (rc == -1) {
		site_list_deinit(&q.list);
		return -1;
	}
	qsort(q.list.v, q.list.n, sizeof(*q.list.v), site_cmp);
	*ret = q.list;
	return 0;
}

void site_list_deinit(struct site_list *l)
{
	free(l->v);
	*l = (struct site_list){0};
}

int site_add(struct site_search *q, const struct site *s, struct err *e)
{
	if (q->list.n == q->room) {
		size_t room = q->room ? 2 * q->room : 16;
		struct site *v = reallocarray(q->list.v, room, sizeof(*v));

		if (!v)
			return err_set(e, ERR_NOMEM, "site list: out of memory");
		q->list.v = v;
		q->room = room;
	}
	q->list.v[q->list.n++] = *s;
	return 0;
}

/* -- what the objspace looks like in code ---------------------------------------------------- */

bool site_tests_bit(const struct site_flow *f, size_t i, int32_t disp, unsigned bit)
{
	const struct insn *in = text_at(f->text, i);
	int64_t off = in->disp - disp;

	if (in->op != OP_TEST || !insn_has_field(in) || !in->has_imm || in->mem_size > 4)
		return false;
	if (off < 0 || off > 3)
		return false;
	uint64_t mask = (uint64_t)in->imm & ((1ull << 8 * in->mem_size) - 1);

	return mask << 8 * off == 1ull << bit;
}

static bool loads_vm_address(const struct site_flow *f, size_t i, const void *arg)
{
	const struct site_search *q = arg;
	const struct insn *in = text_at(f->text, i);

	if (in->base != ARCH_REG_PC)
		return false;
	if (in->op == OP_LEA)
		return (uint64_t)in->disp == q->vm.var;
	return insn_is_load8(in) && q->vm.slot != 0 && (uint64_t)in->disp == q->vm.slot;
}

static bool loads_vm(const struct site_flow *f, size_t i, const void *arg)
{
	const struct site_search *q = arg;
	const struct insn *in = text_at(f->text, i);

	if (!insn_is_load8(in))
		return false;
	if (in->base == ARCH_REG_PC)
		return (uint64_t)in->disp == q->vm.var;
	return in->disp == 0 && site_flow_defined_by(f, i, in->base, loads_vm_address, arg);
}

static bool loads_objspace_offset(const struct site_flow *f, size_t i, const void *arg)
{
	const struct site_search *q = arg;
	const struct insn *in = text_at(f->text, i);

	return insn_is_load8(in) && insn_has_field(in) && in->disp == q->vm.vm_objspace;
}

static bool loads_objspace(const struct site_flow *f, size_t i, const void *arg)
{
	return loads_objspace_offset(f, i, arg) &&
	       site_flow_defined_by(f, i, text_at(f->text, i)->base, loads_vm, arg);
}

bool site_loads_objspace(const struct site_search *q, size_t i)
{
	return loads_objspace(&q->flow, i, q);
}

/* NEWOBJ in the event mask, or during_gc (bit 5) in the flags, alone or with its neighbours. */
static bool tests_objspace(const struct site_search *q, size_t i, uint8_t reg)
{
	const struct insn *in = text_at(q->flow.text, i);

	if (in->base != reg || in->op != OP_TEST)
		return false;
	if (site_tests_bit(&q->flow, i, q->hook_events, EVENT_NEWOBJ_BIT))
		return true;
	return insn_has_field(in) && in->has_imm && in->disp == q->flags && (in->imm & 0x20) != 0;
}

static bool tested_near(const struct site_search *q, size_t i, uint8_t reg)
{
	const struct text *t = q->flow.text;
	size_t start = site_flow_line_start(&q->flow, i, NEAR_BEFORE);

	for (size_t j = i; j > start && !(text_at(t, j - 1)->regs_written >> reg & 1); j--)
		if (tests_objspace(q, j - 1, reg))
			return true;
	for (size_t n = 0, j = i; n < NEAR_AFTER && j != SIZE_MAX;
	     n++, j = site_flow_next(&q->flow, j)) {
		if (tests_objspace(q, j, reg))
			return true;
		if (text_at(t, j)->regs_written >> reg & 1)
			break;
	}
	return false;
}

bool site_objspace_loaded(const struct site_search *q, size_t i, uint8_t reg)
{
	return site_flow_defined_by(&q->flow, i, reg, loads_objspace, q);
}

bool site_objspace_proven(const struct site_search *q, size_t i, uint8_t reg)
{
	return tested_near(q, i, reg) || site_objspace_loaded(q, i, reg);
}

bool site_objspace_likely(const struct site_search *q, size_t i, uint8_t reg)
{
	return site_flow_defined_by(&q->flow, i, reg, loads_objspace_offset, q);
}

bool site_stores_moved(const struct insn *in)
{
	return insn_is_store(in, 8, 0) && in->has_imm && in->imm == T_MOVED_FLAGS;
}

bool site_is_increment(const struct site_search *q, const struct insn *in)
{
	return in->op == OP_ADD && insn_has_field(in) && in->mem_write && in->mem_size == 8 &&
	       in->has_imm && in->imm == 1 && in->disp == q->total_allocated;
}
