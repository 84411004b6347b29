/*
 * The site finders on real libraries: the system's Ruby, and those named in MEMPROF_TEST_LIBRUBY
 * (paths, separated by colons). What they found is looked at again by simpler means: bytes, and the
 * instructions right before the window.
 */
#include "suite.h"

#include "ruby/layouts.h"
#include "ruby/ruby.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LIBS_MAX = 8, LOOK_BACK = 40 };

/* Sites of builds that were looked through by hand. */
static const struct known {
	const char *build_id;
	uint64_t alloc[9], sweep, move;
} known[] = {
	{/* Debian 3.1.7 */
	 "82bc8f658d0c0ccfafdf7078aaafd56d39491b7c",
	 {0xda223, 0xda3a4, 0xda445, 0xda515, 0xda5e1, 0xda733, 0xdabfa, 0xdad6d, 0xdae65},
	 0xd6d70,
	 0xce08e},
	{/* Debian 3.1.2 */
	 "803542d97ea70c8f19d5fb7f9fd3b828e3e9ada4",
	 {0xd9da3, 0xda253, 0xda3d4, 0xda475, 0xda545, 0xda611, 0xda73a, 0xda8ad, 0xda9a5},
	 0xd6880,
	 0xcdd0e},
};

struct lib {
	struct image *img;
	struct text *text;
	struct ruby_code code;
	struct site_list list;
	bool moves_known;
};

/* Opened once, before the tests fork: decoding one takes most of a second. */
static struct lib libs[LIBS_MAX];
static size_t nlibs;

static bool is_supported(const struct image *img)
{
	struct ruby_version v;
	struct err e;

	return ruby_version_read(img, &v, &e) == 0 && v.num >= RUBY_VERSION_OF(3, 1, 0) &&
	       v.num < RUBY_VERSION_OF(3, 2, 0);
}

static int lib_read(struct lib *l, struct err *e)
{
	struct ruby_version v;

	if (ruby_version_read(l->img, &v, e) == -1 ||
	    text_create(l->img, arch_native(), &l->text, e) == -1 ||
	    ruby_code_derive(l->text, &l->code, e) == -1)
		return -1;
	return ruby_sites_find(l->text, &v, &l->code, &ruby_layouts[0], &l->list, &l->moves_known,
			       e);
}

/* wanted: somebody named it, so it must be good. */
static void lib_add(const char *path, bool wanted)
{
	struct lib *l = &libs[nlibs];
	struct err e = {.msg = "can't open"};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool opened = fd != -1 && nlibs < LIBS_MAX && image_open(fd, path, &l->img, &e) == 0;

	if (fd != -1)
		close(fd);
	if (!wanted && (!opened || !is_supported(l->img)))
		return image_destroy(l->img);
	if (!opened || lib_read(l, &e) == -1) {
		printf("%s: %s\n", path, e.msg);
		exit(EXIT_FAILURE);
	}
	nlibs++;
}

__attribute__((constructor)) static void libs_open(void)
{
	char *env = getenv("MEMPROF_TEST_LIBRUBY"), *save = NULL;
	glob_t g = {0};

	glob("/usr/lib/*/libruby*.so.3.1", 0, NULL, &g);
	glob("/usr/lib*/libruby*.so.3.1", GLOB_APPEND, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc; i++)
		lib_add(g.gl_pathv[i], false);
	globfree(&g);
	env = strdup(env ? env : "");
	for (char *p = strtok_r(env, ":", &save); p; p = strtok_r(NULL, ":", &save))
		lib_add(p, true);
	free(env);
	if (nlibs > 0)
		return;
	printf("skipped: no libruby 3.1 found (set MEMPROF_TEST_LIBRUBY to its path)\n");
	exit(77);
}

__attribute__((destructor)) static void libs_close(void)
{
	for (size_t i = 0; i < nlibs; i++) {
		site_list_deinit(&libs[i].list);
		text_destroy(libs[i].text);
		image_destroy(libs[i].img);
	}
}

/* Run check on every library. */
static void each_lib(void (*check)(const struct lib *l))
{
	for (size_t i = 0; i < nlibs; i++)
		check(&libs[i]);
}

static size_t count(const struct lib *l, enum site_event event)
{
	size_t n = 0;

	for (size_t i = 0; i < l->list.n; i++)
		n += l->list.v[i].event == event;
	return n;
}

static void check_counts(const struct lib *l)
{
	ck_assert_uint_ge(count(l, SITE_ALLOC), 8);
	ck_assert_uint_le(count(l, SITE_ALLOC), 12);
	ck_assert_uint_eq(count(l, SITE_FREE), 1);
	ck_assert_uint_eq(count(l, SITE_MOVE), l->moves_known);
}

static bool has_site(const struct lib *l, enum site_event event, uint64_t addr)
{
	for (size_t i = 0; i < l->list.n; i++)
		if (l->list.v[i].event == event && l->list.v[i].addr == addr)
			return true;
	return false;
}

static void check_known(const struct lib *l)
{
	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
		if (strcmp(known[k].build_id, image_build_id(l->img)) != 0)
			continue;
		ck_assert_uint_eq(l->list.n, 11);
		for (size_t i = 0; i < 9; i++)
			ck_assert(has_site(l, SITE_ALLOC, known[k].alloc[i]));
		ck_assert(has_site(l, SITE_FREE, known[k].sweep));
		ck_assert(has_site(l, SITE_MOVE, known[k].move));
	}
}

START_TEST(test_counts)
{
	each_lib(check_counts);
	each_lib(check_known);
}
END_TEST

