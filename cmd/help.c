#include "options.h"
#include "util/sink.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put_option(struct sink *out, const struct option_row *r)
{
	char left[64], letter[8] = "    ";

	if (r->key < 256)
		snprintf(letter, sizeof(letter), "-%c, ", r->key);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, r->name, r->arg ? " " : "",
		 r->arg ? r->arg : "");
	sink_printf(out, "  %-22s %s\n", left, r->help);
}

int command_help(const struct command *c, struct err *e)
{
	struct sink *out;
	if (sink_fd(STDOUT_FILENO, "stdout", &out, e) == -1)
		return err_exit_code(e);

	sink_printf(out, "usage: memprof %s %s\n\n%s\n", c->name, c->args, c->about);
	for (size_t g = 0; c->groups[g]; g++) {
		if (c->groups[g]->title)
			sink_printf(out, "\n%s:\n", c->groups[g]->title);
		else if (g == 0)
			sink_puts(out, "\nOptions:\n");
		for (const struct option_row *r = c->groups[g]->rows; r->name; r++)
			put_option(out, r);
	}
	sink_printf(out, "\nExamples:\n%s\nMore in memprof(1).\n", c->examples);
	int r = sink_commit(out, e);
	sink_destroy(out);
	return r == 0 ? 0 : err_exit_code(e);
}
