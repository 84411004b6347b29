/*
 * A victim whose code has sites, the request to plant hooks there, and what must be the same
 * afterwards. The victim is a fork of the test, so addresses and file are the test's own.
 */
#ifndef MEMPROF_TESTS_PATCH_PLANT_ROOM_H
#define MEMPROF_TESTS_PATCH_PLANT_ROOM_H

#include "victim.h"

#include "patch/plant.h"
#include "patch/undo.h"
#include "proc/procfs.h"
#include "proc/shm.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

enum { COUNTERS = 4, RING = 1 << 20 };

/* One thread's: the sites count in it. The alignment keeps each on a line of its own. */
struct counter {
	_Alignas(64) atomic_int quit;
	atomic_int wrong; /* the two counts of site_two came apart */
	uint64_t pad[2];
	atomic_ulong one; /* 0x18(%rdx) */
	atomic_ulong two; /* 0x20(%rdx) */
};

struct page {
	struct counter c[COUNTERS];
	uint64_t stub_lo, stub_hi;
	atomic_int leave_handler;
};
_Static_assert(offsetof(struct counter, one) == 0x18 && offsetof(struct counter, two) == 0x20, "asm");

/* Both run until rdi's word is not 0; rsi: the object; rdx: the counter.
 * site_one: a window of one instruction.
 * site_two: two, and a thread is seen between them most of the time, for the first is slow and
 * interrupts come when it is done; r8 counts along. */
void run_one(atomic_int *quit, const void *object, struct counter *c);
void run_two(atomic_int *quit, const void *object, struct counter *c);
extern const uint8_t site_one[], site_two[];
__asm__(".pushsection .text\n"
	".balign 64\n"
	"run_one:\n"
	"site_one:\n"
	"	addq $1,0x18(%rdx)\n"
	"	nopl (%rax)\n"
	"	cmpl $0,(%rdi); je run_one\n"
	"	ret\n"
	".balign 64\n"
	"run_two:\n"
	"	mov 0x20(%rdx),%r8\n"
	"1:	inc %r8\n"
	"site_two:\n"
	"	lock addq $1,0x20(%rdx)\n"
	"	mov %eax,%ecx\n"
	"	cmp %r8,0x20(%rdx); je 2f\n"
	"	movl $1,4(%rdx)\n"
	"2:	cmpl $0,(%rdi); je 1b\n"
	"	ret\n.popsection\n");

/* The agent's world: a heap of one object, no Ruby thread. */
static uint64_t room_object[8], room_heap_lo, room_heap_hi, room_gc, room_no_ec;
static uint32_t room_ractors = 2; /* its threads allocate at once */

struct room {
	struct victim v;
	struct image *img;
	struct site sites[2];
	struct site_list list;
	struct plant_req req;
	struct planted planted;
	uint64_t at_plant[COUNTERS], at_undo[COUNTERS];
	char *maps_before;
	long copies_before;
	unsigned fds_before;
};

static inline void room_world(void)
{
	room_heap_lo = (uintptr_t)room_object;
	room_heap_hi = room_heap_lo + sizeof(room_object);
}

static inline char *slurp_proc(pid_t pid, const char *name)
{
	char path[64], *text = calloc(1, 1 << 18);
	size_t n = 0;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ne(fd, -1);
	while ((got = read(fd, text + n, (1 << 18) - 1 - n)) > 0)
		n += (size_t)got;
	close(fd);
	return text;
}

/* Private copies in the mapping of the victim's code, in kB. (Private_Dirty would also count pages of
 * a file that was written a moment ago.) */
static inline long code_copies(const struct room *r)
{
	char *smaps = slurp_proc(r->v.pid, "smaps"), start[32], *p;
	long kb = -1;

	snprintf(start, sizeof(start), "%" PRIx64 "-",
		 maps_find(&r->v.maps, (uintptr_t)site_one)->start);
	p = strstr(smaps, start);
	ck_assert_ptr_nonnull(p);
	p = strstr(p, "Anonymous:");
	ck_assert_ptr_nonnull(p);
	kb = strtol(p + strlen("Anonymous:"), NULL, 10);
	free(smaps);
	return kb;
}

