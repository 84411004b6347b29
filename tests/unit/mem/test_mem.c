#include "mem/mem_fake.h"
#include "mem/mem_fd.h"

#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint8_t low[] = {1, 2, 3, 4}, next[] = {5, 6, 7, 8, 9};

static const struct mem_fake_seg segs[] = {
    {0x1000, low, sizeof(low)},
    {0x1004, next, sizeof(next)},
    {UINT64_MAX - 3, low, 4},
    {0},
};

START_TEST(reads_across_segments)
{
	struct mem m = mem_fake(segs);
	uint8_t buf[9];
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	struct err e;

	ck_assert_int_eq(mem_read(&m, 0x1000, buf, 9, &e), 0);
	ck_assert_mem_eq(buf, "\1\2\3\4\5\6\7\10\11", 9);
	ck_assert_int_eq(mem_u16(&m, 0x1001, &u16, &e), 0);
	ck_assert_uint_eq(u16, 0x0302);
	ck_assert_int_eq(mem_u32(&m, 0x1003, &u32, &e), 0);
	ck_assert_uint_eq(u32, 0x07060504);
	ck_assert_int_eq(mem_u64(&m, 0x1001, &u64, &e), 0);
	ck_assert_uint_eq(u64, UINT64_C(0x0908070605040302));
}
END_TEST

START_TEST(short_is_a_fault)
{
	struct mem m = mem_fake(segs);
	uint8_t buf[64];
	uint64_t u64;
	struct err e;

	ck_assert_int_eq(mem_read(&m, 0x1000, buf, 10, &e), -1);
	ck_assert_int_eq(e.code, ERR_FAULT);
	ck_assert_str_eq(e.msg, "memory at 0x1000: 9 of 10 bytes");
	ck_assert_int_eq(mem_read(&m, 0xfff, buf, 1, &e), -1);
	ck_assert_int_eq(mem_u64(&m, 0x1002, &u64, &e), -1);
	ck_assert_int_eq(e.code, ERR_FAULT);
	ck_assert_int_eq(mem_read(&m, 0x5000, buf, 0, &e), 0);
	ck_assert_uint_eq(mem_read_upto(&m, 0x1007, buf, sizeof(buf)), 2);
	ck_assert_uint_eq(mem_read_upto(&m, 0x5000, buf, sizeof(buf)), 0);
}
END_TEST

START_TEST(never_wraps_around)
{
	static const struct mem_fake_seg ends[] = {{UINT64_MAX - 3, low, 4}, {0, next, 5}, {0}};
	struct mem m = mem_fake(ends);
	uint8_t buf[8];
	struct err e;

	ck_assert_uint_eq(mem_read_upto(&m, UINT64_MAX - 3, buf, sizeof(buf)), 4);
	ck_assert_int_eq(mem_read(&m, UINT64_MAX - 3, buf, sizeof(buf), &e), -1);
	ck_assert_int_eq(mem_read(&m, UINT64_MAX - 3, buf, 4, &e), 0);
}
END_TEST

static ssize_t read_too_much(void *ctx, raddr_t addr, void *buf, size_t len)
{
	(void)ctx, (void)addr, (void)buf;
	return (ssize_t)len + 1;
}

START_TEST(a_lying_reader_is_a_fault)
{
	struct mem m = {.read = read_too_much};
	char buf[4];
	struct err e;

	ck_assert_int_eq(mem_read(&m, 0, buf, sizeof(buf), &e), -1);
	ck_assert_int_eq(e.code, ERR_FAULT);
}
END_TEST

START_TEST(own_process)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	struct mem m = mem_fd(fd);
	char *page =
	    mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char buf[8192];
	uint64_t u64;
	struct err e;

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(munmap(page + 8192, 4096), 0);
	memcpy(page + 8000, "marker", 6);
	ck_assert_int_eq(mem_read(&m, (raddr_t)page, buf, 8192, &e), 0);
	ck_assert_mem_eq(buf + 8000, "marker", 6);
	ck_assert_uint_eq(mem_read_upto(&m, (raddr_t)page + 4096, buf, 8192), 4096);
	ck_assert_int_eq(mem_read(&m, (raddr_t)page + 8190, buf, 4, &e), -1);
	ck_assert_int_eq(e.code, ERR_FAULT);
	ck_assert_int_eq(mem_u64(&m, UINT64_MAX - 7, &u64, &e), -1);
	ck_assert_int_eq(e.code, ERR_FAULT);
	ck_assert_int_eq(mem_u64(&m, INT64_MAX - 3, &u64, &e), -1);
	ck_assert_int_eq(e.code, ERR_FAULT);
	close(fd);
}
END_TEST

START_TEST(dead_process_is_gone)
{
	pid_t pid = fork();
	char path[64], c;
	struct err e;

	if (pid == 0)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct mem m = mem_fd(fd);
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(mem_read(&m, (raddr_t)low, &c, 1, &e), 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(mem_read(&m, (raddr_t)low, &c, 1, &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	ck_assert_int_eq(mem_read(&m, (raddr_t)low, &c, 0, &e), 0);
	close(fd);
}
END_TEST

SUITE_MAIN("mem", reads_across_segments, short_is_a_fault, never_wraps_around,
	   a_lying_reader_is_a_fault, own_process, dead_process_is_gone)
