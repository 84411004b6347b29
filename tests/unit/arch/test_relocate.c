/* Every form of moved instruction, and every refusal. */
#include "../../../arch/x86_64/x86.h"

#include "suite.h"

#include <string.h>

#define FROM UINT64_C(0x7f0000001000)
#define TO   UINT64_C(0x7f0000201000) /* 0x200000 further */

struct row {
	const char *text, *in, *out;
	size_t in_len, out_len; /* out_len 0: refused with code */
	enum err_code code;
};

#define MOVED(text, in, out) {(text), (in), (out), sizeof(in) - 1, sizeof(out) - 1, ERR_NONE}
#define REFUSED(text, in)    {(text), (in), NULL, sizeof(in) - 1, 0, ERR_UNSUPPORTED}
#define SAME(text, in)	     MOVED(text, in, in)

static const struct row rows[] = {
	SAME("addq $1,0x18(%rdx)", "\x48\x83\x42\x18\x01"),
	SAME("mov 0x8(%r12),%rax", "\x49\x8b\x44\x24\x08"),
	SAME("mov 0x0(%r13),%rax", "\x49\x8b\x45\x00"),
	SAME("mov 0x30(%rsp),%rax", "\x48\x8b\x44\x24\x30"),
	SAME("mov %fs:-8,%rax", "\x64\x48\x8b\x04\x25\xf8\xff\xff\xff"),
	SAME("push %rbp", "\x55"),
	SAME("endbr64", "\xf3\x0f\x1e\xfa"),
	MOVED("mov 0x10(%rip),%rdx", "\x48\x8b\x15\x10\x00\x00\x00", "\x48\x8b\x15\x10\x00\xe0\xff"),
	MOVED("lea -0x8(%rip),%r15", "\x4c\x8d\x3d\xf8\xff\xff\xff", "\x4c\x8d\x3d\xf8\xff\xdf\xff"),
	/* the immediate follows the displacement */
	MOVED("testb $0x10,0x100(%rip)", "\xf6\x05\x00\x01\x00\x00\x10",
	      "\xf6\x05\x00\x01\xe0\xff\x10"),
	MOVED("movl $0x100,0x100(%rip)", "\xc7\x05\x00\x01\x00\x00\x00\x01\x00\x00",
	      "\xc7\x05\x00\x01\xe0\xff\x00\x01\x00\x00"),
	MOVED("lock incq 0x10(%rip)", "\xf0\x48\xff\x05\x10\x00\x00\x00",
	      "\xf0\x48\xff\x05\x10\x00\xe0\xff"),
	MOVED("movups 0x40(%rip),%xmm1", "\x0f\x10\x0d\x40\x00\x00\x00",
	      "\x0f\x10\x0d\x40\x00\xe0\xff"),
	MOVED("vmovdqu 0x40(%rip),%xmm9", "\xc5\x7a\x6f\x0d\x40\x00\x00\x00",
	      "\xc5\x7a\x6f\x0d\x40\x00\xe0\xff"),
	MOVED("pinsrq $1,0x40(%rip),%xmm0", "\x66\x48\x0f\x3a\x22\x05\x40\x00\x00\x00\x01",
	      "\x66\x48\x0f\x3a\x22\x05\x40\x00\xe0\xff\x01"),
	MOVED("jne rel8", "\x75\x70", "\x0f\x85\x6c\x00\xe0\xff"),
	MOVED("jne rel32", "\x0f\x85\x00\x01\x00\x00", "\x0f\x85\x00\x01\xe0\xff"),
	MOVED("jg rel32 back", "\x0f\x8f\x00\xff\xff\xff", "\x0f\x8f\x00\xff\xdf\xff"),
	MOVED("jmp rel8", "\xeb\xfe", "\xe9\xfb\xff\xdf\xff"),
	MOVED("jmp rel32", "\xe9\x00\x01\x00\x00", "\xe9\x00\x01\xe0\xff"),
	REFUSED("call", "\xe8\x00\x00\x00\x00"),
	REFUSED("call *%rax", "\xff\xd0"),
	REFUSED("call *0x10(%rip)", "\xff\x15\x10\x00\x00\x00"),
	REFUSED("jmp *%rax", "\xff\xe0"),
	REFUSED("jmp *0x10(%rip)", "\xff\x25\x10\x00\x00\x00"),
	REFUSED("ret", "\xc3"),
	REFUSED("rep ret", "\xf3\xc3"),
	REFUSED("iretq", "\x48\xcf"),
	REFUSED("loop", "\xe2\x10"),
	REFUSED("loope", "\xe1\x10"),
	REFUSED("jrcxz", "\xe3\x10"),
	REFUSED("xbegin", "\xc7\xf8\x00\x00\x00\x00"),
	REFUSED("data16 jne", "\x66\x0f\x85\x00\x01"),
	REFUSED("bnd jmp", "\xf2\xe9\x00\x01\x00\x00"),
	REFUSED("hinted jne", "\x3e\x75\x10"),
	REFUSED("ud2", "\x0f\x0b"),
	REFUSED("int3", "\xcc"),
	REFUSED("syscall", "\x0f\x05"),
	REFUSED("int $0x80", "\xcd\x80"),
	REFUSED("lea 0x10(%eip),%rbx", "\x67\x48\x8d\x1d\x10\x00\x00\x00"),
	REFUSED("not an instruction", "\x06"),
	REFUSED("cut short", "\x48\x8b\x15\x10"),
};

