/* Symbols and relocations by name. Every index and offset comes from a hostile file. */
#include "elf/image_priv.h"

#include <string.h>

const uint8_t *image_section(const struct image *img, const GElf_Shdr *sh)
{
	if (sh->sh_type == SHT_NOBITS || sh->sh_size == 0 || sh->sh_offset > img->size ||
	    sh->sh_size > img->size - sh->sh_offset)
		return NULL;
	return img->bytes + sh->sh_offset;
}

static bool symtab_init(const struct image *img, Elf_Scn *scn, const GElf_Shdr *sh,
			struct symtab *ret)
{
	const uint8_t *syms = image_section(img, sh), *str;
	Elf_Scn *link = elf_getscn(img->elf, sh->sh_link);
	GElf_Shdr strsh;

	if (syms == NULL || sh->sh_entsize != sizeof(Elf64_Sym) ||
	    gelf_getshdr(link, &strsh) == NULL || strsh.sh_type != SHT_STRTAB)
		return false;
	str = image_section(img, &strsh);
	if (str == NULL || str[strsh.sh_size - 1] != '\0')
		return false;
	*ret = (struct symtab){
	    .syms = syms,
	    .count = sh->sh_size / sizeof(Elf64_Sym),
	    .section = elf_ndxscn(scn),
	    .str = (const char *)str,
	    .str_size = strsh.sh_size,
	};
	return true;
}

void image_symtabs_init(struct image *img)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(img->elf, scn)) != NULL) {
		if (gelf_getshdr(scn, &sh) == NULL)
			continue;
		if (sh.sh_type == SHT_DYNSYM && img->dynsym.count == 0)
			symtab_init(img, scn, &sh, &img->dynsym);
		else if (sh.sh_type == SHT_SYMTAB && img->symtab.count == 0)
			symtab_init(img, scn, &sh, &img->symtab);
	}
}

static enum image_sym_kind kind_of(unsigned char info)
{
	switch (ELF64_ST_TYPE(info)) {
	case STT_FUNC:
		return IMAGE_SYM_FUNC;
	case STT_OBJECT:
		return IMAGE_SYM_OBJECT;
	case STT_TLS:
		return IMAGE_SYM_TLS;
	default:
		return IMAGE_SYM_OTHER;
	}
}

/* Symbol i of a table, defined or not; false when its name is outside the string table. */
static bool symtab_at(const struct symtab *t, size_t i, Elf64_Sym *sym, const char **name)
{
	if (i >= t->count)
		return false;
	memcpy(sym, t->syms + i * sizeof(*sym), sizeof(*sym));
	if (sym->st_name >= t->str_size)
		return false;
	*name = t->str + sym->st_name;
	return true;
}

/* As symtab_at, for what has a name and an address in this image. */
static bool symtab_defined(const struct symtab *t, size_t i, struct image_sym *ret)
{
	Elf64_Sym sym;
	const char *name;

	if (!symtab_at(t, i, &sym, &name) || *name == '\0')
		return false;
	if (sym.st_shndx == SHN_UNDEF || sym.st_shndx == SHN_ABS || sym.st_shndx == SHN_COMMON ||
	    ELF64_ST_TYPE(sym.st_info) == STT_FILE || ELF64_ST_TYPE(sym.st_info) == STT_SECTION)
		return false;
	*ret = (struct image_sym){
	    .name = name, .addr = sym.st_value, .size = sym.st_size, .kind = kind_of(sym.st_info)};
	return true;
}

static bool symtab_find(const struct symtab *t, const char *name, struct image_sym *ret)
{
	for (size_t i = 0; i < t->count; i++) {
		struct image_sym s;

		if (symtab_defined(t, i, &s) && strcmp(s.name, name) == 0) {
			*ret = s;
			return true;
		}
	}
	return false;
}

int image_sym(const struct image *img, const char *name, struct image_sym *ret, struct err *e)
{
	if (symtab_find(&img->dynsym, name, ret) || symtab_find(&img->symtab, name, ret))
		return 0;
	return err_set(e, ERR_NOSYM, "%s: no symbol %s", img->name, name);
}

static bool symtab_each(const struct symtab *t, bool (*fn)(const struct image_sym *, void *),
			void *arg)
{
	struct image_sym s;

	for (size_t i = 0; i < t->count; i++)
		if (symtab_defined(t, i, &s) && !fn(&s, arg))
			return false;
	return true;
}

void image_each_sym(const struct image *img, bool (*fn)(const struct image_sym *s, void *arg),
		    void *arg)
{
	if (symtab_each(&img->dynsym, fn, arg))
		symtab_each(&img->symtab, fn, arg);
}

/* The pair {module id, offset} is two words of a writable segment. */
static bool is_got_pair(const struct image *img, uint64_t vaddr)
{
	for (size_t i = 0; i < img->nphdrs; i++) {
		const GElf_Phdr *ph = &img->phdrs[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_W) != 0 && vaddr >= ph->p_vaddr &&
		    vaddr - ph->p_vaddr < ph->p_memsz &&
		    ph->p_memsz - (vaddr - ph->p_vaddr) >= 2 * sizeof(uint64_t))
			return vaddr % sizeof(uint64_t) == 0;
	}
	return false;
}

/* Source: AMD64 psABI, thread-local storage, R_X86_64_DTPMOD64. */
static bool rela_find(const struct image *img, const GElf_Shdr *sh, const char *symbol,
		      uint64_t *slot)
{
	const uint8_t *relas = image_section(img, sh);

	if (relas == NULL || sh->sh_entsize != sizeof(Elf64_Rela) ||
	    sh->sh_link != img->dynsym.section)
		return false;
	for (size_t i = 0; i < sh->sh_size / sizeof(Elf64_Rela); i++) {
		Elf64_Rela rela;
		Elf64_Sym sym;
		const char *name;

		memcpy(&rela, relas + i * sizeof(rela), sizeof(rela));
		if (ELF64_R_TYPE(rela.r_info) == R_X86_64_DTPMOD64 &&
		    symtab_at(&img->dynsym, ELF64_R_SYM(rela.r_info), &sym, &name) &&
		    strcmp(name, symbol) == 0 && is_got_pair(img, rela.r_offset)) {
			*slot = rela.r_offset;
			return true;
		}
	}
	return false;
}

int image_tls_got(const struct image *img, const char *symbol, uint64_t *slot, struct err *e)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(img->elf, scn)) != NULL)
		if (gelf_getshdr(scn, &sh) != NULL && sh.sh_type == SHT_RELA &&
		    rela_find(img, &sh, symbol, slot))
			return 0;
	return err_set(e, ERR_NOSYM, "%s: no thread-local slot of %s", img->name, symbol);
}
