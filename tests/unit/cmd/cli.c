/* What a user and a script see: words, streams, exit codes and signals of the real command line. */
#include "fake_session.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 16, TEXT_MAX = 1 << 16, PATIENCE_MS = 20000 };

/* One run: what it wrote, and how it ended. */
struct outcome {
	int code; /* 128 + N for a signal */
	char out[TEXT_MAX], err[TEXT_MAX];
};

/* "attach 4 -d 1" as argv. line is written to. */
static void split(char *line, char *argv[WORDS_MAX])
{
	size_t n = 0;
	argv[n++] = (char *)"memprof";
	for (char *w; (w = strsep(&line, " ")) && n < WORDS_MAX - 1;)
		if (*w)
			argv[n++] = w;
	argv[n] = NULL;
}

static void exec_fake(const char *args)
{
	char line[512], *argv[WORDS_MAX];
	snprintf(line, sizeof(line), "%s", args);
	split(line, argv);
	execv(MEMPROF_FAKE, argv);
	_exit(126);
}

static int exit_code(pid_t pid)
{
	int st;
	ck_assert_int_eq(waitpid(pid, &st, 0), pid);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static void slurp(int fd, char buf[TEXT_MAX])
{
	ssize_t n = pread(fd, buf, TEXT_MAX - 1, 0);
	buf[n > 0 ? n : 0] = '\0';
	close(fd);
}

/* Run to the end; stdout goes to out_fd, or to ret->out when that is -1. */
static void run_to(struct outcome *ret, const char *args, int out_fd)
{
	int err = memfd_create("err", 0), out = out_fd == -1 ? memfd_create("out", 0) : out_fd;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		exec_fake(args);
	}
	ret->code = exit_code(pid);
	ret->out[0] = '\0';
	if (out_fd == -1)
		slurp(out, ret->out);
	slurp(err, ret->err);
}

static void run(struct outcome *ret, const char *args)
{
	run_to(ret, args, -1);
}

static struct outcome o; /* each test runs in a process of its own */

static const struct {
	const char *args;
	int code;
	const char *err; /* its beginning */
} refusals[] = {
    {"frob", 2, "memprof: frob: there is no such command\n  try: one of attach, check, detach"},
    {"attach 4 5", 2, "memprof: attach: one PID at a time, what is 5?\n"},
    {"attach 0", 2, "memprof: attach: 0 is not a PID"},
    {"attach 000", 2, "memprof: attach: 000 is not a PID"},
    {"attach +4", 2, "memprof: attach: +4 is not a PID"},
    {"attach 0x4", 2, "memprof: attach: 0x4 is not a PID"},
    {"attach 4.0", 2, "memprof: attach: 4.0 is not a PID"},
    {"attach -4", 2, "memprof: attach: -4: unknown or ambiguous option\n"},
    {"attach 99999999999", 2, "memprof: attach: 99999999999 is not a PID"},
    {"attach 99999999999999999999999", 2, "memprof: attach: 9999999999999"},
    {"attach 9", 3, "memprof: 9: not a Ruby\n  try: another one\n"},
    {"attach 4 --frob", 2, "memprof: attach: --frob: unknown or ambiguous option\n  try: memprof "},
    {"attach 4 -qz", 2, "memprof: attach: -z: unknown or ambiguous option\n"},
    {"attach 4 --quiet=1", 2, "memprof: attach: --quiet=1: it takes no value\n"},
    {"attach 4 -d", 2, "memprof: attach: -d: its value is missing\n"},
    {"attach 4 --duration", 2, "memprof: attach: --duration: its value is missing\n"},
    {"attach 4 -d 0", 2, "memprof: --duration 0: "},
    {"attach 4 -d -1", 2, "memprof: --duration -1: "},
    {"attach 4 -d inf", 2, "memprof: --duration inf: "},
    {"attach 4 -d 1e3", 2, "memprof: --duration 1e3: "},
    {"attach 4 -d .", 2, "memprof: --duration .: "},
    {"attach 4 -d 1s", 2, "memprof: --duration 1s: "},
    {"attach 4 -f pdf", 2, "memprof: --format pdf: there is no such choice\n  try: --format text"},
    {"attach 4 --by foo", 2, "memprof: --by foo: there is no such choice\n  try: --by site, "},
    {"attach 4 --sort foo", 2, "memprof: --sort foo: there is no such choice\n  try: --sort live"},
    {"attach 4 -n -1", 2, "memprof: --limit -1: "},
    {"attach 4 -n ten", 2, "memprof: --limit ten: "},
    {"attach 4 -n 99999999999999999999", 2, "memprof: --limit 99999"},
    {"attach 4 --ring 1K", 2, "memprof: --ring 1K: not a size from 64K to 1024M\n"},
    {"attach 4 --ring 2G", 2, "memprof: --ring 2G: "},
    {"attach 4 --ring 32X", 2, "memprof: --ring 32X: "},
    {"attach 4 --ring 1MB", 2, "memprof: --ring 1MB: "},
    {"attach 4 --ring -1", 2, "memprof: --ring -1: "},
    {"attach 4 --ring 99999999999999999999G", 2, "memprof: --ring 9999"},
    {"attach 4 --gc", 2, "memprof: attach: --gc: unknown"},
    {"check 9", 4, "memprof: 9: no permission\n"},
    {"check 4 -d 1", 2, "memprof: check: -d: unknown"},
    {"detach", 2, "memprof: detach: PID is missing\n  try: memprof detach --help\n"},
    {"detach x", 2, "memprof: detach: x is not a PID"},
    {"detach 7", 7, "memprof: 7: a page of ours was left\n"},
};

