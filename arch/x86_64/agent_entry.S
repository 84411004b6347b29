/*
 * The agent's doors. A thunk calls in with the object in rdi (and, for a move, the new address in
 * rsi), having stepped over the red zone. Everything but rdi, rsi and the flags is preserved; no
 * vector register is touched at all. Recording disabled: a load, a compare, a jump.
 */
#define MP_BLOB_MAGIC 0x626c706d
#define MP_ABI_VERSION 1

	.section .head, "ax"
	.globl	mp_head
mp_head:
	.long	MP_BLOB_MAGIC
	.long	mp_blob_size
	.long	mp_entry_alloc - mp_head
	.long	mp_entry_free - mp_head
	.long	mp_entry_move - mp_head
	.long	MP_ABI_VERSION

	.text
.macro DOOR name, function
	.globl	\name
	.balign	16
\name:
	pushq	%rax
	movq	mp_config + 16(%rip), %rax	/* struct mp_config.ctl */
	cmpq	$0, (%rax)			/* struct mp_ctl.enabled */
	je	1f
	pushq	%rcx
	pushq	%rdx
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	call	\function
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdx
	popq	%rcx
1:	popq	%rax
	ret
.endm

	DOOR	mp_entry_alloc, mp_alloc
	DOOR	mp_entry_free, mp_free
	DOOR	mp_entry_move, mp_move

	.section .note.GNU-stack, "", @progbits
