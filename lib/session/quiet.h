/*
 * While threads of the target stand still nothing may distract us: every signal that can wait does
 * (SIGTSTP above all), and SIGCHLD is kept to be waited for.
 */
#ifndef MEMPROF_SESSION_QUIET_H
#define MEMPROF_SESSION_QUIET_H

#include <signal.h>

struct quiet {
	sigset_t old;
};

static inline void quiet_begin(struct quiet *q)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &q->old);
}

static inline void quiet_end(const struct quiet *q)
{
	sigprocmask(SIG_SETMASK, &q->old, NULL);
}

#endif
