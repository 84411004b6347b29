#include "proc/procfs.h"

#include "suite.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- stat ------------------------------------------------------------------------------------ */

#define AFTER                                                                                      \
	" S 1 77 77 34816 99 4194304 10 11 12 13 14 15 16 17 20 0 3 0 987654321 1000 2000 "        \
	"184467\n"

START_TEST(stat_fields)
{
	struct procfs_stat st;
	struct err e;

	ck_assert_int_eq(procfs_stat_parse("1234 (ruby)" AFTER, &st, &e), 0);
	ck_assert_int_eq(st.tid, 1234);
	ck_assert_str_eq(st.comm, "ruby");
	ck_assert_int_eq(st.state, 'S');
	ck_assert_int_eq(st.ppid, 1);
	ck_assert_uint_eq(st.flags, 4194304);
	ck_assert_uint_eq(st.starttime, 987654321);
	ck_assert(!procfs_is_kthread(&st) && !procfs_is_zombie(&st));
}
END_TEST

START_TEST(evil_names)
{
	static const char *const names[] = {
	    "",
	    ")",
	    "(",
	    ") R 1 2 3 (",
	    "a) Z 9 9 9 9 9 0 0",
	    "two words",
	    "new\nline",
	    "\xff\x1b[2J",
	    "kworker/u64:1-events_unbound_and_longer_than_any_user_task",
	};
	struct procfs_stat st;
	struct err e;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[300];
		snprintf(text, sizeof(text), "7 (%s)" AFTER, names[i]);
		ck_assert_int_eq(procfs_stat_parse(text, &st, &e), 0);
		ck_assert_str_eq(st.comm, names[i]);
		ck_assert_int_eq(st.state, 'S');
		ck_assert_uint_eq(st.starttime, 987654321);
	}
}
END_TEST

START_TEST(long_name_is_cut)
{
	struct procfs_stat st;
	struct err e;
	char name[200], text[400];

	memset(name, 'n', sizeof(name));
	name[199] = '\0';
	snprintf(text, sizeof(text), "7 (%s)" AFTER, name);
	ck_assert_int_eq(procfs_stat_parse(text, &st, &e), 0);
	ck_assert_uint_eq(strlen(st.comm), sizeof(st.comm) - 1);
}
END_TEST

/* Every truncation before the end of field 22 is refused. */
START_TEST(stat_truncated)
{
	static const char text[] = "1234 (ruby)" AFTER;
	size_t whole = (size_t)(strstr(text, " 987654321") - text) + 2;
	struct procfs_stat st;
	struct err e;

	for (size_t len = 0; len < whole; len++) {
		char cut[sizeof(text)];
		snprintf(cut, sizeof(cut), "%.*s", (int)len, text);
		ck_assert_msg(procfs_stat_parse(cut, &st, &e) == -1, "accepted: %s", cut);
		ck_assert_int_eq(e.code, ERR_BADDATA);
	}
	ck_assert_int_eq(procfs_stat_parse("x (ruby)" AFTER, &st, &e), -1);
	ck_assert_int_eq(procfs_stat_parse("1 )ruby(" AFTER, &st, &e), -1);
}
END_TEST

START_TEST(kernel_threads_and_zombies)
{
	struct procfs_stat st;
	struct err e;

	ck_assert_int_eq(
	    procfs_stat_parse("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 "
			      "0 6 0 0 0\n",
			      &st, &e),
	    0);
	ck_assert(procfs_is_kthread(&st));
	ck_assert_uint_eq(st.starttime, 6);
	st.state = 'Z';
	ck_assert(procfs_is_zombie(&st));
	st.state = 'X';
	ck_assert(procfs_is_zombie(&st));
	st.state = 'T';
	ck_assert(!procfs_is_zombie(&st));
}
END_TEST

/* -- status ---------------------------------------------------------------------------------- */