START_TEST(refusals_have_their_code_and_words)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		run(&o, refusals[i].args);
		ck_assert_msg(o.code == refusals[i].code, "%s: %d", refusals[i].args, o.code);
		ck_assert_msg(strncmp(o.err, refusals[i].err, strlen(refusals[i].err)) == 0,
			      "%s: %s", refusals[i].args, o.err);
		ck_assert_str_eq(o.out, "");
		ck_assert_ptr_null(strstr(o.err, FAKE_START));
	}
}
END_TEST

static void expect_out(const char *args, const char *part)
{
	run(&o, args);
	ck_assert_msg(o.code == 0 && strstr(o.out, part), "%s: %d, %s", args, o.code, o.out);
	ck_assert_str_eq(o.err, "");
}

START_TEST(help_and_version)
{
	run(&o, "");
	ck_assert_int_eq(o.code, 2);
	ck_assert_str_eq(o.out, "");
	ck_assert_ptr_nonnull(strstr(o.err, "usage: memprof COMMAND"));
	run(&o, "--version");
	ck_assert_str_eq(o.out, "memprof " MEMPROF_VERSION "\n");
	expect_out("--help", "  attach ");
	expect_out("attach --help", "  -d, --duration SECS ");
	expect_out("attach -h", "Examples:\n");
	expect_out("check --help", "--no-color");
	expect_out("detach 4 --help", "usage: memprof detach PID\n");
}
END_TEST

START_TEST(without_pid_there_is_a_list)
{
	static const char *const verbs[] = {"attach", "check"};
	for (size_t i = 0; i < 2; i++) {
		run(&o, verbs[i]);
		ck_assert_int_eq(o.code, 2);
		ck_assert_str_eq(o.out, "");
		ck_assert_ptr_nonnull(strstr(o.err, ": PID is missing\n  try: memprof "));
		ck_assert_ptr_nonnull(
		    strstr(o.err, "4242  deploy           puma: cluster worker 0"));
	}
}
END_TEST

START_TEST(options_reach_the_session)
{
	run(&o, "attach -v --ring 33m --internal 4 --by thread --dur 0.01 -fstats");
	ck_assert_int_eq(o.code, 0);
	ck_assert_ptr_nonnull(strstr(o.err, "memprof: ruby 3.1.7\n"));
	ck_assert_ptr_nonnull(strstr(o.err, "memprof: ring 67108864, internal 1, thread 1\n"));
	ck_assert_ptr_nonnull(strstr(o.err, "memprof: live table 1 MB\n"));
	ck_assert_str_eq(o.out, "       1000 (unknown)\n");
	run(&o, "attach -v -d .01 -- 4");
	ck_assert_ptr_nonnull(strstr(o.err, "ring 0, internal 0, thread 0\n"));
	ck_assert_ptr_nonnull(strstr(o.out, "test.rb:11  leak    String\n"));
}
END_TEST

START_TEST(stdout_has_the_report_and_nothing_else)
{
	run(&o, "attach 4 -d 0.01 -f stats");
	ck_assert_str_eq(o.out, "       1000 test.rb:11:String\n");
	ck_assert_str_eq(o.err, FAKE_START FAKE_STOP);
	run(&o, "attach 4 -d 0.01 -f json -o -");
	ck_assert_int_eq(strncmp(o.out, "{\"type\":\"memprof\",", 18), 0);
	ck_assert_str_eq(o.err, FAKE_START FAKE_STOP);
}
END_TEST