START_TEST(forms)
{
	const struct row *r = &rows[_i];
	void *decoder = x86_decoder_create();
	uint8_t out[16];
	struct insn in;
	struct err e = {0};
	int n = x86_relocate(decoder, (const uint8_t *)r->in, r->in_len, FROM, TO, out,
			     sizeof(out), &in, &e);

	if (r->out_len == 0) {
		ck_assert_msg(n == -1, "%s: not refused", r->text);
		ck_assert_msg(e.code == r->code, "%s: %s", r->text, e.msg);
	} else {
		ck_assert_msg(n == (int)r->out_len, "%s: %d: %s", r->text, n, e.msg);
		ck_assert_msg(memcmp(out, r->out, r->out_len) == 0, "%s: wrong bytes", r->text);
		ck_assert_uint_eq(in.addr, FROM);
		ck_assert_uint_eq(in.len, r->in_len);
	}
	x86_decoder_destroy(decoder);
}
END_TEST

/* The last address a displacement reaches, and the first it does not. */
START_TEST(reach)
{
	static const uint8_t load[] = {0x48, 0x8b, 0x15, 0x00, 0x00, 0x00, 0x00};
	static const uint8_t jne[] = {0x0f, 0x85, 0x00, 0x00, 0x00, 0x00};
	void *decoder = x86_decoder_create();
	const uint64_t down = FROM + 0x80000000, up = FROM - 0x7fffffff;
	uint8_t out[16];
	struct insn in;
	struct err e = {0};

	ck_assert_int_eq(x86_relocate(decoder, load, 7, FROM, down, out, 16, &in, &e), 7);
	ck_assert_mem_eq(out + 3, "\x00\x00\x00\x80", 4);
	ck_assert_int_eq(x86_relocate(decoder, load, 7, FROM, down + 1, out, 16, &in, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	ck_assert_int_eq(x86_relocate(decoder, load, 7, FROM, up, out, 16, &in, &e), 7);
	ck_assert_mem_eq(out + 3, "\xff\xff\xff\x7f", 4);
	ck_assert_int_eq(x86_relocate(decoder, load, 7, FROM, up - 1, out, 16, &in, &e), -1);
	ck_assert_int_eq(x86_relocate(decoder, jne, 6, FROM, down, out, 16, &in, &e), 6);
	ck_assert_int_eq(x86_relocate(decoder, jne, 6, FROM, down + 1, out, 16, &in, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	ck_assert_int_eq(x86_relocate(decoder, jne, 6, FROM, TO, out, 5, &in, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	ck_assert_int_eq(x86_relocate(decoder, load, 7, FROM, TO, out, 6, &in, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	x86_decoder_destroy(decoder);
}
END_TEST

/* Whatever the bytes, what comes out is no longer than promised and decodes to the same. */
static bool moves_right(void *decoder, const uint8_t *in, size_t len, size_t *moved)
{
	uint8_t out[17] = {[16] = 0xa5};
	struct insn was, now;
	struct err e;
	int n = x86_relocate(decoder, in, len, FROM, TO, out, 16, &was, &e);

	if (n == -1)
		return was.len <= X86_INSN_MAX;
	++*moved;
	x86_decode(decoder, out, (size_t)n, TO, &now);
	return out[16] == 0xa5 && was.len <= len && now.len == n && now.op == was.op &&
	       now.target == was.target && now.disp == was.disp && now.imm == was.imm;
}

START_TEST(random_bytes)
{
	void *decoder = x86_decoder_create();
	uint64_t seed = 0x2545f4914f6cdd1d;
	size_t moved = 0;

	for (size_t round = 0; round < 200000; round++) {
		uint64_t in[2];
		for (size_t i = 0; i < 2; i++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			in[i] = seed;
		}
		if (!moves_right(decoder, (uint8_t *)in, round % 16, &moved))
			ck_abort_msg("round %zu: %#lx %#lx", round, in[0], in[1]);
	}
	ck_assert_uint_gt(moved, 50000);
	x86_decoder_destroy(decoder);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("relocate");
	TCase *tc = tcase_create("relocate");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, forms, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, reach);
	tcase_add_test(tc, random_bytes);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