#define STATUS_HEAD                                                                                \
	"Name:\truby\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t40\nNgid:\t0\nPid:\t41\n"         \
	"PPid:\t7\nTracerPid:\t9\nUid:\t1000\t1001\t1002\t4294967294\nGid:\t5\t5\t5\t5\n"
#define STATUS_TAIL "Threads:\t12\nSigQ:\t0/9\nSeccomp:\t2\nSeccomp_filters:\t1\n"

START_TEST(status_fields)
{
	struct procfs_status st;
	struct err e;

	ck_assert_int_eq(procfs_status_parse(STATUS_HEAD "NStgid:\t40\t1\nNSpid:\t41\t8\t2\n"
							 "NSpgid:\t3\t4\n" STATUS_TAIL
							 "x86_Thread_features:\twrss shstk \n"
							 "x86_Thread_features_locked:\t\n",
					     &st, &e),
			 0);
	ck_assert(st.uid[0] == 1000 && st.uid[1] == 1001 && st.uid[2] == 1002);
	ck_assert_uint_eq(st.uid[3], 4294967294u);
	ck_assert(st.tgid == 40 && st.ppid == 7 && st.tracer == 9);
	ck_assert(st.threads == 12 && st.seccomp == 2 && st.shstk);
	ck_assert_uint_eq(st.n_nspid, 3);
	ck_assert(st.nspid[0] == 41 && st.nspid[1] == 8 && st.nspid[2] == 2);
}
END_TEST

START_TEST(status_without_the_optional_lines)
{
	struct procfs_status st;
	struct err e;

	ck_assert_int_eq(procfs_status_parse(STATUS_HEAD "Threads:\t1\n", &st, &e), 0);
	ck_assert(st.seccomp == 0 && !st.shstk && st.n_nspid == 0);
	ck_assert_int_eq(
	    procfs_status_parse(STATUS_HEAD STATUS_TAIL
				"x86_Thread_features:\t\n"
				"x86_Thread_features_locked:\tshstk wrss\nOther:\tshstk\n",
				&st, &e),
	    0);
	ck_assert(!st.shstk); /* neither locked nor in another line is on */
	ck_assert_int_eq(procfs_status_parse(STATUS_HEAD STATUS_TAIL
					     "x86_Thread_features:\tnoshstk shstkx\n",
					     &st, &e),
			 0);
	ck_assert(!st.shstk);
}
END_TEST

START_TEST(status_missing_or_broken)
{
	static const char *const bad[] = {
	    "",
	    "Tgid:\t1\nPPid:\t1\nTracerPid:\t0\nThreads:\t1\n",
	    "Tgid:\t1\nPPid:\t1\nTracerPid:\t0\nUid:\t1\t2\t3\nThreads:\t\n",
	    "Uid:\t1 2 3 4\nPPid:\t1\nTracerPid:\t0\nThreads:\t1\n",
	    "Uid:\t1 2 3 4\nTgid:\t1\nTracerPid:\t0\nThreads:\t1\n",
	    "Uid:\t1 2 3 4\nTgid:\t1\nPPid:\t1\nThreads:\t1\n",
	    "Uid:\t1 2 3 4\nTgid:\t1\nPPid:\t1\nTracerPid:\t0\n",
	    "Uid:\t1 2 3 4\nTgid:\tx\nPPid:\t1\nTracerPid:\t0\nThreads:\t1\n",
	};
	struct procfs_status st;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(procfs_status_parse(bad[i], &st, &e) == -1, "accepted: %s", bad[i]);
		ck_assert_int_eq(e.code, ERR_BADDATA);
	}
}
END_TEST

START_TEST(status_name_fakes_nothing)
{
	struct procfs_status st;
	struct err e;

	/* The kernel writes a newline of the name as \n: it stays inside its line. */
	ck_assert_int_eq(
	    procfs_status_parse("Name:\tx\\nTgid:\t999\nTgid:\t40\nPPid:\t7\nTracerPid:\t0\n"
				"Uid:\t1\t1\t1\t1\nThreads:\t1\n",
				&st, &e),
	    0);
	ck_assert_int_eq(st.tgid, 40);
}
END_TEST

