#include "session/recover.h"

#include "options.h"
#include "signals.h"
#include "util/sink.h"

#include <unistd.h>

static int put_result(pid_t pid, const struct recover_result *r, struct err *e)
{
	struct sink *out;
	if (sink_fd(STDOUT_FILENO, "stdout", &out, e) == -1)
		return -1;
	if (r->found)
		sink_printf(out,
			    "memprof: %d: restored %zu site%s, removed %zu mapping%s "
			    "(all threads stopped %.2f ms)\n",
			    (int)pid, r->sites, r->sites == 1 ? "" : "s", r->mappings,
			    r->mappings == 1 ? "" : "s", r->pause_us / 1e3);
	else
		sink_printf(out, "memprof: %d: holds nothing of ours, nothing to do\n", (int)pid);
	int ret = sink_commit(out, e);
	sink_destroy(out);
	return ret;
}

static int detach_run(int argc, char **argv, struct err *e)
{
	struct settings s = {0};
	struct recover_result r = {0};
	pid_t pid;

	int first = options_parse(&cmd_detach, argc, argv, &s, e);
	if (first == -1)
		return err_exit_code(e);
	if (s.help)
		return command_help(&cmd_detach, e);
	if (options_pid(&cmd_detach, argc - first, argv + first, &pid, e) == -1)
		return err_exit_code(e);

	signals_hold(); /* a half restored target helps nobody */
	int ret = recover_run(pid, &r, e);
	signals_release();
	if (ret == -1 || put_result(pid, &r, e) == -1)
		return err_exit_code(e);
	return 0;
}

const struct command cmd_detach = {
    .name = "detach",
    .args = "PID",
    .help = "clean a Ruby that a killed memprof left patched",
    .about =
	"Take out of the process PID what a memprof that was killed left in it, from the journal\n"
	"that lies inside the process. Does nothing to a process that holds nothing of ours.",
    .examples = "  memprof detach 4242\n",
    .groups = (const struct option_group *const[]){&options_help, NULL},
    .run = detach_run,
};
