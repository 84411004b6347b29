/* The journal: its bytes come back from a hostile place. */
#include "suite.h"

#include "mem/mem_fake.h"
#include "patch/journal.h"

#include <string.h>

enum { WORDS = 7, STUB = 0x7f0000100000, CODE = 0x7f0000000000, CODE_OFF = 0x3000 };

static struct patch words[JOURNAL_MAX + 1];
static uint8_t file[0x4000]; /* what the file holds from CODE_OFF on */

static struct journal sample(size_t n)
{
	for (size_t i = 0; i < sizeof(file); i++)
		file[i] = (uint8_t)(i * 7 + (i >> 8));
	for (size_t i = 0; i < n; i++) {
		words[i] = (struct patch){.addr = CODE + 0x80 * i + i, .clean_page = i % 2 == 0};
		memcpy(words[i].old, file + 0x80 * i + i, 8);
		memset(words[i].new, (int)(0x40 + i), 8);
	}
	return (struct journal){
	    .pid = 4711,
	    .owner = 815,
	    .starttime = 0x1122334455667788,
	    .owner_starttime = 0x99aabbccddeeff,
	    .stub = STUB,
	    .stub_len = 0x4000,
	    .ctl = STUB + 0x5000,
	    .ctl_len = 0x1000,
	    .shm = STUB + 0x100000,
	    .shm_len = 0x20000,
	    .words = {words, n},
	};
}

static int read_page(const uint8_t *page, size_t len, raddr_t at, struct journal *j, struct err *e)
{
	struct mem_fake_seg segs[] = {{at, page, len}, {0, NULL, 0}};
	struct mem m = mem_fake(segs);

	return journal_read(&m, at, j, e);
}

static void same(const struct journal *a, const struct journal *b)
{
	ck_assert_int_eq(a->pid, b->pid);
	ck_assert_int_eq(a->owner, b->owner);
	ck_assert_uint_eq(a->starttime, b->starttime);
	ck_assert_uint_eq(a->owner_starttime, b->owner_starttime);
	ck_assert(a->stub == b->stub && a->ctl == b->ctl && a->shm == b->shm);
	ck_assert(a->stub_len == b->stub_len && a->ctl_len == b->ctl_len &&
		  a->shm_len == b->shm_len);
	ck_assert_uint_eq(a->words.n, b->words.n);
	for (size_t i = 0; i < a->words.n; i++) {
		ck_assert_uint_eq(a->words.v[i].addr, b->words.v[i].addr);
		ck_assert_mem_eq(a->words.v[i].old, b->words.v[i].old, 8);
		ck_assert_mem_eq(a->words.v[i].new, b->words.v[i].new, 8);
		ck_assert(a->words.v[i].clean_page == b->words.v[i].clean_page);
	}
}

