/* Hostile memory: every reader must end with an error, soon, whatever the bytes say. */
#include "elf/image.h"
#include "mem/mem_fake.h"
#include "ruby/iseq.h"
#include "ruby/klass.h"
#include "ruby/object.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BASE = 0x10000, SIZE = 1 << 16 };

/* Addresses of what the tests lay out there. */
enum {
	STR = BASE + 0x100,
	TEXT = BASE + 0x200,
	KLASS = BASE + 0x1000,
	EXT = BASE + 0x1100,
	TABLE = BASE + 0x1200,
	ENTRIES = BASE + 0x1300,
	ISEQ = BASE + 0x2000,
	BODY = BASE + 0x2100,
	LINES = BASE + 0x2400,
	INDEX = BASE + 0x2600,
	LABEL = BASE + 0x2800,
	UNMAPPED = BASE + SIZE,
};
enum { CLASSPATH = 0xf01, TMP_CLASSPATH = 0xf11 };

static struct world {
	uint8_t bytes[SIZE];
	struct mem_fake_seg segs[2];
	struct mem mem;
	struct ruby_layout lay;
	struct ruby rb;
	struct err e;
} w;

static void put64(raddr_t addr, uint64_t v)
{
	memcpy(w.bytes + (addr - BASE), &v, sizeof(v));
}

static void put32(raddr_t addr, uint32_t v)
{
	memcpy(w.bytes + (addr - BASE), &v, sizeof(v));
}

static void put_str(raddr_t addr, const char *s) /* embedded */
{
	put64(addr, RT_STRING | (uint64_t)strlen(s) << w.lay.str.embed_len_shift);
	memcpy(w.bytes + (addr + w.lay.str.embed - BASE), s, strlen(s) + 1);
}

static void world_reset(void)
{
	w = (struct world){.lay = *ruby_layout_find(RUBY_VERSION_OF(3, 1, 7))};
	w.segs[0] = (struct mem_fake_seg){BASE, w.bytes, SIZE};
	w.mem = mem_fake(w.segs);
	w.rb = (struct ruby){.mem = &w.mem,
			     .lay = &w.lay,
			     .classpath_id = CLASSPATH,
			     .tmp_classpath_id = TMP_CLASSPATH};
}

/* A class with one instance variable, its name. */
static void put_class(uint64_t flags, uint64_t id, raddr_t name)
{
	put64(KLASS, RT_CLASS | flags);
	put64(KLASS + w.lay.klass.ext, EXT);
	put64(EXT + w.lay.klass.iv_tbl, TABLE);
	put64(TABLE + w.lay.st.num_entries, 1);
	put64(TABLE + w.lay.st.entries_bound, 1);
	put64(TABLE + w.lay.st.entries, ENTRIES);
	put64(ENTRIES + w.lay.st.entry_key, id);
	put64(ENTRIES + w.lay.st.entry_record, name);
}

/* 12 words of code: lines 5 (word 0), none (word 4), 7 (word 6 on). */
static void put_iseq(void)
{
	static const uint8_t rank[12] = {1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3};
	static const uint32_t line[3] = {5, 0, 7};
	put64(ISEQ, RT_IMEMO | 7 << 12);
	put64(ISEQ + w.lay.agent.iseq_body, BODY);
	put32(BODY + w.lay.body.iseq_size, 12);
	put64(BODY + w.lay.body.iseq_encoded, 0x7000);
	put64(BODY + w.lay.body.pathobj, STR);
	put64(BODY + w.lay.body.label, LABEL);
	put64(BODY + w.lay.body.first_lineno, 3 << 1 | 1);
	put64(BODY + w.lay.body.insns_info_body, LINES);
	put32(BODY + w.lay.body.insns_info_size, 3);
	put64(BODY + w.lay.body.succ_index_table, INDEX);
	put_str(STR, "/a.rb");
	put_str(LABEL, "block in x");
	for (int i = 0; i < 3; i++)
		put32(LINES + i * w.lay.body.insn_info_size, line[i]);
	uint64_t ready[2] = {0};
	for (int i = 0; i < 12; i++)
		ready[i / 9] |= (uint64_t)rank[i] << 7 * (i % 9);
	put64(INDEX, ready[0]);
	put64(INDEX + 8, ready[1]);
}

#define ck_fails(call, want)                                                                       \
	do {                                                                                       \
		ck_assert_int_eq((call), -1);                                                      \
		ck_assert_int_eq(w.e.code, (want));                                                \
	} while (0)

/* -- strings ---------------------------------------------------------------------------------- */

