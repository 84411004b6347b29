#include "candidates.h"

#include "session/check.h"
#include "term.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BEFORE_COMMAND = 31 }; /* columns of the list in front of the command */

static void put_list(const struct candidate *v, size_t n)
{
	unsigned width = term_width(STDERR_FILENO);
	int room = width > BEFORE_COMMAND ? (int)(width - BEFORE_COMMAND) : 128;

	dprintf(STDERR_FILENO, "\n  %10s  %-16s %s\n", "PID", "USER", "COMMAND");
	for (size_t i = 0; i < n; i++)
		dprintf(STDERR_FILENO, "  %10d  %-16s %.*s\n", (int)v[i].pid, v[i].user, room,
			v[i].command);
}

int candidates_instead_of_pid(const struct command *c, struct err *e)
{
	struct candidate *v = NULL;
	struct err ignored;
	size_t n = 0;

	if (check_candidates(&v, &n, &ignored) == -1)
		n = 0; /* the list is a courtesy */
	err_set(e, ERR_USAGE, "%s: PID is missing", c->name);
	if (n == 0) {
		free(v);
		err_remedy(e, "start a Ruby: none that you could attach to is running");
		return err_exit_code(e);
	}
	err_remedy(e, "memprof %s PID, with one of these:", c->name);
	command_complain(e);
	put_list(v, n);
	free(v);
	*e = (struct err){0};
	return ERR_USAGE;
}
