/* ruby_code_derive on code of every shape that compilers give rb_gc_count and rb_during_gc. */
#include "asm_image.h"
#include "asm_ruby.h"
#include "suite.h"

#include "ruby/ruby.h"

#include <string.h>

#define REST ASM_EC ASM_DATA LINE("vm_local: .quad 0") ASM_TLS ASM_NOTE

static int derive(const char *source, struct ruby_code *code, struct err *e, uint64_t *vm)
{
	struct asm_image a = asm_image_open(source);
	int rc = ruby_code_derive(a.text, code, e);

	if (vm)
		*vm = asm_label(&a, "ruby_current_vm_ptr");
	asm_image_close(&a);
	return rc;
}

static void refused(const char *source, const char *why)
{
	struct ruby_code code;
	struct err e;

	ck_assert_int_eq(derive(source, &code, &e, NULL), -1);
	ck_assert_int_eq(e.code, ERR_UNSUPPORTED);
	ck_assert_msg(strstr(e.msg, why) != NULL, "\"%s\" does not say \"%s\"", e.msg, why);
}

START_TEST(test_through_got)
{
	struct ruby_code code;
	struct err e;
	uint64_t vm;

	ck_assert_msg(derive(ASM_GC_COUNT ASM_DURING_GC REST, &code, &e, &vm) == 0, "%s", e.msg);
	ck_assert_uint_eq(code.vm_ptr, vm);
	ck_assert_int_eq(code.vm_objspace, 0x458);
	ck_assert_int_eq(code.objspace_flags, 0x10);
	ck_assert_uint_ne(code.ec_tls_got, 0);
	ck_assert_uint_ne(code.ec_tls_got, vm);
}
END_TEST

/* A variable that the linker knows to be local: its address by lea, or its value directly, with a
 * test for null as static builds have it, and the flags tested in memory. */
#define DIRECT(name, reach, tail)                                                                  \
	EXPORT(name) reach LINE("test %rdx, %rdx") LINE("je 9f") LINE("mov 0x500(%rdx), %rcx")     \
	tail LINE("9: ret")
#define COUNT_TAIL  LINE("mov 0x1b8(%rcx), %rax")
#define DURING_TAIL LINE("testb $0x20, 0x14(%rcx)") LINE("setne %al")
#define BY_LEA	    LINE("lea vm_local(%rip), %rax") LINE("mov (%rax), %rdx")
#define BY_VALUE    LINE("mov vm_local(%rip), %rdx")

static void check_direct(const char *source)
{
	struct asm_image a = asm_image_open(source);
	struct ruby_code code;
	struct err e;

	ck_assert_msg(ruby_code_derive(a.text, &code, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(code.vm_ptr, asm_label(&a, "ruby_current_vm_ptr") + 8);
	ck_assert_int_eq(code.vm_objspace, 0x500);
	ck_assert_int_eq(code.objspace_flags, 0x14);
	asm_image_close(&a);
}

START_TEST(test_direct)
{
	check_direct(DIRECT(rb_gc_count, BY_LEA, COUNT_TAIL)
			 DIRECT(rb_during_gc, BY_LEA, DURING_TAIL) REST);
	check_direct(DIRECT(rb_gc_count, BY_VALUE, COUNT_TAIL)
			 DIRECT(rb_during_gc, BY_VALUE, DURING_TAIL) REST);
}
END_TEST

START_TEST(test_disagreement)
{
	refused(DIRECT(rb_gc_count, BY_LEA, COUNT_TAIL) ASM_DURING_GC REST, "where the VM is");
	refused(EXPORT(rb_gc_count) LOAD_VM LINE("mov 0x450(%rax), %rax")
		    LINE("mov 8(%rax), %rax") LINE("ret") ASM_DURING_GC REST,
		"the objspace's offset");
}
END_TEST

START_TEST(test_unknown_shape)
{
	refused(ASM_GC_COUNT EXPORT(rb_during_gc) LOAD_OS(rax) LINE("movzbl 0x10(%rax), %eax")
		    LINE("shr $3, %al") LINE("and $1, %eax") LINE("ret") REST,
		"no bit");
	refused(EXPORT(rb_gc_count) LINE("call elsewhere@PLT") LINE("ret") ASM_DURING_GC REST,
		"can't follow");
	/* the VM's register is overwritten on the way */
	refused(EXPORT(rb_gc_count) LOAD_VM LINE("xor %eax, %eax") LINE("mov 0x458(%rax), %rax")
		    LINE("mov 0x1b8(%rax), %rax") LINE("ret") ASM_DURING_GC REST,
		"can't follow");
	/* and by an instruction that does not name it */
	refused(EXPORT(rb_gc_count) LOAD_VM LINE("mul %rcx") LINE("mov 0x458(%rax), %rax")
		    LINE("mov 0x1b8(%rax), %rax") LINE("ret") ASM_DURING_GC REST,
		"can't follow");
}
END_TEST

START_TEST(test_missing_symbols)
{
	refused(ASM_GC_COUNT REST, "rb_during_gc: not exported");
	refused(ASM_GC_COUNT ASM_DURING_GC ASM_DATA ASM_NOTE, "ruby_current_ec");
	/* a GOT slot, but no variable of that name to go with it */
	refused(LINE("#define ruby_current_vm_ptr other") ASM_GC_COUNT ASM_DURING_GC REST,
		"ruby_current_vm_ptr: not exported");
}
END_TEST

SUITE_MAIN("derive", test_through_got, test_direct, test_disagreement, test_unknown_shape,
	   test_missing_symbols)
