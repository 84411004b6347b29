/* Plans over a small ELF file made here: which word, which window, which refusal. */
#include "hook/hook.h"

#include "suite.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	TEXT = 0x1000,		/* vaddr and file offset of two pages of code */
	TEXT_SIZE = 2 * PAGE - 4, /* the file ends before its last page does */
	ROOM = 1024,
};

#define BIAS   UINT64_C(0x7f1200000000)
#define THUNKS (BIAS - 0x100000)
#define ENTRY  (THUNKS + 0x8000)

static const uint8_t add[] = {0x48, 0x83, 0x42, 0x18, 0x01}; /* addq $1, 0x18(%rdx) */
static const uint8_t jne[] = {0x0f, 0x85, 0x10, 0x00, 0x00, 0x00};
static const uint8_t test[] = {0xf6, 0x41, 0x02, 0x10}; /* testb $0x10, 2(%rcx) */

/* The file's code: nops, each with what is put over them. */
static uint8_t text[TEXT_SIZE];
static struct image *img;

static void text_put(uint64_t vaddr, const uint8_t *bytes, size_t len)
{
	memcpy(text + (vaddr - TEXT), bytes, len);
}

static void image_make(void)
{
	Elf64_Ehdr eh = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(eh),
		.e_ehsize = sizeof(eh),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
		.e_shentsize = sizeof(Elf64_Shdr),
	};
	Elf64_Phdr ph = {
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_offset = TEXT,
		.p_vaddr = TEXT,
		.p_filesz = TEXT_SIZE,
		.p_memsz = TEXT_SIZE,
		.p_align = PAGE,
	};
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct err e = {0};

	ck_assert_int_eq(pwrite(fd, &eh, sizeof(eh), 0), sizeof(eh));
	ck_assert_int_eq(pwrite(fd, &ph, sizeof(ph), sizeof(eh)), sizeof(ph));
	ck_assert_int_eq(pwrite(fd, text, sizeof(text), TEXT), sizeof(text));
	ck_assert_msg(image_open(fd, "small.so", &img, &e) == 0, "%s", e.msg);
	close(fd);
}

/* A site with code's bytes at vaddr, written to the text as well. */
static struct site site_make(uint64_t vaddr, const uint8_t *code, size_t len)
{
	struct site s = {.addr = vaddr, .len = (uint8_t)len, .ninsn = 1, .obj = 0, .why = "test"};

	text_put(vaddr, code, len);
	memcpy(s.old, code, len);
	return s;
}

static struct hook_place place_make(void)
{
	return (struct hook_place){
		.bias = BIAS,
		.thunks = THUNKS,
		.thunks_size = ROOM,
		.entry = {ENTRY, ENTRY + 0x10, ENTRY + 0x20},
	};
}

static bool is_the_target(const void *ctx, uint64_t vaddr)
{
	return vaddr == *(const uint64_t *)ctx;
}

/* Plan the sites; target: the only address that is jumped to. */
static int plan(struct site *v, size_t n, uint64_t target, struct hook_plan *p, struct err *e)
{
	const struct site_list list = {v, n};
	const struct hook_place place = place_make();

	image_make();
	return hook_plan_create(arch_native(), img, &list, &place, is_the_target, &target, p, e);
}

static void setup(void)
{
	memset(text, 0x90, sizeof(text));
}

static void teardown(void)
{
	image_destroy(img);
	img = NULL;
}

static void check_refused(struct site *v, size_t n, uint64_t target, const char *why)
{
	struct hook_plan p = {0};
	struct err e = {0};

	ck_assert_msg(plan(v, n, target, &p, &e) == -1, "not refused: %s", why);
	ck_assert_int_eq(e.code, ERR_UNSUPPORTED);
	ck_assert_msg(strstr(e.msg, why) != NULL, "%s", e.msg);
	ck_assert_ptr_null(p.v);
	ck_assert_ptr_null(p.thunks);
}

