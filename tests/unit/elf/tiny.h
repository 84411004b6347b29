/* A tiny, valid shared object, laid out by hand so that a test can break any byte of it. */
#ifndef MEMPROF_TESTS_ELF_TINY_H
#define MEMPROF_TESTS_ELF_TINY_H

#include "elf/image.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TINY_LOAD, TINY_CODE, TINY_DATA, TINY_NOTE, TINY_RELRO, TINY_PHDRS };
enum {
	SEC_NULL,
	SEC_TEXT,
	SEC_DYNSYM,
	SEC_DYNSTR,
	SEC_SYMTAB,
	SEC_STRTAB,
	SEC_RELA,
	SEC_NAMES,
	SEC_N
};
enum { SYM_NULL, SYM_FUNC, SYM_DATA, SYM_TLS, SYM_UNDEF, SYM_ABS, SYM_N };

struct tiny {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[TINY_PHDRS];
	struct {
		Elf64_Nhdr h;
		char name[4];
		uint8_t desc[20];
	} note[2];
	Elf64_Sym dynsym[SYM_N], symtab[2];
	Elf64_Rela rela[2];
	char dynstr[64], strtab[32], names[64];
	Elf64_Shdr sh[SEC_N];
	uint8_t text[64] __attribute__((aligned(4096)));
	uint64_t got[4] __attribute__((aligned(4096)));
};

/* Where a member lies in the file. In memory: the same, code 0x10000 higher, data 0x20000. */
#define AT(member) ((uint64_t)offsetof(struct tiny, member))
#define CODE_ADDR  (AT(text) + 0x10000)
#define DATA_ADDR  (AT(got) + 0x20000)
#define TEXT_ADDR  (CODE_ADDR + 16)

static inline uint32_t tiny_name(char *table, const char *name)
{
	uint32_t at = 1;

	while (table[at] != '\0')
		at += (uint32_t)strlen(table + at) + 1;
	strcpy(table + at, name);
	return at;
}

static inline void tiny_phdrs(struct tiny *t)
{
	t->ph[TINY_LOAD] = (Elf64_Phdr){.p_type = PT_LOAD,
					.p_flags = PF_R,
					.p_filesz = AT(text),
					.p_memsz = AT(text),
					.p_align = 4096};
	t->ph[TINY_CODE] = (Elf64_Phdr){.p_type = PT_LOAD,
					.p_flags = PF_R | PF_X,
					.p_offset = AT(text),
					.p_vaddr = CODE_ADDR,
					.p_filesz = sizeof(t->text),
					.p_memsz = sizeof(t->text),
					.p_align = 4096};
	t->ph[TINY_DATA] = (Elf64_Phdr){.p_type = PT_LOAD,
					.p_flags = PF_R | PF_W,
					.p_offset = AT(got),
					.p_vaddr = DATA_ADDR,
					.p_filesz = sizeof(t->got),
					.p_memsz = 0x1000,
					.p_align = 4096};
	t->ph[TINY_NOTE] = (Elf64_Phdr){.p_type = PT_NOTE,
					.p_flags = PF_R,
					.p_offset = AT(note),
					.p_vaddr = AT(note),
					.p_filesz = sizeof(t->note),
					.p_memsz = sizeof(t->note),
					.p_align = 4};
	t->ph[TINY_RELRO] = (Elf64_Phdr){.p_type = PT_GNU_RELRO,
					 .p_flags = PF_R,
					 .p_offset = AT(got),
					 .p_vaddr = DATA_ADDR,
					 .p_filesz = 16,
					 .p_memsz = 16};
}

static inline void tiny_section(struct tiny *t, int i, const char *name, uint32_t type,
				uint64_t off, uint64_t size, uint64_t entsize, uint32_t link)
{
	t->sh[i] = (Elf64_Shdr){.sh_name = tiny_name(t->names, name),
				.sh_type = type,
				.sh_offset = off,
				.sh_size = size,
				.sh_entsize = entsize,
				.sh_link = link,
				.sh_addralign = 1};
}

