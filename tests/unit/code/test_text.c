/* Decoding a whole .text: a small one made here, and the system's libruby. */
#include "code/text.h"

#include "suite.h"

#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TEXT = 0x1000, RODATA = 0x2000 };

/* Assembled here: a function with a switch, one with a loop, and bytes that are no code. Loaded at
 * TEXT, its tables at RODATA. */
__asm__(".pushsection .rodata\n"
	"text_begin: .set T, text_begin; .set R, text_begin + 0x1000\n"
	"1:	cmp $3,%edi\n"			 /* +0 */
	"	ja 4f\n"			 /* +3 */
	"	lea R(%rip),%rdx\n"		 /* +5 */
	"	movslq (%rdx,%rdi,4),%rax\n"	 /* +12 */
	"	add %rdx,%rax\n"		 /* +16 */
	"	jmp *%rax\n"			 /* +19 */
	"2:	mov $1,%eax; ret\n"		 /* +21 */
	"3:	mov $2,%eax; ret\n"		 /* +27 */
	"4:	mov $3,%eax; ret\n"		 /* +33 */
	"5:	call 1b; jmp 5b\n"		 /* +39, +44 */
	"	.byte 0x06\n"			 /* +46: not an instruction */
	"	jmp *0x2020(,%rax,8)\n"		 /* +47 */
	"6:	nop; ret\n"			 /* +54, +55 */
	"	lea 12+R(%rip),%rcx\n"	 /* +56: two alike are no table */
	"text_end: .skip 0x1000 - (text_end - text_begin)\n"
	"rodata_begin:\n"
	"	.long 2b - R, 3b - R, 2b - R\n"
	/* as distances from R, the first of the pair would mean +44 */
	"	.long 1b - R - 12 + 56, 1b - R - 12 + 46, 0, 0, 0\n"
	"	.quad 0x1000 + 6b - T, 0x1001 + 6b - T, 0x1000 + 6b - T, 0x1, 0x1000 + 5b - T\n"
	"rodata_end:\n"
	".popsection\n");
extern const uint8_t text_begin[], text_end[], rodata_begin[], rodata_end[];

static struct text *open_text(int fd, const char *name, struct image **img)
{
	struct err e = {0};
	struct text *t = NULL;

	ck_assert_msg(image_open(fd, name, img, &e) == 0, "%s", e.msg);
	ck_assert_msg(text_create(*img, arch_native(), &t, &e) == 0, "%s", e.msg);
	close(fd);
	return t;
}

static int small_elf(size_t text_size)
{
	Elf64_Ehdr eh = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(eh),
		.e_ehsize = sizeof(eh),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
		.e_shentsize = sizeof(Elf64_Shdr),
	};
	Elf64_Phdr ph[2] = {
		{PT_LOAD, PF_R | PF_X, TEXT, TEXT, TEXT, text_size, text_size, 0x1000},
		{PT_LOAD, PF_R, RODATA, RODATA, RODATA, 0x100, 0x100, 0x1000},
	};
	uint8_t page[0x100] = {0};
	int fd = memfd_create("text", MFD_CLOEXEC);

	memcpy(page, rodata_begin, (size_t)(rodata_end - rodata_begin));
	ck_assert_int_gt(pwrite(fd, &eh, sizeof(eh), 0), 0);
	ck_assert_int_gt(pwrite(fd, ph, sizeof(ph), sizeof(eh)), 0);
	ck_assert_int_gt(pwrite(fd, text_begin, (size_t)(text_end - text_begin), TEXT), 0);
	ck_assert_int_gt(pwrite(fd, page, sizeof(page), RODATA), 0);
	return fd;
}

static struct text *small_text(struct image **img)
{
	return open_text(small_elf((size_t)(text_end - text_begin)), "small", img);
}

START_TEST(decoded_in_order)
{
	static const uint8_t offsets[] = {0,  3,  5,  12, 16, 19, 21, 26, 27, 32, 33,
					  38, 39, 44, 46, 47, 54, 55, 56};
	struct image *img;
	struct text *t = small_text(&img);

	ck_assert_ptr_eq(text_image(t), img);
	ck_assert_uint_eq(text_count(t), sizeof(offsets));
	for (size_t i = 0; i < sizeof(offsets); i++) {
		ck_assert_uint_eq(text_at(t, i)->addr, TEXT + offsets[i]);
		ck_assert_uint_eq(text_at(t, i)->op == OP_BAD, offsets[i] == 46);
	}
	text_destroy(t);
	image_destroy(img);
}
END_TEST

