/*
 * Is the set of allocation sites complete? Two independent witnesses: every test for a NEWOBJ hook
 * follows an allocation, and every exported allocator comes by a site.
 */
#include "ruby/sites.h"

#include <stdlib.h>
#include <string.h>

enum {
	GUARD_NEAR = 16,   /* instructions from a site to the NEWOBJ test that belongs to it */
	CALLS_MAX = 2,     /* calls deep an allocator may hand on its job */
	WALK_MAX = 20000,  /* instructions of one walk */
	STARTS_MAX = 4096, /* branch targets waiting in one walk */
};

static const char *const allocators[] = {
	"rb_newobj",
	"rb_newobj_of",
	"rb_wb_protected_newobj_of",
	"rb_wb_unprotected_newobj_of",
	"rb_ec_wb_protected_newobj_of",
	"rb_data_object_wrap",
	"rb_data_typed_object_wrap",
	"rb_data_typed_object_zalloc",
	"rb_imemo_new",
};

static bool is_site(const struct site_search *q, uint64_t addr)
{
	for (size_t k = 0; k < q->list.n; k++)
		if (q->list.v[k].event == SITE_ALLOC && q->list.v[k].addr == addr)
			return true;
	return false;
}

/* -- NEWOBJ tests ---------------------------------------------------------------------------- */

static bool site_leads_to(const struct site_flow *f, const struct site *s, size_t guard)
{
	size_t i = text_index(f->text, s->addr, false);

	for (size_t n = 0; n < GUARD_NEAR && i != SIZE_MAX; n++, i = site_flow_next(f, i))
		if (i == guard)
			return true;
	return false;
}

static int check_guards(const struct site_search *q, struct err *e)
{
	const struct site_flow *f = &q->flow;

	for (size_t i = 0; i < text_count(f->text); i++) {
		bool covered = false;

		if (!site_tests_bit(f, i, q->hook_events, EVENT_NEWOBJ_BIT))
			continue;
		for (size_t k = 0; k < q->list.n && !covered; k++)
			covered = site_leads_to(f, &q->list.v[k], i);
		if (!covered)
			return err_set(e, ERR_UNSUPPORTED,
				       "NEWOBJ is tested at %#" PRIx64
				       " without an allocation site before",
				       text_at(f->text, i)->addr);
	}
	return 0;
}

/* -- exported allocators --------------------------------------------------------------------- */

/* All that can run from a function's entry on, some calls deep. */
struct walk {
	const struct site_search *q;
	const struct image_sym *sym;
	uint8_t *seen;  /* by instruction index */
	size_t *starts; /* STARTS_MAX: where to go on at this depth, from the front ... */
	size_t now;     /* ... and, from the back, at the next */
	size_t next;
	size_t left;
	bool site;       /* a site was reached */
	bool elsewhere;  /* the way leaves what we can follow: the PLT, a pointer */
	bool own_object; /* the function itself loads the objspace */
};

static void walk_to(struct walk *w, uint64_t addr, bool call)
{
	size_t i = text_index(w->q->flow.text, addr, false);

	if (i == SIZE_MAX || w->now + w->next == STARTS_MAX)
		w->elsewhere = true;
	else if (call)
		w->starts[STARTS_MAX - ++w->next] = i;
	else
		w->starts[w->now++] = i;
}

static void walk_insn(struct walk *w, size_t i)
{
	const struct insn *in = text_at(w->q->flow.text, i);

	w->site |= is_site(w->q, in->addr);
	w->own_object |= in->addr - w->sym->addr < w->sym->size && site_loads_objspace(w->q, i);
	switch (in->op) {
	case OP_JCC:
	case OP_CALL:
		walk_to(w, in->target, in->op == OP_CALL);
		break;
	case OP_JMP:
		if (text_index(w->q->flow.text, in->target, false) == SIZE_MAX)
			w->elsewhere = true;
		break;
	case OP_CALL_IND:
	case OP_JMP_IND:
		w->elsewhere = true;
		break;
	default:
		break;
	}
}

static void walk_line(struct walk *w, size_t i)
{
	for (; i != SIZE_MAX && !w->seen[i] && w->left > 0; i = site_flow_next(&w->q->flow, i)) {
		w->seen[i] = 1;
		w->left--;
		walk_insn(w, i);
	}
}

static void walk_function(struct walk *w)
{
	walk_to(w, w->sym->addr, false);
	for (int depth = 0; depth <= CALLS_MAX; depth++) {
		while (w->now > 0 && !w->site)
			walk_line(w, w->starts[--w->now]);
		/* the next depth's starts move to the front */
		for (; w->next > 0; w->next--)
			w->starts[w->now++] = w->starts[STARTS_MAX - w->next];
	}
}

/*
 * In a shared library exported functions call each other through the PLT, whose names can't be
 * resolved here (rb_data_typed_object_zalloc calls nothing but rb_data_typed_object_wrap@plt). Such
 * a way is taken to end in another exported allocator, which has its own check, unless the function
 * reaches for the objspace itself: then it hands out the slot and must have a site.
 */
static int judge_walk(const struct walk *w, struct err *e)
{
	if (w->site || (w->elsewhere && !w->own_object))
		return 0;
	return err_set(e, ERR_UNSUPPORTED, "%s: reaches no allocation site", w->sym->name);
}

static int check_allocator(struct walk *w, const char *name, bool *reached, struct err *e)
{
	struct image_sym sym;

	if (image_sym(text_image(w->q->flow.text), name, &sym, e) == -1)
		return 0; /* not every version exports every one */
	memset(w->seen, 0, text_count(w->q->flow.text));
	*w = (struct walk){
	    .q = w->q, .sym = &sym, .seen = w->seen, .starts = w->starts, .left = WALK_MAX};
	walk_function(w);
	*reached |= w->site;
	return judge_walk(w, e);
}

static int check_allocators(const struct site_search *q, struct err *e)
{
	struct walk w = {.q = q};
	bool reached = false;
	int rc = 0;

	w.seen = calloc(text_count(q->flow.text) + 1, 1);
	w.starts = calloc(STARTS_MAX, sizeof(*w.starts));
	if (!w.seen || !w.starts)
		rc = err_set(e, ERR_NOMEM, "walk of the allocators: out of memory");
	for (size_t k = 0; rc == 0 && k < sizeof(allocators) / sizeof(allocators[0]); k++)
		rc = check_allocator(&w, allocators[k], &reached, e);
	free(w.seen);
	free(w.starts);
	if (rc == 0 && !reached)
		return err_set(e, ERR_UNSUPPORTED, "no exported allocator reaches a site");
	return rc;
}

int sites_check_complete(const struct site_search *q, struct err *e)
{
	return check_guards(q, e) == -1 ? -1 : check_allocators(q, e);
}
