/* Memory shared with the tracee: what it is, and what a hostile tracee can make of its making. */
#include "suite.h"
#include "victim.h"

#include "proc/region.h"
#include "proc/shm.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { LEN = 1 << 20 };

struct page {
	atomic_int ready; /* the swapper knows which number ours will get */
	char file[64]; /* read-only for the victim */
	atomic_int swapped;
};

struct held {
	struct tracee t;
	struct rcall rc;
};

static void hold(struct victim *v, pid_t tid, struct held *h)
{
	struct err e = {0};
	size_t i;

	tracee_init(&h->t, v->pid, arch_native());
	OK(tracee_stop_one(&h->t, tid, 1000, &i, &e));
	OK(rcall_begin(&h->rc, &h->t, tid, v->mem_fd, &v->gadgets, &v->maps, &e));
}

static void let_go(struct held *h)
{
	struct err e = {0};

	OK(rcall_end(&h->rc, &e));
	tracee_deinit(&h->t);
}

static void body(struct victim *v)
{
	victim_say(v, 'r');
	victim_hear(v);
}

START_TEST(shared_and_sealed)
{
	const raddr_t at = 0x300000000000;
	struct victim v;
	struct held h;
	struct shm s;
	struct err e = {0};
	uint64_t word = 0x1122334455667788, got = 0;
	char path[64];
	struct stat st;

	victim_start(&v, body, 4096);
	hold(&v, v.pid, &h);
	OK(shm_create(&h.rc, LEN, &s, &e));
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", v.pid, s.remote_fd);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	ck_assert(ftruncate(fd, 0) == -1 && ftruncate(fd, 2 * LEN) == -1);
	ck_assert(fstat(fd, &st) == 0 && st.st_size == LEN);
	close(fd);
	OK(region_map(&h.rc, at, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, s.remote_fd, &e));
	OK(shm_keep_from_children(&h.rc, at, LEN, &e));
	OK(shm_close_remote(&h.rc, &s, &e));
	ck_assert_int_eq(stat(path, &st), -1);
	memcpy((char *)s.local + LEN - 8, &word, 8);
	ck_assert_int_eq(pread(v.mem_fd, &got, 8, (off_t)at + LEN - 8), 8);
	ck_assert_uint_eq(got, word);
	OK(region_unmap(&h.rc, at, LEN, &e));
	let_go(&h);
	shm_deinit(&s);
	victim_end(&v);
}
END_TEST

/* Waits for our descriptor to turn up and puts another in its place: a file that it can only read,
 * but we, being root, could write. */
static void *swap(void *arg)
{
	struct page *p = ((struct victim *)arg)->page;
	int evil = open(p->file, O_RDONLY), next = dup(evil);

	close(next);
	p->ready = 1;
	for (;;) {
		if (fcntl(next, F_GET_SEALS) != -1 && dup2(evil, next) == next) {
			p->swapped++;
			close(next);
		}
	}
	return NULL;
}

static void body_hostile(struct victim *v)
{
	pthread_t th;

	victim_say(v, 'r');
	victim_hear(v);
	pthread_create(&th, NULL, swap, v);
	while (!((struct page *)v->page)->ready)
		sched_yield();
	victim_say(v, 'g');
	pause();
}

START_TEST(descriptor_is_swapped)
{
	struct victim v;
	struct held h;
	struct shm s;
	struct err e = {0};
	struct stat st;

	victim_start(&v, body_hostile, sizeof(struct page));
	struct page *p = v.page;
	strcpy(p->file, "/tmp/unit_shm_XXXXXX");
	int fd = mkstemp(p->file);
	ck_assert_int_eq(write(fd, "precious!\n", 10), 10);
	fchmod(fd, 0444);
	victim_tell(&v, 'g');
	victim_listen(&v);
	for (int i = 0; i < 5000 && p->swapped < 1000; i++) {
		hold(&v, v.pid, &h);
		if (shm_create(&h.rc, LEN, &s, &e) == 0)
			RCALL(&h.rc, "close", SYS_close, NULL, &e, (uint64_t)s.remote_fd);
		let_go(&h);
		shm_deinit(&s);
		ck_assert(fstat(fd, &st) == 0);
		if (st.st_size != 10)
			break;
	}
	unlink(p->file);
	close(fd);
	ck_assert_int_gt(p->swapped, 0);
	ck_assert_msg(st.st_size == 10, "a file of somebody else now has %ld bytes", (long)st.st_size);
	victim_end(&v);
}
END_TEST

SUITE_MAIN("shm", shared_and_sealed, descriptor_is_swapped)
