/*
 * Allocation sites, family I: the instruction that counts.
 *
 *	mov    %rsi,(%rcx)		flags	the store pair: rcx is the new object
 *	mov    %rdi,0x8(%rcx)		class
 *	addq   $0x1,0x18(%rdx)		objspace->total_allocated_objects++	<- window
 *
 * Runs exactly once per object, in every inlined copy; flags and class are in place; the add
 * rewrites the flags, so the thunk need not keep them.
 */
#include "ruby/sites.h"

enum {
	PAIR_MAX = 40,   /* instructions from the first store of the pair to the increment */
	USE_MAX = 16,    /* instructions after the increment that may use the object */
	MOVED_NEAR = 16, /* instructions from 2.7's T_MOVED store to its increment */
	BODY_FIRST = 16, /* where an object's own words begin, and end, in a 40-byte slot */
	BODY_LAST = 32,
};

/* The stores that make a slot an object, and the registers that hold it by the straight line. */
struct new_object {
	size_t flags_store, class_store; /* instruction indices */
	uint8_t base;                    /* register of the later store */
	uint32_t value;                  /* of the object, in `at_site` */
	struct site_values at_site;
	bool ambiguous; /* two different objects before the increment */
};

static bool stores_flags(const struct insn *in)
{
	return insn_is_store(in, 16, 0) || (insn_is_store(in, 8, 0) && !site_stores_moved(in));
}

static bool stores_class(const struct insn *in)
{
	return insn_is_store(in, 16, 0) || insn_is_store(in, 16, 8) || insn_is_store(in, 8, 8);
}

/* The last store in [from, to) that `is` recognises, through a register of this value. */
static size_t last_store(const struct site_flow *f, size_t from, size_t to, uint32_t value,
			 bool (*is)(const struct insn *))
{
	for (size_t j = to; j-- > from;) {
		const struct insn *in = text_at(f->text, j);

		if (is(in) && site_flow_value(f, from, j, in->base) == value)
			return j;
	}
	return SIZE_MAX;
}

/* Remember the pair that ends with instruction j, if one does. */
static void pair_step(const struct site_flow *f, size_t start, size_t j, uint32_t value,
		      struct new_object *o, bool *have)
{
	size_t flags = last_store(f, start, j + 1, value, stores_flags);
	size_t class = last_store(f, start, j + 1, value, stores_class);

	if (flags == SIZE_MAX || class == SIZE_MAX)
		return;
	o->ambiguous |= *have && o->value != value;
	*have = true;
	o->value = value;
	o->base = text_at(f->text, j)->base;
	o->flags_store = flags;
	o->class_store = class;
}

/* The store pair before the increment at i, in straight line. A struct that counts in itself is no
 * object. */
static bool find_pair(const struct site_flow *f, size_t i, struct new_object *o)
{
	size_t start = site_flow_line_start(f, i, PAIR_MAX);
	bool have = false;

	*o = (struct new_object){0};
	site_values_init(&o->at_site);
	for (size_t j = start; j < i; j++) {
		const struct insn *in = text_at(f->text, j);

		if (stores_flags(in) || stores_class(in))
			pair_step(f, start, j, o->at_site.id[in->base], o, &have);
		site_values_step(&o->at_site, in);
	}
	return have && o->at_site.id[text_at(f->text, i)->base] != o->value;
}

/*
 * Proof (a): since the last place where control may jump in, the object was the base of a store of
 * the pair. Whoever came, that store made it the object; copies made since are as good, copies made
 * before are not (another predecessor need not have made them).
 */
static bool proven_by_store(const struct site_flow *f, size_t i, const struct new_object *o,
			    uint8_t *reg)
{
	size_t start = site_flow_line_start(f, i, PAIR_MAX);
	size_t join = site_flow_last_join(f, start, i);
	size_t store = o->flags_store > o->class_store ? o->flags_store : o->class_store;

	if (store < join)
		return false;
	uint32_t value = site_flow_value(f, join, store, o->base);

	if (site_flow_value(f, join, i, o->base) == value) {
		*reg = o->base;
		return true;
	}
	for (unsigned r = 0; r < ARCH_REGS; r++)
		if (r != REG_SP && site_flow_value(f, join, i, (uint8_t)r) == value) {
			*reg = (uint8_t)r;
			return true;
		}
	return false;
}

static bool stores_body(const struct insn *in)
{
	for (int64_t disp = BODY_FIRST; disp <= BODY_LAST; disp += 8)
		if (insn_is_store(in, 8, disp) || insn_is_store(in, 16, disp))
			return true;
	return false;
}

/* Is reg, as it is after instruction i, used as the object before the way forks: does a store fill
 * its body through it, or is it moved to where results are returned? That the result's register is
 * left alone until the return says nothing: the function may have no result. */
