#include "elf/maps.h"

#include "suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int parse(const char *text, struct maps *m, struct err *e)
{
	return maps_parse(text, strlen(text), m, e);
}

START_TEST(every_field)
{
	struct maps m;
	struct err e;

	ck_assert_int_eq(
	    parse("00400000-00401000 r-xp 00002000 fd:01 123456789    /usr/bin/ruby\n"
		  "7f0000000000-7f0000003000 -w-s 7fffffff000 103:fffff 0 \n"
		  "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]\n",
		  &m, &e),
	    0);
	ck_assert_uint_eq(m.n, 3);
	ck_assert(m.v[0].start == 0x400000 && m.v[0].end == 0x401000 && m.v[0].offset == 0x2000);
	ck_assert(m.v[0].r && !m.v[0].w && m.v[0].x && !m.v[0].shared);
	ck_assert(m.v[0].dev_major == 0xfd && m.v[0].dev_minor == 1);
	ck_assert_uint_eq(m.v[0].inode, 123456789);
	ck_assert_str_eq(m.v[0].path, "/usr/bin/ruby");
	ck_assert(!m.v[1].r && m.v[1].w && !m.v[1].x && m.v[1].shared);
	ck_assert_uint_eq(m.v[1].offset, 0x7fffffff000);
	ck_assert(m.v[1].dev_major == 0x103 && m.v[1].dev_minor == 0xfffff);
	ck_assert_str_eq(m.v[1].path, "");
	ck_assert_str_eq(m.v[2].path, "[vsyscall]");
	maps_deinit(&m);
	ck_assert_ptr_null(m.v);
	ck_assert_uint_eq(m.n, 0);
	maps_deinit(&m);
}
END_TEST

START_TEST(odd_paths_stay_as_they_are)
{
	static const char *const paths[] = {
	    "/lib/libruby.so (deleted)",
	    "/a b/c  d",
	    "/new\\012line",
	    "/dev/zero (deleted) (deleted)",
	    "/memfd:memprof ring (deleted)",
	    "[anon:ruby heap]",
	    "/\xff\x1b",
	};
	struct maps m;
	struct err e;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		char text[200];
		snprintf(text, sizeof(text), "1000-2000 r--p 0 00:00 7          %s\n", paths[i]);
		ck_assert_int_eq(parse(text, &m, &e), 0);
		ck_assert_str_eq(m.v[0].path, paths[i]);
		maps_deinit(&m);
	}
}
END_TEST

START_TEST(malformed_is_refused)
{
	static const char *const bad[] = {
	    "1000-2000 r--p 0 00:00 7 /cut", /* no newline: truncated */
	    "\n",
	    "1000-2000 r--p 0 00:00\n",
	    "1000-2000 r--p 0 00:00 \n",
	    "1000-2000 r--p 0 00:00 7x\n",
	    "1000-2000 r--q 0 00:00 7\n",
	    "1000-2000 rw p 0 00:00 7\n",
	    "1000-2000  r--p 0 00:00 7\n",
	    "2000-1000 r--p 0 00:00 7\n", /* ends before it starts */
	    "1000-1000 r--p 0 00:00 7\n",
	    "1001-2000 r--p 0 00:00 7\n", /* no page boundary */
	    "1000-2fff r--p 0 00:00 7\n",
	    "10000000000001000-20000000000001000 r--p 0 00:00 7\n", /* beyond 64 bits */
	    "1000-2000 r--p 0 100000000:00 7\n",
	    "1000-2000 r--p 0 00:00 18446744073709551616\n",
	    "-1000-2000 r--p 0 00:00 7\n",
	    "1000-3000 r--p 0 00:00 7\n2000-4000 r--p 0 00:00 7\n", /* overlap */
	    "3000-4000 r--p 0 00:00 7\n1000-2000 r--p 0 00:00 7\n", /* descending */
	    "1000-2000 r--p 0 00:00 7\n1000-2000 r--p 0 00:00 7\n", /* twice */
	};
	struct maps m;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(parse(bad[i], &m, &e) == -1, "accepted: %s", bad[i]);
		ck_assert_int_eq(e.code, ERR_BADDATA);
		ck_assert_ptr_null(m.v);
	}
	static const char nul[] = "1000-2000 r--p 0 00:00 7 /a\0b\n";
	ck_assert_int_eq(maps_parse(nul, sizeof(nul) - 1, &m, &e), -1);
}
END_TEST

START_TEST(limits_are_accepted)
{
	struct maps m;
	struct err e;

	ck_assert_int_eq(parse("0-fffffffffffff000 r--p ffffffffffffffff ffffffff:0 "
			       "18446744073709551615\n",
			       &m, &e),
			 0);
	ck_assert_uint_eq(m.v[0].inode, UINT64_MAX);
	ck_assert_uint_eq(m.v[0].offset, UINT64_MAX);
	maps_deinit(&m);
	ck_assert_int_eq(maps_parse("", 0, &m, &e), 0);
	ck_assert_uint_eq(m.n, 0);
	ck_assert_ptr_null(maps_find(&m, 0));
	maps_deinit(&m);
}
END_TEST

