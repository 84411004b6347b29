#include "util/sink.h"

#include "suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each test runs in a directory of its own, removed at the end with all that is in it. */
static void room_enter(char *room, size_t size)
{
	snprintf(room, size, "/tmp/memprof-sink-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(room));
	ck_assert_int_eq(chdir(room), 0);
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
}

static size_t entries(void)
{
	DIR *d = opendir(".");
	size_t n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

static void room_leave(const char *room)
{
	DIR *d = opendir(".");
	const struct dirent *f;

	while ((f = readdir(d)) != NULL) {
		unlink(f->d_name);
		rmdir(f->d_name);
	}
	closedir(d);
	ck_assert_int_eq(rmdir(room), 0);
}

static void check_content(const char *path, const char *want)
{
	char buf[64] = "";
	FILE *f = fopen(path, "r");

	ck_assert_ptr_nonnull(f);
	buf[fread(buf, 1, sizeof(buf) - 1, f)] = '\0';
	fclose(f);
	ck_assert_str_eq(buf, want);
}

START_TEST(file_appears_when_whole)
{
	char room[64], path[128];
	struct sink *s;
	struct stat st;
	struct err e;

	room_enter(room, sizeof(room));
	snprintf(path, sizeof(path), "%s/out", room);
	ck_assert_int_eq(sink_file(path, &s, &e), 0);
	sink_puts(s, "one ");
	sink_printf(s, "%d", 2);
	sink_write(s, " three", 6);
	ck_assert_int_eq(access("out", F_OK), -1);
	ck_assert_int_eq(sink_commit(s, &e), 0);
	sink_destroy(s);
	check_content("out", "one 2 three");
	ck_assert_uint_eq(entries(), 1);
	ck_assert_int_eq(stat("out", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	room_leave(room);
}
END_TEST

START_TEST(replaces_a_file_in_the_current_directory)
{
	char room[64];
	struct sink *s;
	struct err e;

	room_enter(room, sizeof(room));
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(sink_file("out", &s, &e), 0);
		sink_printf(s, "round %d", i);
		ck_assert_int_eq(sink_commit(s, &e), 0);
		sink_destroy(s);
	}
	check_content("out", "round 1");
	room_leave(room);
}
END_TEST

START_TEST(nothing_left_without_commit)
{
	char room[64];
	struct sink *s;
	struct err e;

	room_enter(room, sizeof(room));
	ck_assert_int_eq(sink_file("out", &s, &e), 0);
	sink_puts(s, "half");
	ck_assert_uint_eq(entries(), 1);
	sink_destroy(s);
	ck_assert_uint_eq(entries(), 0);
	room_leave(room);
}
END_TEST

static void check_refused(const char *path, enum err_code code)
{
	struct sink *s = NULL;
	struct err e;

	ck_assert_int_eq(sink_file(path, &s, &e), -1);
	ck_assert_int_eq(e.code, code);
	ck_assert_ptr_nonnull(strstr(e.msg, path));
	ck_assert_ptr_null(s);
}

START_TEST(refuses_what_is_no_file)
{
	char room[64];

	room_enter(room, sizeof(room));
	ck_assert_int_eq(symlink("victim", "link"), 0);
	ck_assert_int_eq(mkdir("dir", 0700), 0);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	check_refused("link", ERR_USAGE);
	check_refused("dir", ERR_USAGE);
	check_refused("dir/", ERR_USAGE);
	check_refused("dir/..", ERR_USAGE);
	check_refused("fifo", ERR_USAGE);
	check_refused("", ERR_USAGE);
	check_refused("/dev/null", ERR_USAGE);
	check_refused("missing/", ERR_SYS);
	ck_assert_uint_eq(entries(), 3);
	ck_assert_int_eq(access("victim", F_OK), -1);
	room_leave(room);
}
END_TEST

/* A link that somebody slips in while we write is replaced, not followed. */
START_TEST(never_follows_a_late_link)
{
	char room[64];
	struct sink *s;
	struct stat st;
	struct err e;

	room_enter(room, sizeof(room));
	ck_assert_int_eq(sink_file("out", &s, &e), 0);
	sink_puts(s, "ours");
	ck_assert_int_eq(symlink("victim", "out"), 0);
	ck_assert_int_eq(sink_commit(s, &e), 0);
	sink_destroy(s);
	ck_assert_int_eq(access("victim", F_OK), -1);
	ck_assert_int_eq(lstat("out", &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	room_leave(room);
}
END_TEST

START_TEST(commit_reports_a_late_directory)
{
	char room[64];
	struct sink *s;
	struct err e;

	room_enter(room, sizeof(room));
	ck_assert_int_eq(sink_file("out", &s, &e), 0);
	ck_assert_int_eq(mkdir("out", 0700), 0);
	ck_assert_int_eq(sink_commit(s, &e), -1);
	ck_assert_int_eq(e.sys, EISDIR);
	sink_destroy(s);
	ck_assert_uint_eq(entries(), 1);
	room_leave(room);
}
END_TEST

static void owner_of_new_file(struct stat *st)
{
	struct sink *s;
	struct err e;

	ck_assert_int_eq(sink_file("out", &s, &e), 0);
	ck_assert_int_eq(sink_commit(s, &e), 0);
	sink_destroy(s);
	ck_assert_int_eq(stat("out", st), 0);
}

START_TEST(belongs_to_who_called_sudo)
{
	static const char *const bad[] = {"",           "-1", "12x",
					  "4294967295", " 5", "99999999999999999999"};
	char room[64];
	struct stat st;

	if (geteuid() != 0) {
		printf("sink: belongs_to_who_called_sudo needs root: not run\n");
		return;
	}
	room_enter(room, sizeof(room));
	setenv("SUDO_UID", "1234", 1);
	owner_of_new_file(&st);
	ck_assert_uint_eq(st.st_uid, 0); /* one of the two is not enough */
	setenv("SUDO_GID", "2345", 1);
	owner_of_new_file(&st);
	ck_assert_uint_eq(st.st_uid, 1234);
	ck_assert_uint_eq(st.st_gid, 2345);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("SUDO_UID", bad[i], 1);
		owner_of_new_file(&st);
		ck_assert_uint_eq(st.st_uid, 0);
		ck_assert_uint_eq(st.st_gid, 0);
	}
	room_leave(room);
}
END_TEST

START_TEST(full_device)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	static char big[200000];
	struct sink *s;
	struct err e;

	ck_assert_int_eq(sink_fd(fd, "standard output", &s, &e), 0);
	sink_puts(s, "x");
	ck_assert_int_eq(sink_commit(s, &e), -1);
	ck_assert_int_eq(e.sys, ENOSPC);
	ck_assert_ptr_nonnull(strstr(e.msg, "standard output"));
	sink_write(s, big, sizeof(big)); /* must not spin or crash after the failure */
	sink_printf(s, "%s", "more");
	ck_assert_int_eq(sink_commit(s, &e), -1);
	ck_assert_int_eq(e.sys, ENOSPC);
	sink_destroy(s);
	ck_assert_int_ne(fcntl(fd, F_GETFD), -1); /* borrowed: still open */
	close(fd);
}
END_TEST

START_TEST(closed_pipe)
{
	int p[2];
	struct sink *s;
	struct err e;

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe(p), 0);
	close(p[0]);
	ck_assert_int_eq(sink_fd(p[1], "pipe", &s, &e), 0);
	sink_puts(s, "x");
	ck_assert_int_eq(sink_commit(s, &e), -1);
	ck_assert_int_eq(e.sys, EPIPE);
	sink_destroy(s);
	close(p[1]);
}
END_TEST

/* More than the buffer through a pipe that takes little and never blocks; bytes keep their order.
 */
START_TEST(slow_non_blocking_pipe)
{
	enum { N = 300000 };
	unsigned char buf[4096];
	size_t seen = 0;
	struct sink *s;
	struct err e;
	ssize_t n;
	int p[2];

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_eq(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
	pid_t child = fork();
	if (child == 0) {
		close(p[0]);
		if (sink_fd(p[1], "pipe", &s, &e) == -1)
			_exit(1);
		for (int i = 0; i < N; i++)
			sink_write(s, &(char){(char)(i % 251)}, 1);
		_exit(sink_commit(s, &e) == 0 ? 0 : 1);
	}
	close(p[1]);
	while ((n = read(p[0], buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, seen++)
			ck_assert_uint_eq(buf[i], seen % 251);
	ck_assert_uint_eq(seen, N);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	close(p[0]);
}
END_TEST

START_TEST(destroy_null)
{
	sink_destroy(NULL);
}
END_TEST

SUITE_MAIN("sink", file_appears_when_whole, replaces_a_file_in_the_current_directory,
	   nothing_left_without_commit, refuses_what_is_no_file, never_follows_a_late_link,
	   commit_reports_a_late_directory, belongs_to_who_called_sudo, full_device, closed_pipe,
	   slow_non_blocking_pipe, destroy_null)
