#include "session/check.h"

#include "session/attach.h"
#include "session/target.h"
#include "util/escape.h"

#include <dirent.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CANDIDATES_MAX = 10000 };

static __attribute__((format(printf, 2, 3))) void note(struct check_result *r, const char *fmt, ...)
{
	va_list ap;

	if (r->nnotes == sizeof(r->notes) / sizeof(r->notes[0]))
		return;
	va_start(ap, fmt);
	vsnprintf(r->notes[r->nnotes++], sizeof(r->notes[0]), fmt, ap);
	va_end(ap);
}

static const char *event_name(enum site_event ev)
{
	static const char *const names[SITE_EVENTS] = {
	    [SITE_ALLOC] = "alloc", [SITE_FREE] = "free", [SITE_MOVE] = "move"};

	return names[ev];
}

/* The displaced instructions as people read them, separated by "; ". */
static void disassemble(const struct arch *arch, void *decoder, const struct site *s, char *buf,
			size_t size)
{
	size_t at = 0, used = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < s->ninsn && at < s->len; i++) {
		struct insn insn;
		char text[96];

		arch->decode(decoder, s->old + at, s->len - at, s->addr + at, &insn);
		arch->disasm(decoder, s->old + at, s->len - at, s->addr + at, text, sizeof(text));
		int n = snprintf(buf + used, size - used, "%s%s", i ? "; " : "", text);
		if (n < 0 || (size_t)n >= size - used)
			return;
		used += (size_t)n;
		at += insn.len;
	}
}

static int fill_sites(const struct target *t, struct check_result *r, struct err *e)
{
	void *decoder = t->arch->decoder_create();

	r->sites = calloc(t->sites.n, sizeof(*r->sites));
	if (decoder == NULL || r->sites == NULL) {
		if (decoder != NULL)
			t->arch->decoder_destroy(decoder);
		return err_set(e, ERR_NOMEM, "listing sites");
	}
	for (size_t i = 0; i < t->sites.n; i++) {
		const struct site *s = &t->sites.v[i];
		struct check_site *c = &r->sites[r->nsites++];

		*c = (struct check_site){
		    .event = event_name(s->event),
		    .addr = t->bias + s->addr,
		    .vaddr = s->addr,
		    .len = s->len,
		    .why = s->why,
		};
		disassemble(t->arch, decoder, s, c->insn, sizeof(c->insn));
	}
	t->arch->decoder_destroy(decoder);
	return 0;
}

/* Is there room for the stub page, and can all hooks be planned? */
static int rehearse(const struct target *t, struct check_result *r, struct err *e)
{
	struct plant_req req;
	raddr_t stub;

	if (target_plant_req(t, &req, e) == -1)
		return -1;
	req.ring_bytes = ATTACH_RING_DEFAULT;
	if (plant_rehearse(&req, &stub, e) == -1)
		return -1;
	note(r, "the stub page would go to %" PRIRA ", a ring of %d MiB beside it", stub,
	     ATTACH_RING_DEFAULT >> 20);
	return 0;
}

static void fill_facts(const struct target *t, struct check_result *r)
{
	const uint32_t from = t->layout->from, until = t->layout->until;

	r->pid = t->pid;
	r->threads = t->status.threads;
	r->moves_known = t->moves_known;
	snprintf(r->ruby, sizeof(r->ruby), "%s", t->version.text);
	snprintf(r->description, sizeof(r->description), "%s", t->version.description);
	snprintf(r->exe, sizeof(r->exe), "%s", t->exe);
	snprintf(r->image, sizeof(r->image), "%s", t->image_base);
	snprintf(r->build_id, sizeof(r->build_id), "%s", image_build_id(t->image));
	snprintf(r->layout, sizeof(r->layout), "row %u.%u.%u up to %u.%u.%u, probed on the live VM",
		 from >> 16, from >> 8 & 255, from & 255, until >> 16, until >> 8 & 255,
		 until & 255);
	snprintf(r->tls, sizeof(r->tls), "%%fs:%+lld", (long long)t->ruby.ec_tls);
	if (t->status.n_nspid > 1)
		note(r, "in another pid namespace: it calls itself %d",
		     t->status.nspid[t->status.n_nspid - 1]);
	if (t->suspend_seccomp)
		note(r, "has a seccomp filter: suspended while it is stopped");
	if (!t->moves_known)
		note(r, "the place where compaction moves objects is not proven: moves would be "
			"unknown");
}

int check_run(pid_t pid, struct check_result *ret, struct err *e)
{
	struct target t;

	*ret = (struct check_result){.pid = pid};
	if (target_open(pid, &t, e) == -1)
		return -1;
	int got = target_check_unpatched(&t, e) == -1 || target_find_ruby(&t, e) == -1 ||
			  target_check_sites(&t, e) == -1 || target_probe(&t, e) == -1 ||
			  rehearse(&t, ret, e) == -1
		      ? -1
		      : fill_sites(&t, ret, e);
	if (got == 0)
		fill_facts(&t, ret);
	else if (!target_process_lives(pid, t.starttime))
		err_set(e, ERR_GONE, "%d: exited while it was looked at", pid);
	target_close(&t);
	return got;
}

void check_deinit(struct check_result *r)
{
	free(r->sites);
	*r = (struct check_result){0};
}

/* -- which processes could it be? ------------------------------------------------------------ */

/* A mapped file that is named like a Ruby, in a process we may read. */
static bool looks_like_ruby(pid_t pid)
{
	struct maps maps;
	struct err ignored;
	bool found = false;

	if (pid == getpid() || maps_read(pid, pid, &maps, &ignored) == -1)
		return false;
	for (size_t i = 0; i < maps.n && !found; i++) {
		const char *slash = strrchr(maps.v[i].path, '/');
		const char *base = slash != NULL ? slash + 1 : maps.v[i].path;

		found = maps.v[i].x &&
			(strncmp(base, "libruby", 7) == 0 || strncmp(base, "ruby", 4) == 0);
	}
	maps_deinit(&maps);
	return found;
}

static void describe(pid_t pid, struct candidate *c)
{
	struct procfs_status st;
	struct err ignored;
	const struct passwd *pw = NULL;

	*c = (struct candidate){.pid = pid};
	if (procfs_status(pid, pid, &st, &ignored) == 0)
		pw = getpwuid(st.uid[0]);
	snprintf(c->user, sizeof(c->user), "%s", pw != NULL ? pw->pw_name : "?");
	if (procfs_cmdline(pid, c->command, sizeof(c->command), &ignored) == -1)
		snprintf(c->command, sizeof(c->command), "?");
}

int check_candidates(struct candidate **ret, size_t *n, struct err *e)
{
	struct candidate *v = NULL;
	struct dirent *d;
	size_t cap = 0;
	DIR *dir = opendir("/proc");

	*n = 0;
	*ret = NULL;
	if (dir == NULL)
		return err_sys(e, ERR_SYS, "/proc");
	while ((d = readdir(dir)) != NULL && *n < CANDIDATES_MAX) {
		pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

		if (pid <= 0 || !looks_like_ruby(pid))
			continue;
		if (*n == cap) {
			struct candidate *grown =
			    reallocarray(v, cap = cap ? 2 * cap : 16, sizeof(*v));
			if (grown == NULL) {
				free(v);
				closedir(dir);
				return err_set(e, ERR_NOMEM, "listing processes");
			}
			v = grown;
		}
		describe(pid, &v[(*n)++]);
	}
	closedir(dir);
	*ret = v;
	return 0;
}
