/* For a user who gave no PID. */
#ifndef MEMPROF_CMD_CANDIDATES_H
#define MEMPROF_CMD_CANDIDATES_H

#include "command.h"

/* Complain that PID is missing and list the Rubies there are, on stderr. Returns the exit code. */
int candidates_instead_of_pid(const struct command *c, struct err *e);

#endif
