#include "session/check.h"

#include "candidates.h"
#include "options.h"
#include "report/text.h"
#include "term.h"
#include "util/escape.h"
#include "util/sink.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The page of what was found, and how to write on it. */
struct page {
	struct sink *out;
	bool colour;
};

static void put_fact(const struct page *p, const char *label, const char *value)
{
	char safe[512];
	if (!value[0])
		return;
	sink_printf(p->out, "%-10s ", label);
	sink_printf(p->out, "%s\n", escape_text(value, safe, sizeof(safe)));
}

static void put_target(const struct page *p, const struct check_result *r)
{
	char line[64];

	snprintf(line, sizeof(line), "%d, %u thread%s", (int)r->pid, r->threads,
		 r->threads == 1 ? "" : "s");
	put_fact(p, "target", line);
	put_fact(p, "ruby", r->description[0] ? r->description : r->ruby);
	put_fact(p, "exe", r->exe);
	put_fact(p, "image", r->image);
	put_fact(p, "build id", r->build_id);
	put_fact(p, "layout", r->layout);
	put_fact(p, "thread", r->tls);
	put_fact(p, "moves",
		 r->moves_known ? "compaction is followed" : "compaction can't be followed");
}

static void put_sites(const struct page *p, const struct check_result *r)
{
	char head[96], insn[128], why[256];

	snprintf(head, sizeof(head), "%-5s  %-18s  %-10s  %5s  %s", "event", "address", "in image",
		 "bytes", "displaced instruction");
	sink_puts(p->out, "\n");
	text_paint(p->out, p->colour, SGR_DIM, head);
	sink_puts(p->out, "\n");
	for (size_t i = 0; i < r->nsites; i++) {
		const struct check_site *s = &r->sites[i];
		sink_printf(p->out, "%-5s  0x%016llx  %#-10llx  %5u  ", s->event,
			    (unsigned long long)s->addr, (unsigned long long)s->vaddr, s->len);
		text_paint(p->out, p->colour, SGR_CYAN, escape_text(s->insn, insn, sizeof(insn)));
		sink_puts(p->out, "\n");
		if (s->why && s->why[0])
			sink_printf(p->out, "%7s%s\n", "", escape_text(s->why, why, sizeof(why)));
	}
}

static void put_notes(const struct page *p, const struct check_result *r)
{
	if (r->nnotes > 0)
		sink_puts(p->out, "\n");
	for (size_t i = 0; i < r->nnotes; i++)
		put_fact(p, "note", r->notes[i]);
}

static int put_result(const struct check_result *r, bool colour, struct err *e)
{
	struct page p = {.colour = colour};
	char verdict[64];

	if (sink_fd(STDOUT_FILENO, "stdout", &p.out, e) == -1)
		return -1;
	put_target(&p, r);
	put_sites(&p, r);
	put_notes(&p, r);
	snprintf(verdict, sizeof(verdict), "%d can be profiled", (int)r->pid);
	sink_puts(p.out, "\n");
	text_paint(p.out, colour, SGR_GREEN, verdict);
	sink_puts(p.out, "\n");
	int ret = sink_commit(p.out, e);
	sink_destroy(p.out);
	return ret;
}

static int check_command(int argc, char **argv, struct err *e)
{
	struct settings s = {0};
	struct check_result r = {0};
	pid_t pid;

	int first = options_parse(&cmd_check, argc, argv, &s, e);
	if (first == -1)
		return err_exit_code(e);
	if (s.help)
		return command_help(&cmd_check, e);
	if (first == argc)
		return candidates_instead_of_pid(&cmd_check, e);
	if (options_pid(&cmd_check, argc - first, argv + first, &pid, e) == -1 ||
	    check_run(pid, &r, e) == -1)
		return err_exit_code(e);

	int ret = put_result(&r, !s.no_color && term_colour(STDOUT_FILENO), e);
	check_deinit(&r);
	return ret == 0 ? 0 : err_exit_code(e);
}

const struct command cmd_check = {
    .name = "check",
    .args = "[OPTIONS] PID",
    .help = "say whether and how a Ruby can be profiled; write nothing to it",
    .about =
	"Say what `memprof attach PID` would do and whether it can: which Ruby that is, where its\n"
	"allocations and frees would be caught, and what stands in the way. Nothing is written\n"
	"to the process; one of its threads is stopped for an instant to read its registers.",
    .examples = "  memprof check 4242\n",
    .groups = (const struct option_group *const[]){&options_colour, &options_help, NULL},
    .run = check_command,
};
