/* ruby_sites_find on crafted code: what is accepted, and every refusal. */
#include "asm_image.h"
#include "asm_ruby.h"
#include "suite.h"

#include "ruby/layouts.h"
#include "ruby/ruby.h"

#include <string.h>

enum { RAX = 0, RCX = 1, RDX = 2, RBX = 3, R14 = 14, R15 = 15 };

/* -- pieces ---------------------------------------------------------------------------------- */

/* The fast path of an allocator: objspace in rsi, the new object in rdx with a copy in rax. */
#define NEW_HEAD                                                                                   \
	LOAD_OS(rsi) LINE("testw $0x1a0, 0x10(%rsi)") LINE("jne 9f")                               \
	LINE("mov 0x280(%rcx), %rdx") LINE("test %rdx, %rdx") LINE("je 9f") LINE("mov 8(%rdx), %r8") \
	LINE("mov %rdx, %rax") LINE("mov %r8, 0x280(%rcx)")
#define STORES(reg)  LINE("mov %r9, (%" #reg ")") LINE("mov %r10, 8(%" #reg ")")
#define INCREMENT    EXPORT(site) LINE("addq $1, 0x18(%rsi)")
#define NEW_TAIL     LINE("movq $0, 0x20(%rdx)") LINE("ret") LINE("9: ret")
#define ALLOC(body)  EXPORT(rb_newobj_of) NEW_HEAD body NEW_TAIL
#define ALLOC_GOOD   ALLOC(STORES(rdx) INCREMENT)

/* One more allocation that is as it should be, so that the rest is what is judged. */
#define SECOND_SITE                                                                                \
	LOAD_OS(rsi) STORES(rdx) LINE("addq $1, 0x18(%rsi)")

