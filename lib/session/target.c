#include "session/target.h"

#include "mem/mem_fd.h"
#include "util/escape.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* -- who is it, and may we? ------------------------------------------------------------------ */

static bool has_capability(unsigned cap)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	return syscall(SYS_capget, &head, data) == 0 &&
	       (data[cap / 32].effective & 1u << cap % 32) != 0;
}

static const char *user_name(uid_t uid, char *buf, size_t size)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw != NULL)
		snprintf(buf, size, "%s", pw->pw_name);
	else
		snprintf(buf, size, "uid %u", uid);
	return buf;
}

static int check_kind(const struct target *t, struct err *e)
{
	struct procfs_stat st;

	if (t->pid == getpid())
		return err_set(e, ERR_UNSUPPORTED, "%d: is memprof itself", t->pid);
	if (procfs_stat(t->pid, t->pid, &st, e) == -1) {
		if (e->code == ERR_GONE)
			err_set(e, ERR_GONE, "%d: no such process", t->pid);
		return -1;
	}
	if (procfs_is_kthread(&st))
		return err_set(e, ERR_UNSUPPORTED, "%d: is a kernel thread", t->pid);
	if (procfs_is_zombie(&st) && t->status.threads <= 1)
		return err_set(e, ERR_GONE, "%d: has exited and waits for its parent", t->pid);
	if (t->status.tgid != t->pid) {
		err_set(e, ERR_UNSUPPORTED, "%d: is a thread of process %d", t->pid,
			t->status.tgid);
		return err_remedy(e, "use %d", t->status.tgid);
	}
	return 0;
}

static int check_tracer(const struct target *t, struct err *e)
{
	struct procfs_stat st;
	struct err ignored;
	char comm[128];

	if (t->status.tracer == 0)
		return 0;
	if (procfs_stat(t->status.tracer, t->status.tracer, &st, &ignored) == -1)
		return err_set(e, ERR_BUSY, "%d: is being traced by process %d", t->pid,
			       t->status.tracer);
	err_set(e, ERR_BUSY, "%d: is being traced by process %d (%s)", t->pid, t->status.tracer,
		escape_text(st.comm, comm, sizeof(comm)));
	return err_remedy(e, "detach that tool first");
}

static int check_policy(struct target *t, struct err *e)
{
	if (t->status.shstk)
		return err_set(e, ERR_UNSUPPORTED, "%d: runs with a shadow stack", t->pid);
	if (t->status.seccomp == 0)
		return 0;
	if (!has_capability(CAP_SYS_ADMIN)) {
		err_set(e, ERR_UNSUPPORTED,
			"%d: has a seccomp filter that could kill it, and suspending it needs "
			"CAP_SYS_ADMIN",
			t->pid);
		return err_remedy(e, "run memprof as root");
	}
	t->suspend_seccomp = true;
	return 0;
}

static int permission_error(const struct target *t, struct err *e)
{
	char name[64];

	if (t->status.uid[0] != geteuid()) {
		err_set(e, ERR_PERM, "%d: belongs to %s, this user may not trace it", t->pid,
			user_name(t->status.uid[0], name, sizeof(name)));
	} else {
		err_set(e, ERR_PERM,
			"%d: may not be traced by this user (not dumpable, or a policy "
			"such as yama's ptrace_scope)",
			t->pid);
	}
	return err_remedy(e, "run memprof as root (sudo), or give it CAP_SYS_PTRACE");
}

static int open_memory(struct target *t, struct err *e)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", t->pid);
	t->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (t->mem_fd == -1 && (errno == EACCES || errno == EPERM))
		return permission_error(t, e);
	if (t->mem_fd == -1)
		return err_sys(e, errno == ENOENT ? ERR_GONE : ERR_SYS, "%s", path);
	t->mem = mem_fd(t->mem_fd);
	return 0;
}

static int identify(struct target *t, struct err *e)
{
	struct procfs_stat st;
	char exe[4096];

	if (procfs_status(t->pid, t->pid, &t->status, e) == -1) {
		if (e->code == ERR_GONE)
			err_set(e, ERR_GONE, "%d: no such process", t->pid);
		return -1;
	}
	if (check_kind(t, e) == -1 || check_tracer(t, e) == -1 ||
	    procfs_stat(t->pid, t->pid, &st, e) == -1)
		return -1;
	t->starttime = st.starttime;
	t->pid_fd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	if (open_memory(t, e) == -1 || maps_read(t->pid, t->pid, &t->maps, e) == -1)
		return -1;
	struct err ignored;
	if (procfs_exe(t->pid, exe, sizeof(exe), &ignored) == 0)
		escape_text(exe, t->exe, sizeof(t->exe));
	return 0;
}

int target_open(pid_t pid, struct target *ret, struct err *e)
{
	*ret = (struct target){.arch = arch_native(), .pid = pid, .pid_fd = -1, .mem_fd = -1};
	if (identify(ret, e) == -1 || check_policy(ret, e) == -1) {
		target_close(ret);
		return -1;
	}
	return 0;
}

void target_close(struct target *t)
{
	site_list_deinit(&t->sites);
	text_destroy(t->text);
	image_destroy(t->image);
	maps_deinit(&t->maps);
	if (t->arch != NULL && t->mem_fd != -1)
		close(t->mem_fd);
	if (t->arch != NULL && t->pid_fd != -1)
		close(t->pid_fd);
	*t = (struct target){0};
}

bool target_process_lives(pid_t pid, uint64_t starttime)
{
	struct procfs_stat st;
	struct err ignored;

	return procfs_stat(pid, pid, &st, &ignored) == 0 && st.starttime == starttime &&
	       !procfs_is_zombie(&st);
}

bool target_is_alive(const struct target *t)
{
	uint8_t byte;

	/* After exec the descriptor still means the old, empty address space: nothing is read. */
	return target_process_lives(t->pid, t->starttime) &&
	       mem_read_upto(&t->mem, t->bias + t->code.vm_ptr, &byte, 1) == 1;
}
