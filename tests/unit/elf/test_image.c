#include "suite.h"

#include "tiny.h"

static struct image *open_good(struct tiny *t)
{
	struct image *img;
	struct err e = {0};

	ck_assert_msg(tiny_open(t, sizeof(*t), &img, &e) == 0, "%s", e.msg);
	tiny_free(t);
	return img;
}

/* -- a good image ---------------------------------------------------------------------------- */

START_TEST(facts)
{
	struct image *img = open_good(tiny_make());
	struct image_range text;
	struct err e;

	ck_assert_str_eq(image_name(img), "tiny");
	ck_assert(image_is_dyn(img));
	ck_assert_str_eq(image_build_id(img), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00010203");
	ck_assert_int_eq(image_text(img, &text, &e), 0);
	ck_assert_uint_eq(text.addr, TEXT_ADDR);
	ck_assert_uint_eq(text.size, 32);
	ck_assert(image_in_relro(img, DATA_ADDR) && image_in_relro(img, DATA_ADDR + 15));
	ck_assert(!image_in_relro(img, DATA_ADDR - 1) && !image_in_relro(img, DATA_ADDR + 16));
	image_destroy(img);
	image_destroy(NULL);
}
END_TEST

START_TEST(bytes_of_one_segment)
{
	struct image *img = open_good(tiny_make());
	const uint8_t *p = image_bytes(img, CODE_ADDR + 3, 2);

	ck_assert_ptr_nonnull(p);
	ck_assert(p[0] == 3 && p[1] == 4);
	ck_assert_ptr_nonnull(image_bytes(img, CODE_ADDR, 64));
	ck_assert_ptr_null(image_bytes(img, CODE_ADDR, 65));
	ck_assert_ptr_null(image_bytes(img, CODE_ADDR - 1, 2));
	ck_assert_ptr_null(image_bytes(img, CODE_ADDR + 64, 0));
	ck_assert_ptr_null(image_bytes(img, CODE_ADDR, SIZE_MAX));
	ck_assert_ptr_null(image_bytes(img, UINT64_MAX, 1));
	ck_assert_ptr_nonnull(image_bytes(img, DATA_ADDR, 32));
	ck_assert_ptr_null(image_bytes(img, DATA_ADDR + 32, 1)); /* memory, not file */
	image_destroy(img);
}
END_TEST

START_TEST(symbols_by_name)
{
	struct image *img = open_good(tiny_make());
	struct image_sym s;
	struct err e;

	ck_assert_int_eq(image_sym(img, "func", &s, &e), 0);
	ck_assert(s.addr == TEXT_ADDR && s.size == 8 && s.kind == IMAGE_SYM_FUNC);
	ck_assert_str_eq(s.name, "func");
	ck_assert_int_eq(image_sym(img, "data", &s, &e), 0);
	ck_assert_int_eq(s.kind, IMAGE_SYM_OBJECT);
	ck_assert_int_eq(image_sym(img, "tls", &s, &e), 0);
	ck_assert(s.addr == 8 && s.kind == IMAGE_SYM_TLS);
	ck_assert_int_eq(image_sym(img, "local", &s, &e), 0); /* .symtab */
	ck_assert_uint_eq(s.addr, TEXT_ADDR + 8);
	static const char *const none[] = {"undef", "abs", "", "fun", "funcs"};
	for (size_t i = 0; i < 5; i++) {
		ck_assert_int_eq(image_sym(img, none[i], &s, &e), -1);
		ck_assert_int_eq(e.code, ERR_NOSYM);
	}
	image_destroy(img);
}
END_TEST

struct walk {
	size_t n, stop_at;
	char names[64];
};

static bool walk_one(const struct image_sym *s, void *arg)
{
	struct walk *w = arg;

	strcat(w->names, s->name);
	strcat(w->names, " ");
	return ++w->n != w->stop_at;
}

START_TEST(every_symbol_until_told_to_stop)
{
	struct image *img = open_good(tiny_make());
	struct walk all = {0}, some = {.stop_at = 2}, last = {.stop_at = 3};

	image_each_sym(img, walk_one, &all);
	ck_assert_str_eq(all.names, "func data tls local ");
	image_each_sym(img, walk_one, &some);
	ck_assert_str_eq(some.names, "func data ");
	image_each_sym(img, walk_one, &last); /* must not go on with the second table */
	ck_assert_str_eq(last.names, "func data tls ");
	image_destroy(img);
}
END_TEST

START_TEST(tls_slot)
{
	struct image *img = open_good(tiny_make());
	uint64_t slot;
	struct err e;

	ck_assert_int_eq(image_tls_got(img, "tls", &slot, &e), 0);
	ck_assert_uint_eq(slot, DATA_ADDR + 8);
	ck_assert_int_eq(image_tls_got(img, "data", &slot, &e), -1); /* GLOB_DAT is no TLS */
	ck_assert_int_eq(e.code, ERR_NOSYM);
	image_destroy(img);
}
END_TEST

/* -- load bias ------------------------------------------------------------------------------- */

/* Returns the bias, or the error code negated. */
static int64_t bias_of(struct tiny *t, const char *maps_text)
{
	struct image *img = open_good(t);
	struct maps m;
	struct err e;
	uint64_t bias;
	int64_t r;

	ck_assert_int_eq(maps_parse(maps_text, strlen(maps_text), &m, &e), 0);
	r = image_bias(img, &m, 8, 1, 99, &bias, &e) == 0 ? (int64_t)bias : -(int64_t)e.code;
	maps_deinit(&m);
	image_destroy(img);
	return r;
}

START_TEST(bias)
{
	const unsigned long off = AT(text), at = CODE_ADDR + 0x7f0000000000;
	char text[500], twice[600];
	struct tiny *fixed = tiny_make();

	snprintf(text, sizeof(text),
		 "7e0000000000-7e0000001000 r-xp %lx 08:01 98 /other\n"
		 "7e0000002000-7e0000003000 r-xp %lx 08:02 99 /other\n"
		 "7f0000000000-7f0000001000 r--p 0 08:01 99 /tiny\n"
		 "7f0000001000-7f0000002000 r-xp 9000 08:01 99 /tiny\n"
		 "7f0000003000-7f0000004000 r--p %lx 08:01 99 /tiny\n"
		 "%lx-%lx r-xp %lx 08:01 99 /tiny (deleted)\n",
		 off, off, off, at, at + 4096, off);
	ck_assert_int_eq(bias_of(tiny_make(), text), 0x7f0000000000);
	snprintf(twice, sizeof(twice), "%s7fff00000000-7fff00001000 r-xp %lx 08:01 99 /tiny\n",
		 text, off);
	ck_assert_int_eq(bias_of(tiny_make(), twice), -ERR_BADDATA);
	ck_assert_int_eq(bias_of(tiny_make(), ""), -ERR_NOSYM);
	ck_assert_int_eq(bias_of(tiny_make(), "1000-2000 r-xp 0 08:01 99 /tiny\n"), -ERR_NOSYM);
	snprintf(text, sizeof(text), "1000-2000 r-xp %lx 08:01 99 /tiny\n", off);
	ck_assert_int_eq(bias_of(tiny_make(), text), -ERR_BADDATA); /* below its own addresses */
	fixed->eh.e_type = ET_EXEC;
	snprintf(text, sizeof(text), "%lx-%lx r-xp %lx 08:01 99 /tiny\n", at, at + 4096, off);
	ck_assert_int_eq(bias_of(fixed, text), -ERR_BADDATA);
	fixed = tiny_make();
	fixed->eh.e_type = ET_EXEC;
	snprintf(text, sizeof(text), "%lx-%lx r-xp %lx 08:01 99 /tiny\n", CODE_ADDR,
		 CODE_ADDR + 4096, off);
	ck_assert_int_eq(bias_of(fixed, text), 0);
}
END_TEST

/* -- images that are refused ----------------------------------------------------------------- */

static void check_refused(struct tiny *t, size_t len, enum err_code code, const char *what)
{
	struct image *img = NULL;
	struct err e = {0};

	ck_assert_msg(tiny_open(t, len, &img, &e) == -1, "accepted: %s", what);
	ck_assert_msg(e.code == code, "%s: %d: %s", what, e.code, e.msg);
	ck_assert_ptr_null(img);
	tiny_free(t);
}

#define REFUSED(code, change)                                                                      \
	do {                                                                                       \
		struct tiny *t = tiny_make();                                                      \
		change;                                                                            \
		check_refused(t, sizeof(*t), code, #change);                                       \
	} while (0)

START_TEST(wrong_kind)
{
	REFUSED(ERR_BADELF, t->eh.e_ident[0] = 0);
	REFUSED(ERR_BADELF, memcpy(t, "!<arch>\n", 8));
	REFUSED(ERR_UNSUPPORTED, t->eh.e_ident[EI_CLASS] = ELFCLASS32);
	REFUSED(ERR_UNSUPPORTED, t->eh.e_ident[EI_DATA] = ELFDATA2MSB);
	REFUSED(ERR_UNSUPPORTED, t->eh.e_machine = EM_AARCH64);
	REFUSED(ERR_UNSUPPORTED, t->eh.e_machine = EM_386);
	REFUSED(ERR_BADELF, t->eh.e_type = ET_REL);
	REFUSED(ERR_BADELF, t->eh.e_type = ET_CORE);
}
END_TEST

START_TEST(segments_that_lie)
{
	REFUSED(ERR_BADELF, t->eh.e_phnum = 0);
	REFUSED(ERR_BADELF, t->eh.e_phnum = 65000);
	REFUSED(ERR_BADELF, t->eh.e_phentsize = 32);
	REFUSED(ERR_BADELF, t->eh.e_phoff = sizeof(*t));
	REFUSED(ERR_BADELF, t->eh.e_phoff = UINT64_MAX - 8);
	REFUSED(ERR_BADELF, t->ph[TINY_CODE].p_filesz = sizeof(*t));
	REFUSED(ERR_BADELF, t->ph[TINY_CODE].p_filesz = UINT64_MAX);
	REFUSED(ERR_BADELF, t->ph[TINY_CODE].p_offset += (uint64_t)1 << 40);
	REFUSED(ERR_BADELF, t->ph[TINY_CODE].p_offset = UINT64_MAX - 4095);
	REFUSED(ERR_BADELF, t->ph[TINY_CODE].p_memsz = 1);
	REFUSED(ERR_BADELF, t->ph[TINY_CODE].p_memsz = UINT64_MAX - CODE_ADDR + 1); /* wraps */
	REFUSED(ERR_BADELF, t->ph[TINY_CODE].p_vaddr += 8);
	REFUSED(ERR_BADELF, t->ph[TINY_NOTE].p_offset = sizeof(*t));
}
END_TEST

START_TEST(truncated_headers)
{
	for (size_t len = 0; len < sizeof(Elf64_Ehdr); len++)
		check_refused(tiny_make(), len, ERR_BADELF, "cut");
	check_refused(tiny_make(), sizeof(Elf64_Ehdr), ERR_BADELF, "cut");
	check_refused(tiny_make(), AT(text) + 10, ERR_BADELF, "cut");
}
END_TEST

START_TEST(not_a_file)
{
	struct image *img;
	struct err e;
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(image_open(p[0], "pipe", &img, &e), -1);
	ck_assert_int_eq(e.code, ERR_BADELF);
	ck_assert_int_eq(image_open(-1, "none", &img, &e), -1);
	ck_assert_int_eq(e.code, ERR_SYS);
	close(p[0]);
	close(p[1]);
}
END_TEST

/* -- section headers are optional: what is malformed counts as absent ------------------------- */

/* What is left of the symbols: "d" .dynsym, "s" .symtab, "t" the TLS slot, "x" a narrowed .text. */
static const char *what_works(struct tiny *t, char *buf)
{
	struct image *img = open_good(t);
	struct image_range text;
	struct image_sym s;
	struct err e;
	uint64_t slot;
	char *p = buf;

	if (image_sym(img, "func", &s, &e) == 0)
		*p++ = 'd';
	if (image_sym(img, "local", &s, &e) == 0)
		*p++ = 's';
	if (image_tls_got(img, "tls", &slot, &e) == 0)
		*p++ = 't';
	ck_assert_int_eq(image_text(img, &text, &e), 0);
	if (text.addr == TEXT_ADDR)
		*p++ = 'x';
	else
		ck_assert(text.addr == CODE_ADDR && text.size == 64);
	*p = '\0';
	image_destroy(img);
	return buf;
}

#define WORKS(want, change)                                                                        \
	do {                                                                                       \
		struct tiny *t = tiny_make();                                                      \
		char buf[8];                                                                       \
		change;                                                                            \
		ck_assert_str_eq(what_works(t, buf), want);                                        \
	} while (0)

START_TEST(sections_that_lie)
{
	WORKS("dstx", (void)t);
	WORKS("", (t->eh.e_shoff = 0, t->eh.e_shnum = 0, t->eh.e_shstrndx = 0));
	WORKS("dst", t->eh.e_shstrndx = 77);
	WORKS("dst", t->sh[SEC_NAMES].sh_offset = sizeof(*t));
	WORKS("dst", t->sh[SEC_TEXT].sh_name = 9999);
	WORKS("dst", t->sh[SEC_TEXT].sh_addr += 1);
	WORKS("dst", t->sh[SEC_TEXT].sh_size = 64);
	WORKS("dst", t->sh[SEC_TEXT].sh_size = UINT64_MAX);
	WORKS("dst", t->sh[SEC_TEXT].sh_flags = SHF_ALLOC);
	WORKS("dst", t->sh[SEC_TEXT].sh_type = SHT_NOBITS);
	WORKS("sx", t->sh[SEC_DYNSYM].sh_offset = sizeof(*t));
	WORKS("sx", t->sh[SEC_DYNSYM].sh_offset = UINT64_MAX - 8);
	WORKS("sx", t->sh[SEC_DYNSYM].sh_size = UINT64_MAX);
	WORKS("sx", t->sh[SEC_DYNSYM].sh_entsize = 1);
	WORKS("sx", t->sh[SEC_DYNSYM].sh_entsize = 0);
	WORKS("sx", t->sh[SEC_DYNSYM].sh_link = 1000);
	WORKS("sx", t->sh[SEC_DYNSYM].sh_link = SEC_TEXT);
	WORKS("sx", t->sh[SEC_DYNSTR].sh_offset = sizeof(*t) - 1);
	WORKS("sx", t->dynstr[63] = 'x'); /* its last string does not end */
	WORKS("sx", t->sh[SEC_DYNSTR].sh_size = 0);
	WORKS("dtx", t->sh[SEC_SYMTAB].sh_size = 1);
}
END_TEST

START_TEST(symbols_that_lie)
{
	WORKS("stx", t->dynsym[SYM_FUNC].st_name = 64);
	WORKS("stx", t->dynsym[SYM_FUNC].st_name = UINT32_MAX);
	WORKS("dsx", t->dynsym[SYM_TLS].st_name = 64);
	WORKS("dsx", t->rela[1].r_info = ELF64_R_INFO(SYM_N, R_X86_64_DTPMOD64));
	WORKS("dsx", t->rela[1].r_info = ELF64_R_INFO(UINT32_MAX, R_X86_64_DTPMOD64));
	WORKS("dsx", t->rela[1].r_offset = CODE_ADDR);              /* not writable */
	WORKS("dsx", t->rela[1].r_offset = DATA_ADDR + 0x1000 - 8); /* half of the pair */
	WORKS("dsx", t->rela[1].r_offset = DATA_ADDR + 4);
	WORKS("dsx", t->rela[1].r_offset = UINT64_MAX - 7);
	WORKS("dsx", t->sh[SEC_RELA].sh_size = UINT64_MAX);
	WORKS("dsx", t->sh[SEC_RELA].sh_offset = sizeof(*t) - 1);
	WORKS("dsx", t->sh[SEC_RELA].sh_link = SEC_SYMTAB);
	WORKS("dsx", t->sh[SEC_RELA].sh_entsize = 8);
}
END_TEST

/* libelf itself refuses such a file, and so do we; it is enough that nothing is read. */
START_TEST(section_table_beyond_the_file)
{
	static const uint64_t offsets[] = {sizeof(struct tiny) - 1, sizeof(struct tiny),
					   (uint64_t)1 << 40, UINT64_MAX - 63, UINT64_MAX};

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct tiny *t = tiny_make();
		struct image *img = NULL;
		struct image_sym s;
		struct err e;

		t->eh.e_shoff = offsets[i];
		if (tiny_open(t, sizeof(*t), &img, &e) == 0)
			ck_assert_int_eq(image_sym(img, "func", &s, &e), -1);
		else
			ck_assert_int_eq(e.code, ERR_BADELF);
		image_destroy(img);
		tiny_free(t);
	}
}
END_TEST

START_TEST(notes_that_lie)
{
	struct {
		uint32_t namesz, descsz, type;
	} bad[] = {
	    {UINT32_MAX, 20, NT_GNU_BUILD_ID},
	    {4, UINT32_MAX, NT_GNU_BUILD_ID},
	    {4, 21, NT_GNU_BUILD_ID},
	    {5, 20, NT_GNU_BUILD_ID},
	    {4, 20, 0x1234},
	    {5, 12, NT_GNU_BUILD_ID},
	    {0, 0, 0},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tiny *t = tiny_make();
		t->note[1].h = (Elf64_Nhdr){
		    .n_namesz = bad[i].namesz, .n_descsz = bad[i].descsz, .n_type = bad[i].type};
		struct image *img = open_good(t);
		ck_assert_str_eq(image_build_id(img), "");
		image_destroy(img);
	}
}
END_TEST

/* The padding of the first note reaches beyond the segment: there is no second one. */
START_TEST(notes_end_with_the_segment)
{
	struct tiny *t = tiny_make();

	t->note[0].h.n_descsz = 17;
	t->ph[TINY_NOTE].p_filesz = 33;
	struct image *img = open_good(t);
	ck_assert_str_eq(image_build_id(img), "");
	image_destroy(img);
}
END_TEST

START_TEST(no_code)
{
	struct tiny *t = tiny_make();
	struct image_range text;
	struct err e;

	t->ph[TINY_CODE].p_flags = PF_R;
	struct image *img = open_good(t);
	ck_assert_int_eq(image_text(img, &text, &e), -1);
	ck_assert_int_eq(e.code, ERR_NOSYM);
	image_destroy(img);
}
END_TEST

/* -- any bytes at all ------------------------------------------------------------------------ */

static bool touch(const struct image_sym *s, void *arg)
{
	*(size_t *)arg += strlen(s->name);
	return true;
}

static void ask_everything(const struct image *img)
{
	struct maps m;
	struct image_range text;
	struct image_sym s;
	struct err e;
	uint64_t v;
	size_t sum = strlen(image_build_id(img));
	static const char line[] = "7f0000000000-7f0000001000 r-xp 1000 08:01 99 /tiny\n";

	image_each_sym(img, touch, &sum);
	image_sym(img, "local", &s, &e);
	image_tls_got(img, "tls", &v, &e);
	image_in_relro(img, DATA_ADDR);
	if (image_text(img, &text, &e) == 0) {
		const uint8_t *p = image_bytes(img, text.addr, text.size);
		ck_assert_ptr_nonnull(p);
		for (size_t i = 0; i < text.size; i++)
			sum += p[i];
	}
	ck_assert_int_eq(maps_parse(line, sizeof(line) - 1, &m, &e), 0);
	image_bias(img, &m, 8, 1, 99, &v, &e);
	maps_deinit(&m);
}

/* Meant for a build with sanitizers. The seed is fixed: a failure comes back. */
START_TEST(random_damage)
{
	static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff};
	size_t opened = 0;

	srandom(4711);
	for (int round = 0; round < 4000; round++) {
		struct tiny *t = tiny_make();
		struct image *img;
		struct err e;

		for (long hits = random() % 8; hits >= 0; hits--)
			((uint8_t *)t)[random() % (long)AT(text)] = odd[random() % 5];
		if (tiny_open(t, sizeof(*t), &img, &e) == 0) {
			ask_everything(img);
			image_destroy(img);
			opened++;
		}
		tiny_free(t);
	}
	ck_assert_uint_gt(opened, 500);
	ck_assert_uint_lt(opened, 4000);
}
END_TEST

SUITE_MAIN("image", facts, bytes_of_one_segment, symbols_by_name, every_symbol_until_told_to_stop,
	   tls_slot, bias, wrong_kind, segments_that_lie, truncated_headers, not_a_file,
	   sections_that_lie, symbols_that_lie, section_table_beyond_the_file, notes_that_lie,
	   notes_end_with_the_segment, no_code, random_damage)
