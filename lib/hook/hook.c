/* Sites to a plan: which word is poked where, and what the thunks say. */
#include "hook/hook.h"

#include <stdlib.h>
#include <string.h>

enum {
	JUMP_MIN = 5,	   /* bytes of the shortest window */
	THUNK_ALIGN = 16,  /* as functions are: a jump's target should not straddle a fetch block */
	THUNK_FILL = 0xcc, /* between thunks: trap */
};

/* What all steps of a plan look at. */
struct planner {
	const struct arch *arch;
	const struct image *img;
	const struct hook_place *place;
	bool (*is_target)(const void *ctx, uint64_t vaddr);
	const void *ctx;
	struct err *e;
};

static size_t align_up(size_t n)
{
	return (n + THUNK_ALIGN - 1) & ~(size_t)(THUNK_ALIGN - 1);
}

size_t hook_thunks_bound(const struct arch *arch, size_t n)
{
	return n * align_up(arch->thunk_max);
}

static int refuse(const struct planner *p, const struct site *s, const char *why)
{
	return err_set(p->e, ERR_UNSUPPORTED, "%s: site %#" PRIx64 ": %s", image_name(p->img),
		       s->addr, why);
}

static bool in_one_page(const struct planner *p, raddr_t addr, size_t len)
{
	return addr / p->arch->page_size == (addr + len - 1) / p->arch->page_size;
}

/* A jump into the window would land in the middle of ours. With a test to run again, even one to
 * the window's start counts: it would not come from that test. */
static bool is_jumped_into(const struct planner *p, const struct site *s)
{
	if (p->is_target == NULL)
		return false;
	for (uint64_t a = s->addr - s->redo_len + 1; a < s->addr + s->len; a++)
		if (p->is_target(p->ctx, a))
			return true;
	return false;
}

static int window_check(const struct planner *p, const struct site *s)
{
	const uint8_t *bytes;

	if (s->event >= SITE_EVENTS)
		return refuse(p, s, "no such event");
	if (s->len < JUMP_MIN)
		return refuse(p, s, "its window is shorter than a jump");
	if (s->len > HOOK_WORD)
		return refuse(p, s, "its window does not fit in one word");
	if (!in_one_page(p, s->addr + p->place->bias, s->len))
		return refuse(p, s, "its window crosses a page");
	bytes = image_bytes(p->img, s->addr, s->len);
	if (bytes == NULL || memcmp(bytes, s->old, s->len) != 0)
		return refuse(p, s, "its bytes are not the file's");
	if (is_jumped_into(p, s))
		return refuse(p, s, "something jumps into its window");
	return 0;
}

/* The word starts with the window, or, where the page or the file ends too soon, ends with it. */
static int word_place(const struct planner *p, const struct site *s, struct hook *h)
{
	const uint64_t starts[] = {s->addr, s->addr + s->len - HOOK_WORD};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		const uint8_t *bytes = image_bytes(p->img, starts[i], HOOK_WORD);
		if (bytes == NULL || !in_one_page(p, starts[i] + p->place->bias, HOOK_WORD))
			continue;
		h->addr = starts[i] + p->place->bias;
		memcpy(h->old, bytes, HOOK_WORD);
		memcpy(h->new, bytes, HOOK_WORD);
		return 0;
	}
	return refuse(p, s, "no word of its page holds the window");
}

static int thunk_emit(const struct planner *p, const struct site *s, struct hook *h,
		      struct hook_plan *plan)
{
	size_t at = align_up(plan->thunks_len);
	const uint8_t *redo = NULL;
	int len;

	if (s->redo_len != 0) {
		redo = image_bytes(p->img, s->addr - s->redo_len, s->redo_len);
		if (redo == NULL)
			return refuse(p, s, "the test before it is not in the file");
	}
	if (at > p->place->thunks_size)
		return err_set(p->e, ERR_RANGE, "no room for the thunks: %zu bytes",
			       p->place->thunks_size);
	h->thunk = plan->thunks_at + at;
	len = p->arch->emit_thunk(s, h->site, redo, h->thunk, p->place->entry[s->event],
				  plan->thunks + at, p->place->thunks_size - at, p->e);
	if (len == -1)
		return err_prefix(p->e, "%s", image_name(p->img));
	h->thunk_end = h->thunk + (size_t)len;
	plan->thunks_len = at + (size_t)len;
	return p->arch->emit_jump(h->site, h->thunk, h->new + (h->site - h->addr), s->len, p->e);
}

static int hook_make(const struct planner *p, const struct site *s, struct hook_plan *plan)
{
	struct hook *h = &plan->v[plan->n];

	if (window_check(p, s) == -1 || word_place(p, s, h) == -1)
		return -1;
	h->of = s;
	h->site = s->addr + p->place->bias;
	h->site_end = h->site + s->len;
	/* Two windows in one word would each restore the other's old bytes. */
	if (plan->n > 0 && h->addr < h[-1].addr + HOOK_WORD)
		return refuse(p, s, "too close to the site before it, or out of order");
	if (thunk_emit(p, s, h, plan) == -1)
		return -1;
	plan->n++;
	return 0;
}

int hook_plan_create(const struct arch *arch, const struct image *img,
		     const struct site_list *sites, const struct hook_place *place,
		     bool (*is_target)(const void *ctx, uint64_t vaddr), const void *ctx,
		     struct hook_plan *ret, struct err *e)
{
	const struct planner p = {arch, img, place, is_target, ctx, e};
	struct hook_plan plan = {.thunks_at = place->thunks};

	if (place->thunks % THUNK_ALIGN != 0)
		return err_set(e, ERR_RANGE, "thunks at %" PRIRA " are not aligned", place->thunks);
	plan.v = calloc(sites->n + 1, sizeof(*plan.v));
	plan.thunks = malloc(place->thunks_size + 1);
	if (plan.v == NULL || plan.thunks == NULL) {
		err_set(e, ERR_NOMEM, "a plan of %zu sites: out of memory", sites->n);
		goto fail;
	}
	memset(plan.thunks, THUNK_FILL, place->thunks_size);
	for (size_t i = 0; i < sites->n; i++)
		if (hook_make(&p, &sites->v[i], &plan) == -1)
			goto fail;
	*ret = plan;
	return 0;
fail:
	hook_plan_deinit(&plan);
	return -1;
}

void hook_plan_deinit(struct hook_plan *p)
{
	free(p->v);
	free(p->thunks);
	*p = (struct hook_plan){0};
}
