/* Finding the Ruby in a process, and holding what we think of it against the live VM. */
#include "session/target.h"

#include "patch/journal.h"
#include "proc/tracee.h"
#include "util/escape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { CANDIDATES_MAX = 256, PROBE_STOP_MS = 50 };

/* -- the file behind a map ------------------------------------------------------------------- */

/*
 * The very file that is mapped, whatever its path means now: through map_files (also when it was
 * deleted or replaced), else by path in the target's own root, if that is still the same inode.
 */
static int open_map_file(pid_t pid, const struct map *m, struct err *e)
{
	char path[4200];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, m->start,
		 m->end);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd != -1)
		return fd;
	snprintf(path, sizeof(path), "/proc/%d/root%s", pid, m->path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == m->inode &&
	    major(st.st_dev) == m->dev_major && minor(st.st_dev) == m->dev_minor)
		return fd;
	if (fd != -1)
		close(fd);
	return err_set(e, ERR_UNSUPPORTED, "the file mapped at %" PRIRA " can't be opened any more",
		       m->start);
}

int target_read_file(void *target, const struct map *m, uint64_t offset, void *buf, size_t len,
		     struct err *e)
{
	const struct target *t = target;
	int fd = open_map_file(t->pid, m, e);

	if (fd == -1)
		return -1;
	ssize_t n = pread(fd, buf, len, (off_t)offset);
	close(fd);
	if (n != (ssize_t)len)
		return err_set(e, ERR_BADDATA, "the file mapped at %" PRIRA " is too short",
			       m->start);
	return 0;
}

/* -- which object holds the VM? -------------------------------------------------------------- */