static void check_code(const struct lib *l)
{
	struct image_sym vm;
	struct err e;

	ck_assert_int_eq(image_sym(l->img, "ruby_current_vm_ptr", &vm, &e), 0);
	ck_assert_uint_eq(l->code.vm_ptr, vm.addr);
	ck_assert_int_eq(l->code.objspace_flags, 16);
	ck_assert_int_gt(l->code.vm_objspace, 0);
	ck_assert_int_eq(l->code.vm_objspace % 8, 0);
}

START_TEST(test_code)
{
	each_lib(check_code);
}
END_TEST

/* -- windows --------------------------------------------------------------------------------- */

static void check_window(const struct lib *l, const struct site *s)
{
	size_t i = text_index(l->text, s->addr, false);
	uint64_t end = s->addr;

	ck_assert_uint_ne(i, SIZE_MAX);
	ck_assert_uint_ge(s->len, 5);
	for (unsigned k = 0; k < s->ninsn; k++)
		end += text_at(l->text, i + k)->len;
	ck_assert_uint_eq(end, s->addr + s->len);
	for (uint64_t a = s->addr + 1; a < end; a++)
		ck_assert(!text_is_target(l->text, a));
	ck_assert_mem_eq(s->old, image_bytes(l->img, s->addr, s->len), s->len);
	ck_assert_uint_lt(s->obj, 16);
	ck_assert_uint_ne(s->obj, 4); /* the stack pointer */
	ck_assert_ptr_nonnull(s->why);
}

static void check_windows(const struct lib *l)
{
	for (size_t i = 0; i < l->list.n; i++) {
		check_window(l, &l->list.v[i]);
		if (i > 0)
			ck_assert_uint_ge(l->list.v[i].addr,
					  l->list.v[i - 1].addr + l->list.v[i - 1].len);
	}
}

START_TEST(test_windows)
{
	each_lib(check_windows);
}
END_TEST

/* -- by other means -------------------------------------------------------------------------- */

/* `add qword [R+0x18], 1` or `inc qword [R+0x18]`, R not rsp, by its bytes. */
static bool is_increment(const uint8_t *b)
{
	unsigned sib = (b[2] & 7) == 4;

	if ((b[0] & 0xfe) != 0x48 || (b[2] & 0xf8) != 0x40 || (sib && b[0] == 0x48))
		return false;
	if (b[1] == 0xff)
		return b[3 + sib] == 0x18;
	return b[1] == 0x83 && b[3 + sib] == 0x18 && b[4 + sib] == 1;
}

/* The register of the store of 8 bytes at disp that lies nearest before instruction i. */
static uint8_t nearest_store(const struct lib *l, size_t i, int64_t disp)
{
	for (size_t n = 0; n < LOOK_BACK && i-- > 0; n++) {
		const struct insn *in = text_at(l->text, i);

		if (in->op == OP_MOV && in->mem_write && in->mem_size == 8 && in->disp == disp &&
		    in->index == ARCH_REG_NONE && in->base != 4)
			return in->base;
	}
	return ARCH_REG_NONE;
}

static void check_allocs(const struct lib *l)
{
	for (size_t k = 0; k < l->list.n; k++) {
		const struct site *s = &l->list.v[k];
		size_t i = text_index(l->text, s->addr, false);

		if (s->event != SITE_ALLOC)
			continue;
		ck_assert(is_increment(s->old));
		ck_assert_uint_eq(nearest_store(l, i, 0), s->obj);
		ck_assert_uint_eq(nearest_store(l, i, 8), s->obj);
		ck_assert(!s->flags_live && !s->hook_after);
	}
}

START_TEST(test_allocs)
{
	each_lib(check_allocs);
}
END_TEST

static const struct site *site_of(const struct lib *l, enum site_event event)
{
	for (size_t i = 0; i < l->list.n; i++)
		if (l->list.v[i].event == event)
			return &l->list.v[i];
	return NULL;
}

/* `mov $0x200000, %esi` occurs once in a libruby 3.1: it belongs to the only slow branch, and the
 * object goes to rdx next to it. */
static void check_free(const struct lib *l)
{
	const struct site *s = site_of(l, SITE_FREE);
	size_t n = 0, where = 0;

	for (size_t i = 0; i < text_count(l->text); i++) {
		const struct insn *in = text_at(l->text, i);

		if (in->op == OP_MOV && !in->has_mem && in->dst == 6 && in->has_imm &&
		    in->imm == 0x200000) {
			n++;
			where = i;
		}
	}
	ck_assert_uint_eq(n, 1);
	n = 0;
	for (size_t i = where - 3; i < where + 3; i++)
		n += text_at(l->text, i)->op == OP_MOV && text_at(l->text, i)->dst == 2 &&
		     text_at(l->text, i)->src == s->obj;
	ck_assert_uint_eq(n, 1);
}

START_TEST(test_free)
{
	each_lib(check_free);
}
END_TEST

static void check_move(const struct lib *l)
{
	const struct site *s = site_of(l, SITE_MOVE);

	if (!s)
		return;
	size_t i = text_index(l->text, s->addr, false);
	unsigned mark = 0, forward = 0;

	for (size_t j = i - 2; j < i; j++) {
		const struct insn *in = text_at(l->text, j);

		mark += in->op == OP_MOVV && in->mem_write && in->base == s->obj && in->disp == 0;
		forward += in->op == OP_MOV && in->mem_write && in->base == s->obj &&
			   in->disp == 16 && in->src == s->dst;
	}
	ck_assert_uint_eq(mark, 1);
	ck_assert_uint_eq(forward, 1);
}

START_TEST(test_move)
{
	each_lib(check_move);
}
END_TEST

SUITE_MAIN("sites_real", test_counts, test_code, test_windows, test_allocs, test_free, test_move)
