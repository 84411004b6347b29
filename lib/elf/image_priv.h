/* What image.c and image_sym.c share. */
#ifndef MEMPROF_ELF_IMAGE_PRIV_H
#define MEMPROF_ELF_IMAGE_PRIV_H

#include "elf/image.h"

#include <elf.h>
#include <gelf.h>

/* A symbol table whose bounds have been checked; count 0 when there is none. */
struct symtab {
	const uint8_t *syms; /* Elf64_Sym, perhaps unaligned */
	size_t count;
	size_t section;  /* its index, which relocation sections name */
	const char *str; /* its last byte is NUL */
	size_t str_size;
};

struct image {
	char *name;
	uint8_t *bytes; /* a private copy: a file that is cut while mapped would raise SIGBUS */
	size_t size;
	Elf *elf; /* headers only; over bytes */
	GElf_Half type;
	GElf_Phdr *phdrs;
	size_t nphdrs;
	struct symtab dynsym, symtab;
	char build_id[129];
};

/* Find both symbol tables. What is malformed counts as absent. */
void image_symtabs_init(struct image *img);

/* File bytes of a section, NULL when they are not all in the file (or there are none there). */
const uint8_t *image_section(const struct image *img, const GElf_Shdr *sh);

#endif
