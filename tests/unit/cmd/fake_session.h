/* PIDs with a meaning to the session that plays. */
#ifndef MEMPROF_TESTS_CMD_FAKE_SESSION_H
#define MEMPROF_TESTS_CMD_FAKE_SESSION_H

enum fake_pid {
	FAKE_FINE = 4,    /* all goes well */
	FAKE_GONE = 5,    /* the target ends during the first step */
	FAKE_DROPS = 6,   /* events are dropped */
	FAKE_DIRTY = 7,   /* the end fails */
	FAKE_SLOW = 8,    /* the end takes until a second signal has come */
	FAKE_REFUSED = 9, /* can't be profiled */
	FAKE_BROKEN = 10, /* a step fails */
	FAKE_CLEAN = 11,  /* nothing to detach */
};

/* Marks on stderr, unbuffered, so that a test can see what came before what. */
#define FAKE_START "[start]\n"
#define FAKE_STOP  "[stop]\n"

#endif
