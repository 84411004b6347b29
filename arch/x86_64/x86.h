/*
 * The x86-64 port's own words: what its files share with one another and nobody else includes.
 * The contracts of the functions that appear in struct arch are in arch.h.
 */
#ifndef MEMPROF_ARCH_X86_64_X86_H
#define MEMPROF_ARCH_X86_64_X86_H

#include "arch.h"

/* Register numbers as the CPU encodes them. */
enum {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
};

#define X86_BIT(reg) (1u << (reg))

/* What a function may change without telling its caller. Source: AMD64 psABI, 3.2.1. */
#define X86_CALLER_SAVED                                                                           \
	(X86_BIT(X86_RAX) | X86_BIT(X86_RCX) | X86_BIT(X86_RDX) | X86_BIT(X86_RSI) |               \
	 X86_BIT(X86_RDI) | X86_BIT(X86_R8) | X86_BIT(X86_R9) | X86_BIT(X86_R10) |                 \
	 X86_BIT(X86_R11))

enum {
	X86_INSN_MAX = 15,
	X86_JUMP = 5,	     /* jmp rel32 */
	X86_THUNK_MAX = 128, /* the longest sequence of emit.c is below 100 bytes */
};

/* -- decode.c -------------------------------------------------------------------------------- */

void *x86_decoder_create(void);
void x86_decoder_destroy(void *decoder);
void x86_decode(void *decoder, const uint8_t *bytes, size_t len, uint64_t addr, struct insn *ret);
void x86_disasm(void *decoder, const uint8_t *bytes, size_t len, uint64_t addr, char *buf,
		size_t size);

/* Where the displacement of the memory operand lies in the instruction decoded last; 0: none. */
size_t x86_disp_offset(const void *decoder);

/* -- relocate.c ------------------------------------------------------------------------------ */

/*
 * Copy the instruction at bytes from address `from` to address `to` so that it does the same
 * there. Fills *insn with it as it was. Returns the length of what was written to buf (which may
 * be longer than the original), or -1 and e: ERR_UNSUPPORTED it can't be moved (calls, returns,
 * indirect jumps, loop, system calls, prefixed branches); ERR_RANGE its operand is out of reach.
 */
int x86_relocate(void *decoder, const uint8_t *bytes, size_t len, uint64_t from, uint64_t to,
		 uint8_t *buf, size_t size, struct insn *insn, struct err *e);

/* The displacement of an instruction that ends at `end` and means `to`. Returns 0, or -1 and
 * e: ERR_RANGE. */
int x86_rel32(uint64_t end, uint64_t to, int32_t *ret, struct err *e);

/* -- emit.c ---------------------------------------------------------------------------------- */

int x86_emit_jump(uint64_t from, uint64_t to, uint8_t *buf, size_t len, struct err *e);
int x86_emit_thunk(const struct site *s, raddr_t site_addr, const uint8_t *redo, raddr_t at,
		   raddr_t entry, uint8_t *buf, size_t size, struct err *e);

/* -- regs.c, rcall_frame.c ------------------------------------------------------------------- */

int x86_regs_get(pid_t tid, struct arch_regs *ret, struct err *e);
int x86_regs_set(pid_t tid, const struct arch_regs *regs, struct err *e);
void x86_where(const struct arch_regs *regs, struct arch_where *ret);
uint64_t x86_ticks(void);
void x86_gadgets_scan(const uint8_t *bytes, size_t len, raddr_t addr, struct arch_gadgets *g);
ssize_t x86_sigframe_build(pid_t tid, const struct arch_regs *regs, uint64_t sigmask,
			   const struct arch_gadgets *g, uint8_t *buf, size_t size, raddr_t *sp_ret,
			   struct err *e);
void x86_syscall_setup(const struct arch_regs *orig, const struct arch_gadgets *g, raddr_t sp,
		       long nr, const uint64_t args[6], struct arch_regs *ret);

/* A signal frame starts with the handler's return address; the ucontext follows.
 * Source: kernel arch/x86/include/asm/sigframe.h, struct rt_sigframe. */
#define X86_SIGFRAME_UCONTEXT  8
#define X86_SIGFRAME_PC_OFFSET 176 /* asserted in arch.c against ucontext_t */
#define X86_SIGFRAME_SP_OFFSET 168

#endif