static bool used_as_object(const struct site_flow *f, size_t i, uint8_t reg)
{
	struct site_values v;

	site_values_init(&v);
	i = site_flow_next(f, i);
	for (size_t n = 0; n < USE_MAX && i != SIZE_MAX; n++, i = site_flow_next(f, i)) {
		const struct insn *in = text_at(f->text, i);

		if (in->op == OP_RET)
			return reg != REG_RET && v.id[REG_RET] == reg;
		if (stores_body(in) && v.id[in->base] == reg)
			return true;
		if (in->op != OP_JMP && (in->op == OP_JCC || !site_flow_falls_through(in)))
			return false;
		site_values_step(&v, in);
	}
	return false;
}

/* Proof (b): a register that holds the object by the straight line, and that the code after the
 * site uses as the object: that use is the same for every predecessor. */
static bool proven_by_use(const struct site_flow *f, size_t i, const struct new_object *o,
			  uint8_t *reg)
{
	for (unsigned r = 0; r < ARCH_REGS; r++)
		if (r != REG_SP && o->at_site.id[r] == o->value && used_as_object(f, i, (uint8_t)r)) {
			*reg = (uint8_t)r;
			return true;
		}
	return false;
}

static int prove_site(struct site_search *q, size_t i, const struct new_object *o, struct site *s,
		      struct err *e)
{
	const struct site_flow *f = &q->flow;
	uint64_t addr = text_at(f->text, i)->addr;

	*s = (struct site){.event = SITE_ALLOC};
	if (o->ambiguous)
		return err_set(e, ERR_UNSUPPORTED, "allocation at %#" PRIx64 ": two new objects",
			       addr);
	if (!site_flow_window(f, i, s))
		return err_set(e, ERR_UNSUPPORTED, "allocation at %#" PRIx64 ": no room for a jump",
			       addr);
	s->flags_live = site_flow_flags_live(f, i);
	if (proven_by_store(f, i, o, &s->obj))
		s->why =
		    "counter incremented after flags and class were stored through the register";
	else if (proven_by_use(f, i, o, &s->obj))
		s->why =
		    "counter incremented after flags and class were stored; used as object after";
	else
		return err_set(e, ERR_UNSUPPORTED,
			       "allocation at %#" PRIx64 ": no register is sure to hold the object",
			       addr);
	return 0;
}

/* 2.7's gc_move counts the moved object as a new one: T_MOVED is stored close before. */
static bool follows_move(const struct site_flow *f, size_t i)
{
	for (size_t j = site_flow_line_start(f, i, MOVED_NEAR); j < i; j++)
		if (site_stores_moved(text_at(f->text, j)))
			return true;
	return false;
}

/* An increment at the counter's offset: a site, somebody else's counter, or a reason to refuse. */
static int judge_increment(struct site_search *q, size_t i, struct err *e)
{
	const struct insn *in = text_at(q->flow.text, i);
	bool proven = site_objspace_proven(q, i, in->base);
	struct new_object o;
	struct site s;

	if (!find_pair(&q->flow, i, &o)) {
		if (!proven || follows_move(&q->flow, i))
			return 0;
		return err_set(e, ERR_UNSUPPORTED,
			       "allocation at %#" PRIx64
			       ": counted, but no object is stored before",
			       in->addr);
	}
	if (!proven && !site_objspace_likely(q, i, in->base))
		return err_set(e, ERR_UNSUPPORTED,
			       "allocation at %#" PRIx64 ": can't tell whose counter it increments",
			       in->addr);
	return prove_site(q, i, &o, &s, e) == -1 ? -1 : site_add(q, &s, e);
}

/* The objspace's counter written in another way than by adding 1: one more place that hands out
 * slots. */
static int judge_other_write(struct site_search *q, size_t i, struct err *e)
{
	const struct insn *in = text_at(q->flow.text, i);

	if (!site_objspace_loaded(q, i, in->base))
		return 0;
	return err_set(e, ERR_UNSUPPORTED,
		       "allocation counter written at %#" PRIx64 " in another way", in->addr);
}

static bool writes_counter(const struct site_search *q, const struct insn *in)
{
	return insn_has_field(in) && in->mem_write && in->mem_size >= 4 &&
	       in->disp <= q->total_allocated && in->disp + in->mem_size > q->total_allocated;
}

int sites_counter_find(struct site_search *q, struct err *e)
{
	const struct text *t = q->flow.text;

	for (size_t i = 0; i < text_count(t); i++) {
		const struct insn *in = text_at(t, i);
		int rc = 0;

		if (site_is_increment(q, in))
			rc = judge_increment(q, i, e);
		else if (writes_counter(q, in))
			rc = judge_other_write(q, i, e);
		if (rc == -1)
			return -1;
	}
	if (q->list.n == 0)
		return err_set(e, ERR_UNSUPPORTED, "no place that allocates objects was found");
	return 0;
}