#define SWEEP_HEAD EXPORT(sweep) LINE("mov (%rbx), %rdx") LINE("test %rdx, %rdx") LINE("je 8f")
#define SWEEP_TAIL LINE("8: ret")
#define SLOW(label, event, obj)                                                                    \
	LINE(label ": call other@PLT") LINE("mov %" #obj ", %rdx") LINE("mov $" event ", %esi")    \
	LINE("mov (%rax), %rdi") LINE("call other@PLT") LINE("jmp sweep")
#define SWEEP(test, jcc) SWEEP_HEAD EXPORT(free_site) test EXPORT(free_jcc) jcc SWEEP_TAIL
#define SWEEP_GOOD                                                                                 \
	SWEEP(LINE("testb $0x20, 0x16(%r9)"), LINE("jne slow")) SLOW("slow", "0x200000", rbx)

#define MOVE_LOAD    LINE("movdqa moved(%rip), %xmm0")
#define MOVE_STORES  LINE("mov %rbx, 0x10(%r15)") LINE("movups %xmm0, (%r15)")
#define MOVE_NEXT                                                                                  \
	EXPORT(move_site) LINE("mov 0x28(%rsp), %rax") LINE("sub %rbx, %rax") LINE("ret")
#define MOVE_GOOD    EXPORT(move) MOVE_LOAD LINE("mov %rdx, (%rcx)") MOVE_STORES MOVE_NEXT

#define REST                                                                                       \
	ASM_GC_COUNT ASM_DURING_GC ASM_EC LINE(".section .rodata") LINE(".align 16")               \
	LINE("moved: .quad 0x1e, 0x34") ASM_DATA ASM_TLS ASM_NOTE
#define ALL(alloc, sweep, move) alloc sweep move REST

/* -- running --------------------------------------------------------------------------------- */

struct found {
	struct asm_image a;
	struct site_list list;
	bool moves_known;
	struct err e;
	int rc;
};

static struct found find_version(const char *source, uint32_t num)
{
	struct found f = {.a = asm_image_open(source)};
	struct ruby_version v = {.num = num, .text = "test"};
	struct ruby_code code;

	ck_assert_msg(ruby_code_derive(f.a.text, &code, &f.e) == 0, "%s", f.e.msg);
	f.rc = ruby_sites_find(f.a.text, &v, &code, &ruby_layouts[0], &f.list, &f.moves_known, &f.e);
	return f;
}

static struct found find(const char *source)
{
	return find_version(source, RUBY_VERSION_OF(3, 1, 4));
}

static void found_deinit(struct found *f)
{
	site_list_deinit(&f->list);
	asm_image_close(&f->a);
}

static struct found find_ok(const char *source)
{
	struct found f = find(source);

	ck_assert_msg(f.rc == 0, "%s", f.e.msg);
	return f;
}

static void refused(const char *source, const char *why)
{
	struct found f = find(source);

	ck_assert_int_eq(f.rc, -1);
	ck_assert_int_eq(f.e.code, ERR_UNSUPPORTED);
	ck_assert_uint_eq(f.list.n, 0);
	ck_assert_msg(strstr(f.e.msg, why) != NULL, "\"%s\" does not say \"%s\"", f.e.msg, why);
	found_deinit(&f);
}

static const struct site *at(const struct found *f, const char *label)
{
	uint64_t addr = asm_label(&f->a, label);

	for (size_t i = 0; i < f->list.n; i++)
		if (f->list.v[i].addr == addr)
			return &f->list.v[i];
	ck_abort_msg("no site at %s", label);
}

static void alloc_in(const char *source, uint8_t obj)
{
	struct found f = find_ok(source);

	ck_assert_uint_eq(at(&f, "site")->obj, obj);
	found_deinit(&f);
}

/* -- all of it ------------------------------------------------------------------------------- */

START_TEST(test_good)
{
	struct found f = find_ok(ALL(ALLOC_GOOD, SWEEP_GOOD, MOVE_GOOD));
	const struct site *alloc = at(&f, "site"), *sweep = at(&f, "free_site"),
			  *move = at(&f, "move_site");

	ck_assert_uint_eq(f.list.n, 3);
	ck_assert(f.moves_known);
	ck_assert_int_eq(alloc->event, SITE_ALLOC);
	ck_assert_uint_eq(alloc->len, 5);
	ck_assert_uint_eq(alloc->ninsn, 1);
	ck_assert_uint_eq(alloc->obj, RDX);
	ck_assert(!alloc->flags_live && !alloc->hook_after && alloc->redo_len == 0);
	ck_assert_mem_eq(alloc->old, "\x48\x83\x46\x18\x01", 5);
	ck_assert_int_eq(sweep->event, SITE_FREE);
	ck_assert_uint_eq(sweep->len, 5);
	ck_assert_uint_eq(sweep->obj, RBX);
	ck_assert(!sweep->flags_live && sweep->redo_len == 0);
	ck_assert_int_eq(move->event, SITE_MOVE);
	ck_assert_uint_eq(move->len, 5);
	ck_assert_uint_eq(move->obj, R15);
	ck_assert_uint_eq(move->dst, RBX);
	ck_assert(!move->flags_live && !move->hook_after);
	found_deinit(&f);
}
END_TEST

START_TEST(test_unknown_version)
{
	struct found f = find_version(ALL(ALLOC_GOOD, SWEEP_GOOD, MOVE_GOOD),
				      RUBY_VERSION_OF(9, 9, 0));

	ck_assert_int_eq(f.rc, -1);
	ck_assert_int_eq(f.e.code, ERR_UNSUPPORTED);
	found_deinit(&f);
}
END_TEST

/* -- the object's register ------------------------------------------------------------------- */

START_TEST(test_vector_store)
{
	alloc_in(ALL(ALLOC(LINE("movups %xmm1, (%rdx)") INCREMENT), SWEEP_GOOD, MOVE_GOOD), RDX);
}
END_TEST

START_TEST(test_clobbered_base)
{
	/* the copy made on the same straight line is as good */
	alloc_in(ALL(EXPORT(rb_newobj_of) LOAD_OS(rsi) LINE("mov 0x280(%rcx), %rdx")
			 LINE("mov %rdx, %rbx") STORES(rdx) LINE("mov %r9, %rdx") INCREMENT
			 LINE("ret"),
		     SWEEP_GOOD, MOVE_GOOD),
		 RBX);
	refused(ALL(EXPORT(rb_newobj_of) LOAD_OS(rsi) LINE("mov 0x280(%rcx), %rdx") STORES(rdx)
			LINE("mov %r9, %rdx") INCREMENT LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"no register is sure");
	/* mul writes rax and rdx without naming them */
	refused(ALL(EXPORT(rb_newobj_of) LOAD_OS(rsi) LINE("mov 0x280(%rcx), %rdx")
			LINE("mov %rdx, %rax") STORES(rdx) LINE("mul %r9") INCREMENT LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"no register is sure");
	/* half a copy is none */
	refused(ALL(EXPORT(rb_newobj_of) LOAD_OS(rsi) LINE("mov 0x280(%rcx), %rdx")
			LINE("mov %edx, %ebx") STORES(rdx) LINE("xor %edx, %edx") INCREMENT
			LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"no register is sure");
}
END_TEST

/* The crash of a static 3.4.9: rax is stored through and copied to r14; who jumps in has the object
 * in r14 and 0 in rax. */
#define JUMPS_IN(after)                                                                            \
	EXPORT(rb_newobj_of) LOAD_OS(rsi) LINE("test %rdi, %rdi") LINE("je 2f")                    \
	LINE("mov 0x280(%rcx), %rax") STORES(rax) LINE("mov %rax, %r14") LINE("1:") INCREMENT      \
	after LINE("ret") LINE("2: mov %rdi, %r14") STORES(r14) LINE("xor %eax, %eax")             \
	LINE("jmp 1b")

START_TEST(test_predecessor_jumps_in)
{
	refused(ALL(JUMPS_IN(LINE("mov %r9, %rax")), SWEEP_GOOD, MOVE_GOOD), "no register is sure");
	/* not even if rax is left alone until the return: there may be no result */
	refused(ALL(JUMPS_IN(), SWEEP_GOOD, MOVE_GOOD), "no register is sure");
	alloc_in(ALL(JUMPS_IN(LINE("movq $0, 0x10(%r14)")), SWEEP_GOOD, MOVE_GOOD), R14);
	alloc_in(ALL(JUMPS_IN(LINE("mov %r14, %rax")), SWEEP_GOOD, MOVE_GOOD), R14);
	/* the use must come on every way: not behind a fork, not behind a call */
	refused(ALL(JUMPS_IN(LINE("test %r9, %r9") LINE("je 2f") LINE("mov %r14, %rax")),
		    SWEEP_GOOD, MOVE_GOOD),
		"no register is sure");
	refused(ALL(JUMPS_IN(LINE("call other@PLT") LINE("mov %r14, %rax")), SWEEP_GOOD, MOVE_GOOD),
		"no register is sure");
}
END_TEST

/* A store of the pair after the join is enough, for the register it goes through and for no older
 * copy of it. */
START_TEST(test_store_after_join)
{
	alloc_in(ALL(EXPORT(rb_newobj_of) LOAD_OS(rsi) LINE("mov %rdi, %rcx") LINE("je 1f")
			 LINE("mov %r9, (%rcx)") LINE("1: mov %r10, 8(%rcx)") INCREMENT LINE("ret"),
		     SWEEP_GOOD, MOVE_GOOD),
		 RCX);
	refused(ALL(EXPORT(rb_newobj_of) LOAD_OS(rsi) LINE("mov %rdi, %rcx") LINE("je 1f")
			LINE("mov %r9, (%rcx)") LINE("1: mov %r10, 8(%rcx)") LINE("xor %ecx, %ecx")
			INCREMENT LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"no register is sure");
}
END_TEST

START_TEST(test_two_objects)
{
	refused(ALL(ALLOC(STORES(rbx) STORES(rdx) INCREMENT), SWEEP_GOOD, MOVE_GOOD),
		"two new objects");
}
END_TEST

/* -- whose counter --------------------------------------------------------------------------- */

START_TEST(test_counted_without_object)
{
	refused(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rsi) LINE("addq $1, 0x18(%rsi)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"no object is stored");
	/* only half a pair */
	refused(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rsi) LINE("mov %r9, (%rdx)")
			LINE("addq $1, 0x18(%rsi)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"no object is stored");
	/* a call between the pair and the increment */
	refused(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rbx) STORES(rdx) LINE("call other@PLT")
			LINE("addq $1, 0x18(%rbx)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"no object is stored");
}
END_TEST

START_TEST(test_other_counters)
{
	/* somebody's list with a length at 24; and one that is counted in itself */
	struct found f = find_ok(
	    ALL(ALLOC_GOOD EXPORT(more) LINE("addq $1, 0x18(%rdi)") LINE("ret")
		EXPORT(list) STORES(rdi) LINE("addq $1, 0x18(%rdi)") LINE("ret"),
		SWEEP_GOOD, MOVE_GOOD));

	ck_assert_uint_eq(f.list.n, 3);
	found_deinit(&f);
	/* a new object, but counted in something that is not known to be the objspace */
	refused(ALL(ALLOC_GOOD EXPORT(more) STORES(rdx) LINE("addq $1, 0x18(%rdi)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"whose counter");
	/* one way in brings the objspace, the other does not */
	refused(ALL(ALLOC_GOOD EXPORT(more) LINE("je 1f") LOAD_OS(rsi) LINE("1:") STORES(rdx)
			LINE("addq $1, 0x18(%rsi)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"whose counter");
	/* a function of its own: one caller brings the objspace, others may not */
	refused(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rsi) LINE("call 1f") LINE("ret")
			LINE("1:") STORES(rdx) LINE("addq $1, 0x18(%rsi)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"whose counter");
	/* a case of a switch, one of them jumped to with the objspace */
	refused(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rsi) LINE("jmp case1") LINE("other_way:")
			LINE("lea table(%rip), %rdi") LINE("movslq (%rdi,%rax,4), %rax")
			LINE("add %rdi, %rax") LINE("jmp *%rax") LINE("case1:") STORES(rdx)
			LINE("addq $1, 0x18(%rsi)") LINE("ret") LINE(".section .rodata")
			LINE(".align 4") LINE("table: .rept 4") LINE(".long case1 - table") LINE(".endr")
			LINE(".text"),
		    SWEEP_GOOD, MOVE_GOOD),
		"whose counter");
}
END_TEST

START_TEST(test_counted_in_another_way)
{
	refused(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rsi) LINE("mov 0x18(%rsi), %rdi")
			LINE("add $1, %rdi") LINE("mov %rdi, 0x18(%rsi)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"in another way");
	refused(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rsi) LINE("addq $2, 0x18(%rsi)") LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"in another way");
}
END_TEST

/* 2.7's gc_move counts the moved object: T_MOVED is no new object. */
START_TEST(test_move_counts)
{
	struct found f = find_ok(ALL(ALLOC_GOOD EXPORT(more) LOAD_OS(rsi) LINE("movq $0x1e, (%rdx)")
					 LINE("mov %rdi, 8(%rdx)") LINE("addq $1, 0x18(%rsi)")
					 LINE("ret"),
				     SWEEP_GOOD, ));

	ck_assert_uint_eq(f.list.n, 2);
	found_deinit(&f);
}
END_TEST

/* -- windows --------------------------------------------------------------------------------- */

#define SHORT_ALLOC(next) ALLOC(STORES(rdx) EXPORT(site) LINE("incq 0x18(%rsi)") next)

START_TEST(test_two_insn_window)
{
	struct found f = find_ok(ALL(SHORT_ALLOC(LINE("xor %edi, %edi")), SWEEP_GOOD, MOVE_GOOD));
	const struct site *s = at(&f, "site");

	ck_assert_uint_eq(s->len, 6);
	ck_assert_uint_eq(s->ninsn, 2);
	ck_assert(!s->flags_live);
	ck_assert_mem_eq(s->old, "\x48\xff\x46\x18\x31\xff", 6);
	found_deinit(&f);
	/* a branch comes in between the two, or the second can't be moved */
	refused(ALL(SHORT_ALLOC(LINE("1: xor %edi, %edi") LINE("je 1b")), SWEEP_GOOD, MOVE_GOOD),
		"no room");
	refused(ALL(SHORT_ALLOC(LINE("call other@PLT")), SWEEP_GOOD, MOVE_GOOD), "no room");
	refused(ALL(SHORT_ALLOC(LINE("ret")), SWEEP_GOOD, MOVE_GOOD), "no room");
}
END_TEST

/* inc leaves the carry alone: a reader of it behind needs the flags kept. */
START_TEST(test_flags_live)
{
	struct found f = find_ok(ALL(SHORT_ALLOC(LINE("jb 9f")), SWEEP_GOOD, MOVE_GOOD));

	ck_assert(at(&f, "site")->flags_live);
	found_deinit(&f);
	f = find_ok(ALL(SHORT_ALLOC(LINE("movl $1, %edi") LINE("jmp 3f") LINE("3: setb %al")),
			SWEEP_GOOD, MOVE_GOOD));
	ck_assert(at(&f, "site")->flags_live);
	found_deinit(&f);
}
END_TEST

/* -- is it complete? ------------------------------------------------------------------------- */

START_TEST(test_guard_without_site)
{
	struct found f = find_ok(ALL(ALLOC(STORES(rdx) INCREMENT LINE("testb $0x10, 0x16(%rsi)")
					   LINE("jne 9f")),
				     SWEEP_GOOD, MOVE_GOOD));

	found_deinit(&f);
	refused(ALL(ALLOC_GOOD EXPORT(more) LINE("testb $0x10, 0x16(%rsi)") LINE("jne 9b")
			LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"NEWOBJ is tested");
	refused(ALL(ALLOC_GOOD EXPORT(more) LINE("testl $0x100000, 0x14(%rsi)") LINE("jne 9b")
			LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"NEWOBJ is tested");
}
END_TEST

#define ALLOCATOR(name, body) EXPORT(name) body LINE(".size " #name ", . - " #name)

START_TEST(test_allocator_without_site)
{
	struct found f = find_ok(ALL(ALLOC_GOOD ALLOCATOR(rb_imemo_new, LINE("call helper") LINE("ret"))
					 LINE("helper: jmp helper2") LINE("helper2: call newobj")
					 LINE("ret") LINE("newobj:") SECOND_SITE LINE("ret"),
				     SWEEP_GOOD, MOVE_GOOD));

	ck_assert_uint_eq(f.list.n, 4);
	found_deinit(&f);
	refused(ALL(ALLOC_GOOD ALLOCATOR(rb_imemo_new, LINE("mov %rdi, %rax") LINE("ret")),
		    SWEEP_GOOD, MOVE_GOOD),
		"rb_imemo_new: reaches no");
	/* three calls deep is too deep */
	refused(ALL(ALLOC_GOOD ALLOCATOR(rb_imemo_new, LINE("call h1") LINE("ret"))
			LINE("h1: call h2") LINE("ret") LINE("h2: call h3") LINE("ret") LINE("h3:")
			    SECOND_SITE LINE("ret"),
		    SWEEP_GOOD, MOVE_GOOD),
		"rb_imemo_new: reaches no");
}
END_TEST

START_TEST(test_allocator_through_plt)
{
	struct found f = find_ok(
	    ALL(ALLOC_GOOD ALLOCATOR(rb_data_typed_object_zalloc,
				     LINE("call rb_newobj_of@PLT") LINE("ret")),
		SWEEP_GOOD, MOVE_GOOD));

	found_deinit(&f);
	/* one that goes elsewhere, but reaches for the objspace itself, must have a site */
	refused(ALL(ALLOC_GOOD ALLOCATOR(rb_data_typed_object_zalloc,
					 LOAD_OS(rdi) LINE("call other@PLT") LINE("ret")),
		    SWEEP_GOOD, MOVE_GOOD),
		"zalloc: reaches no");
}
END_TEST

START_TEST(test_no_alloc_site)
{
	refused(ALL(EXPORT(rb_newobj_of) LINE("ret"), SWEEP_GOOD, MOVE_GOOD), "no place that alloc");
}
END_TEST

/* -- the sweep ------------------------------------------------------------------------------- */

START_TEST(test_sweep_count)
{
	refused(ALL(ALLOC_GOOD, , MOVE_GOOD), "no place that frees");
	refused(ALL(ALLOC_GOOD, SWEEP_GOOD EXPORT(more) LINE("testl $0x200000, 0x14(%rdi)")
				    LINE("jne slow") LINE("ret"),
		    MOVE_GOOD),
		"two places");
}
END_TEST

START_TEST(test_sweep_event)
{
	refused(ALL(ALLOC_GOOD,
		    SWEEP(LINE("testb $0x20, 0x16(%r9)"), LINE("jne slow"))
			SLOW("slow", "0x100000", rbx),
		    MOVE_GOOD),
		"announces FREEOBJ");
	refused(ALL(ALLOC_GOOD,
		    SWEEP(LINE("testb $0x20, 0x16(%r9)"), LINE("setne %al"))
			SLOW("slow", "0x200000", rbx),
		    MOVE_GOOD),
		"no jump follows");
}
END_TEST

START_TEST(test_sweep_object)
{
	/* nobody sets the hook's argument: rdx is what it was, or r8 is lost in the call */
	refused(ALL(ALLOC_GOOD,
		    SWEEP(LINE("testb $0x20, 0x16(%r9)"), LINE("jne slow"))
			LINE("slow: mov $0x200000, %esi") LINE("call other@PLT") LINE("ret"),
		    MOVE_GOOD),
		"no register is sure");
	refused(ALL(ALLOC_GOOD,
		    SWEEP(LINE("testb $0x20, 0x16(%r9)"), LINE("jne slow"))
			SLOW("slow", "0x200000", r8),
		    MOVE_GOOD),
		"no register is sure");
	/* hook's body inlined: read before and after the test through the same register */
	struct found f = find_ok(
	    ALL(ALLOC_GOOD,
		SWEEP(LINE("testb $0x20, 0x16(%r9)"),
		      LINE("jne slow") LINE("mov (%rbx), %rax"))
		    LINE("slow: movl $0x200000, 8(%rsp)") LINE("ret"),
		MOVE_GOOD));

	ck_assert_uint_eq(at(&f, "free_site")->obj, RBX);
	found_deinit(&f);
	refused(ALL(ALLOC_GOOD,
		    SWEEP(LINE("testb $0x20, 0x16(%r9)"),
			  LINE("jne slow") LINE("mov (%rdi), %rax"))
			LINE("slow: movl $0x200000, 8(%rsp)") LINE("ret"),
		    MOVE_GOOD),
		"no register is sure");
}
END_TEST

/* The slow branch straight behind the test, the fast one jumped to. */
START_TEST(test_sweep_inverted)
{
	struct found f = find_ok(ALL(
	    ALLOC_GOOD,
	    SWEEP_HEAD EXPORT(free_site) LINE("testb $0x20, 0x16(%r9)") LINE("je 8f")
		SLOW("slow", "0x200000", rbx) SWEEP_TAIL,
	    MOVE_GOOD));

	ck_assert_uint_eq(at(&f, "free_site")->obj, RBX);
	found_deinit(&f);
}
END_TEST

#define SHORT_TEST LINE("testb $0x20, 0x16(%rdi)")
#define FAR_SLOW   LINE(".fill 200, 1, 0x90") LINE("ret") SLOW("slow", "0x200000", rbx)

START_TEST(test_sweep_at_jump)
{
	struct found f = find_ok(
	    ALL(ALLOC_GOOD, SWEEP(SHORT_TEST, LINE("jne slow")) FAR_SLOW, MOVE_GOOD));
	const struct site *s = at(&f, "free_jcc");

	ck_assert_uint_eq(s->len, 6);
	ck_assert_uint_eq(s->ninsn, 1);
	ck_assert_uint_eq(s->redo_len, 4);
	ck_assert_uint_eq(s->obj, RBX);
	ck_assert(!s->flags_live && !s->hook_after);
	found_deinit(&f);
	/* who jumps to the jump brings other flags */
	refused(ALL(ALLOC_GOOD,
		    SWEEP(SHORT_TEST, LINE("jne slow")) FAR_SLOW LINE("jmp free_jcc"), MOVE_GOOD),
		"between the test and its jump");
}
END_TEST

START_TEST(test_sweep_both)
{
	struct found f = find_ok(ALL(ALLOC_GOOD,
				     SWEEP(SHORT_TEST, LINE("jne slow")) SLOW("slow", "0x200000", rbx),
				     MOVE_GOOD));
	const struct site *s = at(&f, "free_site");

	ck_assert_uint_eq(s->len, 6);
	ck_assert_uint_eq(s->ninsn, 2);
	ck_assert_uint_eq(s->redo_len, 0);
	found_deinit(&f);
}
END_TEST

/* -- moves ----------------------------------------------------------------------------------- */

static void moves_unknown(const char *source)
{
	struct found f = find_ok(source);

	ck_assert(!f.moves_known);
	ck_assert_uint_eq(f.list.n, 2);
	found_deinit(&f);
}

START_TEST(test_moves_unknown)
{
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD, ));
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD,
			  MOVE_GOOD EXPORT(more) MOVE_LOAD MOVE_STORES
			      LINE("mov 0x28(%rsp), %rax") LINE("ret")));
	/* no address is stored, or into another slot */
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD,
			  EXPORT(move) MOVE_LOAD LINE("movups %xmm0, (%r15)") MOVE_NEXT));
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD,
			  EXPORT(move) MOVE_LOAD LINE("mov %rbx, 0x10(%r14)")
			      LINE("movups %xmm0, (%r15)") MOVE_NEXT));
	/* the vector is another one by then, or may be */
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD,
			  EXPORT(move) MOVE_LOAD LINE("pxor %xmm0, %xmm0") MOVE_STORES MOVE_NEXT));
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD,
			  EXPORT(move) MOVE_LOAD LINE("1:") MOVE_STORES MOVE_NEXT
			      LINE("jmp 1b")));
	/* the address is lost between the stores */
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD,
			  EXPORT(move) MOVE_LOAD LINE("mov %rbx, 0x10(%r15)") LINE("xor %ebx, %ebx")
			      LINE("movups %xmm0, (%r15)") MOVE_NEXT));
}
END_TEST

/* Others come to what follows the stores: then the last store is the window, if it is long enough,
 * with the hook behind it. */
START_TEST(test_move_joined)
{
	moves_unknown(ALL(ALLOC_GOOD, SWEEP_GOOD, EXPORT(move) MOVE_LOAD MOVE_STORES MOVE_NEXT
						      LINE("jmp move_site")));
	struct found f = find_ok(ALL(ALLOC_GOOD, SWEEP_GOOD,
				     EXPORT(move) MOVE_LOAD LINE("movups %xmm0, (%r12)")
					 EXPORT(last) LINE("mov %rbx, 0x10(%r12)") MOVE_NEXT
					     LINE("jmp move_site")));
	const struct site *s = at(&f, "last");

	ck_assert(f.moves_known && s->hook_after);
	ck_assert_uint_eq(s->obj, 12);
	ck_assert_uint_eq(s->dst, RBX);
	ck_assert_uint_eq(s->len, 5);
	found_deinit(&f);
}
END_TEST

START_TEST(test_move_flags_live)
{
	struct found f = find_ok(ALL(ALLOC_GOOD, SWEEP_GOOD,
				     EXPORT(move) MOVE_LOAD LINE("test %rdi, %rdi") MOVE_STORES
					 EXPORT(move_site) LINE("mov 0x28(%rsp), %rax") LINE("je move")
					     LINE("ret")));

	ck_assert(at(&f, "move_site")->flags_live);
	found_deinit(&f);
}
END_TEST

SUITE_MAIN("sites", test_good, test_unknown_version, test_vector_store, test_clobbered_base,
	   test_predecessor_jumps_in, test_store_after_join, test_two_objects,
	   test_counted_without_object, test_other_counters, test_counted_in_another_way,
	   test_move_counts, test_two_insn_window, test_flags_live, test_guard_without_site,
	   test_allocator_without_site, test_allocator_through_plt, test_no_alloc_site,
	   test_sweep_count, test_sweep_event, test_sweep_object, test_sweep_inverted,
	   test_sweep_at_jump, test_sweep_both, test_moves_unknown, test_move_joined,
	   test_move_flags_live)
