/*
 * A Ruby of our own to read from outside. MEMPROF_TEST_RUBY is its command (a shell word list, e.g.
 * with env(1) in front); the script's output comes back line by line, and it waits in gets until
 * live_go(). It ends when the test does: its input closes, and the kernel kills it with us.
 */
#ifndef MEMPROF_TESTS_RUBY_LIVE_H
#define MEMPROF_TESTS_RUBY_LIVE_H

#include "arch.h"
#include "elf/image.h"
#include "mem/mem_fd.h"
#include "ruby/ruby.h"
#include "suite.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

struct live {
	pid_t pid;
	FILE *to, *from;
	int memfd;
	struct mem mem;
	struct image *img;
	uint64_t bias;
	struct ruby_version version;
	struct ruby_code code;
	struct ruby rb;
	struct err e;
};

/* Check that a call worked, and say what its error was. */
#define ck_ok(live, call) ck_assert_msg((call) != -1, "%s: %s", #call, (live)->e.msg)

static inline const char *live_command(void)
{
	const char *cmd = getenv("MEMPROF_TEST_RUBY");
	return cmd && *cmd ? cmd : "/usr/bin/ruby";
}

/* Exit code 77 from main when there is no Ruby to test with. */
static inline void live_require(void)
{
	char cmd[4096];
	snprintf(cmd, sizeof(cmd), "%s -e 'exit 0' >/dev/null 2>&1", live_command());
	if (system(cmd) == 0)
		return;
	printf("skipped: no Ruby (%s does not run; set MEMPROF_TEST_RUBY)\n", live_command());
	exit(77);
}

/* Called first in main of a suite that needs a Ruby. */
#define LIVE_MAIN(name, ...)                                                                       \
	__attribute__((constructor)) static void live_required(void)                               \
	{                                                                                          \
		live_require();                                                                    \
	}                                                                                          \
	SUITE_MAIN(name, __VA_ARGS__)

static inline void live_exec(const char *script, int in, int out)
{
	char cmd[4096];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(in, 0);
	dup2(out, 1);
	snprintf(cmd, sizeof(cmd), "exec %s -e \"$0\"", live_command());
	execl("/bin/sh", "sh", "-c", cmd, script, (char *)NULL);
	_exit(127);
}

static inline void live_spawn(struct live *l, const char *script)
{
	int to[2], from[2];
	*l = (struct live){0};
	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	l->pid = fork();
	ck_assert_int_ge(l->pid, 0);
	if (l->pid == 0)
		live_exec(script, to[0], from[1]);
	close(to[0]);
	close(from[1]);
	l->to = fdopen(to[1], "w");
	l->from = fdopen(from[0], "r");
}

/* Next line of output without its newline; false at "." or at the end. The caller's buffer. */
static inline bool live_line(struct live *l, char *buf, size_t size)
{
	if (!fgets(buf, (int)size, l->from))
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return strcmp(buf, ".") != 0;
}

/* The line must be there. */
static inline void live_expect(struct live *l, char *buf, size_t size)
{
	ck_assert_msg(live_line(l, buf, size), "the script ended early");
}

static inline void live_go(struct live *l)
{
	fputs("\n", l->to);
	fflush(l->to);
}

/* Wait until the script blocks in gets: its main thread in read(0, ...). */
static inline void live_wait_parked(struct live *l)
{
	char path[64], text[64] = "";
	snprintf(path, sizeof(path), "/proc/%d/syscall", l->pid);
	while (strncmp(text, "0 0x0 ", 6) != 0) {
		FILE *f = fopen(path, "re");
		ck_assert_ptr_nonnull(f);
		ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
		fclose(f);
		sched_yield();
	}
}

/* The object that has the VM: libruby, or the program itself. */
static inline void live_image(struct live *l)
{
	struct maps maps;
	ck_ok(l, maps_read(l->pid, l->pid, &maps, &l->e));
	for (size_t i = 0; i < maps.n && !l->img; i++) {
		const struct map *m = &maps.v[i];
		if (!m->x || m->path[0] != '/')
			continue;
		int fd = open(m->path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		ck_ok(l, image_open(fd, m->path, &l->img, &l->e));
		close(fd);
		if (ruby_version_read(l->img, &l->version, &l->e) == 0) {
			ck_ok(l, image_bias(l->img, &maps, m->dev_major, m->dev_minor, m->inode,
					    &l->bias, &l->e));
		} else {
			image_destroy(l->img);
			l->img = NULL;
		}
	}
	maps_deinit(&maps);
	ck_assert_msg(l->img != NULL, "no image of the process is a Ruby");
}

static inline void live_derive(struct live *l)
{
	struct text *t;
	ck_ok(l, text_create(l->img, arch_native(), &t, &l->e));
	ck_ok(l, ruby_code_derive(t, &l->code, &l->e));
	text_destroy(t);
}

/* Start, wait for the script's first line ("ready"), and open the VM. */
static inline void live_start(struct live *l, const char *script)
{
	char line[256], path[64];
	live_spawn(l, script);
	live_expect(l, line, sizeof(line));
	ck_assert_str_eq(line, "ready");

	snprintf(path, sizeof(path), "/proc/%d/mem", l->pid);
	l->memfd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(l->memfd, 0);
	l->mem = mem_fd(l->memfd);
	live_image(l);
	live_derive(l);
	const struct ruby_layout *lay = ruby_layout_find(l->version.num);
	ck_assert_msg(lay != NULL, "no layout for %s", l->version.text);
	ck_ok(l, ruby_open(&l->mem, l->img, l->bias, &l->code, lay, &l->rb, &l->e));
}

static inline void live_stop(struct live *l)
{
	kill(l->pid, SIGKILL);
	waitpid(l->pid, NULL, 0);
	image_destroy(l->img);
	close(l->memfd);
	fclose(l->to);
	fclose(l->from);
}

#endif
