/* From the tables of options.c to getopt_long(3) and back. */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { OPTIONS_MAX = 32 };

/* What getopt_long wants to know about a verb's options, and the way back from a key to its row. */
struct spelling {
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 + 2 * OPTIONS_MAX + 1];
	const struct option_row *rows[OPTIONS_MAX];
	size_t n, nshorts;
};

static void spelling_add(struct spelling *sp, const struct option_row *r)
{
	sp->rows[sp->n] = r;
	sp->longs[sp->n++] = (struct option){
	    .name = r->name,
	    .has_arg = r->arg ? required_argument : no_argument,
	    .val = r->key,
	};
	if (r->key < 256) {
		sp->shorts[sp->nshorts++] = (char)r->key;
		if (r->arg)
			sp->shorts[sp->nshorts++] = ':';
	}
}

static void spelling_init(struct spelling *sp, const struct command *c)
{
	*sp = (struct spelling){.shorts = ":",
				.nshorts = 1}; /* tell a missing value from an unknown option */
	for (size_t g = 0; c->groups[g]; g++)
		for (const struct option_row *r = c->groups[g]->rows; r->name; r++)
			if (sp->n < OPTIONS_MAX)
				spelling_add(sp, r);
}

static const struct option_row *spelling_row(const struct spelling *sp, int key)
{
	for (size_t i = 0; i < sp->n; i++)
		if (sp->rows[i]->key == key)
			return sp->rows[i];
	return NULL;
}

static int refuse(const struct command *c, char **argv, int kind, struct err *e)
{
	const char *word = argv[optind - 1], *why = "unknown or ambiguous option";
	char letter[] = {'-', (char)optopt, '\0'};

	if (kind == ':')
		why = "its value is missing";
	else if (optopt && strncmp(word, "--", 2) == 0)
		why = "it takes no value";
	if (optopt > 0 && optopt < 256 && strncmp(word, "--", 2) != 0)
		word = letter; /* it may stand amidst others: -qxv */
	err_set(e, ERR_USAGE, "%s: %.64s: %s", c->name, word, why);
	return err_remedy(e, "memprof %s --help", c->name);
}

int options_parse(const struct command *c, int argc, char **argv, struct settings *s, struct err *e)
{
	struct spelling sp;
	int key;

	spelling_init(&sp, c);
	opterr = 0;
	optind = 0; /* glibc: start afresh */
	while ((key = getopt_long(argc, argv, sp.shorts, sp.longs, NULL)) != -1) {
		const struct option_row *row = spelling_row(&sp, key);
		if (!row)
			return refuse(c, argv, key, e);
		if (row->set(s, optarg, e) == -1)
			return -1;
	}
	return optind;
}