START_TEST(status_deep_namespaces)
{
	struct procfs_status st;
	struct err e;
	char text[2000] = STATUS_HEAD STATUS_TAIL "NSpid:";

	for (int i = 0; i < 60; i++)
		strcat(text, "\t5");
	strcat(text, "\n9\n");
	ck_assert_int_eq(procfs_status_parse(text, &st, &e), 0);
	ck_assert_uint_eq(st.n_nspid, PROCFS_NS_MAX);
}
END_TEST

/* -- live processes -------------------------------------------------------------------------- */

/* A child that says it is ready and then sleeps until it is killed. */
static pid_t child_start(const char *comm)
{
	int p[2];
	char c;

	ck_assert_int_eq(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, comm);
		if (write(p[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	ck_assert_int_eq((int)read(p[0], &c, 1), 1);
	close(p[0]);
	close(p[1]);
	return pid;
}

static void child_end(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(a_live_child)
{
	struct procfs_stat st;
	struct procfs_status status;
	struct err e;
	char own[512], exe[512], cmd[512], tiny[4];
	pid_t pid = child_start("a) R (\n");

	ck_assert(procfs_exists(pid));
	ck_assert_int_eq(procfs_stat(pid, pid, &st, &e), 0);
	ck_assert_int_eq(st.tid, pid);
	ck_assert_int_eq(st.ppid, getpid());
	ck_assert_str_eq(st.comm, "a) R (\n");
	ck_assert_uint_gt(st.starttime, 0);
	ck_assert(!procfs_is_kthread(&st) && !procfs_is_zombie(&st));
	ck_assert_int_eq(procfs_status(pid, pid, &status, &e), 0);
	ck_assert(status.tgid == pid && status.ppid == getpid() && status.threads == 1);
	ck_assert_uint_eq(status.uid[1], geteuid());
	ck_assert_int_eq(status.nspid[0], pid);
	ck_assert_int_eq(procfs_exe(pid, exe, sizeof(exe), &e), 0);
	ck_assert_int_eq(procfs_exe(getpid(), own, sizeof(own), &e), 0);
	ck_assert_str_eq(exe, own);
	ck_assert_int_eq(exe[0], '/');
	ck_assert_int_eq(procfs_exe(pid, tiny, sizeof(tiny), &e), -1);
	ck_assert_int_eq(e.code, ERR_RANGE);
	ck_assert_int_eq(procfs_cmdline(pid, cmd, sizeof(cmd), &e), 0);
	ck_assert_ptr_nonnull(strstr(cmd, "test_procfs"));
	child_end(pid);
}
END_TEST

START_TEST(tracer_is_seen)
{
	struct procfs_status status;
	struct err e;
	pid_t pid = child_start("traced");

	ck_assert_int_eq((int)ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	ck_assert_int_eq(procfs_status(pid, pid, &status, &e), 0);
	ck_assert_int_eq(status.tracer, (pid_t)syscall(SYS_gettid));
	child_end(pid);
}
END_TEST

static void check_all_gone(pid_t pid)
{
	struct procfs_stat st;
	struct procfs_status status;
	struct procfs_tasks tasks = {0};
	struct err e;
	char buf[64];

	ck_assert(!procfs_exists(pid));
	ck_assert_int_eq(procfs_stat(pid, pid, &st, &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	ck_assert_int_eq(procfs_status(pid, pid, &status, &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	ck_assert_int_eq(procfs_exe(pid, buf, sizeof(buf), &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	ck_assert_int_eq(procfs_cmdline(pid, buf, sizeof(buf), &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	ck_assert_int_eq(procfs_tasks(pid, &tasks, &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	procfs_tasks_deinit(&tasks);
}

START_TEST(zombie_then_gone)
{
	struct procfs_stat st;
	struct err e;
	siginfo_t si;
	char buf[64];
	pid_t pid = child_start("dying");

	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	ck_assert(procfs_exists(pid));
	ck_assert_int_eq(procfs_stat(pid, pid, &st, &e), 0);
	ck_assert(procfs_is_zombie(&st));
	ck_assert_int_eq(procfs_exe(pid, buf, sizeof(buf), &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
	ck_assert_int_eq(procfs_cmdline(pid, buf, sizeof(buf), &e), 0);
	ck_assert_str_eq(buf, "");
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	check_all_gone(pid);
}
END_TEST

/* Arguments of any bytes come out printable, joined by spaces. */
START_TEST(evil_command_line)
{
	char buf[256];
	struct err e;
	int p[2], q[2];
	char c;

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(pipe(q), 0); /* a standard input that never ends */
	pid_t pid = fork();
	if (pid == 0) {
		dup2(q[0], 0);
		dup2(p[1], 1);
		execl("/bin/sh", "sh", "-c", "echo; read x", "\033[2J", "b\nc", (char *)NULL);
		_exit(1);
	}
	ck_assert_int_eq((int)read(p[0], &c, 1), 1);
	ck_assert_int_eq(procfs_cmdline(pid, buf, sizeof(buf), &e), 0);
	ck_assert_str_eq(buf, "sh -c echo; read x \\x1b[2J b\\x0ac");
	ck_assert_int_eq(procfs_cmdline(pid, buf, 6, &e), 0);
	ck_assert_str_eq(buf, "sh -c");
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

enum { THREADS = 100 };

struct parking {
	pthread_barrier_t here, leave;
};

static void *park(void *arg)
{
	struct parking *p = arg;

	pthread_barrier_wait(&p->here);
	pthread_barrier_wait(&p->leave);
	return NULL;
}

START_TEST(threads)
{
	struct procfs_tasks tasks = {0};
	struct procfs_status status;
	struct parking parking;
	pthread_t t[THREADS];
	struct err e;
	const pid_t *room;
	size_t self = 0;

	ck_assert_int_eq(procfs_tasks(getpid(), &tasks, &e), 0);
	size_t before = tasks.n;
	pthread_barrier_init(&parking.here, NULL, THREADS + 1);
	pthread_barrier_init(&parking.leave, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, park, &parking), 0);
	pthread_barrier_wait(&parking.here);
	ck_assert_int_eq(procfs_tasks(getpid(), &tasks, &e), 0);
	ck_assert_uint_eq(tasks.n, before + THREADS);
	room = tasks.v;
	ck_assert_int_eq(procfs_tasks(getpid(), &tasks, &e), 0);
	ck_assert_ptr_eq(tasks.v, room); /* used again */
	for (size_t i = 0; i < tasks.n; i++)
		self += tasks.v[i] == getpid();
	ck_assert_uint_eq(self, 1);
	ck_assert_int_eq(procfs_status(getpid(), tasks.v[tasks.n - 1], &status, &e), 0);
	ck_assert_uint_eq(status.threads, before + THREADS);
	ck_assert_int_eq(status.tgid, getpid());
	pthread_barrier_wait(&parking.leave);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	procfs_tasks_deinit(&tasks);
	ck_assert_ptr_null(tasks.v);
}
END_TEST

/* Another process's thread is not found under this one. */
START_TEST(thread_of_another_process)
{
	struct procfs_stat st;
	struct err e;

	ck_assert_int_eq(procfs_stat(getpid(), getppid(), &st, &e), -1);
	ck_assert_int_eq(e.code, ERR_GONE);
}
END_TEST

SUITE_MAIN("procfs", stat_fields, evil_names, long_name_is_cut, stat_truncated,
	   kernel_threads_and_zombies, status_fields, status_without_the_optional_lines,
	   status_missing_or_broken, status_name_fakes_nothing, status_deep_namespaces,
	   a_live_child, tracer_is_seen, zombie_then_gone, evil_command_line, threads,
	   thread_of_another_process)
