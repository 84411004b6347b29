#include "report/model.h"

#include "report/choice.h"

#include <stdlib.h>

void profile_destroy(struct profile *p)
{
	if (!p)
		return;
	free(p->rows);
	free(p->notes);
	if (p->owner_free)
		p->owner_free(p->owner);
	free(p);
}

double profile_coverage(const struct profile *p)
{
	if (!p->vm_known || p->vm_allocated == 0)
		return -1;
	return (double)(p->allocated + p->dropped_alloc) / (double)p->vm_allocated;
}

uint64_t profile_dropped(const struct profile *p)
{
	return p->dropped_alloc + p->dropped_free + p->dropped_move;
}

static const char *const key_names[] = {
    [KEY_SITE] = "site",     [KEY_CLASS] = "class", [KEY_FILE] = "file",     [KEY_LINE] = "line",
    [KEY_METHOD] = "method", [KEY_GEM] = "gem",     [KEY_THREAD] = "thread", NULL,
};

static const char *const sort_names[] = {
    [SORT_LIVE] = "live",   [SORT_BYTES] = "bytes",       [SORT_ALLOCATED] = "allocated",
    [SORT_FREED] = "freed", [SORT_SURVIVED] = "survived", NULL,
};

const char *profile_key_name(enum profile_key key)
{
	return key_names[key];
}

int profile_key_parse(const char *name, enum profile_key *ret, struct err *e)
{
	int i = choice_find("--by", name, key_names, e);
	if (i == -1)
		return -1;
	*ret = (enum profile_key)i;
	return 0;
}

int profile_sort_parse(const char *name, enum profile_sort *ret, struct err *e)
{
	int i = choice_find("--sort", name, sort_names, e);
	if (i == -1)
		return -1;
	*ret = (enum profile_sort)i;
	return 0;
}
