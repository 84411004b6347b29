/* Words of text: all or none, and back again. */
#include "suite.h"
#include "victim.h"

#include "patch/patchset.h"

enum { WORDS = 6 };

static const uint8_t text[WORDS * 16] __attribute__((aligned(4096), section(".text#"))) =
    "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDE";

static void body(struct victim *v)
{
	victim_say(v, 'r');
	victim_hear(v);
}

struct scene {
	struct victim v;
	struct tracee t;
	struct patch words[WORDS];
	struct patchset ps;
};

static void set_up(struct scene *s)
{
	struct err e = {0};

	victim_start(&s->v, body, 4096);
	tracee_init(&s->t, s->v.pid, arch_native());
	OK(tracee_stop_all(&s->t, 1000, &e));
	for (int i = 0; i < WORDS; i++) {
		struct patch *p = &s->words[i];
		*p = (struct patch){.addr = (raddr_t)(uintptr_t)(text + 16 * i + i)};
		memcpy(p->old, text + 16 * i + i, 8);
		memset(p->new, 'a' + i, 8);
	}
	s->ps = (struct patchset){s->words, WORDS};
}

static void tear_down(struct scene *s)
{
	tracee_deinit(&s->t);
	victim_end(&s->v);
}

static void see(const struct scene *s, uint8_t got[sizeof(text)])
{
	ck_assert_int_eq(pread(s->v.mem_fd, got, sizeof(text), (off_t)(uintptr_t)text), sizeof(text));
}

static void write_word(const struct scene *s, int i, const char *bytes)
{
	ck_assert_int_eq(pwrite(s->v.mem_fd, bytes, 8, (off_t)s->words[i].addr), 8);
}

START_TEST(there_and_back)
{
	struct scene s;
	struct err e = {0};
	uint8_t got[sizeof(text)];
	size_t undone;

	set_up(&s);
	OK(patchset_apply(&s.ps, &s.t, &e));
	see(&s, got);
	for (int i = 0; i < WORDS; i++)
		ck_assert_mem_eq(got + 17 * i, s.words[i].new, 8);
	OK(patchset_revert(&s.ps, &s.t, &undone, &e));
	ck_assert_uint_eq(undone, WORDS);
	see(&s, got);
	ck_assert_mem_eq(got, text, sizeof(text));
	OK(patchset_revert(&s.ps, &s.t, &undone, &e));
	ck_assert_uint_eq(undone, 0);
	tear_down(&s);
}
END_TEST

/* One word is not what the plan says: those before it are put back, it and those behind it were
 * never touched, so the target is as it was, and the error says no more than that. */
START_TEST(apply_is_all_or_none)
{
	struct scene s;
	struct err e = {0};
	uint8_t before[sizeof(text)], got[sizeof(text)];

	set_up(&s);
	write_word(&s, _i, "foreign!");
	see(&s, before);
	ck_assert_int_eq(patchset_apply(&s.ps, &s.t, &e), -1);
	see(&s, got);
	ck_assert_mem_eq(got, before, sizeof(text));
	ck_assert_msg(e.code == ERR_CHANGED, "%d %s", (int)e.code, e.msg);
	tear_down(&s);
}
END_TEST

/* A word that can't be written at all. */
START_TEST(apply_to_nowhere)
{
	struct scene s;
	struct err e = {0};
	uint8_t got[sizeof(text)];

	set_up(&s);
	s.words[3].addr = 0x10000;
	ck_assert_int_eq(patchset_apply(&s.ps, &s.t, &e), -1);
	see(&s, got);
	ck_assert_mem_eq(got, text, sizeof(text));
	ck_assert_msg(e.code == ERR_FAULT, "%d %s", (int)e.code, e.msg);
	tear_down(&s);
}
END_TEST

START_TEST(revert_leaves_foreign_words)
{
	struct scene s;
	struct err e = {0};
	uint8_t got[sizeof(text)];
	size_t undone;

	set_up(&s);
	OK(patchset_apply(&s.ps, &s.t, &e));
	write_word(&s, 2, "foreign!");
	ck_assert_int_eq(patchset_revert(&s.ps, &s.t, &undone, &e), -1);
	ck_assert_int_eq(e.code, ERR_DIRTY);
	ck_assert_uint_eq(undone, WORDS - 1);
	see(&s, got);
	ck_assert_mem_eq(got + 34, "foreign!", 8);
	memcpy(got + 34, text + 34, 8);
	ck_assert_mem_eq(got, text, sizeof(text));
	tear_down(&s);
}
END_TEST

START_TEST(target_gone)
{
	struct scene s;
	struct err e = {0};

	set_up(&s);
	kill(s.v.pid, SIGKILL);
	ck_assert(EVENTUALLY(thread_state_of(s.v.pid, s.v.pid) == 'Z'));
	ck_assert_int_eq(patchset_apply(&s.ps, &s.t, &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	tear_down(&s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("patchset");
	TCase *tc = tcase_create("patchset");

	tcase_add_test(tc, there_and_back);
	tcase_add_loop_test(tc, apply_is_all_or_none, 0, WORDS);
	tcase_add_test(tc, apply_to_nowhere);
	tcase_add_test(tc, revert_leaves_foreign_words);
	tcase_add_test(tc, target_gone);
	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