START_TEST(word_of_a_window)
{
	struct site s = site_make(TEXT + 0x100, add, sizeof(add));
	struct hook_plan p;
	struct err e = {0};
	const struct hook *h;

	ck_assert_msg(plan(&s, 1, TEXT + 0x100, &p, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(p.n, 1);
	h = &p.v[0];
	ck_assert_uint_eq(h->site, BIAS + TEXT + 0x100);
	ck_assert_uint_eq(h->site_end, h->site + 5);
	ck_assert_uint_eq(h->addr, h->site);
	ck_assert_ptr_eq(h->of, &s);
	ck_assert_mem_eq(h->old, "\x48\x83\x42\x18\x01\x90\x90\x90", HOOK_WORD);
	/* thunk - (site + 5) = -0x100000 - 0x1105 */
	ck_assert_mem_eq(h->new, "\xe9\xfb\xee\xef\xff\x90\x90\x90", HOOK_WORD);
	ck_assert_uint_eq(h->thunk, THUNKS);
	ck_assert_uint_eq(h->thunk_end, THUNKS + p.thunks_len);
	ck_assert_mem_eq(p.thunks, "\x48\x8d\x64\x24\x80", 5);
	hook_plan_deinit(&p);
	hook_plan_deinit(&p);
}
END_TEST

/* All windows that end with their page, down to the last that fits forward. */
START_TEST(word_at_a_page_end)
{
	for (uint64_t at = TEXT + PAGE - 12; at <= TEXT + PAGE - 5; at++) {
		struct hook_plan p;
		struct err e = {0};
		setup();
		struct site s = site_make(at, add, sizeof(add));
		bool forward = at + HOOK_WORD <= TEXT + PAGE;
		ck_assert_msg(plan(&s, 1, 0, &p, &e) == 0, "%s", e.msg);
		const struct hook *h = &p.v[0];
		uint64_t want = forward ? at : at + 5 - HOOK_WORD;
		ck_assert_uint_eq(h->addr, BIAS + want);
		ck_assert_mem_eq(h->old, text + (want - TEXT), HOOK_WORD);
		for (size_t i = 0; i < HOOK_WORD; i++)
			if (want + i < at || want + i >= at + 5)
				ck_assert_uint_eq(h->new[i], h->old[i]);
		ck_assert_uint_eq(h->new[at - want], 0xe9);
		hook_plan_deinit(&p);
		teardown();
	}
}
END_TEST

START_TEST(word_at_the_file_end)
{
	uint64_t at = TEXT + TEXT_SIZE - 5;
	struct site s = site_make(at, add, sizeof(add));
	struct hook_plan p;
	struct err e = {0};

	ck_assert_msg(plan(&s, 1, 0, &p, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(p.v[0].addr, BIAS + at + 5 - HOOK_WORD);
	hook_plan_deinit(&p);
}
END_TEST

START_TEST(windows_of_5_to_8)
{
	static const uint8_t code[9] = {0x48, 0xc7, 0x03, 0x1e, 0, 0, 0, 0x90, 0x90};
	struct site s = site_make(TEXT + 0x100, code, 4);
	struct hook_plan p;
	struct err e = {0};

	check_refused(&s, 1, 0, "shorter than a jump");
	teardown();
	s = site_make(TEXT + 0x100, code, 9);
	s.ninsn = 3;
	check_refused(&s, 1, 0, "does not fit in one word");
	teardown();
	s = site_make(TEXT + 0x100, code, 8);
	s.ninsn = 2;
	ck_assert_msg(plan(&s, 1, 0, &p, &e) == 0, "%s", e.msg);
	ck_assert_mem_eq(p.v[0].new + 5, "\x0f\x1f\x00", 3);
	hook_plan_deinit(&p);
}
END_TEST

START_TEST(page_crossed)
{
	for (uint64_t at = TEXT + PAGE - 4; at < TEXT + PAGE; at++) {
		setup();
		struct site s = site_make(at, add, sizeof(add));
		check_refused(&s, 1, 0, "crosses a page");
		teardown();
	}
}
END_TEST

START_TEST(bytes_differ)
{
	struct site s = site_make(TEXT + 0x100, add, sizeof(add));
	struct site outside = {.addr = TEXT + TEXT_SIZE, .len = 5, .ninsn = 1};

	s.old[4] = 2;
	check_refused(&s, 1, 0, "not the file's");
	teardown();
	outside.addr = TEXT + 2 * PAGE + 0x100;
	check_refused(&outside, 1, 0, "not the file's");
}
END_TEST

START_TEST(jumped_into)
{
	for (uint64_t off = 1; off < sizeof(add); off++) {
		struct site s = site_make(TEXT + 0x100, add, sizeof(add));
		check_refused(&s, 1, s.addr + off, "jumps into its window");
		teardown();
	}
	struct site s = site_make(TEXT + 0x100, add, sizeof(add));
	struct hook_plan p;
	struct err e = {0};
	ck_assert_int_eq(plan(&s, 1, s.addr + sizeof(add), &p, &e), 0);
	hook_plan_deinit(&p);
}
END_TEST

/* With a test to run again, the jump itself must be reached through that test only. */
START_TEST(redo_jumped_into)
{
	uint64_t at = TEXT + 0x104;
	struct site s = site_make(at, jne, sizeof(jne));
	struct hook_plan p;
	struct err e = {0};

	s.redo_len = sizeof(test);
	text_put(at - sizeof(test), test, sizeof(test));
	check_refused(&s, 1, at, "jumps into its window");
	teardown();
	check_refused(&s, 1, at - 1, "jumps into its window");
	teardown();
	ck_assert_msg(plan(&s, 1, at - sizeof(test), &p, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(p.v[0].addr, BIAS + at);
	ck_assert_ptr_nonnull(memmem(p.thunks, p.thunks_len, test, sizeof(test)));
	hook_plan_deinit(&p);
}
END_TEST

START_TEST(redo_outside)
{
	struct site s = site_make(TEXT, jne, sizeof(jne));

	s.redo_len = sizeof(test);
	check_refused(&s, 1, 0, "not in the file");
}
END_TEST

START_TEST(neighbours)
{
	struct site v[2];
	struct hook_plan p;
	struct err e = {0};

	v[0] = site_make(TEXT + 0x100, add, sizeof(add));
	v[1] = site_make(TEXT + 0x107, add, sizeof(add));
	check_refused(v, 2, 0, "too close");
	teardown();
	v[1] = site_make(TEXT + 0x108, add, sizeof(add));
	ck_assert_msg(plan(v, 2, 0, &p, &e) == 0, "%s", e.msg);
	hook_plan_deinit(&p);
	teardown();
	struct site swapped[2] = {v[1], v[0]};
	check_refused(swapped, 2, 0, "out of order");
}
END_TEST

START_TEST(thunks_in_a_row)
{
	struct site v[3];
	struct hook_plan p;
	struct err e = {0};

	for (size_t i = 0; i < 3; i++) {
		v[i] = site_make(TEXT + 0x100 * (i + 1), add, sizeof(add));
		v[i].event = (enum site_event)i;
		v[i].dst = 1;
	}
	ck_assert_msg(plan(v, 3, 0, &p, &e) == 0, "%s", e.msg);
	for (size_t i = 0; i < 3; i++) {
		int32_t rel;
		const struct hook *h = &p.v[i];
		ck_assert_uint_eq(h->thunk % 16, 0);
		memcpy(&rel, h->new + 1, sizeof(rel));
		ck_assert_uint_eq(h->site + 5 + (uint64_t)(int64_t)rel, h->thunk);
		for (uint64_t a = h->thunk_end; i < 2 && a < h[1].thunk; a++)
			ck_assert_uint_eq(p.thunks[a - THUNKS], 0xcc);
		/* lea, push, push, mov, and for a move another mov: then the call */
		size_t call = h->thunk - THUNKS + (i == SITE_MOVE ? 13 : 10);
		ck_assert_uint_eq(p.thunks[call], 0xe8);
		memcpy(&rel, p.thunks + call + 1, sizeof(rel));
		ck_assert_uint_eq(THUNKS + call + 5 + (uint64_t)(int64_t)rel, ENTRY + 0x10 * i);
	}
	ck_assert_uint_eq(p.v[2].thunk_end, THUNKS + p.thunks_len);
	ck_assert_uint_le(p.thunks_len, hook_thunks_bound(arch_native(), 3));
	hook_plan_deinit(&p);
}
END_TEST

START_TEST(room_and_reach)
{
	struct site v[2] = {site_make(TEXT + 0x100, add, sizeof(add)),
			    site_make(TEXT + 0x200, add, sizeof(add))};
	const struct site_list list = {v, 2};
	struct hook_place place = place_make();
	struct hook_plan p = {0};
	struct err e = {0};
	size_t need;

	image_make();
	ck_assert_int_eq(hook_plan_create(arch_native(), img, &list, &place, NULL, NULL, &p, &e), 0);
	need = p.thunks_len;
	hook_plan_deinit(&p);
	for (size_t room = 0; room < need; room++) {
		place.thunks_size = room;
		e.code = ERR_NONE;
		ck_assert_int_eq(
		    hook_plan_create(arch_native(), img, &list, &place, NULL, NULL, &p, &e), -1);
		ck_assert_int_eq(e.code, ERR_RANGE);
		ck_assert_ptr_null(p.v);
	}
	place.thunks_size = need;
	ck_assert_int_eq(hook_plan_create(arch_native(), img, &list, &place, NULL, NULL, &p, &e), 0);
	hook_plan_deinit(&p);
	place = place_make();
	place.thunks = BIAS - 0x80000000;
	ck_assert_int_eq(hook_plan_create(arch_native(), img, &list, &place, NULL, NULL, &p, &e),
			 -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	place.thunks = THUNKS + 8;
	ck_assert_int_eq(hook_plan_create(arch_native(), img, &list, &place, NULL, NULL, &p, &e),
			 -1);
}
END_TEST

START_TEST(cannot_be_moved)
{
	static const uint8_t call[] = {0xe8, 0, 0, 0, 0};
	struct site s = site_make(TEXT + 0x100, call, sizeof(call));

	check_refused(&s, 1, 0, "a call would return into the thunk");
}
END_TEST

/* The second refusal must not leave half a plan behind. */
START_TEST(all_or_none)
{
	struct site v[2] = {site_make(TEXT + 0x100, add, sizeof(add)),
			    site_make(TEXT + 0x200, add, sizeof(add))};

	v[1].obj = 4; /* rsp */
	check_refused(v, 2, 0, "no register holds the object");
}
END_TEST

START_TEST(nothing_to_do)
{
	struct hook_plan p;
	struct err e = {0};

	ck_assert_int_eq(plan(NULL, 0, 0, &p, &e), 0);
	ck_assert_uint_eq(p.n, 0);
	ck_assert_uint_eq(p.thunks_len, 0);
	hook_plan_deinit(&p);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {word_of_a_window, word_at_a_page_end, word_at_the_file_end,
				windows_of_5_to_8, page_crossed, bytes_differ, jumped_into,
				redo_jumped_into, redo_outside, neighbours, thunks_in_a_row,
				room_and_reach, cannot_be_moved, all_or_none, nothing_to_do};
	Suite *s = suite_create("hook");
	TCase *tc = tcase_create("hook");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
