#include "command.h"
#include "util/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
    &cmd_attach,
    &cmd_check,
    &cmd_detach,
    NULL,
};

/*
 * A closed descriptor 0, 1 or 2 would go to the first file we open, which may be the target's
 * memory: a report must never be written there. Wrong-way /dev/null keeps a closed stdout an error.
 */
static bool keep_standard_descriptors(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
			continue;
		if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	}
	return true;
}

void command_complain(const struct err *e)
{
	if (e->code == ERR_NONE)
		return;
	dprintf(STDERR_FILENO, "memprof: %s\n", e->msg);
	if (e->remedy[0])
		dprintf(STDERR_FILENO, "  try: %s\n", e->remedy);
}

static int put_usage(int fd, struct err *e)
{
	struct sink *out;
	if (sink_fd(fd, fd == STDOUT_FILENO ? "stdout" : "stderr", &out, e) == -1)
		return err_exit_code(e);

	sink_puts(out,
		  "usage: memprof COMMAND [OPTIONS] [ARGS]\n\n"
		  "Find the lines of a running Ruby that create the objects which never die.\n\n"
		  "Commands:\n");
	for (size_t i = 0; commands[i]; i++)
		sink_printf(out, "  %-8s %s\n", commands[i]->name, commands[i]->help);
	sink_puts(out, "\n"
		       "  memprof COMMAND --help   options and examples of one command\n"
		       "  memprof --version        print the version\n\n"
		       "More in memprof(1).\n");
	int r = sink_commit(out, e);
	sink_destroy(out);
	return r == 0 ? 0 : err_exit_code(e);
}

static int put_version(struct err *e)
{
	struct sink *out;
	if (sink_fd(STDOUT_FILENO, "stdout", &out, e) == -1)
		return err_exit_code(e);
	sink_puts(out, "memprof " MEMPROF_VERSION "\n");
	int r = sink_commit(out, e);
	sink_destroy(out);
	return r == 0 ? 0 : err_exit_code(e);
}

static const struct command *find_command(const char *name, struct err *e)
{
	char names[128] = "";

	for (size_t i = 0; commands[i]; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
		size_t used = strlen(names);
		snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
			 commands[i]->name);
	}
	err_set(e, ERR_USAGE, "%.64s: there is no such command", name);
	err_remedy(e, "one of %s, or memprof --help", names);
	return NULL;
}

static bool is_word(const char *arg, const char *letter, const char *name)
{
	return strcmp(arg, letter) == 0 || strcmp(arg, name) == 0;
}

static int run(int argc, char **argv, struct err *e)
{
	if (argc < 2) {
		put_usage(STDERR_FILENO, e);
		return ERR_USAGE;
	}
	if (is_word(argv[1], "-h", "--help"))
		return put_usage(STDOUT_FILENO, e);
	if (is_word(argv[1], "-V", "--version"))
		return put_version(e);

	const struct command *c = find_command(argv[1], e);
	return c ? c->run(argc - 1, argv + 1, e) : ERR_USAGE;
}

int main(int argc, char **argv)
{
	struct err e = {0};

	if (!keep_standard_descriptors())
		return ERR_FAILED;
	signal(SIGPIPE, SIG_IGN); /* a reader that leaves is an error to report, not our death */
	int code = run(argc, argv, &e);
	if (code != 0) /* a retry that helped may have left its reason behind */
		command_complain(&e);
	return code;
}
