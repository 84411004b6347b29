#include "session/attach.h"

#include "candidates.h"
#include "output.h"
#include "report/figure.h"
#include "signals.h"
#include "term.h"
#include "util/escape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 250 };

/* One profile, from before the first look at the target to the printed report. */
struct watch {
	pid_t pid;
	const struct settings *s;
	struct attach *a;
	bool gone;                 /* the target ended by itself */
	bool progress;             /* there is a line of it on the terminal */
	char ruby[48];             /* " (ruby 3.1.7)", or "" */
	struct attach_status last; /* as of the line before: for the rate */
};

static double now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* "memprof: " in front of every line of a report about ourselves. */
static void put_facts(const struct watch *w, const char *lines)
{
	if (!w->s->verbose || !lines)
		return;
	while (*lines) {
		char line[512], safe[1024];
		size_t len = strcspn(lines, "\n");
		snprintf(line, sizeof(line), "%.*s", (int)len, lines);
		dprintf(STDERR_FILENO, "memprof: %s\n", escape_text(line, safe, sizeof(safe)));
		lines += len + (lines[len] == '\n');
	}
}

/* The first line of the description names the Ruby; a long one has no place on the progress line.
 */
static void note_ruby(struct watch *w)
{
	const char *about = attach_describe(w->a);
	size_t len = about ? strcspn(about, "\n") : 0;
	if (len > 0 && len < sizeof(w->ruby) - 4)
		snprintf(w->ruby, sizeof(w->ruby), " (%.*s)", (int)len, about);
}

static void put_progress(struct watch *w, const struct attach_status *st)
{
	char rate[FIGURE_SIZE], live[FIGURE_SIZE], dropped[FIGURE_SIZE], tail[128], line[256];
	double span = st->elapsed_s - w->last.elapsed_s;

	if (!w->progress || span < STEP_MS / 2e3)
		return;
	int len = snprintf(tail, sizeof(tail), "%.1fs  %s allocs/s  live +%s  %s dropped   ^C ends",
			   st->elapsed_s,
			   figure_short((double)(st->allocated - w->last.allocated) / span, rate),
			   figure_grouped(st->live, live), figure_grouped(st->dropped, dropped));
	int head = snprintf(line, sizeof(line), "attached to %d%s: ", (int)w->pid, w->ruby);
	if (head + len >= (int)term_width(STDERR_FILENO)) /* the figures matter more */
		head = snprintf(line, sizeof(line), "attached to %d: ", (int)w->pid);
	snprintf(line + head, sizeof(line) - (size_t)head, "%s", tail);
	term_progress(line);
	w->last = *st;
}

static void answer_suspend(const struct watch *w)
{
	if (!signals_suspend_asked() || !isatty(STDERR_FILENO))
		return;
	if (w->progress)
		term_progress_erase();
	dprintf(STDERR_FILENO,
		"memprof: can't be suspended while attached to %d; ^C ends the profile\n",
		(int)w->pid);
}

static unsigned step_ms(double left_s)
{
	return left_s * 1e3 < STEP_MS ? (unsigned)ceil(left_s * 1e3) : STEP_MS;
}

/* Until somebody ends it, the time is over, or the target is gone. */
static int watch_target(struct watch *w, struct err *e)
{
	double until = w->s->duration_s > 0 ? now_s() + w->s->duration_s : INFINITY;

	for (double left; signals_ends() == 0 && (left = until - now_s()) > 0;) {
		struct attach_status st = {0};
		int r = attach_step(w->a, step_ms(left), &st, e);
		w->gone = r == 0;
		if (r != 1)
			return r;
		put_progress(w, &st);
		answer_suspend(w);
	}
	return 0;
}

/*
 * Take ourselves out of the target. Nothing is printed from the call to its return, since the
 * target's threads stand still in between: a second ^C gets its answer afterwards.
 */
static int restore_target(struct watch *w, struct err *e)
{
	char line[64];
	unsigned ends = signals_ends();

	snprintf(line, sizeof(line), "restoring %d, please wait", (int)w->pid);
	if (w->progress)
		term_progress(line);
	int r = attach_stop(w->a, e);
	if (w->progress)
		term_progress_erase();
	if (signals_ends() > (ends ? ends : 1) && !w->s->quiet)
		dprintf(STDERR_FILENO, "memprof: %s: %s\n", line, r == 0 ? "done" : "failed");
	return r;
}