/* Every prefix of a good text either is refused or holds only whole lines. */
START_TEST(every_truncation)
{
	static const char text[] = "1000-2000 r--p 00000000 08:01 77    /lib/a\n"
				   "3000-4000 rw-p 00000000 00:00 0 \n";
	struct maps m;
	struct err e;

	for (size_t len = 0; len < sizeof(text); len++) {
		bool whole = len == 0 || text[len - 1] == '\n';
		ck_assert_int_eq(maps_parse(text, len, &m, &e), whole ? 0 : -1);
		maps_deinit(&m);
	}
}
END_TEST

START_TEST(find_at_the_edges)
{
	struct maps m;
	struct err e;

	ck_assert_int_eq(parse("1000-2000 r--p 0 00:00 0\n2000-3000 r--p 0 00:00 0\n"
			       "8000-9000 r--p 0 00:00 0\n",
			       &m, &e),
			 0);
	ck_assert_ptr_null(maps_find(&m, 0xfff));
	ck_assert_ptr_eq(maps_find(&m, 0x1000), &m.v[0]);
	ck_assert_ptr_eq(maps_find(&m, 0x1fff), &m.v[0]);
	ck_assert_ptr_eq(maps_find(&m, 0x2000), &m.v[1]);
	ck_assert_ptr_null(maps_find(&m, 0x3000));
	ck_assert_ptr_null(maps_find(&m, 0x7fff));
	ck_assert_ptr_eq(maps_find(&m, 0x8fff), &m.v[2]);
	ck_assert_ptr_null(maps_find(&m, 0x9000));
	ck_assert_ptr_null(maps_find(&m, UINT64_MAX));
	maps_deinit(&m);
}
END_TEST

START_TEST(own_process)
{
	struct maps m;
	struct err e;
	int local = 0;
	const struct map *stack, *code;

	ck_assert_int_eq(maps_read(getpid(), getpid(), &m, &e), 0);
	stack = maps_find(&m, (raddr_t)&local);
	code = maps_find(&m, (raddr_t)maps_read);
	ck_assert(stack != NULL && stack->r && stack->w && !stack->x);
	ck_assert(code != NULL && code->r && !code->w && code->x && code->inode != 0);
	maps_deinit(&m);
}
END_TEST

/* A file of megabytes: one mapping in two is of another kind, so that none merge. */
START_TEST(many_mappings)
{
	enum { N = 20000 };
	char *p = mmap(NULL, N * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct maps m;
	struct err e;

	ck_assert_ptr_ne(p, MAP_FAILED);
	for (size_t i = 0; i < N; i += 2)
		ck_assert_int_eq(mprotect(p + i * 4096, 4096, PROT_READ), 0);
	ck_assert_int_eq(maps_read(getpid(), getpid(), &m, &e), 0);
	ck_assert_uint_gt(m.n, N);
	for (size_t i = 0; i < N; i++)
		ck_assert(maps_find(&m, (raddr_t)(p + i * 4096))->r == (i % 2 == 0));
	maps_deinit(&m);
}
END_TEST

struct churn {
	char *base;
	atomic_bool stop;
};

enum { CHURN_PAGES = 3000 };

static void *churn(void *arg)
{
	struct churn *c = arg;
	unsigned r = 1;

	while (!atomic_load(&c->stop)) {
		r = r * 1103515245 + 12345;
		mprotect(c->base + (r >> 8) % CHURN_PAGES * 4096, 4096,
			 (r >> 20) & 1 ? PROT_READ : 0);
	}
	return NULL;
}

/* Mappings that split and merge between two pages of the file: about one listing in 25 overlaps
 * itself, and is read again. */
START_TEST(changes_while_reading)
{
	struct churn c = {.stop = false};
	struct maps m;
	struct err e;
	pthread_t t;

	c.base = mmap(NULL, CHURN_PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(c.base, MAP_FAILED);
	ck_assert_int_eq(pthread_create(&t, NULL, churn, &c), 0);
	for (int i = 0; i < 150; i++) {
		ck_assert_msg(maps_read(getpid(), getpid(), &m, &e) == 0, "%s", e.msg);
		maps_deinit(&m);
	}
	atomic_store(&c.stop, true);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(gone)
{
	struct maps m;
	struct err e;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	siginfo_t si;
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(maps_read(pid, pid, &m, &e), -1); /* a zombie's file is empty */
	ck_assert_int_eq(e.code, ERR_GONE);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(maps_read(pid, pid, &m, &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
}
END_TEST

SUITE_MAIN("maps", every_field, odd_paths_stay_as_they_are, malformed_is_refused,
	   limits_are_accepted, every_truncation, find_at_the_edges, own_process, many_mappings,
	   changes_while_reading, gone)
