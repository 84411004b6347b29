/* The x86-64 port, as one table. */
#include "x86.h"

#include <assert.h>
#include <ucontext.h>

#define UCONTEXT_REG(reg)                                                                          \
	(X86_SIGFRAME_UCONTEXT + offsetof(ucontext_t, uc_mcontext.gregs) +                         \
	 (reg) * sizeof(((ucontext_t *)0)->uc_mcontext.gregs[0]))

static_assert(UCONTEXT_REG(REG_RIP) == X86_SIGFRAME_PC_OFFSET, "saved pc in a signal frame");
static_assert(UCONTEXT_REG(REG_RSP) == X86_SIGFRAME_SP_OFFSET, "saved sp in a signal frame");

static const struct arch arch_x86_64 = {
	.name = "x86_64",
	.decoder_create = x86_decoder_create,
	.decoder_destroy = x86_decoder_destroy,
	.decode = x86_decode,
	.disasm = x86_disasm,
	.emit_jump = x86_emit_jump,
	.emit_thunk = x86_emit_thunk,
	.regs_get = x86_regs_get,
	.regs_set = x86_regs_set,
	.where = x86_where,
	.gadgets_scan = x86_gadgets_scan,
	.sigframe_build = x86_sigframe_build,
	.syscall_setup = x86_syscall_setup,
	.sigframe_pc_offset = X86_SIGFRAME_PC_OFFSET,
	.sigframe_sp_offset = X86_SIGFRAME_SP_OFFSET,
	.ticks = x86_ticks,
	.page_size = 4096,
	.thunk_max = X86_THUNK_MAX,
	.jump_reach = INT32_MAX,
};

const struct arch *arch_native(void)
{
	return &arch_x86_64;
}