static inline void tiny_sections(struct tiny *t)
{
	tiny_section(t, SEC_TEXT, ".text", SHT_PROGBITS, AT(text) + 16, 32, 0, 0);
	t->sh[SEC_TEXT].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
	t->sh[SEC_TEXT].sh_addr = TEXT_ADDR;
	tiny_section(t, SEC_DYNSYM, "d", SHT_DYNSYM, AT(dynsym), sizeof(t->dynsym),
		     sizeof(Elf64_Sym), SEC_DYNSTR);
	tiny_section(t, SEC_DYNSTR, "ds", SHT_STRTAB, AT(dynstr), sizeof(t->dynstr), 0, 0);
	tiny_section(t, SEC_SYMTAB, "s", SHT_SYMTAB, AT(symtab), sizeof(t->symtab),
		     sizeof(Elf64_Sym), SEC_STRTAB);
	tiny_section(t, SEC_STRTAB, "ss", SHT_STRTAB, AT(strtab), sizeof(t->strtab), 0, 0);
	tiny_section(t, SEC_RELA, "r", SHT_RELA, AT(rela), sizeof(t->rela), sizeof(Elf64_Rela),
		     SEC_DYNSYM);
	tiny_section(t, SEC_NAMES, "n", SHT_STRTAB, AT(names), sizeof(t->names), 0, 0);
}

static inline Elf64_Sym tiny_sym(char *table, const char *name, int type, uint16_t shndx,
				 uint64_t value, uint64_t size)
{
	return (Elf64_Sym){.st_name = tiny_name(table, name),
			   .st_info = ELF64_ST_INFO(STB_GLOBAL, type),
			   .st_shndx = shndx,
			   .st_value = value,
			   .st_size = size};
}

static inline void tiny_symbols(struct tiny *t)
{
	t->dynsym[SYM_FUNC] = tiny_sym(t->dynstr, "func", STT_FUNC, SEC_TEXT, TEXT_ADDR, 8);
	t->dynsym[SYM_DATA] = tiny_sym(t->dynstr, "data", STT_OBJECT, SEC_TEXT, DATA_ADDR, 4);
	t->dynsym[SYM_TLS] = tiny_sym(t->dynstr, "tls", STT_TLS, SEC_TEXT, 8, 8);
	t->dynsym[SYM_UNDEF] = tiny_sym(t->dynstr, "undef", STT_FUNC, SHN_UNDEF, 0, 0);
	t->dynsym[SYM_ABS] = tiny_sym(t->dynstr, "abs", STT_OBJECT, SHN_ABS, 1, 0);
	t->symtab[1] = tiny_sym(t->strtab, "local", STT_FUNC, SEC_TEXT, TEXT_ADDR + 8, 8);
	t->rela[0] = (Elf64_Rela){.r_offset = DATA_ADDR,
				  .r_info = ELF64_R_INFO(SYM_DATA, R_X86_64_GLOB_DAT)};
	t->rela[1] = (Elf64_Rela){.r_offset = DATA_ADDR + 8,
				  .r_info = ELF64_R_INFO(SYM_TLS, R_X86_64_DTPMOD64)};
}

static inline struct tiny *tiny_make(void)
{
	struct tiny *t =
	    mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(t->eh.e_ident, "\177ELF\2\1\1", 7);
	t->eh.e_type = ET_DYN;
	t->eh.e_machine = EM_X86_64;
	t->eh.e_version = EV_CURRENT;
	t->eh.e_ehsize = sizeof(Elf64_Ehdr);
	t->eh.e_phoff = AT(ph);
	t->eh.e_phentsize = sizeof(Elf64_Phdr);
	t->eh.e_phnum = TINY_PHDRS;
	t->eh.e_shoff = AT(sh);
	t->eh.e_shentsize = sizeof(Elf64_Shdr);
	t->eh.e_shnum = SEC_N;
	t->eh.e_shstrndx = SEC_NAMES;
	for (size_t i = 0; i < sizeof(t->text); i++)
		t->text[i] = (uint8_t)i;
	t->note[0].h = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 20, .n_type = NT_GNU_ABI_TAG};
	t->note[1].h = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 20, .n_type = NT_GNU_BUILD_ID};
	memcpy(t->note[0].name, "GNU", 4);
	memcpy(t->note[1].name, "GNU", 4);
	for (uint8_t i = 0; i < 20; i++)
		t->note[1].desc[i] = (uint8_t)(0xf0 + i);
	tiny_phdrs(t);
	tiny_symbols(t);
	tiny_sections(t);
	return t;
}

static inline void tiny_free(struct tiny *t)
{
	munmap(t, sizeof(*t));
}

/* Open len bytes of it as an image. */
static inline int tiny_open(const void *bytes, size_t len, struct image **ret, struct err *e)
{
	int fd = memfd_create("tiny", MFD_CLOEXEC), rc;

	if (write(fd, bytes, len) != (ssize_t)len)
		abort();
	rc = image_open(fd, "tiny", ret, e);
	close(fd);
	return rc;
}

#endif
