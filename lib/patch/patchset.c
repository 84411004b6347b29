#include "patch/patchset.h"

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

int patchset_apply(const struct patchset *ps, const struct tracee *t, struct err *e)
{
	for (size_t i = 0; i < ps->n; i++) {
		const struct patch *p = &ps->v[i];

		if (tracee_poke_word(t, p->addr, p->old, p->new, e) == 0)
			continue;
		size_t undone;
		struct err again;
		struct patchset done = {.v = ps->v, .n = i + 1};
		if (patchset_revert(&done, t, &undone, &again) == -1 && e->code != ERR_GONE)
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
		const struct patch *p = &ps->v[i];
		struct err why;

		if (tracee_poke_word(t, p->addr, p->new, p->old, &why) == 0) {
			++*undone;
		} else if (why.code == ERR_CHANGED &&
			   tracee_poke_word(t, p->addr, p->old, p->old, &why) == 0) {
			continue; /* never written, or put back before */
		} else {
			*e = why;
			if (why.code == ERR_CHANGED)
				e->code = ERR_DIRTY;
			ret = -1;
		}
	}
	return ret;
}
