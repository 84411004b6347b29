/*
 * Errors. A function that can fail returns 0, or -1 with *e filled in; nothing below cmd/ prints.
 * The caller owns the struct; it holds no pointers and needs no cleanup.
 */
#ifndef MEMPROF_UTIL_ERR_H
#define MEMPROF_UTIL_ERR_H

#include <stdarg.h>

/* The first eight are the exit codes of the command line (memprof(1)); the rest are reasons inside
 * the library that err_exit_code() folds into them. */
enum err_code {
	ERR_NONE = 0,
	ERR_FAILED = 1,      /* failed in the middle; what was changed has been restored */
	ERR_USAGE = 2,       /* the caller asked for something that makes no sense */
	ERR_UNSUPPORTED = 3, /* this target can't be profiled; nothing was written to it */
	ERR_PERM = 4,        /* no permission */
	ERR_GONE = 5,        /* no such process, or it went away */
	ERR_BUSY = 6,        /* traced by somebody else, or profiled already */
	ERR_DIRTY = 7,       /* the target was left patched, or with a page of ours */

	ERR_SYS = 32, /* a system call failed: e->sys is its errno */
	ERR_NOMEM,    /* out of memory */
	ERR_FAULT,    /* tracee memory that can't be read: unmapped or short */
	ERR_BADELF,   /* a malformed or unexpected object file */
	ERR_NOSYM,    /* a symbol, section or relocation is not there */
	ERR_BADDATA,  /* bytes from outside that break their own rules */
	ERR_CHANGED,  /* memory is not what it was when we looked: nothing was written over it */
	ERR_RANGE,    /* out of reach: no room, or a displacement that does not fit */
	ERR_TIMEOUT,  /* a thread did not stop in time, or no safe moment came */
};

struct err {
	enum err_code code;
	int sys;          /* errno, or 0 */
	char msg[400];    /* "WHAT: WHY", no newline, no control characters from outside */
	char remedy[240]; /* what to do about it, or "" */
};

/* Fill in *e (the remedy is cleared) and return -1, so that `return err_set(...)` reads well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* As err_set, with ": " and the text of errno appended. errno EPERM/EACCES become ERR_PERM and
 * ESRCH becomes ERR_GONE, whatever `code` says; other values keep `code`. */
int err_sys(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Add the remedy to an error that is already set. Returns -1. */
int err_remedy(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

/* Put "PREFIX: " in front of the message. Returns -1. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

#if defined(__clang_analyzer__) && !defined(MEMPROF_ERR_BODY)
/* The analyzer sees one file at a time: tell it that these always return -1. */
#define err_set(...)    (err_set(__VA_ARGS__), -1)
#define err_sys(...)    (err_sys(__VA_ARGS__), -1)
#define err_remedy(...) (err_remedy(__VA_ARGS__), -1)
#define err_prefix(...) (err_prefix(__VA_ARGS__), -1)
#endif

/* The exit code (0 to 7) of an error; reasons inside the library count as ERR_FAILED. */
int err_exit_code(const struct err *e);

#endif