START_TEST(inexact_figures_are_announced)
{
	run(&o, "attach 6 -d 0.01 -f stats");
	ck_assert_int_eq(o.code, 0);
	ck_assert_ptr_nonnull(strstr(o.err, "memprof: 6: 1,234 events were dropped"));
	run(&o, "attach 6 -d 0.01 -f stats -q");
	ck_assert_str_eq(o.err, FAKE_START FAKE_STOP);
}
END_TEST

START_TEST(output_file_is_private_and_whole)
{
	char dir[] = "/tmp/memprof-cli-XXXXXX", path[64], args[128], text[TEXT_MAX];
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/leak.json", dir);
	snprintf(args, sizeof(args), "attach 4 -d 0.01 -o %s", path);
	run(&o, args);
	ck_assert_int_eq(o.code, 0);
	ck_assert_str_eq(o.out, "");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	slurp(open(path, O_RDONLY), text);
	ck_assert_int_eq(strncmp(text, "{\"type\":\"memprof\",", 18), 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left in it */
}
END_TEST

START_TEST(unusable_output_costs_no_profile)
{
	run(&o, "attach 4 -d 0.01 -o /nonexistent/leak.json");
	ck_assert_int_eq(o.code, 1);
	ck_assert_ptr_nonnull(strstr(o.err, "memprof: /nonexistent/"));
	ck_assert_ptr_null(strstr(o.err, FAKE_START));
}
END_TEST

static void expect_output_failure(int fd, const char *why)
{
	run_to(&o, "attach 4 -d 0.01", fd);
	ck_assert_int_eq(o.code, 1);
	ck_assert_ptr_nonnull(strstr(o.err, FAKE_STOP "memprof: stdout: "));
	ck_assert_ptr_nonnull(strstr(o.err, why));
	ck_assert_ptr_nonnull(strstr(o.err, "(4 was restored)\n"));
}

START_TEST(failing_output_is_reported)
{
	int p[2];
	expect_output_failure(open("/dev/full", O_WRONLY), "No space left on device");
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	expect_output_failure(p[1], "Broken pipe");
}
END_TEST

/* With descriptor 1 closed, the first file that is opened must not become stdout. */
START_TEST(closed_stdout_is_nobodys_place)
{
	int err = memfd_create("err", 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(err, STDERR_FILENO);
		close(STDOUT_FILENO);
		exec_fake("attach 4 -d 0.01");
	}
	ck_assert_int_eq(exit_code(pid), 1);
	slurp(err, o.err);
	ck_assert_ptr_nonnull(strstr(o.err, "memprof: stdout: Bad file descriptor"));
}
END_TEST

START_TEST(ends_and_their_codes)
{
	run(&o, "attach 5");
	ck_assert_int_eq(o.code, 0);
	ck_assert_ptr_nonnull(strstr(o.out, "test.rb:11"));
	run(&o, "attach 7 -d 0.01");
	ck_assert_int_eq(o.code, 7);
	ck_assert_ptr_nonnull(strstr(o.out, "test.rb:11"));
	ck_assert_ptr_nonnull(strstr(o.err, "memprof: 7: a page of ours was left\n"));
	run(&o, "attach 10 -d 0.01");
	ck_assert_int_eq(o.code, 1);
	ck_assert_ptr_nonnull(
	    strstr(o.err, FAKE_STOP "memprof: ring: it is torn (10 was restored)"));
}
END_TEST

/* Read fd until what was read holds part; text keeps all of it. */
static void await(int fd, char text[TEXT_MAX], const char *part)
{
	size_t used = strlen(text);
	while (!strstr(text, part)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ck_assert_msg(poll(&p, 1, PATIENCE_MS) == 1, "no \"%s\" in: %s", part, text);
		ssize_t n = read(fd, text + used, TEXT_MAX - 1 - used);
		ck_assert_msg(n > 0, "the end, and no \"%s\" in: %s", part, text);
		used += (size_t)n;
		text[used] = '\0';
	}
}

static void drain(int fd, char text[TEXT_MAX])
{
	size_t used = strlen(text);
	ssize_t n;
	/* a terminal whose last user has gone answers EIO */
	while ((n = read(fd, text + used, TEXT_MAX - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
}

START_TEST(signals_end_the_profile)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1};
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int out = memfd_create("out", 0), p[2];
		ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
		pid_t pid = fork();
		if (pid == 0) {
			signal(SIGINT, SIG_IGN); /* as `memprof &` in a script has it */
			dup2(out, STDOUT_FILENO);
			dup2(p[1], STDERR_FILENO);
			exec_fake("attach 4 -f stats");
		}
		close(p[1]);
		o.err[0] = '\0';
		await(p[0], o.err, FAKE_START);
		kill(pid, signals[i]);
		ck_assert_int_eq(exit_code(pid), 0);
		slurp(out, o.out);
		ck_assert_str_eq(o.out, "       1000 test.rb:11:String\n");
		close(p[0]);
	}
}
END_TEST

static pid_t run_on_terminal(int *fd, const char *args, unsigned short columns)
{
	struct winsize ws = {.ws_row = 24, .ws_col = columns};
	pid_t pid = forkpty(fd, NULL, NULL, &ws);
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		setenv("TERM", "xterm", 1);
		unsetenv("COLUMNS");
		unsetenv("NO_COLOR");
		exec_fake(args);
	}
	o.out[0] = '\0';
	return pid;
}

