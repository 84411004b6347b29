/* The two halves of the report for people: text.c puts them together. */
#ifndef MEMPROF_REPORT_TEXT_H
#define MEMPROF_REPORT_TEXT_H

#include "report/exporter.h"

#define SGR_BOLD   "\033[1m"
#define SGR_DIM    "\033[2m"
#define SGR_GREEN  "\033[32m"
#define SGR_YELLOW "\033[33m"
#define SGR_CYAN   "\033[36m"

/* s in a colour; plain without one ("") and where colour is not welcome. */
void text_paint(struct sink *out, bool colour, const char *sgr, const char *s);

/* s broken at spaces to the width of the terminal, all lines but the first indented. Ends the line.
 */
void text_wrap(struct sink *out, const struct export_opts *o, unsigned indent, const char *sgr,
	       const char *s);

/* Target, time, totals, how far they can be trusted, and what the target paid. */
void text_head(const struct profile *p, const struct export_opts *o, struct sink *out);

/* The first n groups as a table that fits o->width (if it is not 0). */
void text_table(const struct group *v, size_t n, const struct export_opts *o, struct sink *out);

#endif
