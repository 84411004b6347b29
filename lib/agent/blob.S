/* The agent's bytes, inside memprof. */
	.section .rodata
	.globl	mp_blob
	.globl	mp_blob_end
	.balign	16
mp_blob:
	.incbin	AGENT_BIN
mp_blob_end:
	.section .note.GNU-stack, "", @progbits
