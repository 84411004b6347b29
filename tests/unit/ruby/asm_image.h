/* A few lines of assembly, made into a shared object and decoded: for tests of what reads code. */
#ifndef MEMPROF_TESTS_ASM_IMAGE_H
#define MEMPROF_TESTS_ASM_IMAGE_H

#include "code/text.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct asm_image {
	struct image *img;
	struct text *text;
};

static inline void asm_write(const char *path, const char *source)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ne(fputs(source, f), EOF);
	ck_assert_int_eq(fclose(f), 0);
}

static inline bool asm_link(const char *source, const char *object)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ne(pid, -1);
	if (pid == 0) {
		execlp("cc", "cc", "-shared", "-nostdlib", "-o", object, source, (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Owned: asm_image_close. Leaves no file behind. */
static inline struct asm_image asm_image_open(const char *source)
{
	char dir[] = "/tmp/memprof-asm-XXXXXX", s[64], so[64];
	struct asm_image a;
	struct err e;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(s, sizeof(s), "%s/code.S", dir);
	snprintf(so, sizeof(so), "%s/code.so", dir);
	asm_write(s, source);
	bool linked = asm_link(s, so);
	int fd = open(so, O_RDONLY | O_CLOEXEC);
	unlink(s);
	unlink(so);
	rmdir(dir);
	ck_assert_msg(linked && fd != -1, "cc can't assemble this:\n%s", source);
	ck_assert_msg(image_open(fd, "code.so", &a.img, &e) == 0, "%s", e.msg);
	close(fd);
	ck_assert_msg(text_create(a.img, arch_native(), &a.text, &e) == 0, "%s", e.msg);
	return a;
}

static inline void asm_image_close(struct asm_image *a)
{
	text_destroy(a->text);
	image_destroy(a->img);
}

/* vaddr of a label that the source exports. */
static inline uint64_t asm_label(const struct asm_image *a, const char *name)
{
	struct image_sym sym;
	struct err e;

	ck_assert_msg(image_sym(a->img, name, &sym, &e) == 0, "%s", e.msg);
	return sym.addr;
}

#endif
