#include "elf/image_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FILE_MAX = 1 << 30, /* bytes; a static Ruby with debug information has under 200 MB */
	PAGE = 4096,
};

static bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* -- opening --------------------------------------------------------------------------------- */

static int bytes_read(struct image *img, int fd, struct err *e)
{
	struct stat st;
	size_t done = 0;

	if (fstat(fd, &st) == -1)
		return err_sys(e, ERR_SYS, "%s", img->name);
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(Elf64_Ehdr) || st.st_size > FILE_MAX)
		return err_set(e, ERR_BADELF, "%s: not an ELF object", img->name);
	img->size = (size_t)st.st_size;
	img->bytes = malloc(img->size);
	if (img->bytes == NULL)
		return err_set(e, ERR_NOMEM, "%s: out of memory", img->name);
	while (done < img->size) {
		ssize_t n = pread(fd, img->bytes + done, img->size - done, (off_t)done);

		if (n == 0)
			return err_set(e, ERR_BADELF, "%s: shrank while being read", img->name);
		if (n == -1 && errno != EINTR)
			return err_sys(e, ERR_SYS, "%s", img->name);
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int header_check(struct image *img, struct err *e)
{
	Elf64_Ehdr eh;

	memcpy(&eh, img->bytes, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
		return err_set(e, ERR_BADELF, "%s: not an ELF object", img->name);
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, ERR_UNSUPPORTED, "%s: not a 64-bit little-endian object",
			       img->name);
	if (eh.e_machine != EM_X86_64)
		return err_set(e, ERR_UNSUPPORTED, "%s: not x86-64 code", img->name);
	if (eh.e_type != ET_DYN && eh.e_type != ET_EXEC)
		return err_set(e, ERR_BADELF, "%s: neither a program nor a shared object",
			       img->name);
	/* libelf would quietly cut the table to what is there. */
	if (eh.e_phnum == 0 || eh.e_phentsize != sizeof(Elf64_Phdr) ||
	    !range_ok(eh.e_phoff, (uint64_t)eh.e_phnum * sizeof(Elf64_Phdr), img->size))
		return err_set(e, ERR_BADELF, "%s: a malformed table of segments", img->name);
	img->type = eh.e_type;
	return 0;
}

static int phdr_check(const struct image *img, const GElf_Phdr *ph, struct err *e)
{
	if (!range_ok(ph->p_offset, ph->p_filesz, img->size))
		return err_set(e, ERR_BADELF, "%s: a segment lies outside the file", img->name);
	if (ph->p_type == PT_LOAD &&
	    (ph->p_memsz < ph->p_filesz || ph->p_vaddr + ph->p_memsz < ph->p_vaddr ||
	     ph->p_vaddr % PAGE != ph->p_offset % PAGE))
		return err_set(e, ERR_BADELF, "%s: a segment makes no sense", img->name);
	return 0;
}

static int phdrs_read(struct image *img, struct err *e)
{
	if (elf_version(EV_CURRENT) == EV_NONE ||
	    (img->elf = elf_memory((char *)img->bytes, img->size)) == NULL ||
	    elf_kind(img->elf) != ELF_K_ELF || elf_getphdrnum(img->elf, &img->nphdrs) == -1)
		return err_set(e, ERR_BADELF, "%s: %s", img->name, elf_errmsg(-1));
	img->phdrs = calloc(img->nphdrs, sizeof(*img->phdrs));
	if (img->phdrs == NULL)
		return err_set(e, ERR_NOMEM, "%s: out of memory", img->name);
	for (size_t i = 0; i < img->nphdrs; i++) {
		if (gelf_getphdr(img->elf, (int)i, &img->phdrs[i]) == NULL)
			return err_set(e, ERR_BADELF, "%s: %s", img->name, elf_errmsg(-1));
		if (phdr_check(img, &img->phdrs[i], e) == -1)
			return -1;
	}
	return 0;
}

/* -- build id -------------------------------------------------------------------------------- */

static void hex_set(char *buf, size_t size, const uint8_t *bytes, size_t len)
{
	buf[0] = '\0';
	for (size_t i = 0; i < len && 2 * i + 2 < size; i++)
		snprintf(buf + 2 * i, 3, "%02x", bytes[i]);
}

/* Notes of one segment (elf(5), "Notes"): name and descriptor are padded to the alignment. */
static void notes_scan(struct image *img, const uint8_t *p, size_t left, size_t align)
{
	Elf64_Nhdr nh;

	while (left >= sizeof(nh)) {
		memcpy(&nh, p, sizeof(nh));
		size_t desc = (sizeof(nh) + nh.n_namesz + align - 1) / align * align;
		size_t next = desc + (nh.n_descsz + align - 1) / align * align;
		if (!range_ok(desc, nh.n_descsz, left))
			return;
		if (nh.n_type == NT_GNU_BUILD_ID && nh.n_namesz == 4 &&
		    memcmp(p + sizeof(nh), "GNU", 4) == 0) {
			hex_set(img->build_id, sizeof(img->build_id), p + desc, nh.n_descsz);
			return;
		}
		if (next >= left)
			return;
		p += next;
		left -= next;
	}
}

static void build_id_read(struct image *img)
{
	for (size_t i = 0; i < img->nphdrs && img->build_id[0] == '\0'; i++) {
		const GElf_Phdr *ph = &img->phdrs[i];

		if (ph->p_type == PT_NOTE)
			notes_scan(img, img->bytes + ph->p_offset, ph->p_filesz,
				   ph->p_align == 8 ? 8 : 4);
	}
}

int image_open(int fd, const char *name, struct image **ret, struct err *e)
{
	struct image *img = calloc(1, sizeof(*img));

	if (img == NULL || (img->name = strdup(name)) == NULL) {
		free(img);
		return err_set(e, ERR_NOMEM, "%s: out of memory", name);
	}
	if (bytes_read(img, fd, e) == -1 || header_check(img, e) == -1 ||
	    phdrs_read(img, e) == -1) {
		image_destroy(img);
		return -1;
	}
	build_id_read(img);
	image_symtabs_init(img);
	*ret = img;
	return 0;
}

void image_destroy(struct image *img)
{
	if (img == NULL)
		return;
	elf_end(img->elf);
	free(img->phdrs);
	free(img->bytes);
	free(img->name);
	free(img);
}

/* -- questions ------------------------------------------------------------------------------- */

const char *image_name(const struct image *img)
{
	return img->name;
}

bool image_is_dyn(const struct image *img)
{
	return img->type == ET_DYN;
}

const char *image_build_id(const struct image *img)
{
	return img->build_id;
}

/* The executable PT_LOAD with the most bytes in the file, or NULL. */
static const GElf_Phdr *code_segment(const struct image *img)
{
	const GElf_Phdr *best = NULL;

	for (size_t i = 0; i < img->nphdrs; i++) {
		const GElf_Phdr *ph = &img->phdrs[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X) != 0 && ph->p_filesz > 0 &&
		    (best == NULL || ph->p_filesz > best->p_filesz))
			best = ph;
	}
	return best;
}

