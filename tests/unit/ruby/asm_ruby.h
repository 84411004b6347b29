/* The smallest "libruby" that the code readers accept, in pieces that a test may replace. */
#ifndef MEMPROF_TESTS_ASM_RUBY_H
#define MEMPROF_TESTS_ASM_RUBY_H

#define LINE(s) s "\n"

/* An exported function or label. */
#define EXPORT(name) LINE(".globl " #name) LINE(".type " #name ", @function") LINE(#name ":")

/* Loads the objspace into a register, through rax. */
#define LOAD_VM	       LINE("mov ruby_current_vm_ptr@GOTPCREL(%rip), %rax") LINE("mov (%rax), %rax")
#define LOAD_OS(reg)   LOAD_VM LINE("mov 0x458(%rax), %" #reg)

#define ASM_GC_COUNT   EXPORT(rb_gc_count) LOAD_OS(rax) LINE("mov 0x1b8(%rax), %rax") LINE("ret")
#define ASM_DURING_GC                                                                              \
	EXPORT(rb_during_gc) LOAD_OS(rax) LINE("movzbl 0x10(%rax), %eax") LINE("shr $5, %al")      \
	LINE("and $1, %eax") LINE("ret")

#define ASM_EC                                                                                     \
	EXPORT(ec) LINE(".byte 0x66") LINE("lea ruby_current_ec@tlsgd(%rip), %rdi")                \
	LINE(".value 0x6666") LINE("rex64") LINE("call __tls_get_addr@PLT") LINE("ret")

/* data last: the pieces above are code */
#define ASM_VARIABLE(name)                                                                         \
	LINE(".globl " #name) LINE(".type " #name ", @object") LINE(".size " #name ", 8")          \
	LINE(".align 8") LINE(#name ": .quad 0")
#define ASM_DATA LINE(".data") ASM_VARIABLE(ruby_current_vm_ptr)
#define ASM_TLS                                                                                    \
	LINE(".section .tbss, \"awT\", @nobits") LINE(".globl ruby_current_ec")                    \
	LINE(".type ruby_current_ec, @object") LINE(".align 8") LINE("ruby_current_ec: .zero 8")
#define ASM_NOTE LINE(".section .note.GNU-stack, \"\", @progbits")

#endif