START_TEST(test_str)
{
	char buf[64];
	world_reset();
	put_str(STR, "hello");
	ck_assert_int_eq(ruby_str_read(&w.rb, STR, buf, sizeof(buf), &w.e), 5);
	ck_assert_str_eq(buf, "hello");
	ck_assert_int_eq(ruby_str_read(&w.rb, STR, buf, 1, &w.e), 0);
	ck_assert_str_eq(buf, "");

	put64(STR, RT_STRING | w.lay.str.noembed);
	put64(STR + w.lay.str.ptr, TEXT);
	for (int bit = 41; bit < 64; bit++) {
		put64(STR + w.lay.str.heap_len, 1ull << bit);
		ck_fails(ruby_str_read(&w.rb, STR, buf, sizeof(buf), &w.e), ERR_BADDATA);
	}
	put64(STR + w.lay.str.heap_len, 10);
	put64(STR + w.lay.str.ptr, UNMAPPED - 4);
	ck_fails(ruby_str_read(&w.rb, STR, buf, sizeof(buf), &w.e), ERR_FAULT);
	put64(STR, RT_ARRAY);
	ck_fails(ruby_str_read(&w.rb, STR, buf, sizeof(buf), &w.e), ERR_BADDATA);
	ck_fails(ruby_str_read(&w.rb, UNMAPPED, buf, sizeof(buf), &w.e), ERR_FAULT);
	static const raddr_t special[] = {0, 8, 0x14, 0x34, 3, STR + 1, UINT64_MAX};
	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		ck_fails(ruby_str_read(&w.rb, special[i], buf, sizeof(buf), &w.e), ERR_BADDATA);
}
END_TEST

/* A Ruby that keeps the length of every String in the same place. */
START_TEST(test_str_other_layout)
{
	char buf[64];
	world_reset();
	w.lay.str.embed_len_mask = 0;
	w.lay.str.embed = 24;
	put64(STR, RT_STRING | 31 << 14);
	put64(STR + 16, 3);
	put64(STR + 24, 0x636261);
	ck_assert_int_eq(ruby_str_read(&w.rb, STR, buf, sizeof(buf), &w.e), 3);
	ck_assert_str_eq(buf, "abc");
}
END_TEST

/* -- names ------------------------------------------------------------------------------------ */

START_TEST(test_internal_names)
{
	static const struct {
		uint32_t flags;
		const char *name;
		bool has_class;
	} v[] = {
	    {RT_IMEMO | 7 << 12, "(iseq)", false},
	    {RT_IMEMO | 6 << 12, "(imemo:ment)", false},
	    {RT_IMEMO, "(imemo:env)", false},
	    {RT_IMEMO | 13 << 12 | 1u << 31, "(imemo:constcache)", false},
	    {RT_IMEMO | 14 << 12, "(imemo)", false},
	    {RT_NODE, "(node)", false},
	    {RT_ICLASS, "(iclass)", false},
	    {RT_NONE, "(none)", false},
	    {RT_ZOMBIE, "(zombie)", false},
	    {RT_MOVED, "(moved)", false},
	    {RT_STRING | 1 << 13, "(hidden String)", true},
	    {RT_BIGNUM, "(hidden Integer)", true},
	    {RT_SYMBOL, "(hidden Symbol)", true},
	    {RT_CLASS, "(hidden Class)", true},
	    {31, "(type 31)", true},
	};
	char buf[64];
	world_reset();
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		ck_assert_ptr_eq(ruby_internal_name(&w.lay, v[i].flags, buf, sizeof(buf)), buf);
		ck_assert_str_eq(buf, v[i].name);
		ck_assert_int_eq(ruby_has_class(&w.lay, v[i].flags, KLASS), v[i].has_class);
		ck_assert(!ruby_has_class(&w.lay, v[i].flags, 0));
		ck_assert(!ruby_has_class(&w.lay, v[i].flags, 8));
		ck_assert(!ruby_has_class(&w.lay, v[i].flags, KLASS + 4));
		ck_assert_int_eq(ruby_is_iseq(&w.lay, v[i].flags), i == 0);
	}
	ck_assert_str_eq(ruby_internal_name(&w.lay, RT_NODE, buf, 4), "(no");
	ck_assert(ruby_is_class(RT_CLASS | 1 << 12) && ruby_is_class(RT_MODULE));
	ck_assert(!ruby_is_class(RT_OBJECT) && !ruby_is_class(RT_ICLASS));
}
END_TEST