START_TEST(round_trip)
{
	static const size_t counts[] = {0, 1, WORDS, JOURNAL_MAX};
	uint8_t page[JOURNAL_PAGE];
	struct err e;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct journal j = sample(counts[i]), got;

		ck_assert_int_eq(journal_encode(&j, page, &e), 0);
		ck_assert_int_eq(read_page(page, sizeof(page), STUB, &got, &e), 0);
		same(&j, &got);
		journal_deinit(&got);
	}
	struct journal j = sample(JOURNAL_MAX + 1);
	ck_assert_int_eq(journal_encode(&j, page, &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
}
END_TEST

/* Any byte changed, in three ways: refused, or it was one that means nothing. */
START_TEST(damage)
{
	static const uint8_t flips[] = {0x01, 0x80, 0xff};
	struct journal j = sample(WORDS), got;
	uint8_t page[JOURNAL_PAGE];
	unsigned refused = 0;
	struct err e;

	ck_assert_int_eq(journal_encode(&j, page, &e), 0);
	for (size_t i = 0; i < sizeof(page); i++) {
		for (size_t k = 0; k < sizeof(flips); k++) {
			page[i] ^= flips[k];
			if (read_page(page, sizeof(page), STUB, &got, &e) == 0) {
				same(&j, &got);
			} else {
				ck_assert(e.code == ERR_BADDATA || e.code == ERR_UNSUPPORTED);
				refused++;
			}
			journal_deinit(&got);
			page[i] ^= flips[k];
		}
	}
	/* Header and entries in use are some three hundred bytes. */
	ck_assert_uint_ge(refused, 3 * (100 + WORDS * 32));
}
END_TEST

START_TEST(cut_short)
{
	struct journal j = sample(WORDS), got;
	uint8_t page[JOURNAL_PAGE], half[JOURNAL_PAGE];
	struct err e;

	ck_assert_int_eq(journal_encode(&j, page, &e), 0);
	/* As our death in the middle of writing leaves it: words up to some point, zeroes behind.
	 * Cuts inside what is used must be refused. */
	for (size_t n = 0; n < 104 + WORDS * 32; n += 8) {
		memset(half, 0, sizeof(half));
		memcpy(half, page, n);
		ck_assert_msg(read_page(half, sizeof(half), STUB, &got, &e) == -1, "cut at %zu", n);
		journal_deinit(&got);
	}
	ck_assert_int_eq(read_page(page, 512, STUB, &got, &e), -1);
	journal_deinit(&got);
}
END_TEST

START_TEST(lies)
{
	struct journal j = sample(WORDS), got;
	uint8_t page[JOURNAL_PAGE];
	uint32_t version = 2;
	struct err e;

	ck_assert_int_eq(journal_encode(&j, page, &e), 0);
	ck_assert_int_eq(read_page(page, sizeof(page), STUB + 0x1000, &got, &e), -1);
	ck_assert_int_eq(e.code, ERR_BADDATA); /* describes another place */
	memcpy(page + 8, &version, 4);
	ck_assert_int_eq(read_page(page, sizeof(page), STUB, &got, &e), -1);
	ck_assert_int_eq(e.code, ERR_UNSUPPORTED);
	page[0] ^= 1;
	ck_assert_int_eq(read_page(page, sizeof(page), STUB, &got, &e), -1);
	ck_assert_int_eq(e.code, ERR_BADDATA);
}
END_TEST

/* -- judging --------------------------------------------------------------------------------- */

static int read_file(void *ctx, const struct map *m, uint64_t offset, void *buf, size_t len,
		     struct err *e)
{
	(void)ctx;
	if (m->inode != 42 || offset < CODE_OFF || offset - CODE_OFF + len > sizeof(file))
		return err_set(e, ERR_FAULT, "not in the file");
	memcpy(buf, file + (offset - CODE_OFF), len);
	return 0;
}

static int judge(const struct journal *j, const char *text, struct err *e)
{
	struct maps maps;
	struct err bad;

	ck_assert_msg(maps_parse(text, strlen(text), &maps, &bad) == 0, "%s", bad.msg);
	int ret = journal_judge(j, &maps, read_file, NULL, e);
	maps_deinit(&maps);
	return ret;
}

#define CODE_MAP "7f0000000000-7f0000004000 r-xp 00003000 fd:01 42 /usr/lib/libx.so\n"
#define HEAP_MAP "7f0000080000-7f0000090000 rw-p 00000000 00:00 0 \n"
#define JIT_MAP	 "7f0000090000-7f00000a0000 r-xp 00000000 00:00 0 \n"
#define STUB_MAP "7f0000100000-7f0000104000 r-xp 00000000 00:00 0 \n"
#define CTL_MAP	 "7f0000105000-7f0000106000 rw-p 00000000 00:00 0 \n"
#define SHM_MAP	 "7f0000200000-7f0000220000 rw-s 00000000 00:01 77 /memfd:memprof (deleted)\n"
#define ALL	 CODE_MAP HEAP_MAP JIT_MAP STUB_MAP CTL_MAP SHM_MAP

#define REFUSED(j, text)                                                                           \
	do {                                                                                       \
		struct err e_;                                                                     \
		ck_assert_int_eq(judge(&(j), text, &e_), -1);                                      \
		ck_assert_int_eq(e_.code, ERR_BADDATA);                                            \
	} while (0)

START_TEST(believed)
{
	struct journal j = sample(WORDS);
	struct err e;

	ck_assert_msg(judge(&j, ALL, &e) == 0, "%s", e.msg);
	/* Mappings that are gone already. */
	ck_assert_msg(judge(&j, CODE_MAP, &e) == 0, "%s", e.msg);
	/* The last word of the map. */
	words[0].addr = CODE + sizeof(file) - 8;
	memcpy(words[0].old, file + sizeof(file) - 8, 8);
	ck_assert_msg(judge(&j, ALL, &e) == 0, "%s", e.msg);
}
END_TEST

START_TEST(words_not_believed)
{
	static const raddr_t bad[] = {
	    0x7f0000080010,		 /* writable */
	    0x7f0000090010,		 /* code without a file */
	    STUB + 0x10,		 /* our own */
	    CODE + sizeof(file) - 4,	 /* half outside */
	    CODE + sizeof(file),	 /* nothing there */
	    0, UINT64_MAX, UINT64_MAX - 7,
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct journal j = sample(WORDS);
		words[3].addr = bad[i];
		REFUSED(j, ALL);
	}
	struct journal j = sample(WORDS);
	words[WORDS - 1].old[7] ^= 1; /* not what the file holds */
	REFUSED(j, ALL);
	j = sample(WORDS);
	REFUSED(j, "7f0000000000-7f0000004000 rwxp 00003000 fd:01 42 /usr/lib/libx.so\n");
	j = sample(WORDS);
	REFUSED(j, "7f0000000000-7f0000004000 r--p 00003000 fd:01 42 /usr/lib/libx.so\n");
}
END_TEST

START_TEST(mappings_not_believed)
{
	static const char *const bad[] = {
	    /* stub: a file's code; data; smaller than said */
	    CODE_MAP "7f0000100000-7f0000104000 r-xp 00000000 fd:01 43 /usr/lib/liby.so\n",
	    CODE_MAP "7f0000100000-7f0000104000 rw-p 00000000 00:00 0 \n",
	    CODE_MAP "7f0000100000-7f0000103000 r-xp 00000000 00:00 0 \n",
	    /* control page: a file; code */
	    CODE_MAP STUB_MAP "7f0000105000-7f0000106000 rw-p 00000000 fd:01 43 /x\n",
	    CODE_MAP STUB_MAP "7f0000105000-7f0000106000 r-xp 00000000 00:00 0 \n",
	    /* ring: anonymous; smaller than said */
	    CODE_MAP STUB_MAP CTL_MAP "7f0000200000-7f0000220000 rw-p 00000000 00:00 0 \n",
	    CODE_MAP STUB_MAP CTL_MAP
	    "7f0000200000-7f0000210000 rw-s 00000000 00:01 77 /memfd:memprof (deleted)\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct journal j = sample(WORDS);
		REFUSED(j, bad[i]);
	}
}
END_TEST

/* Each would have us unmap something that is not ours. */
START_TEST(somebody_elses_mappings)
{
	static const char *const bad[] = {
	    /* a larger one that ours could be cut out of */
	    CODE_MAP "7f00000f0000-7f0000104000 r-xp 00000000 00:00 0 \n",
	    CODE_MAP "7f0000100000-7f0000108000 r-xp 00000000 00:00 0 \n",
	    CODE_MAP STUB_MAP "7f0000105000-7f0000205000 rw-p 00000000 00:00 0 [heap]\n",
	    CODE_MAP STUB_MAP "7f0000105000-7f0000106000 rw-p 00000000 00:00 0 [stack]\n",
	    CODE_MAP STUB_MAP CTL_MAP "7f0000200000-7f0000220000 rw-s 00000000 fd:01 9 /var/db\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct journal j = sample(WORDS);
		struct err e;
		ck_assert_msg(judge(&j, bad[i], &e) == -1, "believed: %s", strchr(bad[i], '\n') + 1);
		ck_assert_int_eq(e.code, ERR_BADDATA);
	}
}
END_TEST

START_TEST(found)
{
	struct journal j = sample(1);
	uint8_t page[JOURNAL_PAGE], other[64] = {0};
	struct maps maps;
	struct err e;
	raddr_t at = 0;

	ck_assert_int_eq(journal_encode(&j, page, &e), 0);
	struct mem_fake_seg segs[] = {{0x7f0000090000, other, sizeof(other)},
				      {STUB, page, sizeof(page)}, {0, NULL, 0}};
	struct mem m = mem_fake(segs);
	ck_assert_int_eq(maps_parse(ALL, strlen(ALL), &maps, &e), 0);
	ck_assert_int_eq(journal_find(&m, &maps, &at, &e), 0);
	ck_assert_uint_eq(at, STUB);
	page[0] ^= 1;
	ck_assert_int_eq(journal_find(&m, &maps, &at, &e), -1);
	ck_assert_int_eq(e.code, ERR_NOSYM);
	maps_deinit(&maps);
}
END_TEST

SUITE_MAIN("journal", round_trip, damage, cut_short, lies, believed, words_not_believed,
	   mappings_not_believed, somebody_elses_mappings, found)
