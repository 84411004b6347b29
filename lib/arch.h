/*
 * THE SEAM: all that a CPU port owes. One const struct arch per CPU, reached through arch_native().
 * To add a CPU: a folder arch/NAME/ with these functions, and its line in CMakeLists.txt.
 */
#ifndef MEMPROF_ARCH_H
#define MEMPROF_ARCH_H

#include "util/err.h"
#include "util/raddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct site;

/* -- machine code as data -------------------------------------------------------------------- */

enum {
	ARCH_REG_NONE = 255,
	ARCH_REG_PC = 254, /* base of a pc-relative operand; disp is then the absolute address */
	ARCH_REGS = 16,	   /* general registers are 0 .. ARCH_REGS-1, the CPU's own numbering */
};

enum insn_op {
	OP_OTHER,
	OP_MOV,	     /* load, store or copy of 1..8 bytes, or of an immediate; no flags */
	OP_MOVV,     /* load or store of a 16-byte vector; a copy between two is OP_OTHER */
	OP_LEA,
	OP_ADD,	     /* add, and inc as add of 1 */
	OP_TEST,
	OP_CMP,
	OP_JCC,	     /* conditional, direct: target; loops too */
	OP_JMP,	     /* direct: target */
	OP_JMP_IND,
	OP_CALL,     /* direct: target */
	OP_CALL_IND,
	OP_RET,
	OP_PUSH,
	OP_POP,
	OP_NOP,
	OP_STOP,     /* hlt, ud2, int3: control does not go on */
	OP_BAD,	     /* not decodable: len is 1 */
};

/*
 * One instruction, as far as the finders need it; 56 bytes. A register that is not there is
 * ARCH_REG_NONE, a number 0. Where the truth is unknown, fields err so that a proof fails: a
 * register counts as written when any byte of it is, flags_written only when all of them surely
 * are. A call stands for all that happens until it returns: it writes what the ABI lets the callee
 * write, flags included. Of a string move only the source is described as memory operand.
 */
struct insn {
	uint64_t addr;
	uint64_t target; /* OP_JCC, OP_JMP, OP_CALL */
	int64_t imm;	 /* extended by sign from the operand's size */
	int64_t disp;	 /* of the memory operand; absolute address if base is ARCH_REG_PC */
	uint8_t len;
	uint8_t op; /* enum insn_op */
	uint8_t base, index, scale; /* memory operand; base NONE and index NONE and has_mem: absolute */
	uint8_t seg_fs;		    /* the operand is relative to a segment: thread base (fs) or gs */
	uint8_t has_mem, has_imm;
	uint8_t mem_size;    /* bytes read or written through the memory operand; 0: neither (lea) */
	uint8_t mem_write;   /* the memory operand is written */
	uint8_t mem_read;    /* the memory operand is read */
	uint8_t dst;	     /* first register operand that is written; NONE for vectors */
	uint8_t src;	     /* last other register operand that is read; NONE for vectors */
	uint8_t vreg;	     /* first vector register operand, in any op */
	uint8_t reg_size;    /* bytes of the first general register operand */
	uint16_t regs_read;  /* bit set of general registers, implicit ones included */
	uint16_t regs_written;
	uint8_t flags_read, flags_written; /* arithmetic flags, as a yes or no; written: all of them */
};

/* -- registers of a stopped thread ----------------------------------------------------------- */

enum { ARCH_REGS_MAX = 512, ARCH_XSTATE_MAX = 16384 };

/* General registers as the kernel hands them out; opaque outside arch/. */
struct arch_regs {
	uint64_t raw[ARCH_REGS_MAX / 8];
};

/* What tells where a thread stands. */
struct arch_where {
	raddr_t pc, sp, tls_base;
	bool in_syscall;  /* stopped inside a system call that the kernel would restart */
	long syscall_nr;  /* its number, or -1 */
	long syscall_ret; /* the return register, -ERESTART* included */
	bool compat;	  /* a 32-bit code segment: we don't touch those */
};

enum { ARCH_RESTORERS = 16 };

