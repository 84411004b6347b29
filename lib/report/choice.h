/* Words on the command line that stand for a value: `--by class`, `-f json`. */
#ifndef MEMPROF_REPORT_CHOICE_H
#define MEMPROF_REPORT_CHOICE_H

#include "util/err.h"

/* The index of name in the NULL-terminated names, or -1 and e: ERR_USAGE that says what was wanted
 * ("--by foo: ...") and lists what there is. */
int choice_find(const char *option, const char *name, const char *const *names, struct err *e);

#endif
