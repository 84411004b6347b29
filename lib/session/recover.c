#include "session/recover.h"

#include "agent/abi.h"
#include "patch/undo.h"
#include "proc/shm.h"
#include "session/quiet.h"
#include "session/target.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHM_PATH "/memfd:" SHM_NAME " "

static bool is_anonymous(const struct map *m, raddr_t start, uint64_t len, bool x)
{
	return m != NULL && m->start == start && m->end - m->start == len && m->inode == 0 &&
	       m->x == x && m->path[0] == 0;
}

static const struct map *find_shm(const struct target *t)
{
	for (size_t i = 0; i < t->maps.n; i++) {
		if (strncmp(t->maps.v[i].path, SHM_PATH, strlen(SHM_PATH)) == 0)
			return &t->maps.v[i];
	}
	return NULL;
}

/* A death between two mappings leaves no journal; then the ring's header says what was meant. It is
 * the target's to write: believe only what looks as we would have made it. */
static void intents_from_shm(const struct target *t, const struct map *m, struct journal *j)
{
	struct mp_shm head;
	struct err ignored;

	*j = (struct journal){.shm = m->start, .shm_len = m->end - m->start};
	if (mem_read(&t->mem, m->start, &head, sizeof(head), &ignored) == -1 ||
	    head.magic != MP_SHM_MAGIC || head.shm_addr != m->start)
		return;
	j->owner = (pid_t)head.owner_pid;
	j->owner_starttime = head.owner_starttime;
	if (is_anonymous(maps_find(&t->maps, head.stub_addr), head.stub_addr, head.stub_len,
			 true)) {
		j->stub = head.stub_addr;
		j->stub_len = head.stub_len;
	}
	if (is_anonymous(maps_find(&t->maps, head.ctl_addr), head.ctl_addr, head.ctl_len, false)) {
		j->ctl = head.ctl_addr;
		j->ctl_len = head.ctl_len;
	}
}

/* A descriptor of ours that a death left open, with nothing mapped yet. */
static bool has_leftover_fd(pid_t pid)
{
	char path[300], link[64];
	struct dirent *d;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *dir = opendir(path);
	while (dir != NULL && !found && (d = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, d->d_name);
		ssize_t n = readlink(path, link, sizeof(link) - 1);
		if (n > 0) {
			link[n] = 0;
			found = strncmp(link, SHM_PATH, strlen(SHM_PATH)) == 0;
		}
	}
	if (dir != NULL)
		closedir(dir);
	return found;
}

/* What is there to undo? Returns 1 and *j, 0 nothing, -1 and e. */
static int find_work(struct target *t, struct journal *j, struct err *e)
{
	const struct map *shm = find_shm(t);
	struct err why;
	raddr_t at;

	*j = (struct journal){0};
	if (journal_find(&t->mem, &t->maps, &at, &why) == 0) {
		int ret = journal_read(&t->mem, at, j, e);

		if (ret == 0 && journal_judge(j, &t->maps, target_read_file, t, e) == 0)
			return 1;
		journal_deinit(j);
		/* Half-written: then no word of text has been touched, the header is enough. */
		if (ret == 0 || e->code == ERR_UNSUPPORTED || shm == NULL) {
			e->code = ERR_DIRTY;
			return err_prefix(
			    e, "%d: its journal is not to be believed, nothing was undone", t->pid);
		}
	}
	if (shm != NULL) {
		intents_from_shm(t, shm, j);
		return 1;
	}
	return has_leftover_fd(t->pid) ? 1 : 0;
}

static int check_owner(const struct target *t, const struct journal *j, struct err *e)
{
	if (j->owner == 0 || j->owner == getpid() ||
	    !target_process_lives(j->owner, j->owner_starttime))
		return 0;
	err_set(e, ERR_BUSY, "%d: is being profiled by memprof %d, which is alive", t->pid,
		j->owner);
	return err_remedy(e, "end it with ^C there, or kill -INT %d", j->owner);
}

static int undo_all(struct target *t, const struct journal *j, struct recover_result *ret,
		    struct err *e)
{
	struct undo_req req = {
	    .pid = t->pid,
	    .arch = t->arch,
	    .mem = &t->mem,
	    .mem_fd = t->mem_fd,
	    .suspend_seccomp = t->suspend_seccomp,
	    .journal = j,
	};
	struct undo_result done;
	struct quiet q;

	quiet_begin(&q);
	int got = undo(&req, &done, e);
	quiet_end(&q);
	ret->sites = done.words;
	ret->mappings = done.mappings;
	ret->pause_us = (unsigned)done.pause_us;
	return got;
}

int recover_run(pid_t pid, struct recover_result *ret, struct err *e)
{
	struct target t;
	struct journal j;

	*ret = (struct recover_result){0};
	if (target_open(pid, &t, e) == -1)
		return -1;
	int got = find_work(&t, &j, e);
	if (got == 1) {
		ret->found = true;
		got = check_owner(&t, &j, e) == -1 ? -1 : undo_all(&t, &j, ret, e);
		if (got == -1 && e->code == ERR_GONE)
			err_set(e, ERR_GONE, "%d: exited meanwhile", pid);
	}
	journal_deinit(&j);
	target_close(&t);
	return got;
}
