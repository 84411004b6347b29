/* An image's code decoded once, and questions about its flow. */
#ifndef MEMPROF_CODE_TEXT_H
#define MEMPROF_CODE_TEXT_H

#include "arch.h"
#include "elf/image.h"

struct text; /* opaque: instructions ascending by address, branch targets, callers */

/* Decode all of the image's .text. Takes a fraction of a second: do it before any stop.
 * Returns 0 and an owned *ret (text_destroy), or -1 and e. The image must outlive it. */
int text_create(const struct image *img, const struct arch *arch, struct text **ret, struct err *e);
void text_destroy(struct text *t);

const struct image *text_image(const struct text *t);
size_t text_count(const struct text *t);
const struct insn *text_at(const struct text *t, size_t i);

/* Index of the instruction that starts at addr, or of the one before or at it when floor is set;
 * SIZE_MAX when there is none. */
size_t text_index(const struct text *t, uint64_t addr, bool floor);

/* True if some direct branch or call of the text goes to addr, or an entry of a switch table. Not
 * known: computed gotos through tables that the dynamic linker fills in. */
bool text_is_target(const struct text *t, uint64_t addr);

#endif
