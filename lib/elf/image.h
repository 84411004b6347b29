/*
 * One ELF object as it lies in a file: segments, symbols, build id, code bytes. Addresses here are
 * link-time virtual addresses ("vaddr"); the tracee's are vaddr + load bias.
 * The file is hostile input: every offset and length is checked against the file's size.
 */
#ifndef MEMPROF_ELF_IMAGE_H
#define MEMPROF_ELF_IMAGE_H

#include "elf/maps.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image; /* opaque */

enum image_sym_kind { IMAGE_SYM_OTHER, IMAGE_SYM_FUNC, IMAGE_SYM_OBJECT, IMAGE_SYM_TLS };

struct image_sym {
	const char *name; /* borrowed from the image */
	uint64_t addr;    /* vaddr; for TLS the offset in the module's block */
	uint64_t size;
	enum image_sym_kind kind;
};

struct image_range {
	uint64_t addr, size; /* vaddr, bytes */
};

/* Open an ELF object. fd is borrowed for the call (the image keeps a copy of the file: one that is
 * cut later can't hurt). name is used in messages. Section headers may be missing; symbol tables,
 * relocations and .text that make no sense count as absent. Returns 0 and an owned *ret
 * (image_destroy), or -1 and e: ERR_BADELF not a program or shared object, or malformed segments;
 * ERR_UNSUPPORTED not 64-bit little-endian x86-64; ERR_SYS, ERR_NOMEM. */
int image_open(int fd, const char *name, struct image **ret, struct err *e);
void image_destroy(struct image *img); /* NULL is allowed */

const char *image_name(const struct image *img);
bool image_is_dyn(const struct image *img); /* ET_DYN: shared object or PIE */

/* Build id in hex, "" when there is none. Borrowed. */
const char *image_build_id(const struct image *img);

/* A symbol with an address in this image, by name: .dynsym first, then .symtab; a linear search.
 * Returns 0, or -1 and e: ERR_NOSYM. */
int image_sym(const struct image *img, const char *name, struct image_sym *ret, struct err *e);

/* Call fn for every defined symbol of both tables until it returns false. */
void image_each_sym(const struct image *img, bool (*fn)(const struct image_sym *s, void *arg),
		    void *arg);

/* The executable PT_LOAD segment that holds .text (the one with the most code). When section
 * headers are present and sane, *text is narrowed to .text. Returns 0, or -1 and e: ERR_NOSYM no
 * executable segment. image_bytes has all of it. */
int image_text(const struct image *img, struct image_range *text, struct err *e);

/* Borrowed pointer to len file bytes that back [vaddr, vaddr+len) of one PT_LOAD; NULL when they
 * are not all in the file. */
const void *image_bytes(const struct image *img, uint64_t vaddr, size_t len);

/* True if vaddr lies in PT_GNU_RELRO. */
bool image_in_relro(const struct image *img, uint64_t vaddr);

/* The GOT pair {module id, offset} of a thread-local variable: the vaddr of the R_X86_64_DTPMOD64
 * slot of the symbol named (dynamic TLS relocations by name), 8-aligned and with its pair inside a
 * writable segment. Returns 0, or -1 and e: ERR_NOSYM. */
int image_tls_got(const struct image *img, const char *symbol, uint64_t *slot, struct err *e);

/* Load bias of an image that the tracee has mapped: from the map whose file offset and protection
 * match the executable PT_LOAD. maps: those with the same dev:inode as the image's file.
 * Returns 0 and *bias, or -1 and e: ERR_NOSYM no such map; ERR_BADDATA two of them, or a place that
 * the image can't be at. */
int image_bias(const struct image *img, const struct maps *m, unsigned dev_major,
	       unsigned dev_minor, uint64_t inode, uint64_t *bias, struct err *e);

#endif
