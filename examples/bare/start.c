/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that the environment has to bring: the four functions that a compiler expects of
 * any, and, so that the example can run as a Linux program, a way in and a way out. On a
 * real machine without an operating system the latter two are its boot code.
 */
#include "bare.h"

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memcpy(void *dst, const void *src, size_t n)
{
	uint8_t *to = dst;
	const uint8_t *from = src;

	while (n-- > 0)
		*to++ = *from++;
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	uint8_t *to = dst;
	const uint8_t *from = src;

	if ((uintptr_t)dst <= (uintptr_t)src)
		return memcpy(dst, src, n);
	while (n-- > 0)
		to[n] = from[n];
	return dst;
}

void *memset(void *dst, int byte, size_t n)
{
	uint8_t *to = dst;

	while (n-- > 0)
		*to++ = (uint8_t)byte;
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n > 0; n--, x++, y++) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return 0;
}

enum { SYS_WRITE = 1, SYS_EXIT = 60 };

static long system_call(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

void say(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0')
		length++;
	system_call(SYS_WRITE, 1, (long)text, (long)length);
}

/* Called from _start, and so by nobody that the compiler could see. */
__attribute__((used, noreturn)) static void start(void)
{
	system_call(SYS_EXIT, run(), 0, 0);
	__builtin_unreachable();
}

__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	and $-16, %rsp\n"
	"	call start\n");