static int print_profile(struct watch *w, struct output *o, struct err *e)
{
	struct profile *p;
	if (attach_profile(w->a, &p, e) == -1)
		return -1;
	int r = output_write(o, w->s, p, e);
	if (r == 0)
		output_caveats(o, w->s, p);
	profile_destroy(p);
	return r;
}

/* The target was patched and is not any more: only ERR_DIRTY may say anything but "failed". */
static int failed_after_attach(const struct watch *w, struct err *e)
{
	if (e->code != ERR_DIRTY) {
		struct err was = *e;
		err_set(e, ERR_FAILED, "%.320s (%d %s)", was.msg, (int)w->pid,
			w->gone ? "is gone" : "was restored");
		if (was.remedy[0])
			err_remedy(e, "%s", was.remedy);
	}
	return err_exit_code(e);
}

/* What was seen is printed even when the end went wrong: it may be all there will ever be. */
static int profile_target(struct watch *w, struct output *o, struct err *e)
{
	struct err watching = {0}, stopping = {0}, printing = {0};

	if (w->s->verbose) /* for people, and for scripts that wait for it */
		dprintf(STDERR_FILENO, "memprof: attached to %d\n", (int)w->pid);
	put_facts(w, attach_describe(w->a));
	note_ruby(w);
	int watched = watch_target(w, &watching);
	int stopped = restore_target(w, &stopping);
	if (!w->s->output)
		signals_release(); /* a stuck reader of stdout must not hold the user */
	int printed = print_profile(w, o, &printing);
	put_facts(w, attach_memory_report(w->a));

	if (stopped == 0 && watched == 0 && printed == 0)
		return 0;
	*e = stopped == -1 ? stopping : watched == -1 ? watching : printing;
	return failed_after_attach(w, e);
}

static int attach_to(pid_t pid, const struct settings *s, struct output *o, struct err *e)
{
	const struct attach_opts opts = {
	    .ring_bytes = s->ring_bytes,
	    .keep_internal = s->keep_internal,
	    .by_thread = s->by == KEY_THREAD,
	};
	struct watch w = {.pid = pid, .s = s, .progress = !s->quiet && term_has_progress()};

	signals_hold();
	if (attach_start(pid, &opts, &w.a, e) == -1)
		return err_exit_code(e);
	int code = profile_target(&w, o, e);
	attach_destroy(w.a);
	return code;
}

static int attach_run(int argc, char **argv, struct err *e)
{
	struct settings s = {0};
	struct output o = {0};
	pid_t pid;

	int first = options_parse(&cmd_attach, argc, argv, &s, e);
	if (first == -1)
		return err_exit_code(e);
	if (s.help)
		return command_help(&cmd_attach, e);
	if (first == argc)
		return candidates_instead_of_pid(&cmd_attach, e);
	if (options_pid(&cmd_attach, argc - first, argv + first, &pid, e) == -1 ||
	    output_open(&s, &o, e) == -1)
		return err_exit_code(e);

	int code = attach_to(pid, &s, &o, e);
	output_close(&o);
	return code;
}

const struct command cmd_attach = {
    .name = "attach",
    .args = "[OPTIONS] PID",
    .help = "profile a running Ruby, detach, print the report",
    .about =
	"Follow every object that the Ruby process PID allocates and frees, until ^C, the end of\n"
	"--duration or the process's own end. Then take everything out of it again and print\n"
	"which lines created the objects that are still alive.",
    .examples =
	"  memprof attach 4242                      until ^C, report on the terminal\n"
	"  memprof attach 4242 -d 30 -o leak.json   half a minute, JSON lines into a file\n"
	"  memprof attach 4242 -d 30 -f stats       counts by file:line:class, nothing else\n"
	"  memprof attach 4242 --by gem --sort bytes\n",
    .groups =
	(const struct option_group *const[]){&options_profile, &options_report, &options_messages,
					     &options_colour, &options_help, NULL},
    .run = attach_run,
};