static inline unsigned open_fds(pid_t pid)
{
	char path[32];
	unsigned n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *d = opendir(path);
	while (d != NULL && readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static inline uint64_t counts(const struct counter *c)
{
	return c->one + c->two;
}

static inline int note_plant(void *ctx, const struct tracee *t, struct err *e)
{
	struct room *r = ctx;

	(void)t, (void)e;
	for (int i = 0; i < COUNTERS; i++)
		r->at_plant[i] = counts(&((struct page *)r->v.page)->c[i]);
	return 0;
}

static inline int note_undo(void *ctx, const struct tracee *t, struct err *e)
{
	struct room *r = ctx;

	(void)t, (void)e;
	for (int i = 0; i < COUNTERS; i++)
		r->at_undo[i] = counts(&((struct page *)r->v.page)->c[i]);
	return 0;
}

static inline void room_request(struct room *r)
{
	const struct map *code = maps_find(&r->v.maps, (uintptr_t)site_one);
	struct procfs_stat st, self;
	struct err e = {0};
	uint64_t bias;

	OK(image_bias(r->img, &r->v.maps, code->dev_major, code->dev_minor, code->inode, &bias, &e));
	OK(procfs_stat(r->v.pid, r->v.pid, &st, &e));
	OK(procfs_stat(getpid(), getpid(), &self, &e));
	r->sites[0] = (struct site){.addr = (uintptr_t)site_one - bias, .len = 5, .ninsn = 1};
	r->sites[1] = (struct site){.addr = (uintptr_t)site_two - bias, .len = 8, .ninsn = 2};
	for (int i = 0; i < 2; i++) {
		r->sites[i].event = SITE_ALLOC;
		r->sites[i].obj = 6; /* rsi */
		memcpy(r->sites[i].old, i == 0 ? site_one : site_two, r->sites[i].len);
	}
	r->list = (struct site_list){r->sites, 2};
	r->req = (struct plant_req){
	    .pid = r->v.pid, .starttime = st.starttime, .owner = getpid(),
	    .owner_starttime = self.starttime, .arch = arch_native(), .mem = &r->v.mem,
	    .mem_fd = r->v.mem_fd, .image = r->img, .bias = bias, .sites = &r->list,
	    .ring_bytes = RING, .at_stop = note_plant, .ctx = r,
	    .config = {.stale_tsc = 1ull << 62, .gc_count = (uintptr_t)&room_gc,
		       .ractors = (uintptr_t)&room_ractors,
		       .heap_lo = (uintptr_t)&room_heap_lo, .heap_hi = (uintptr_t)&room_heap_hi,
		       .ec_global = (uintptr_t)&room_no_ec},
	};
}

static inline void room_open(struct room *r, void (*body)(struct victim *))
{
	struct err e = {0};
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	*r = (struct room){0};
	room_world();
	OK(image_open(fd, "the victim", &r->img, &e));
	close(fd);
	victim_start(&r->v, body, sizeof(struct page));
	room_request(r);
	r->maps_before = slurp_proc(r->v.pid, "maps");
	r->copies_before = code_copies(r);
	r->fds_before = open_fds(r->v.pid);
}

static inline int read_image(void *ctx, const struct map *m, uint64_t offset, void *buf, size_t len,
			     struct err *e)
{
	const struct room *r = ctx;
	const void *p = image_bytes(r->img, m->start + (offset - m->offset) - r->req.bias, len);

	if (p == NULL)
		return err_set(e, ERR_FAULT, "not in the file");
	memcpy(buf, p, len);
	return 0;
}

/* As a fresh process would: from the journal in the victim. 1: there is none. */
static inline int room_undo(struct room *r, struct undo_result *done, struct err *e)
{
	struct journal j;
	raddr_t at;

	*done = (struct undo_result){0};
	victim_look(&r->v);
	if (journal_find(&r->v.mem, &r->v.maps, &at, e) == -1)
		return 1;
	if (journal_read(&r->v.mem, at, &j, e) == -1 ||
	    journal_judge(&j, &r->v.maps, read_image, r, e) == -1)
		return -1;
	const struct undo_req req = {.pid = r->v.pid, .arch = arch_native(), .mem = &r->v.mem,
				     .mem_fd = r->v.mem_fd, .journal = &j, .at_stop = note_undo,
				     .ctx = r};
	int ret = undo(&req, done, e);
	journal_deinit(&j);
	return ret;
}

/* Nothing of ours is left: code, mappings, private pages, descriptors. */
static inline void room_is_clean(struct room *r)
{
	const struct map *code = maps_find(&r->v.maps, (uintptr_t)site_one);
	const size_t len = code->end - code->start;
	char *maps = slurp_proc(r->v.pid, "maps");
	uint8_t *seen = malloc(len);

	ck_assert_msg(strcmp(maps, r->maps_before) == 0, "a mapping is left");
	ck_assert_int_eq(pread(r->v.mem_fd, seen, len, (off_t)code->start), len);
	ck_assert_mem_eq(seen, (const void *)code->start, len);
	ck_assert_int_eq(code_copies(r), r->copies_before);
	ck_assert_uint_eq(open_fds(r->v.pid), r->fds_before);
	free(seen);
	free(maps);
}

/* What the agent recorded or dropped is what the sites counted, to the last one; or to one a thread,
 * if the undo says that it read the counts with threads inside the stub. */
static inline void room_is_exact(const struct room *r, const struct undo_result *done, int threads)
{
	const struct mp_shm *shm = r->planted.shm.local;
	uint64_t n = 0;

	for (int i = 0; i < COUNTERS; i++)
		n += r->at_undo[i] - r->at_plant[i];
	uint64_t seen = shm->head / 2 + shm->count.dropped[MP_EV_ALLOC];
	ck_assert_uint_ge(seen, n);
	ck_assert_uint_le(seen, n + (done->inexact ? (uint64_t)threads : 0));
	ck_assert_uint_eq(shm->count.suspect, 0);
	ck_assert_uint_gt(n, 0);
}

static inline bool room_counts_on(const struct room *r, int threads)
{
	const struct page *p = r->v.page;
	uint64_t before[COUNTERS];

	for (int i = 0; i < threads; i++)
		before[i] = counts(&p->c[i]);
	for (int i = 0; i < threads; i++)
		if (!EVENTUALLY(counts(&p->c[i]) > before[i] + 1000))
			return false;
	return true;
}

static inline void room_free(struct room *r)
{
	victim_end(&r->v);
	shm_deinit(&r->planted.shm);
	free(r->maps_before);
	image_destroy(r->img);
}

/* Threads still count, in step; then the end. */
static inline void room_close(struct room *r, int threads)
{
	struct page *p = r->v.page;

	ck_assert_msg(room_counts_on(r, threads), "a thread of the victim hangs, or it died");
	for (int i = 0; i < threads; i++)
		ck_assert_msg(!p->c[i].wrong, "thread %d ran an instruction twice, or not at all", i);
	for (int i = 0; i < COUNTERS; i++)
		p->c[i].quit = 1;
	ck_assert_int_eq(victim_listen(&r->v), 'e');
	room_free(r);
}

#endif
