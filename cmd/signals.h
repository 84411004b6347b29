/*
 * Signals while a target is patched: whatever would end us asks for an orderly end instead, and
 * nothing suspends us, since the target's ring would run full with nobody to read it.
 *
 * Handlers only set flags. Nothing is printed from them: the terminal may be held up (^S) or the
 * target may be its reader, while the target stands still.
 */
#ifndef MEMPROF_CMD_SIGNALS_H
#define MEMPROF_CMD_SIGNALS_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM, SIGHUP, SIGQUIT and their like are counted. Interrupts system calls
 * (EINTR). A SIGHUP that nohup(1) ignores stays ignored. */
void signals_hold(void);

/* As it was before, but for SIGHUP: a log-out must not cost the report. */
void signals_release(void);

unsigned signals_ends(void);      /* how many asked us to end */
bool signals_suspend_asked(void); /* since the last call: ^Z */

#endif
