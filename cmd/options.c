#include "options.h"

#include "session/attach.h"

#include <errno.h>
#include <libutil.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Keys of options that have no letter. */
enum { OPT_BY = 256, OPT_SORT, OPT_RING, OPT_INTERNAL, OPT_NO_COLOR };

static bool all_digits(const char *s)
{
	return s[0] && s[strspn(s, "0123456789")] == '\0';
}

static int set_duration(struct settings *s, const char *arg, struct err *e)
{
	char *end;
	double d = strtod(arg, &end);

	/* strtod takes signs, exponents, "inf" and hexadecimal too */
	if (*end || arg[0] == '\0' || arg[strspn(arg, "0123456789.")] || !(d > 0) || d > 1e9) {
		err_set(e, ERR_USAGE, "--duration %.64s: not a number of seconds above 0", arg);
		return err_remedy(e, "--duration 30, or 0.5");
	}
	s->duration_s = d;
	return 0;
}

static int set_format(struct settings *s, const char *arg, struct err *e)
{
	return exporter_find(arg, &s->format, e);
}

static int set_output(struct settings *s, const char *arg, struct err *e)
{
	if (arg[0] == '\0')
		return err_set(e, ERR_USAGE, "--output: the file's name is empty");
	s->output = strcmp(arg, "-") == 0 ? NULL : arg;
	return 0;
}

static int set_limit(struct settings *s, const char *arg, struct err *e)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(arg, &end, 10);
	if (!all_digits(arg) || errno) {
		err_set(e, ERR_USAGE, "--limit %.64s: not a number of rows", arg);
		return err_remedy(e, "--limit 100, or 0 for all");
	}
	s->limit = n;
	s->limit_given = true;
	return 0;
}

static int set_by(struct settings *s, const char *arg, struct err *e)
{
	return profile_key_parse(arg, &s->by, e);
}

static int set_sort(struct settings *s, const char *arg, struct err *e)
{
	return profile_sort_parse(arg, &s->sort, e);
}

static int set_ring(struct settings *s, const char *arg, struct err *e)
{
	uint64_t n = 0;
	size_t digits = strspn(arg, "0123456789");
	bool suffixed = arg[digits] && strchr("kKmMgG", arg[digits]);

	if (digits == 0 || arg[digits + suffixed] || expand_number(arg, &n) == -1 ||
	    n < ATTACH_RING_MIN || n > ATTACH_RING_MAX) {
		err_set(e, ERR_USAGE, "--ring %.64s: not a size from %dK to %dM", arg,
			ATTACH_RING_MIN >> 10, ATTACH_RING_MAX >> 20);
		return err_remedy(e, "--ring %dM", ATTACH_RING_DEFAULT >> 20);
	}
	s->ring_bytes = ATTACH_RING_MIN;
	while (s->ring_bytes < n)
		s->ring_bytes *= 2;
	return 0;
}

static int set_internal(struct settings *s, const char *arg, struct err *e)
{
	(void)arg, (void)e;
	s->keep_internal = true;
	return 0;
}

static int set_quiet(struct settings *s, const char *arg, struct err *e)
{
	(void)arg, (void)e;
	s->quiet = true;
	s->verbose = false;
	return 0;
}

static int set_verbose(struct settings *s, const char *arg, struct err *e)
{
	(void)arg, (void)e;
	s->verbose = true;
	s->quiet = false;
	return 0;
}

static int set_no_color(struct settings *s, const char *arg, struct err *e)
{
	(void)arg, (void)e;
	s->no_color = true;
	return 0;
}

static int set_help(struct settings *s, const char *arg, struct err *e)
{
	(void)arg, (void)e;
	s->help = true;
	return 0;
}

const struct option_group options_profile = {
    "Profiling",
    (const struct option_row[]){
	{'d', "duration", "SECS", "stop after SECS, fractions allowed (else at ^C)", set_duration},
	{OPT_RING, "ring", "SIZE", "ring buffer, like 64M (larger: fewer drops)", set_ring},
	{OPT_INTERNAL, "internal", NULL, "keep births in Ruby's own <internal:...> code there",
	 set_internal},
	{0},
    },
};

const struct option_group options_report = {
    "Report",
    (const struct option_row[]){
	{'f', "format", "NAME", "text, stats or json (else by FILE's suffix, or text)", set_format},
	{'o', "output", "FILE", "write the report to FILE; - is stdout", set_output},
	{'n', "limit", "N", "print N rows, 0 for all (text: 30, others: all)", set_limit},
	{OPT_BY, "by", "KEY", "one row per site, class, file, line, method, gem, thread", set_by},
	{OPT_SORT, "sort", "KEY", "most live, bytes, allocated, freed or survived first", set_sort},
	{0},
    },
};

const struct option_group options_messages = {
    "Messages",
    (const struct option_row[]){
	{'q', "quiet", NULL, "nothing on stderr but errors", set_quiet},
	{'v', "verbose", NULL, "more on stderr: what was found, what we used", set_verbose},
	{0},
    },
};

const struct option_group options_colour = {
    NULL,
    (const struct option_row[]){
	{OPT_NO_COLOR, "no-color", NULL, "no colour on a terminal either", set_no_color},
	{0},
    },
};

const struct option_group options_help = {
    NULL,
    (const struct option_row[]){
	{'h', "help", NULL, "print this", set_help},
	{0},
    },
};

int options_pid(const struct command *c, int argc, char **argv, pid_t *ret, struct err *e)
{
	unsigned long n = 0;

	errno = 0;
	if (argc > 0 && all_digits(argv[0]))
		n = strtoul(argv[0], NULL, 10);
	if (argc == 0)
		err_set(e, ERR_USAGE, "%s: PID is missing", c->name);
	else if (argc > 1)
		err_set(e, ERR_USAGE, "%s: one PID at a time, what is %.64s?", c->name, argv[1]);
	else if (n == 0 || n > INT_MAX || errno)
		err_set(e, ERR_USAGE, "%s: %.64s is not a PID (a positive decimal number)", c->name,
			argv[0]);
	else {
		*ret = (pid_t)n;
		return 0;
	}
	return err_remedy(e, "memprof %s --help", c->name);
}