START_TEST(index_by_address)
{
	struct image *img;
	struct text *t = small_text(&img);
	uint64_t end = TEXT + (uint64_t)(text_end - text_begin);

	for (size_t i = 0; i < text_count(t); i++) {
		const struct insn *in = text_at(t, i);
		ck_assert_uint_eq(text_index(t, in->addr, false), i);
		ck_assert_uint_eq(text_index(t, in->addr, true), i);
		for (unsigned k = 1; k < in->len; k++) {
			ck_assert_uint_eq(text_index(t, in->addr + k, false), SIZE_MAX);
			ck_assert_uint_eq(text_index(t, in->addr + k, true), i);
		}
	}
	for (int floor = 0; floor < 2; floor++) {
		ck_assert_uint_eq(text_index(t, TEXT - 1, floor), SIZE_MAX);
		ck_assert_uint_eq(text_index(t, end, floor), SIZE_MAX);
		ck_assert_uint_eq(text_index(t, 0, floor), SIZE_MAX);
		ck_assert_uint_eq(text_index(t, UINT64_MAX, floor), SIZE_MAX);
	}
	text_destroy(t);
	image_destroy(img);
}
END_TEST

/* Direct branches and calls, the switch's cases, the entries of the absolute table; and not what follows
 * the tables' ends, nor the pair that is too short for one. */
START_TEST(branch_targets)
{
	static const uint8_t targets[] = {0, 21, 27, 33, 39, 54, 55};
	struct image *img;
	struct text *t = small_text(&img);

	for (uint64_t off = 0; off < (uint64_t)(text_end - text_begin); off++)
		ck_assert_msg(text_is_target(t, TEXT + off) ==
				  (memchr(targets, (int)off, sizeof(targets)) != NULL),
			      "+%d", (int)off);
	ck_assert(!text_is_target(t, TEXT - 1));
	ck_assert(!text_is_target(t, 0));
	ck_assert(!text_is_target(t, UINT64_MAX));
	text_destroy(t);
	image_destroy(img);
}
END_TEST

START_TEST(damaged_sizes)
{
	struct image *img;
	struct text *t;
	struct err e = {0};
	int fd = small_elf(UINT64_C(1) << 40);

	if (image_open(fd, "damaged", &img, &e) == 0) {
		ck_assert_int_eq(text_create(img, arch_native(), &t, &e), -1);
		image_destroy(img);
	}
	ck_assert_int_eq(e.code, ERR_BADELF);
	close(fd);
}
END_TEST

static int libruby_open(void)
{
	glob_t g;
	int fd = -1;

	if (glob("/usr/lib/*/libruby*.so.?.?", 0, NULL, &g) == 0) {
		fd = open(g.gl_pathv[0], O_RDONLY | O_CLOEXEC);
		globfree(&g);
	}
	return fd;
}

START_TEST(libruby)
{
	struct image *img;
	struct image_range range;
	struct text *t = open_text(libruby_open(), "libruby", &img);
	uint64_t next;
	size_t ops[OP_BAD + 1] = {0};
	struct err e;

	ck_assert_int_eq(image_text(img, &range, &e), 0);
	next = range.addr;
	for (size_t i = 0; i < text_count(t); i++) {
		const struct insn *in = text_at(t, i);
		if (in->addr != next || in->op > OP_BAD)
			ck_abort_msg("gap or nonsense at %#lx", next);
		ops[in->op]++;
		next += in->len;
	}
	ck_assert_uint_eq(next, range.addr + range.size);
	ck_assert_uint_gt(text_count(t), 300000);
	ck_assert_uint_lt(ops[OP_BAD], 16);
	/* what any compiled C looks like */
	ck_assert_uint_gt(ops[OP_MOV], text_count(t) / 5);
	ck_assert_uint_gt(ops[OP_CALL], text_count(t) / 50);
	ck_assert_uint_gt(ops[OP_JCC], text_count(t) / 50);
	ck_assert_uint_gt(ops[OP_RET], 1000);
	text_destroy(t);
	image_destroy(img);
}
END_TEST

/* Compiled branches go to where instructions start. */
START_TEST(libruby_targets)
{
	struct image *img;
	struct text *t = open_text(libruby_open(), "libruby", &img);
	size_t n = 0, astray = 0;

	for (size_t i = 0; i < text_count(t); i++) {
		const struct insn *in = text_at(t, i);
		if (in->op != OP_JCC)
			continue;
		n++;
		if (!text_is_target(t, in->target))
			ck_abort_msg("%#lx is no target", in->target);
		astray += text_index(t, in->target, false) == SIZE_MAX;
	}
	ck_assert_uint_gt(n, 10000);
	ck_assert_uint_lt(astray, n / 1000);
	text_destroy(t);
	image_destroy(img);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {decoded_in_order, index_by_address, branch_targets, damaged_sizes};
	Suite *s = suite_create("text");
	TCase *tc = tcase_create("text");
	SRunner *sr = srunner_create(s);
	int fd = libruby_open(), failed;

	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	if (fd != -1) {
		tcase_add_test(tc, libruby);
		tcase_add_test(tc, libruby_targets);
		close(fd);
	}
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	if (failed == 0 && fd == -1) {
		puts("SKIP: no libruby.so on this machine; the parts without it passed");
		return 77;
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