static bool same_file(const struct map *a, const struct map *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static bool holds_vm(const struct image *img)
{
	struct image_sym s;
	struct err ignored;

	return image_sym(img, "ruby_version", &s, &ignored) == 0 &&
	       image_sym(img, "rb_gc_count", &s, &ignored) == 0;
}

/* Returns 1 it holds the VM (kept in t), 0 it does not, -1 and e. */
static int try_map(struct target *t, const struct map *m, struct err *e)
{
	char name[128];
	struct image *img;
	int fd = open_map_file(t->pid, m, e);

	if (fd == -1)
		return 0;
	escape_text(base_name(m->path), name, sizeof(name));
	int ret = image_open(fd, name, &img, e);
	close(fd);
	if (ret == -1)
		return 0;
	if (!holds_vm(img)) {
		image_destroy(img);
		return 0;
	}
	t->image = img;
	snprintf(t->image_base, sizeof(t->image_base), "%s", name);
	return image_bias(img, &t->maps, m->dev_major, m->dev_minor, m->inode, &t->bias, e) == 0
		   ? 1
		   : -1;
}

/* All executable files that are mapped, those with "ruby" in their name first. */
static int find_image(struct target *t, struct err *e)
{
	const struct map *seen[CANDIDATES_MAX];
	size_t n = 0;

	for (int named = 1; named >= 0; named--) {
		for (size_t i = 0; i < t->maps.n; i++) {
			const struct map *m = &t->maps.v[i];
			size_t k = 0;

			if (!m->x || m->inode == 0 || n == CANDIDATES_MAX ||
			    (strstr(base_name(m->path), "ruby") != NULL) != named)
				continue;
			while (k < n && !same_file(seen[k], m))
				k++;
			if (k < n)
				continue;
			seen[n++] = m;
			int got = try_map(t, m, e);
			if (got != 0)
				return got == 1 ? 0 : -1;
		}
	}
	return err_set(e, ERR_UNSUPPORTED, "%d: is not Ruby, %s maps no Ruby VM", t->pid,
		       t->exe[0] ? t->exe : "its program");
}

static int check_64bit(const struct target *t, struct err *e)
{
	char path[32];
	unsigned char ident[5] = {0};

	snprintf(path, sizeof(path), "/proc/%d/exe", t->pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return 0; /* find_image says what is wrong */
	ssize_t n = pread(fd, ident, sizeof(ident), 0);
	close(fd);
	if (n == (ssize_t)sizeof(ident) && memcmp(ident, "\177ELF", 4) == 0 && ident[4] == 1)
		return err_set(e, ERR_UNSUPPORTED, "%d: is a 32-bit process", t->pid);
	return 0;
}

static int find_code(struct target *t, struct err *e)
{
	if (ruby_version_read(t->image, &t->version, e) == -1)
		return -1;
	t->layout = ruby_layout_find(t->version.num);
	if (t->layout == NULL)
		return err_set(e, ERR_UNSUPPORTED,
			       "%d: runs Ruby %s, whose structures this memprof does not know",
			       t->pid, t->version.text);
	if (text_create(t->image, t->arch, &t->text, e) == -1 ||
	    ruby_code_derive(t->text, &t->code, e) == -1)
		return -1;
	return ruby_sites_find(t->text, &t->version, &t->code, t->layout, &t->sites,
			       &t->moves_known, e);
}

/* What the analysis refuses is a fact about this target, whatever floor found it. */
static int unsupported(struct target *t, struct err *e)
{
	if (e->code != ERR_GONE && e->code != ERR_PERM && e->code != ERR_NOMEM) {
		e->code = ERR_UNSUPPORTED;
		if (t->image != NULL)
			err_prefix(e, "%s", t->image_base);
	}
	return -1;
}

int target_find_ruby(struct target *t, struct err *e)
{
	if (check_64bit(t, e) == -1)
		return -1;
	if (find_image(t, e) == -1 || find_code(t, e) == -1)
		return unsupported(t, e);
	return 0;
}

/* -- the live VM ----------------------------------------------------------------------------- */

/* The thread base of a thread that runs Ruby: the first one's. Stops it for an instant. */
static int read_tls_base(struct target *t, raddr_t *base, struct err *e)
{
	struct tracee tr;
	size_t i;

	tracee_init(&tr, t->pid, t->arch);
	tr.suspend_seccomp = t->suspend_seccomp;
	int ret = tracee_stop_one(&tr, t->pid, PROBE_STOP_MS, &i, e);
	if (ret == 0)
		*base = tr.v[i].at.tls_base;
	tracee_deinit(&tr);
	return ret;
}

int target_probe(struct target *t, struct err *e)
{
	raddr_t base = 0;

	if (ruby_open(&t->mem, t->image, t->bias, &t->code, t->layout, &t->ruby, e) == -1)
		return unsupported(t, e);
	if (read_tls_base(t, &base, e) == -1)
		return -1;
	if (ruby_tls_offset(&t->mem, t->bias, &t->code, base, &t->ruby.ec_tls, e) == -1 ||
	    ruby_probe(&t->ruby, e) == -1)
		return unsupported(t, e);
	if (!ruby_thread_has_ec(&t->ruby, base)) {
		err_set(e, ERR_UNSUPPORTED, "its first thread has no execution context");
		return unsupported(t, e);
	}
	return 0;
}

int target_check_unpatched(const struct target *t, struct err *e)
{
	struct journal j;
	struct err why;
	raddr_t at;

	if (journal_find(&t->mem, &t->maps, &at, &why) == -1)
		return 0;
	if (journal_read(&t->mem, at, &j, &why) == -1) {
		err_set(e, ERR_BUSY, "%d: holds a stub page of memprof: %s", t->pid, why.msg);
		return err_remedy(e, "memprof detach %d", t->pid);
	}
	if (target_process_lives(j.owner, j.owner_starttime)) {
		err_set(e, ERR_BUSY, "%d: is already profiled by memprof %d", t->pid, j.owner);
		err_remedy(e, "end it with ^C there, or kill -INT %d", j.owner);
	} else {
		err_set(e, ERR_BUSY, "%d: was left patched by memprof %d, which is dead", t->pid,
			j.owner);
		err_remedy(e, "memprof detach %d", t->pid);
	}
	journal_deinit(&j);
	return -1;
}

int target_check_sites(const struct target *t, struct err *e)
{
	uint8_t seen[SITE_WINDOW_MAX];

	for (size_t i = 0; i < t->sites.n; i++) {
		const struct site *s = &t->sites.v[i];

		if (mem_read(&t->mem, t->bias + s->addr, seen, s->len, e) == -1)
			return -1;
		if (memcmp(seen, s->old, s->len) != 0) {
			err_set(e, ERR_BUSY, "%d: its code at %" PRIRA " differs from the file's",
				t->pid, t->bias + s->addr);
			return err_remedy(e,
					  "is another tool (a debugger, a probe) at work there?");
		}
	}
	return 0;
}

static bool is_branch_target(const void *text, uint64_t vaddr)
{
	return text_is_target(text, vaddr);
}

int target_plant_req(const struct target *t, struct plant_req *ret, struct err *e)
{
	struct procfs_stat self;

	if (procfs_stat(getpid(), getpid(), &self, e) == -1)
		return -1;
	*ret = (struct plant_req){
	    .pid = t->pid,
	    .starttime = t->starttime,
	    .owner = getpid(),
	    .owner_starttime = self.starttime,
	    .arch = t->arch,
	    .mem = &t->mem,
	    .mem_fd = t->mem_fd,
	    .suspend_seccomp = t->suspend_seccomp,
	    .image = t->image,
	    .bias = t->bias,
	    .sites = &t->sites,
	    .is_target = is_branch_target,
	    .text = t->text,
	};
	ruby_agent_config(&t->ruby, &ret->config);
	return 0;
}