START_TEST(test_class)
{
	char buf[64];
	bool permanent;
	world_reset();
	put_str(STR, "Foo");
	put_class(0, CLASSPATH, STR);
	ck_assert_int_eq(ruby_class_name(&w.rb, KLASS, buf, sizeof(buf), &permanent, &w.e), 0);
	ck_assert_str_eq(buf, "Foo");
	ck_assert(permanent);
	put_class(0, TMP_CLASSPATH, STR);
	ck_assert_int_eq(ruby_class_name(&w.rb, KLASS, buf, sizeof(buf), &permanent, &w.e), 0);
	ck_assert_str_eq(buf, "Foo");
	ck_assert(!permanent);
	put64(ENTRIES, UINT64_MAX); /* a deleted entry keeps its key and record */
	put64(TABLE + w.lay.st.num_entries, 0);
	ck_assert_int_eq(ruby_class_name(&w.rb, KLASS, buf, sizeof(buf), &permanent, &w.e), 0);
	ck_assert_str_eq(buf, "#<Class:0x0000000000011000>");
	ck_assert(!permanent);
}
END_TEST

START_TEST(test_class_hostile)
{
	char buf[64];
	bool permanent;
	world_reset();
#define NAME(klass) ruby_class_name(&w.rb, (klass), buf, sizeof(buf), &permanent, &w.e)
	put_class(w.lay.klass.singleton, CLASSPATH, STR);
	put64(KLASS + w.lay.klass.super, KLASS);
	ck_fails(NAME(KLASS), ERR_BADDATA); /* a chain that bites its tail */
	put64(KLASS + w.lay.klass.super, 0);
	ck_fails(NAME(KLASS), ERR_BADDATA);
	put64(KLASS + w.lay.klass.super, UNMAPPED);
	ck_fails(NAME(KLASS), ERR_FAULT);
	put64(KLASS, RT_OBJECT);
	ck_fails(NAME(KLASS), ERR_BADDATA);
	ck_fails(NAME(0), ERR_BADDATA);
	ck_fails(NAME(KLASS + 1), ERR_BADDATA);

	put_class(0, CLASSPATH, STR);
	ck_fails(NAME(KLASS), ERR_BADDATA); /* the name is no String */
	put_class(0, CLASSPATH, UNMAPPED);
	ck_fails(NAME(KLASS), ERR_FAULT);
	for (int bit = 14; bit < 64; bit++) {
		put64(TABLE + w.lay.st.entries_bound, (1ull << bit) + 1);
		ck_fails(NAME(KLASS), ERR_BADDATA);
	}
	put64(TABLE + w.lay.st.entries_bound, 4);
	put64(TABLE + w.lay.st.entries_start, 5);
	ck_fails(NAME(KLASS), ERR_BADDATA);
	put64(TABLE + w.lay.st.entries_start, 2);
	put64(TABLE + w.lay.st.num_entries, 3);
	ck_fails(NAME(KLASS), ERR_BADDATA);
	put64(TABLE + w.lay.st.num_entries, 2);
	put64(TABLE + w.lay.st.entries, UNMAPPED - 64);
	ck_fails(NAME(KLASS), ERR_FAULT);
	put64(KLASS + w.lay.klass.ext, 0);
	ck_fails(NAME(KLASS), ERR_BADDATA);
	put64(KLASS + w.lay.klass.ext, UINT64_MAX - 7);
	ck_fails(NAME(KLASS), ERR_FAULT);
#undef NAME
}
END_TEST

/* -- iseqs ------------------------------------------------------------------------------------ */

static uint32_t line_of(const struct iseq *i, uint64_t word, bool top)
{
	return iseq_line(i, &w.lay, 0x7000 + 8 * word, top);
}

START_TEST(test_iseq)
{
	struct iseq *i;
	world_reset();
	put_iseq();
	ck_assert_msg(iseq_read(&w.rb, ISEQ, &i, &w.e) == 0, "%s", w.e.msg);
	ck_assert_str_eq(iseq_path(i), "/a.rb");
	ck_assert_str_eq(iseq_label(i), "block in x");
	ck_assert(!iseq_is_internal(i));
	ck_assert_uint_lt(iseq_memory(i), 200);
	ck_assert_uint_eq(line_of(i, 0, true), 5);
	ck_assert_uint_eq(line_of(i, 0, false), 5);
	ck_assert_uint_eq(line_of(i, 4, false), 5);
	ck_assert_uint_eq(line_of(i, 4, true), 3); /* no line: the iseq's first */
	ck_assert_uint_eq(line_of(i, 6, true), 7);
	ck_assert_uint_eq(line_of(i, 12, false), 7);
	ck_assert_uint_eq(line_of(i, 12, true), 7); /* one past the end */
	ck_assert_uint_eq(line_of(i, 13, false), 0);
	w.lay.leaf_pc_is_current = false;
	ck_assert_uint_eq(line_of(i, 6, true), 3);
	iseq_destroy(i);
	iseq_destroy(NULL);
}
END_TEST

