/* A 32-bit process that waits for a signal; needs no C library. */
void _start(void);

void _start(void)
{
	for (;;) {
		int call = 29, result; /* pause, asm/unistd_32.h */

		__asm__ volatile("int $0x80" : "=a"(result) : "a"(call) : "memory");
	}
}
