/*
 * Facts about a process from /proc. Each parser is apart from its reader, for the tests.
 * Errors of the readers: ERR_GONE no such process or thread; ERR_PERM; ERR_SYS; ERR_BADDATA text
 * that breaks the format; ERR_NOMEM.
 */
#ifndef MEMPROF_PROC_PROCFS_H
#define MEMPROF_PROC_PROCFS_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* -- /proc/PID/task/TID/stat: proc(5) ---------------------------------------------------------- */

struct procfs_stat {
	pid_t tid;
	pid_t ppid;
	char state;         /* R S D T t Z X I */
	uint32_t flags;     /* PF_* of the kernel's include/linux/sched.h */
	uint64_t starttime; /* clock ticks after boot: with the pid, the identity of a process */
	char comm[64];      /* any bytes: escape before showing */
};

/* text is NUL-terminated. Returns 0, or -1 and e: ERR_BADDATA. */
int procfs_stat_parse(const char *text, struct procfs_stat *ret, struct err *e);

/* Of one thread; tid == pid for the process itself. */
int procfs_stat(pid_t pid, pid_t tid, struct procfs_stat *ret, struct err *e);

/* A kernel thread: no memory of its own to look at. */
bool procfs_is_kthread(const struct procfs_stat *st);

/* Dead, waiting for its parent. Of a first thread it says nothing about the others. */
bool procfs_is_zombie(const struct procfs_stat *st);

/* -- /proc/PID/task/TID/status ----------------------------------------------------------------- */

enum { PROCFS_NS_MAX = 33 }; /* pid namespaces nest 32 deep: MAX_PID_NS_LEVEL */

struct procfs_status {
	uid_t uid[4]; /* real, effective, saved, file system */
	pid_t tgid, ppid;
	pid_t tracer;               /* 0: nobody */
	uint32_t threads;           /* of the process */
	uint32_t seccomp;           /* 0 off, 1 strict, 2 filter; 0 when the kernel doesn't say */
	bool shstk;                 /* a user shadow stack is on */
	pid_t nspid[PROCFS_NS_MAX]; /* its id in each pid namespace, ours first */
	size_t n_nspid;
};

/* text is NUL-terminated. Returns 0, or -1 and e: ERR_BADDATA, also when Tgid, PPid, TracerPid, Uid
 * or Threads is missing. */
int procfs_status_parse(const char *text, struct procfs_status *ret, struct err *e);
int procfs_status(pid_t pid, pid_t tid, struct procfs_status *ret, struct err *e);

/* True if the process runs: it exists, and its first thread is no zombie, or others go on. */
bool procfs_lives(pid_t pid);

/* -- the rest ---------------------------------------------------------------------------------- */

/* True if there is a process or thread of that id, zombies included. */
bool procfs_exists(pid_t pid);

/* Where the program lies, as the target's mount namespace calls it; ends in " (deleted)" when it
 * was removed. Any bytes: escape before showing. Kernel threads and zombies have none: ERR_GONE.
 * ERR_RANGE: longer than size. */
int procfs_exe(pid_t pid, char *buf, size_t size, struct err *e);

/* The command line, arguments joined by spaces, printable, cut to size. "" for kernel threads and
 * zombies. */
int procfs_cmdline(pid_t pid, char *buf, size_t size, struct err *e);

struct procfs_tasks {
	pid_t *v;
	size_t n, cap;
};

/* The threads of a process at about this moment: list again until nothing new turns up. *t is
 * zeroed or was filled before (its room is used again); procfs_tasks_deinit. ERR_RANGE: more than a
 * million. */
int procfs_tasks(pid_t pid, struct procfs_tasks *t, struct err *e);
void procfs_tasks_deinit(struct procfs_tasks *t);

#endif