START_TEST(test_iseq_other_layout)
{
	struct iseq *i;
	world_reset();
	put_iseq();
	w.lay.body.lineno_fixnum = false;
	put64(BODY + w.lay.body.first_lineno, 0xffffffff00000009);
	put32(BODY + w.lay.body.insns_info_size, 0);
	put64(BODY + w.lay.body.insns_info_body, 0);
	put_str(STR, "<internal:x>");
	ck_assert_msg(iseq_read(&w.rb, ISEQ, &i, &w.e) == 0, "%s", w.e.msg);
	ck_assert_uint_eq(line_of(i, 3, true), 9);
	ck_assert(iseq_is_internal(i));
	iseq_destroy(i);
}
END_TEST

static void expect_iseq_fails(enum err_code want)
{
	struct iseq *i;
	ck_fails(iseq_read(&w.rb, ISEQ, &i, &w.e), want);
	world_reset();
	put_iseq();
}

START_TEST(test_iseq_hostile)
{
	world_reset();
	put_iseq();
	put64(ISEQ, RT_IMEMO | 6 << 12);
	expect_iseq_fails(ERR_BADDATA);
	put64(ISEQ + w.lay.agent.iseq_body, 0);
	expect_iseq_fails(ERR_FAULT);
	put64(ISEQ + w.lay.agent.iseq_body, UNMAPPED - 100);
	expect_iseq_fails(ERR_FAULT);
	put32(BODY + w.lay.body.type, 9);
	expect_iseq_fails(ERR_BADDATA);
	static const uint32_t sizes[] = {0, (1 << 20) + 1, UINT32_MAX, 2};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		put32(BODY + w.lay.body.iseq_size, sizes[i]);
		expect_iseq_fails(ERR_BADDATA);
	}
	put64(BODY + w.lay.body.iseq_encoded, 0);
	expect_iseq_fails(ERR_BADDATA);
	put64(BODY + w.lay.body.pathobj, 0);
	expect_iseq_fails(ERR_FAULT);
	put64(BODY + w.lay.body.pathobj, KLASS);
	put64(KLASS, RT_ARRAY); /* of elements at 0 */
	expect_iseq_fails(ERR_FAULT);
	put64(BODY + w.lay.body.label, ISEQ);
	expect_iseq_fails(ERR_BADDATA);
	put32(BODY + w.lay.body.insns_info_size, 13);
	expect_iseq_fails(ERR_BADDATA);
	put32(BODY + w.lay.body.insns_info_size, 4); /* one that the index does not know */
	expect_iseq_fails(ERR_BADDATA);
	put32(BODY + w.lay.body.insns_info_size, 2);
	expect_iseq_fails(ERR_BADDATA);
	put64(INDEX, UINT64_MAX);
	expect_iseq_fails(ERR_BADDATA);
	put64(INDEX, 0);
	expect_iseq_fails(ERR_BADDATA);
	put64(BODY + w.lay.body.insns_info_body, UNMAPPED);
	expect_iseq_fails(ERR_FAULT);
	put64(BODY + w.lay.body.succ_index_table, UNMAPPED);
	expect_iseq_fails(ERR_FAULT);
}
END_TEST

/* Memory where the body is another one whenever it is read. */
static ssize_t torn_read(void *ctx, raddr_t addr, void *buf, size_t len)
{
	struct mem under = mem_fake(w.segs);
	uint64_t *reads = ctx;
	if (addr == BODY)
		put64(BODY + w.lay.body.iseq_encoded, 0x7000 + 8 * ++*reads);
	return under.read(under.ctx, addr, buf, len);
}

START_TEST(test_iseq_torn)
{
	uint64_t reads = 0;
	struct iseq *i;
	world_reset();
	put_iseq();
	w.mem = (struct mem){.read = torn_read, .ctx = &reads};
	ck_fails(iseq_read(&w.rb, ISEQ, &i, &w.e), ERR_BADDATA);
	ck_assert_uint_eq(reads, 2);
}
END_TEST

/* -- counters --------------------------------------------------------------------------------- */

