/* Registers of a stopped thread, and the two gadgets a remote system call needs. */
#include "x86.h"

#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

_Static_assert(sizeof(struct user_regs_struct) <= sizeof(struct arch_regs), "registers fit");

static const struct user_regs_struct *user_regs(const struct arch_regs *r)
{
	return (const struct user_regs_struct *)r->raw;
}

int x86_regs_get(pid_t tid, struct arch_regs *ret, struct err *e)
{
	memset(ret, 0, sizeof(*ret));
	struct iovec iov = {.iov_base = ret->raw, .iov_len = sizeof(struct user_regs_struct)};
	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &iov) == -1)
		return err_sys(e, ERR_SYS, "thread %d: reading registers", tid);
	if (iov.iov_len != sizeof(struct user_regs_struct))
		return err_set(e, ERR_UNSUPPORTED, "thread %d: runs 32-bit code", tid);
	return 0;
}

int x86_regs_set(pid_t tid, const struct arch_regs *regs, struct err *e)
{
	struct arch_regs copy = *regs;
	struct iovec iov = {.iov_base = copy.raw, .iov_len = sizeof(struct user_regs_struct)};

	if (ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &iov) == -1)
		return err_sys(e, ERR_SYS, "thread %d: writing registers", tid);
	return 0;
}

void x86_where(const struct arch_regs *regs, struct arch_where *ret)
{
	const struct user_regs_struct *u = user_regs(regs);

	*ret = (struct arch_where){
	    .pc = u->rip,
	    .sp = u->rsp,
	    .tls_base = u->fs_base,
	    .in_syscall = (long)u->orig_rax >= 0,
	    .syscall_nr = (long)u->orig_rax,
	    .syscall_ret = (long)u->rax,
	    .compat = u->cs == 0x23,
	};
}

void x86_syscall_setup(const struct arch_regs *orig, const struct arch_gadgets *g, raddr_t sp,
		       long nr, const uint64_t args[6], struct arch_regs *ret)
{
	*ret = *orig;
	struct user_regs_struct *u = (struct user_regs_struct *)ret->raw;

	u->rip = g->syscall_ret;
	u->rsp = sp;
	u->rax = (uint64_t)nr;
	u->orig_rax = (uint64_t)-1; /* not inside a system call: nothing to restart */
	u->rdi = args[0];
	u->rsi = args[1];
	u->rdx = args[2];
	u->r10 = args[3];
	u->r8 = args[4];
	u->r9 = args[5];
	u->eflags &= ~0x400ull; /* the ABI wants the direction flag clear */
}

uint64_t x86_ticks(void)
{
	return __builtin_ia32_rdtsc();
}

void x86_gadgets_scan(const uint8_t *bytes, size_t len, raddr_t addr, struct arch_gadgets *g)
{
	static const uint8_t call[] = {0x0f, 0x05, 0xc3};
	static const uint8_t restorer[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
	const uint8_t *p, *end = bytes + len;

	if (!g->syscall_ret && (p = memmem(bytes, len, call, sizeof(call))) != NULL)
		g->syscall_ret = addr + (raddr_t)(p - bytes);
	for (p = bytes; (p = memmem(p, (size_t)(end - p), restorer, sizeof(restorer))) != NULL;
	     p++) {
		raddr_t at = addr + (raddr_t)(p - bytes);

		if (g->nrestorers < ARCH_RESTORERS &&
		    (g->nrestorers == 0 || g->restorer[g->nrestorers - 1] != at))
			g->restorer[g->nrestorers++] = at;
	}
	if (!g->sigreturn && g->nrestorers > 0)
		g->sigreturn = g->restorer[0];
}
