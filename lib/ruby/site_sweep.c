/*
 * The free site, families I and K (2.7 to 3.3): where the sweep asks if somebody wants FREEOBJ.
 *
 *	testb  $0x20,0x16(%r9)		objspace->hook_events, bit 21	<- window, if 5 bytes
 *	jne    slow						<- else this one, if 5 bytes
 *	...
 * slow: mov   %rbx,%rdx		rbx is the object
 *	mov    $0x200000,%esi		RUBY_INTERNAL_EVENT_FREEOBJ
 *	call   gc_event_hook_body(ec, event, object)
 *
 * Runs once for every object about to be freed, while its contents are intact.
 */
#include "ruby/sites.h"

enum {
	SLOW_MAX = 60,   /* instructions of the slow branch up to its event constant */
	FAST_MAX = 16,   /* instructions of the fast branch that may read the object */
	BEFORE_MAX = 40, /* instructions before the test that may read the object */
	JCC_MIN = 5,     /* bytes of a jump that can be replaced alone */
};

/* What the branch at `start` says: does it announce FREEOBJ, and of which register (as it is at the
 * test)? */
struct branch {
	bool announces;
	uint8_t obj;
};

static bool is_freeobj(const struct insn *in)
{
	return in->has_imm && in->imm == 1 << EVENT_FREEOBJ_BIT;
}

static bool is_call(const struct insn *in)
{
	return in->op == OP_CALL || in->op == OP_CALL_IND;
}

/* The register whose value at the branch's start is the third argument now; that argument's own
 * register does not count, it would be one that nobody set. */
static uint8_t third_argument(const struct site_values *v)
{
	uint32_t id = v->id[REG_ARG3];

	return id < ARCH_REGS && id != REG_ARG3 && id != REG_SP ? (uint8_t)id : ARCH_REG_NONE;
}

static struct branch branch_read(const struct site_flow *f, size_t start)
{
	struct branch b = {.obj = ARCH_REG_NONE};
	struct site_values v;

	site_values_init(&v);
	for (size_t n = 0, i = start; n < SLOW_MAX && i != SIZE_MAX;
	     n++, i = site_flow_next(f, i)) {
		const struct insn *in = text_at(f->text, i);

		b.announces |= is_freeobj(in);
		if (b.announces && is_call(in)) {
			b.obj = third_argument(&v);
			break;
		}
		site_values_step(&v, in);
	}
	return b;
}

/* The register through which the fast branch first reads an object's flags. */
static uint8_t fast_reads(const struct site_flow *f, size_t start)
{
	struct site_values v;

	site_values_init(&v);
	for (size_t n = 0, i = start; n < FAST_MAX && i != SIZE_MAX;
	     n++, i = site_flow_next(f, i)) {
		const struct insn *in = text_at(f->text, i);

		if (is_call(in))
			break;
		if (insn_is_load8(in) && insn_has_field(in) && in->disp == 0) {
			uint32_t id = v.id[in->base];

			return id < ARCH_REGS ? (uint8_t)id : ARCH_REG_NONE;
		}
		site_values_step(&v, in);
	}
	return ARCH_REG_NONE;
}

/* True if reg at the test is what the last read of an object's flags before it went through. */
static bool read_before(const struct site_flow *f, size_t test, uint8_t reg)
{
	uint32_t value = UINT32_MAX;
	struct site_values v;

	site_values_init(&v);
	for (size_t j = site_flow_line_start(f, test, BEFORE_MAX); j < test; j++) {
		const struct insn *in = text_at(f->text, j);

		if (insn_is_load8(in) && insn_has_field(in) && in->disp == 0)
			value = v.id[in->base];
		site_values_step(&v, in);
	}
	return value != UINT32_MAX && v.id[reg] == value;
}

/* The object at the test. First witness: the argument of the hook, the same whoever came to the
 * test. Where the hook's body is inlined: what both the code before and the fast branch read. */
static bool prove_object(const struct site_flow *f, size_t test, const struct branch *slow,
			 size_t fast, struct site *s)
{
	uint8_t reg = slow->obj;

	if (reg != ARCH_REG_NONE) {
		s->why = "FREEOBJ test of the sweep; object is the hook's argument";
	} else {
		reg = fast_reads(f, fast);
		if (reg == ARCH_REG_NONE || reg == REG_SP || !read_before(f, test, reg))
			return false;
		s->why = "FREEOBJ test of the sweep; object is read before and after";
	}
	s->obj = reg;
	return true;
}

/*
 * The test, if it has room for a jump: it rewrites the flags, none need be kept. Else the jump
 * after it alone, with the test run again after the hook, so that the flags it reads are right.
 * Else both.
 */
static bool sweep_window(const struct site_flow *f, size_t test, struct site *s)
{
	const struct insn *in = text_at(f->text, test), *jcc = text_at(f->text, test + 1);
	bool jcc_alone = in->len < JCC_MIN && jcc->len >= JCC_MIN;

	if (!site_flow_window(f, jcc_alone ? test + 1 : test, s))
		return false;
	if (jcc_alone)
		s->redo_len = in->len;
	return true;
}

static int refuse(const struct site_flow *f, size_t test, const char *why, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "sweep at %#" PRIx64 ": %s",
		       text_at(f->text, test)->addr, why);
}

static int prove_site(const struct site_flow *f, size_t test, struct site *s, struct err *e)
{
	const struct insn *jcc = test + 1 < text_count(f->text) ? text_at(f->text, test + 1) : NULL;

	if (!jcc || jcc->op != OP_JCC)
		return refuse(f, test, "no jump follows the test of the FREEOBJ event", e);
	/* who jumps to the jump brings flags of another test: it would be run again wrongly */
	if (site_flow_is_target(f, test + 1))
		return refuse(f, test, "a branch goes between the test and its jump", e);

	size_t taken = text_index(f->text, jcc->target, false), passed = test + 2;
	struct branch at_taken = {0}, at_passed = {0};

	if (taken != SIZE_MAX)
		at_taken = branch_read(f, taken);
	if (passed < text_count(f->text))
		at_passed = branch_read(f, passed);
	if (at_taken.announces == at_passed.announces)
		return refuse(f, test, "not one of its branches announces FREEOBJ", e);
	*s = (struct site){.event = SITE_FREE};
	if (!sweep_window(f, test, s))
		return refuse(f, test, "no room for a jump", e);
	if (at_taken.announces ? !prove_object(f, test, &at_taken, passed, s)
			       : !prove_object(f, test, &at_passed, taken, s))
		return refuse(f, test, "no register is sure to hold the object", e);
	return 0;
}

int sites_sweep_find(struct site_search *q, struct err *e)
{
	const struct text *t = q->flow.text;
	size_t found = SIZE_MAX;
	struct site s;

	for (size_t i = 0; i < text_count(t); i++) {
		if (!site_tests_bit(&q->flow, i, q->hook_events, EVENT_FREEOBJ_BIT))
			continue;
		if (found != SIZE_MAX)
			return err_set(e, ERR_UNSUPPORTED,
				       "two places test for FREEOBJ: %#" PRIx64 " and %#" PRIx64,
				       text_at(t, found)->addr, text_at(t, i)->addr);
		found = i;
	}
	if (found == SIZE_MAX)
		return err_set(e, ERR_UNSUPPORTED, "no place that frees objects was found");
	return prove_site(&q->flow, found, &s, e) == -1 ? -1 : site_add(q, &s, e);
}