START_TEST(test_counters_of_pools)
{
	struct ruby_counters c;
	world_reset();
	w.rb.objspace = BASE;
	w.rb.vm = BASE;
	w.lay.objspace.pools = 3;
	w.lay.objspace.pool_stride = 100;
	w.lay.objspace.total_allocated = 600;
	w.lay.objspace.total_freed = 608;
	w.lay.objspace.total_moved = LAYOUT_NONE;
	w.lay.vm.ractor_count = LAYOUT_NONE;
	for (uint64_t i = 0; i < 3; i++) {
		put64(BASE + 600 + 100 * i, 10 + i);
		put64(BASE + 608 + 100 * i, i);
	}
	ck_assert_int_eq(ruby_counters_read(&w.rb, &c, &w.e), 0);
	ck_assert_uint_eq(c.allocated, 33);
	ck_assert_uint_eq(c.freed, 3);
	ck_assert_uint_eq(c.moved, 0);
	ck_assert_uint_eq(c.ractors, 0);
	w.lay.objspace.pools = 100;
	ck_fails(ruby_counters_read(&w.rb, &c, &w.e), ERR_BADDATA);
}
END_TEST

/* -- noise ------------------------------------------------------------------------------------ */

/* Memory without end that says something else each time: small numbers, addresses, plausible
 * flags, all ones, now and then a hole. */
static ssize_t noise_read(void *ctx, raddr_t addr, void *buf, size_t len)
{
	static const uint64_t words[] = {
	    0,
	    1,
	    3,
	    12,
	    64,
	    RT_STRING,
	    RT_STRING | 1 << 13,
	    RT_CLASS,
	    RT_MODULE,
	    RT_ARRAY,
	    RT_CLASS | 1 << 12,
	    RT_ICLASS,
	    RT_IMEMO | 7 << 12,
	    UINT64_MAX,
	    1ull << 63,
	    CLASSPATH,
	    0x0000000c00000001,
	    0x000fffff00000001,
	    0x8101c38083020181,
	};
	uint64_t *seed = ctx;
	(void)addr;
	for (size_t i = 0; i < len; i += 8) {
		*seed = *seed * 6364136223846793005u + 1442695040888963407u;
		uint64_t r = *seed >> 33, v = (r & 0xffff) << 3;
		if (r % 3 != 0)
			v = words[r / 3 % (sizeof(words) / sizeof(words[0]))];
		memcpy((uint8_t *)buf + i, &v, len - i < 8 ? len - i : 8);
	}
	if (*seed >> 33 & 63)
		return (ssize_t)len;
	errno = EIO;
	return -1;
}

START_TEST(test_noise)
{
	uint64_t seed = 1;
	char buf[128];
	bool permanent;
	int good = 0, bad = 0;
	world_reset();
	w.mem = (struct mem){.read = noise_read, .ctx = &seed};
	w.rb.objspace = w.rb.vm = w.rb.main_ractor = w.rb.c_object = w.rb.c_module = 0x8000;
	for (int i = 0; i < 20000; i++) {
		struct iseq *iseq = NULL;
		struct ruby_counters c;
		struct ruby rb = w.rb;
		int64_t off;
		const int results[] = {
		    (int)ruby_str_read(&w.rb, 0x1000, buf, sizeof(buf), &w.e),
		    ruby_class_name(&w.rb, 0x1000, buf, sizeof(buf), &permanent, &w.e),
		    iseq_read(&w.rb, 0x1000, &iseq, &w.e),
		    ruby_counters_read(&w.rb, &c, &w.e),
		    ruby_classpath_learn(&rb, &w.e),
		    ruby_tls_offset(&w.mem, 0, &(struct ruby_code){0}, 0x1000, &off, &w.e),
		    ruby_thread_has_ec(&w.rb, 0x1000) ? 0 : -1,
		};
		if (results[2] == 0)
			iseq_destroy(iseq);
		for (size_t k = 0; k < sizeof(results) / sizeof(results[0]); k++)
			*(results[k] == -1 ? &bad : &good) += 1;
	}
	ck_assert_int_gt(good, 500);
	ck_assert_int_gt(bad, 1000);
	ck_fails(ruby_probe(&w.rb, &w.e), ERR_UNSUPPORTED);
}
END_TEST

START_TEST(test_no_ruby)
{
	struct ruby_version v;
	struct image *img;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(image_open(fd, "self", &img, &w.e), 0);
	close(fd);
	ck_fails(ruby_version_read(img, &v, &w.e), ERR_NOSYM);
	image_destroy(img);
}
END_TEST

SUITE_MAIN("ruby fake", test_str, test_str_other_layout, test_internal_names, test_class,
	   test_class_hostile, test_iseq, test_iseq_other_layout, test_iseq_hostile, test_iseq_torn,
	   test_counters_of_pools, test_noise, test_no_ruby)