/* Gadgets found in the tracee's own executable maps; nothing is poked for a remote system call. */
struct arch_gadgets {
	raddr_t syscall_ret; /* syscall; ret */
	raddr_t sigreturn;   /* rt_sigreturn through a C library's restorer */
	/* All restorers there are (the dynamic linker has one, too): the first word of every signal
	 * frame is one of them. */
	raddr_t restorer[ARCH_RESTORERS];
	unsigned nrestorers;
};

struct arch {
	const char *name;

	/* -- code ---------------------------------------------------------------------------- */

	/* Decode the instruction at bytes (len available), which lies at addr. Always fills *ret;
	 * what can't be decoded is OP_BAD with len 1. Not thread-safe with the same handle. */
	void *(*decoder_create)(void); /* NULL: out of memory. Owned: decoder_destroy */
	void (*decoder_destroy)(void *decoder);
	void (*decode)(void *decoder, const uint8_t *bytes, size_t len, uint64_t addr,
		       struct insn *ret);

	/* Text of one instruction for people ("add qword ptr [rdx + 0x18], 1"). */
	void (*disasm)(void *decoder, const uint8_t *bytes, size_t len, uint64_t addr, char *buf,
		       size_t size);

	/* Bytes of a jump from `from` to `to` that fills a window of len bytes (padded with nops).
	 * Returns 0, or -1 and e: ERR_RANGE the displacement does not fit. */
	int (*emit_jump)(uint64_t from, uint64_t to, uint8_t *buf, size_t len, struct err *e);

	/* The thunk of a site: step over the red zone, keep what is touched, object (and, for a
	 * move, destination) to the agent's argument registers, call entry, put all back, run the
	 * displaced instructions (relocated), jump to the end of the window. at: where the thunk
	 * will lie; site_addr: where the window lies in the tracee. redo: the redo_len bytes before
	 * the window. Returns the length, or -1 and e: ERR_RANGE; ERR_UNSUPPORTED an instruction
	 * that can't be moved. */
	int (*emit_thunk)(const struct site *s, raddr_t site_addr, const uint8_t *redo, raddr_t at,
			  raddr_t entry, uint8_t *buf, size_t size, struct err *e);

	/* -- threads (each on a thread that is stopped under ptrace) ------------------------- */

	int (*regs_get)(pid_t tid, struct arch_regs *ret, struct err *e);
	int (*regs_set)(pid_t tid, const struct arch_regs *regs, struct err *e);
	void (*where)(const struct arch_regs *regs, struct arch_where *ret);

	/* Find gadgets in len bytes of executable memory that lie at addr; adds to what was found
	 * earlier. */
	void (*gadgets_scan)(const uint8_t *bytes, size_t len, raddr_t addr,
			     struct arch_gadgets *g);

	/*
	 * The frame that makes a remote system call survive our death: what rt_sigreturn needs to
	 * bring back regs, mask and vector state. Built for a stack pointer below regs' own.
	 * tid: stopped thread, for its vector state. sp_ret: where the frame lies and what the
	 * stack pointer must be when the gadget starts. Writes the bytes to buf; returns their
	 * length, or -1 and e.
	 * Source: kernel arch/x86/kernel/signal_64.c, struct rt_sigframe; fpu/signal.c.
	 */
	ssize_t (*sigframe_build)(pid_t tid, const struct arch_regs *regs, uint64_t sigmask,
				  const struct arch_gadgets *g, uint8_t *buf, size_t size,
				  raddr_t *sp_ret, struct err *e);

	/* Registers for a remote system call through the gadget, with the frame at sp. */
	void (*syscall_setup)(const struct arch_regs *orig, const struct arch_gadgets *g, raddr_t sp,
			      long nr, const uint64_t args[6], struct arch_regs *ret);

	/* Offset from a signal handler's return slot (a word equal to a restorer) to the saved
	 * program counter, and to the saved stack pointer. */
	size_t sigframe_pc_offset, sigframe_sp_offset;

	/* The time stamp that the agent reads, too. */
	uint64_t (*ticks)(void);

	size_t page_size;
	size_t thunk_max;	 /* upper bound of a thunk's length */
	size_t jump_reach;	 /* how far a jump gets, in bytes */
};

/* The port this binary was built for. */
const struct arch *arch_native(void);

#endif
