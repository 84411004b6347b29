/* One verb of the command line. One file a verb; main.c has the list. */
#ifndef MEMPROF_CMD_COMMAND_H
#define MEMPROF_CMD_COMMAND_H

#include "util/err.h"

struct option_group; /* options.h */

struct command {
	const char *name;
	const char *args;     /* "[OPTIONS] PID" for the usage line */
	const char *help;     /* one line for `memprof --help` */
	const char *about;    /* a paragraph for `memprof VERB --help`, lines already broken */
	const char *examples; /* indented lines for the same */
	const struct option_group *const *groups; /* the options it takes, NULL-terminated */
	/* argv[0] is the verb. Returns the exit code; a filled-in e is printed by main. */
	int (*run)(int argc, char **argv, struct err *e);
};

extern const struct command cmd_attach, cmd_check, cmd_detach;

/* `memprof VERB --help` on stdout. Returns the exit code. */
int command_help(const struct command *c, struct err *e);

/* An error as its one or two lines on stderr; nothing for ERR_NONE. */
void command_complain(const struct err *e);

#endif