static void type(int fd, char key)
{
	ck_assert_int_eq(write(fd, &key, 1), 1);
}

START_TEST(a_session_on_a_terminal)
{
	int fd;
	pid_t pid = run_on_terminal(&fd, "attach 8", 100);

	await(fd, o.out,
	      "\rattached to 8 (ruby 3.1.7): 0.2s  1.2M allocs/s  live +40,123  0 dropped   ^C ends"
	      "\033[K");
	type(fd, 'Z' & 0x1f);
	await(fd, o.out, "memprof: can't be suspended while attached to 8; ^C ends the profile");
	type(fd, 'C' & 0x1f);
	await(fd, o.out, "\rrestoring 8, please wait\033[K");
	ck_assert_ptr_null(strstr(o.out, "test.rb"));
	type(fd, 'C' & 0x1f);
	await(fd, o.out, "\r\033[Kmemprof: restoring 8, please wait: done\r\ntarget ");
	drain(fd, o.out);
	ck_assert_ptr_nonnull(strstr(o.out, "\033[36mString\033[0m"));
	ck_assert_int_eq(exit_code(pid), 0);
	close(fd);
}
END_TEST

START_TEST(a_narrow_plain_terminal)
{
	int fd;
	pid_t pid = run_on_terminal(&fd, "attach 4 -d 0.3 -q --no-color", 80);
	drain(fd, o.out);
	ck_assert_int_eq(exit_code(pid), 0);
	ck_assert_ptr_null(strchr(o.out, '\033'));
	ck_assert_ptr_nonnull(strstr(o.out, "test.rb:11"));
	close(fd);
}
END_TEST

START_TEST(check_prints_what_it_found)
{
	run(&o, "check 4");
	ck_assert_int_eq(o.code, 0);
	ck_assert_str_eq(o.err, "");
	ck_assert_str_eq(o.out,
			 "target     4, 2 threads\n"
			 "ruby       ruby 3.1.7p261\n"
			 "moves      compaction can't be followed\n"
			 "\n"
			 "event  address             in image    bytes  displaced instruction\n"
			 "alloc  0x00007f0000001000  0x1000          7  mov rax, rbx\n"
			 "       the object is in rbx\n"
			 "\n"
			 "note       YJIT is \\x1b[7moff\n"
			 "\n"
			 "4 can be profiled\n");
}
END_TEST

START_TEST(detach_says_what_it_did)
{
	run(&o, "detach 4");
	ck_assert_int_eq(o.code, 0);
	ck_assert_str_eq(o.out, "memprof: 4: restored 11 sites, removed 1 mapping (all threads "
				"stopped 0.13 ms)\n");
	run(&o, "detach 11");
	ck_assert_int_eq(o.code, 0);
	ck_assert_str_eq(o.out, "memprof: 11: holds nothing of ours, nothing to do\n");
}
END_TEST

SUITE_MAIN("command line", refusals_have_their_code_and_words, help_and_version,
	   without_pid_there_is_a_list, options_reach_the_session,
	   stdout_has_the_report_and_nothing_else, inexact_figures_are_announced,
	   output_file_is_private_and_whole, unusable_output_costs_no_profile,
	   failing_output_is_reported, closed_stdout_is_nobodys_place, ends_and_their_codes,
	   signals_end_the_profile, a_session_on_a_terminal, a_narrow_plain_terminal,
	   check_prints_what_it_found, detach_says_what_it_did)
