/* The options of all verbs: the same name means the same everywhere, so there is one table of them
 * and one struct of what they set. */
#ifndef MEMPROF_CMD_OPTIONS_H
#define MEMPROF_CMD_OPTIONS_H

#include "command.h"
#include "report/exporter.h"

#include <stdbool.h>
#include <sys/types.h>

struct settings {
	double duration_s; /* 0: until told to end */
	size_t ring_bytes; /* a power of two; 0: the session's own choice */
	bool keep_internal;
	const struct exporter *format; /* NULL: by the output's name */
	const char *output;            /* NULL: stdout */
	enum profile_key by;
	enum profile_sort sort;
	size_t limit;
	bool limit_given;
	bool quiet, verbose, no_color;
	bool help;
};

struct option_row {
	int key;          /* the letter, or a number beyond letters */
	const char *name; /* --NAME */
	const char *arg;  /* NULL: takes none */
	const char *help;
	int (*set)(struct settings *s, const char *arg, struct err *e);
};

struct option_group {
	const char *title;
	const struct option_row *rows; /* until name is NULL */
};

extern const struct option_group options_profile, options_report, options_messages, options_colour,
    options_help;

/* Fill in s from the options anywhere in argv, which is reordered. Returns the index of the first
 * operand, or -1 and e: ERR_USAGE. */
int options_parse(const struct command *c, int argc, char **argv, struct settings *s,
		  struct err *e);

/* The one operand PID. Returns 0, or -1 and e: ERR_USAGE (none, several, not a positive decimal
 * number that a process can have). */
int options_pid(const struct command *c, int argc, char **argv, pid_t *ret, struct err *e);

#endif
