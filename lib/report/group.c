/* Running out of memory is an error to hand up, not a reason for uthash to exit. */
#define HASH_NONFATAL_OOM 1

#include "report/model.h"

#include "report/gem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* The group a key's bytes lead to; g->key points into it. */
struct node {
	UT_hash_handle hh;
	size_t index;
	char bytes[];
};

/* A stream that is written again from the start for every row, so that names of any length cost no
 * allocation each. */
struct keybuf {
	FILE *f;
	char *bytes;
	size_t len;
};

static void put_site(const struct profile_row *r, FILE *f)
{
	fprintf(f, "%s%c%u%c%s%c%s", r->file, 0, r->line, 0, r->klass, 0,
		r->thread ? r->thread : "");
}

static void put_class(const struct profile_row *r, FILE *f)
{
	fputs(r->klass, f);
}

static void put_file(const struct profile_row *r, FILE *f)
{
	fputs(r->file, f);
}

static void put_line(const struct profile_row *r, FILE *f)
{
	if (r->file[0])
		fprintf(f, "%s:%u", r->file, r->line);
}

static void put_method(const struct profile_row *r, FILE *f)
{
	fputs(r->method, f);
}

static void put_gem(const struct profile_row *r, FILE *f)
{
	size_t len;
	const char *gem = gem_of(r->file, &len);
	fwrite(gem, 1, len, f);
}

static void put_thread(const struct profile_row *r, FILE *f)
{
	fputs(r->thread ? r->thread : "", f);
}

static void (*const put_key[])(const struct profile_row *, FILE *) = {
    [KEY_SITE] = put_site,     [KEY_CLASS] = put_class,   [KEY_FILE] = put_file,
    [KEY_LINE] = put_line,     [KEY_METHOD] = put_method, [KEY_GEM] = put_gem,
    [KEY_THREAD] = put_thread,
};

static int keybuf_fill(struct keybuf *k, const struct profile_row *r, enum profile_key key)
{
	rewind(k->f);
	put_key[key](r, k->f);
	fputc('\0', k->f);
	return fflush(k->f) == 0 ? 0 : -1;
}

static struct node *node_add(struct node **head, const struct keybuf *k, size_t index)
{
	struct node *n = calloc(1, sizeof(*n) + k->len);
	if (!n)
		return NULL;
	memcpy(n->bytes, k->bytes, k->len);
	n->index = index;
	HASH_ADD_KEYPTR(hh, *head, n->bytes, k->len, n);
	if (!n->hh.tbl) {
		free(n);
		return NULL;
	}
	return n;
}

static void nodes_free(struct node *head)
{
	struct node *first = head, *next;
	HASH_CLEAR(hh, head); /* the table; its members stay linked */
	for (struct node *n = first; n; n = next) {
		next = n->hh.next;
		free(n);
	}
}

static void group_add(struct group *g, const struct profile_row *r)
{
	g->allocated += r->allocated;
	g->freed += r->freed;
	g->live += r->live;
	g->live_bytes += r->live_bytes;
	g->survived += r->survived;
}

static int fill(const struct profile *p, enum profile_key key, struct keybuf *k,
		struct grouping *ret, struct node **head)
{
	for (size_t i = 0; i < p->nrows; i++) {
		const struct profile_row *r = &p->rows[i];
		struct node *n;
		if (keybuf_fill(k, r, key) == -1)
			return -1;
		HASH_FIND(hh, *head, k->bytes, k->len, n);
		if (!n) {
			n = node_add(head, k, ret->n);
			if (!n)
				return -1;
			ret->v[ret->n++] = (struct group){
			    .key = key == KEY_SITE ? NULL : n->bytes,
			    .row = r,
			};
		}
		group_add(&ret->v[n->index], r);
	}
	return 0;
}

static uint64_t figure(const struct group *g, enum profile_sort sort)
{
	switch (sort) {
	case SORT_LIVE:
		return g->live;
	case SORT_BYTES:
		return g->live_bytes;
	case SORT_ALLOCATED:
		return g->allocated;
	case SORT_FREED:
		return g->freed;
	case SORT_SURVIVED:
		return g->survived;
	}
	return 0;
}

static int compare_names(const struct group *a, const struct group *b)
{
	if (a->key)
		return strcmp(a->key, b->key);

	const struct profile_row *x = a->row, *y = b->row;
	int d = strcmp(x->file, y->file);
	if (d == 0)
		d = (x->line > y->line) - (x->line < y->line);
	if (d == 0)
		d = strcmp(x->klass, y->klass);
	if (d == 0)
		d = strcmp(x->thread ? x->thread : "", y->thread ? y->thread : "");
	return d;
}

static int compare_groups(const void *va, const void *vb, void *sort)
{
	const struct group *a = va, *b = vb;
	uint64_t x = figure(a, *(enum profile_sort *)sort),
		 y = figure(b, *(enum profile_sort *)sort);
	return x != y ? (x < y) - (x > y) : compare_names(a, b);
}

int profile_group(const struct profile *p, enum profile_key key, enum profile_sort sort,
		  struct grouping *ret, struct err *e)
{
	struct node *head = NULL;
	struct keybuf k = {0};
	int r = -1;

	*ret = (struct grouping){0};
	ret->v = calloc(p->nrows ? p->nrows : 1, sizeof(*ret->v));
	k.f = open_memstream(&k.bytes, &k.len);
	if (ret->v && k.f)
		r = fill(p, key, &k, ret, &head);
	if (k.f)
		fclose(k.f);
	free(k.bytes);
	ret->strings = head;
	if (r == -1) {
		grouping_deinit(ret);
		return err_set(e, ERR_NOMEM, "report: out of memory for %zu sites", p->nrows);
	}
	qsort_r(ret->v, ret->n, sizeof(*ret->v), compare_groups, &sort);
	return 0;
}

void grouping_deinit(struct grouping *g)
{
	nodes_free(g->strings);
	free(g->v);
	*g = (struct grouping){0};
}
