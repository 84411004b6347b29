/*
 * The frame that brings a thread back to where it was, whatever becomes of us: the gadget's `ret`
 * pops the restorer's address, the restorer calls rt_sigreturn, and the kernel reloads every
 * register, the signal mask and the vector state from here.
 *
 *	sp_ret -> | restorer | ucontext | siginfo (unused) | pad | vector state (64-aligned) |
 *		  ... 128 bytes of red zone ... <- the thread's own stack pointer
 */
#include "x86.h"

#include <asm/sigcontext.h>
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

struct ucontext_kernel { /* <asm/ucontext.h>, which can't be included beside libc's */
	uint64_t flags, link;
	struct {
		uint64_t sp;
		uint32_t flags, pad;
		uint64_t size;
	} stack;
	struct sigcontext mcontext;
	uint64_t sigmask;
};

struct frame {
	uint64_t restorer;
	struct ucontext_kernel uc;
	uint8_t siginfo[128];
};

_Static_assert(offsetof(struct frame, uc.mcontext.rip) == X86_SIGFRAME_PC_OFFSET, "saved pc");
_Static_assert(offsetof(struct frame, uc.mcontext.rsp) == X86_SIGFRAME_SP_OFFSET, "saved sp");
_Static_assert(sizeof(struct sigcontext) == 256, "struct sigcontext of the 64-bit ABI");

enum {
	UC_ALL = 7,            /* UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
	SS_INVALID = 0x40,     /* rt_sigreturn then leaves the alternate stack as it is */
	XSAVE_SW_OFFSET = 464, /* software bytes of the legacy area: xcr0 first */
	XSAVE_MIN = 576,
	RED_ZONE = 128,
	NT_XSTATE = 0x202,
};

/* -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND, -ERESTART_RESTARTBLOCK: kernel <linux/errno.h> */
static bool is_restart(int64_t ret)
{
	return ret == -512 || ret == -513 || ret == -514 || ret == -516;
}

static void fill_mcontext(const struct user_regs_struct *u, struct sigcontext *sc)
{
	sc->r8 = u->r8;
	sc->r9 = u->r9;
	sc->r10 = u->r10;
	sc->r11 = u->r11;
	sc->r12 = u->r12;
	sc->r13 = u->r13;
	sc->r14 = u->r14;
	sc->r15 = u->r15;
	sc->rdi = u->rdi;
	sc->rsi = u->rsi;
	sc->rbp = u->rbp;
	sc->rbx = u->rbx;
	sc->rdx = u->rdx;
	sc->rax = u->rax;
	sc->rcx = u->rcx;
	sc->rsp = u->rsp;
	sc->rip = u->rip;
	sc->eflags = u->eflags;
	sc->cs = (uint16_t)u->cs;
	sc->ss = (uint16_t)u->ss;
	/* A system call that the kernel would have restarted: sigreturn cancels that, so the frame
	 * runs it again from its start. */
	if ((int64_t)u->orig_rax >= 0 && is_restart((int64_t)u->rax)) {
		sc->rax = u->orig_rax;
		sc->rip = u->rip - 2;
	}
}

/* Turn the register set's layout into what the kernel expects to find in a signal frame. */
static size_t finish_xstate(uint8_t *fp, size_t len)
{
	uint64_t features;
	struct _fpx_sw_bytes sw = {.magic1 = FP_XSTATE_MAGIC1};
	uint32_t magic2 = FP_XSTATE_MAGIC2;

	memcpy(&features, fp + XSAVE_SW_OFFSET, sizeof(features));
	sw.extended_size = (uint32_t)(len + sizeof(magic2));
	sw.xfeatures = features;
	sw.xstate_size = (uint32_t)len;
	memcpy(fp + XSAVE_SW_OFFSET, &sw, sizeof(sw));
	memcpy(fp + len, &magic2, sizeof(magic2));
	return len + sizeof(magic2);
}

ssize_t x86_sigframe_build(pid_t tid, const struct arch_regs *regs, uint64_t sigmask,
			   const struct arch_gadgets *g, uint8_t *buf, size_t size, raddr_t *sp_ret,
			   struct err *e)
{
	const struct user_regs_struct *u = (const struct user_regs_struct *)regs->raw;
	uint8_t xstate[ARCH_XSTATE_MAX + 64];
	struct iovec iov = {.iov_base = xstate, .iov_len = ARCH_XSTATE_MAX};

	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_XSTATE, &iov) == -1)
		return err_sys(e, ERR_SYS, "thread %d: reading vector state", tid);
	if (iov.iov_len < XSAVE_MIN || iov.iov_len >= ARCH_XSTATE_MAX)
		return err_set(e, ERR_UNSUPPORTED, "thread %d: vector state of %zu bytes", tid,
			       iov.iov_len);

	size_t fp_len = finish_xstate(xstate, iov.iov_len);
	raddr_t fp = (u->rsp - RED_ZONE - fp_len) & ~63ull;
	raddr_t at = ((fp - sizeof(struct frame)) & ~15ull) - 8;
	size_t len = (size_t)(fp - at) + fp_len;

	if (u->rsp < len + 4096 || len > size)
		return err_set(e, ERR_RANGE, "thread %d: no room for a frame of %zu bytes", tid,
			       len);

	struct frame f = {
	    .restorer = g->sigreturn,
	    .uc = {.flags = UC_ALL, .stack = {.flags = SS_INVALID}, .sigmask = sigmask},
	};
	fill_mcontext(u, &f.uc.mcontext);
	f.uc.mcontext.fpstate = (void *)fp;
	memset(buf, 0, len);
	memcpy(buf, &f, sizeof(f));
	memcpy(buf + (fp - at), xstate, fp_len);
	*sp_ret = at;
	return (ssize_t)len;
}
