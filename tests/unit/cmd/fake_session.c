#include "fake_session.h"

#include "session/attach.h"
#include "session/check.h"
#include "session/recover.h"
#include "signals.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attach {
	pid_t pid;
	int memory; /* a file open for writing, as the target's memory is */
	unsigned steps;
	double elapsed_s;
	char about[128];
};

int attach_start(pid_t pid, const struct attach_opts *o, struct attach **ret, struct err *e)
{
	if (pid == FAKE_REFUSED) {
		err_set(e, ERR_UNSUPPORTED, "%d: not a Ruby", (int)pid);
		return err_remedy(e, "another one");
	}
	struct attach *a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, ERR_NOMEM, "fake");
	a->pid = pid;
	a->memory = open("/dev/null", O_RDWR | O_CLOEXEC);
	snprintf(a->about, sizeof(a->about), "ruby 3.1.7\nring %zu, internal %d, thread %d",
		 o->ring_bytes, o->keep_internal, o->by_thread);
	dprintf(STDERR_FILENO, FAKE_START);
	*ret = a;
	return 0;
}

int attach_step(struct attach *a, unsigned ms, struct attach_status *st, struct err *e)
{
	if (a->pid == FAKE_BROKEN)
		return err_set(e, ERR_GONE, "ring: it is torn");
	poll(NULL, 0, (int)ms);
	a->elapsed_s += 0.25;
	*st = (struct attach_status){
	    .elapsed_s = a->elapsed_s,
	    .allocated = ++a->steps * 300000ul,
	    .live = 40123,
	};
	return a->pid != FAKE_GONE;
}

int attach_stop(struct attach *a, struct err *e)
{
	for (int i = 0; a->pid == FAKE_SLOW && signals_ends() < 2 && i < 1000; i++)
		poll(NULL, 0, 10);
	if (!isatty(STDERR_FILENO))
		dprintf(STDERR_FILENO, FAKE_STOP);
	if (a->pid == FAKE_DIRTY)
		return err_set(e, ERR_DIRTY, "%d: a page of ours was left", (int)a->pid);
	return 0;
}

int attach_profile(struct attach *a, struct profile **ret, struct err *e)
{
	static const struct profile_row row = {"test.rb", 11, "leak", "String", NULL, NULL,
					       1000,      0,  1000,   40000,    1000};
	struct profile *p = calloc(1, sizeof(*p));
	if (!p || !(p->rows = malloc(sizeof(row)))) {
		free(p);
		return err_set(e, ERR_NOMEM, "fake");
	}
	p->rows[0] = row;
	p->nrows = 1;
	p->pid = a->pid;
	p->ruby = "3.1.7";
	p->description = "ruby 3.1.7p261";
	p->exe = "/usr/bin/ruby3.1";
	p->image = "libruby-3.1.so.3.1.7";
	p->build_id = "80";
	p->vm_known = p->detached = true;
	p->allocated = p->vm_allocated = p->live = 1000;
	p->live_bytes = 40000;
	p->dropped_free = a->pid == FAKE_DROPS ? 1234 : 0;
	p->sampled = 1;
	*ret = p;
	return 0;
}

const char *attach_memory_report(struct attach *a)
{
	(void)a;
	return "live table 1 MB\n";
}

const char *attach_describe(struct attach *a)
{
	return a->about;
}

void attach_destroy(struct attach *a)
{
	close(a->memory);
	free(a);
}

int check_run(pid_t pid, struct check_result *r, struct err *e)
{
	static struct check_site site = {
	    .event = "alloc",
	    .addr = 0x7f0000001000,
	    .vaddr = 0x1000,
	    .len = 7,
	    .insn = "mov rax, rbx",
	    .why = "the object is in rbx",
	};
	if (pid == FAKE_REFUSED)
		return err_set(e, ERR_PERM, "%d: no permission", (int)pid);
	*r = (struct check_result){
	    .pid = pid,
	    .description = "ruby 3.1.7p261",
	    .threads = 2,
	    .sites = &site,
	    .nsites = 1,
	    .notes = {"YJIT is \033[7moff"},
	    .nnotes = 1,
	};
	return 0;
}

void check_deinit(struct check_result *r)
{
	*r = (struct check_result){0};
}

int check_candidates(struct candidate **ret, size_t *n, struct err *e)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return err_set(e, ERR_NOMEM, "fake");
	**ret = (struct candidate){4242, "deploy", "puma: cluster worker 0"};
	*n = 1;
	return 0;
}

int recover_run(pid_t pid, struct recover_result *r, struct err *e)
{
	if (pid == FAKE_DIRTY)
		return err_set(e, ERR_DIRTY, "%d: a page of ours was left", (int)pid);
	*r = (struct recover_result){11, 1, pid != FAKE_CLEAN, 131};
	return 0;
}
