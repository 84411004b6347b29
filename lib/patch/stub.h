/* The stub mapping's bytes: journal, configuration, thunks, agent. Pure, but for where it may go.
 */
#ifndef MEMPROF_PATCH_STUB_H
#define MEMPROF_PATCH_STUB_H

#include "patch/journal.h"
#include "patch/plant.h"

struct stub {
	raddr_t at, ctl, shm; /* where the three mappings go */
	size_t len, shm_len;
	uint8_t *bytes; /* len of them */
	struct hook_plan plan;
	struct journal journal; /* its words borrow nothing */
};

/* Choose the addresses: the stub within a jump's reach of all code to be patched. */
int stub_place(const struct plant_req *req, const struct maps *maps, struct stub *s, struct err *e);

/* Plan the hooks for that place and fill in the bytes. Owned: stub_deinit. */
int stub_build(const struct plant_req *req, struct stub *s, struct err *e);
void stub_deinit(struct stub *s);

/* Does a page of the image's text in memory equal the file's? */
bool stub_page_is_clean(const struct plant_req *req, raddr_t addr);

#endif
