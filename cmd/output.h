/* Where the report goes, and in which format. */
#ifndef MEMPROF_CMD_OUTPUT_H
#define MEMPROF_CMD_OUTPUT_H

#include "options.h"
#include "util/sink.h"

struct output {
	const struct exporter *format;
	struct sink *sink;
};

/* Open it before the target is touched, so that a wrong name costs no profile. Returns 0 and *ret
 * (output_close), or -1 and e. */
int output_open(const struct settings *s, struct output *ret, struct err *e);

/* Print the whole report and make the file appear. */
int output_write(struct output *o, const struct settings *s, const struct profile *p,
		 struct err *e);

/* Sentences for stderr that the format has no place for: what makes the figures inexact. */
void output_caveats(const struct output *o, const struct settings *s, const struct profile *p);

void output_close(struct output *o); /* a file that is not whole is removed */

#endif
