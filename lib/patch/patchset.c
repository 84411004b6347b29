#include "patch/patchset.h"

#include "proc/poke.h"

#include <stdlib.h>
#include <string.h>

int patchset_create(const struct hook_plan *plan, struct patchset *ret, struct err *e)
{
	ret->n = plan->n;
	ret->v = calloc(plan->n ? plan->n : 1, sizeof(*ret->v));
	if (ret->v == NULL)
		return err_set(e, ERR_NOMEM, "planning %zu patches", plan->n);
	for (size_t i = 0; i < plan->n; i++) {
		ret->v[i].addr = plan->v[i].addr;
		memcpy(ret->v[i].old, plan->v[i].old, HOOK_WORD);
		memcpy(ret->v[i].new, plan->v[i].new, HOOK_WORD);
	}
	return 0;
}

void patchset_deinit(struct patchset *ps)
{
	free(ps->v);
	*ps = (struct patchset){0};
}

/* Put one word back. Returns 1 written, 0 it holds the old bytes already, -1 and e. */
static int revert_word(const struct patch *p, const struct tracee *t, struct err *e)
{
	if (poke_word(t, p->addr, p->new, p->old, e) == 0)
		return 1;
	if (e->code == ERR_CHANGED && poke_word(t, p->addr, p->old, p->old, e) == 0)
		return 0;
	if (e->code == ERR_CHANGED)
		e->code = ERR_DIRTY;
	return -1;
}

int patchset_apply(const struct patchset *ps, const struct tracee *t, struct err *e)
{
	for (size_t i = 0; i < ps->n; i++) {
		const struct patch *p = &ps->v[i];
		const struct patchset before = {.v = ps->v, .n = i};
		size_t undone;
		struct err again;

		if (poke_word(t, p->addr, p->old, p->new, e) == 0)
			continue;
		/* The word itself may have been written before its check failed; what somebody else
		 * wrote there stays his. */
		if (revert_word(p, t, &again) == -1 && again.code != ERR_DIRTY)
			*e = again;
		if (patchset_revert(&before, t, &undone, &again) == -1 && e->code != ERR_GONE)
			*e = again;
		return -1;
	}
	return 0;
}

int patchset_revert(const struct patchset *ps, const struct tracee *t, size_t *undone,
		    struct err *e)
{
	int ret = 0;

	*undone = 0;
	for (size_t i = ps->n; i-- > 0;) {
		struct err why;
		int got = revert_word(&ps->v[i], t, &why);

		if (got == -1) {
			*e = why;
			ret = -1;
		} else {
			*undone += (size_t)got;
		}
	}
	return ret;
}
