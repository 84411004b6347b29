/* Switch tables: found by the addresses that the code takes, bounded by the next such address. */
#include "code/flow.h"

#include <stdlib.h>
#include <string.h>

/* Entries of a table. Compilers make one from four or five cases on; two that look like code in a
 * row are chance. The largest of Ruby's switches has a few hundred. */
enum { TABLE_MIN = 3, TABLE_MAX = 8192 };

/* A possible table. */
struct start {
	uint64_t addr;
	size_t width; /* bytes of an entry: 4, a distance from addr; 8, an address */
};

struct starts {
	struct start *v; /* ascending by addr */
	size_t n;
};

static bool names_distances(const struct insn *in)
{
	return in->op == OP_LEA && in->base == ARCH_REG_PC;
}

static bool names_addresses(const struct insn *in)
{
	return (in->op == OP_JMP_IND || in->op == OP_MOV) && in->has_mem && in->mem_read &&
	       !in->seg_fs && in->base == ARCH_REG_NONE && in->index != ARCH_REG_NONE &&
	       in->scale == 8;
}

static int start_compare(const void *pa, const void *pb)
{
	const struct start *a = pa, *b = pb;

	return (a->addr > b->addr) - (a->addr < b->addr);
}

static int starts_init(struct starts *s, const struct text *t, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < text_count(t); i++)
		n += names_distances(text_at(t, i)) || names_addresses(text_at(t, i));
	*s = (struct starts){.v = calloc(n + 1, sizeof(*s->v))};
	if (s->v == NULL)
		return err_set(e, ERR_NOMEM, "%s: %zu tables: out of memory",
			       image_name(text_image(t)), n);
	for (size_t i = 0; i < text_count(t); i++) {
		const struct insn *in = text_at(t, i);
		if (names_distances(in))
			s->v[s->n++] = (struct start){(uint64_t)in->disp, 4};
		else if (names_addresses(in))
			s->v[s->n++] = (struct start){(uint64_t)in->disp, 8};
	}
	qsort(s->v, s->n, sizeof(*s->v), start_compare);
	return 0;
}

/* The code address that an entry means; false if it is no instruction's: the table has ended. */
static bool entry_read(const struct text *t, const struct start *s, size_t i, uint64_t *target)
{
	const void *p = image_bytes(text_image(t), s->addr + i * s->width, s->width);
	int32_t distance;

	if (p == NULL)
		return false;
	if (s->width == 4) {
		memcpy(&distance, p, sizeof(distance));
		*target = s->addr + (uint64_t)(int64_t)distance;
	} else {
		memcpy(target, p, sizeof(*target));
	}
	return text_index(t, *target, false) != SIZE_MAX;
}

static void table_walk(const struct text *t, const struct start *s, uint64_t end,
		       void (*fn)(void *arg, uint64_t target), void *arg)
{
	uint64_t target;
	size_t n = 0;

	if (s->addr % s->width != 0)
		return;
	while (n < TABLE_MAX && s->addr + n * s->width < end && entry_read(t, s, n, &target))
		n++;
	for (size_t i = 0; n >= TABLE_MIN && i < n; i++)
		if (entry_read(t, s, i, &target))
			fn(arg, target);
}

int flow_each_table_entry(const struct text *t, void (*fn)(void *arg, uint64_t target), void *arg,
			  struct err *e)
{
	struct starts s;

	if (starts_init(&s, t, e) == -1)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		size_t next = i + 1;
		if (i > 0 && s.v[i].addr == s.v[i - 1].addr && s.v[i].width == s.v[i - 1].width)
			continue;
		while (next < s.n && s.v[next].addr == s.v[i].addr)
			next++;
		table_walk(t, &s.v[i], next < s.n ? s.v[next].addr : UINT64_MAX, fn, arg);
	}
	free(s.v);
	return 0;
}
