#include "patch/stub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const uint8_t mp_blob[], mp_blob_end[]; /* lib/agent/blob.S */

enum { CTL_LEN = 4096, MIN_ADDR = 0x10000 };

static size_t blob_size(void)
{
	return (uintptr_t)mp_blob_end - (uintptr_t)mp_blob;
}

static size_t page_up(const struct arch *arch, size_t n)
{
	return (n + arch->page_size - 1) & ~(arch->page_size - 1);
}

int stub_place(const struct plant_req *req, const struct maps *maps, struct stub *s, struct err *e)
{
	const size_t page = req->arch->page_size;
	struct image_range text;
	raddr_t near, far;

	*s = (struct stub){
	    .len = MP_STUB_AGENT + page_up(req->arch, blob_size()),
	    .shm_len = MP_SHM_RING_OFF + req->ring_bytes,
	};
	if (image_text(req->image, &text, e) == -1)
		return -1;
	/* The control page lies behind the stub with an unmapped page between: a stray write over
	 * the end of either would not find the other. */
	near = req->bias + text.addr;
	if (maps_find_gap(maps, near, near + text.size, s->len + page + CTL_LEN, MIN_ADDR, &s->at,
			  e) == -1) {
		e->code = ERR_UNSUPPORTED;
		return err_prefix(e, "no room for the stub page within 2 GiB of %s",
				  image_name(req->image));
	}
	s->ctl = s->at + s->len + page;
	/* The ring may lie anywhere; but where the stub went, there is no room any more. */
	far = s->ctl + CTL_LEN;
	struct map *v = calloc(maps->n + 1, sizeof(*v));
	if (v == NULL)
		return err_set(e, ERR_NOMEM, "placing the ring");
	struct maps with = {.v = v};
	for (size_t i = 0; i < maps->n; i++) {
		if (with.n == i && maps->v[i].start > s->at)
			v[with.n++] = (struct map){.start = s->at, .end = far, .path = ""};
		v[with.n++] = maps->v[i];
	}
	if (with.n == maps->n)
		v[with.n++] = (struct map){.start = s->at, .end = far, .path = ""};
	int ret = maps_find_gap(&with, near, near + page, page_up(req->arch, s->shm_len), MIN_ADDR,
				&s->shm, e);
	free(v);
	if (ret == -1) {
		e->code = ERR_UNSUPPORTED;
		return err_prefix(e, "no room for a ring of %zu bytes", req->ring_bytes);
	}
	return 0;
}

bool stub_page_is_clean(const struct plant_req *req, raddr_t addr)
{
	const size_t page = req->arch->page_size;
	raddr_t at = addr & ~(raddr_t)(page - 1);
	const void *file = image_bytes(req->image, at - req->bias, page);
	uint8_t seen[4096];

	return file != NULL && page == sizeof(seen) &&
	       mem_read_upto(req->mem, at, seen, page) == page && memcmp(seen, file, page) == 0;
}

static void fill_config(const struct plant_req *req, struct stub *s)
{
	struct mp_config c = req->config;
	uint64_t units = req->ring_bytes / sizeof(struct mp_unit);

	c.magic = MP_SHM_MAGIC;
	c.abi = MP_ABI_VERSION;
	c.shm = s->shm;
	c.ctl = s->ctl;
	c.ring = s->shm + MP_SHM_RING_OFF;
	c.units = units;
	c.lap_shift = (uint32_t)__builtin_ctzll(units);
	memcpy(s->bytes + MP_STUB_CONFIG, &c, sizeof(c));
}

static int fill_agent(struct stub *s, raddr_t entry[SITE_EVENTS], struct err *e)
{
	struct mp_blob_head head;

	memcpy(&head, mp_blob, sizeof(head));
	if (head.magic != MP_BLOB_MAGIC || head.abi != MP_ABI_VERSION || head.size != blob_size())
		return err_set(e, ERR_FAILED, "this memprof was built with a foreign agent");
	memcpy(s->bytes + MP_STUB_AGENT, mp_blob, blob_size());
	for (size_t i = 0; i < SITE_EVENTS; i++)
		entry[i] = s->at + MP_STUB_AGENT + head.entry[i];
	return 0;
}

static int fill_journal(const struct plant_req *req, struct stub *s, struct err *e)
{
	s->journal = (struct journal){
	    .pid = req->pid,
	    .owner = req->owner,
	    .starttime = req->starttime,
	    .owner_starttime = req->owner_starttime,
	    .stub = s->at,
	    .stub_len = s->len,
	    .ctl = s->ctl,
	    .ctl_len = CTL_LEN,
	    .shm = s->shm,
	    .shm_len = s->shm_len,
	};
	if (patchset_create(&s->plan, &s->journal.words, e) == -1)
		return -1;
	for (size_t i = 0; i < s->journal.words.n; i++) {
		struct patch *p = &s->journal.words.v[i];

		p->clean_page = stub_page_is_clean(req, p->addr);
	}
	return journal_encode(&s->journal, s->bytes + MP_STUB_JOURNAL, e);
}

int stub_build(const struct plant_req *req, struct stub *s, struct err *e)
{
	struct hook_place place = {
	    .bias = req->bias,
	    .thunks = s->at + MP_STUB_THUNKS,
	    .thunks_size = MP_STUB_AGENT - MP_STUB_THUNKS,
	};

	s->bytes = calloc(1, s->len);
	if (s->bytes == NULL)
		return err_set(e, ERR_NOMEM, "building the stub page");
	if (fill_agent(s, place.entry, e) == -1 ||
	    hook_plan_create(req->arch, req->image, req->sites, &place, req->is_target, req->text,
			     &s->plan, e) == -1)
		goto fail;
	memcpy(s->bytes + (s->plan.thunks_at - s->at), s->plan.thunks, s->plan.thunks_len);
	fill_config(req, s);
	if (fill_journal(req, s, e) == -1)
		goto fail;
	return 0;
fail:
	if (e->code == ERR_RANGE) /* out of a jump's reach: so it will stay */
		e->code = ERR_UNSUPPORTED;
	stub_deinit(s);
	return -1;
}

void stub_deinit(struct stub *s)
{
	free(s->bytes);
	s->bytes = NULL;
	hook_plan_deinit(&s->plan);
	journal_deinit(&s->journal);
}