/* True if the section is code that lies in the segment, at the same place in file and memory. */
static bool section_in(const GElf_Shdr *sh, const GElf_Phdr *ph)
{
	const GElf_Xword flags = SHF_ALLOC | SHF_EXECINSTR;

	return sh->sh_type == SHT_PROGBITS && (sh->sh_flags & flags) == flags && sh->sh_size > 0 &&
	       sh->sh_addr >= ph->p_vaddr &&
	       range_ok(sh->sh_addr - ph->p_vaddr, sh->sh_size, ph->p_filesz) &&
	       sh->sh_offset - ph->p_offset == sh->sh_addr - ph->p_vaddr;
}

int image_text(const struct image *img, struct image_range *text, struct err *e)
{
	const GElf_Phdr *ph = code_segment(img);
	Elf_Scn *scn = NULL;
	size_t names;

	if (ph == NULL)
		return err_set(e, ERR_NOSYM, "%s: no executable segment", img->name);
	*text = (struct image_range){.addr = ph->p_vaddr, .size = ph->p_filesz};
	if (elf_getshdrstrndx(img->elf, &names) == -1)
		return 0;
	while ((scn = elf_nextscn(img->elf, scn)) != NULL) {
		GElf_Shdr sh;
		const char *name;

		if (gelf_getshdr(scn, &sh) == NULL || !section_in(&sh, ph))
			continue;
		name = elf_strptr(img->elf, names, sh.sh_name);
		if (name != NULL && strcmp(name, ".text") == 0) {
			*text = (struct image_range){.addr = sh.sh_addr, .size = sh.sh_size};
			break;
		}
	}
	return 0;
}

const void *image_bytes(const struct image *img, uint64_t vaddr, size_t len)
{
	for (size_t i = 0; i < img->nphdrs; i++) {
		const GElf_Phdr *ph = &img->phdrs[i];

		if (ph->p_type == PT_LOAD && vaddr >= ph->p_vaddr &&
		    vaddr - ph->p_vaddr < ph->p_filesz &&
		    range_ok(vaddr - ph->p_vaddr, len, ph->p_filesz))
			return img->bytes + ph->p_offset + (vaddr - ph->p_vaddr);
	}
	return NULL;
}

bool image_in_relro(const struct image *img, uint64_t vaddr)
{
	for (size_t i = 0; i < img->nphdrs; i++) {
		const GElf_Phdr *ph = &img->phdrs[i];

		if (ph->p_type == PT_GNU_RELRO && vaddr >= ph->p_vaddr &&
		    vaddr - ph->p_vaddr < ph->p_memsz)
			return true;
	}
	return false;
}

static bool map_is_segment(const struct map *m, const GElf_Phdr *ph)
{
	return m->offset == ph->p_offset / PAGE * PAGE && m->r == ((ph->p_flags & PF_R) != 0) &&
	       m->w == ((ph->p_flags & PF_W) != 0) && m->x;
}

int image_bias(const struct image *img, const struct maps *m, unsigned dev_major,
	       unsigned dev_minor, uint64_t inode, uint64_t *bias, struct err *e)
{
	const GElf_Phdr *ph = code_segment(img);
	const struct map *found = NULL;

	for (size_t i = 0; ph != NULL && i < m->n; i++) {
		const struct map *c = &m->v[i];

		if (c->inode != inode || c->dev_major != dev_major || c->dev_minor != dev_minor ||
		    !map_is_segment(c, ph))
			continue;
		if (found != NULL)
			return err_set(e, ERR_BADDATA, "%s: its code is mapped twice", img->name);
		found = c;
	}
	if (found == NULL)
		return err_set(e, ERR_NOSYM, "%s: its code is not mapped", img->name);
	if (found->start < ph->p_vaddr / PAGE * PAGE)
		return err_set(e, ERR_BADDATA, "%s: mapped below its own addresses", img->name);
	*bias = found->start - ph->p_vaddr / PAGE * PAGE;
	if (*bias != 0 && img->type == ET_EXEC)
		return err_set(e, ERR_BADDATA, "%s: a fixed program, mapped elsewhere", img->name);
	return 0;
}
