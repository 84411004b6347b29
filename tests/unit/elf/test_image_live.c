/* Real libraries, loaded here: the dynamic linker says what the right answers are. */
#include "elf/image.h"

#include "suite.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct lib {
	void *handle;
	struct link_map *lm;
	struct stat st;
	struct image *img;
};

static void lib_open(struct lib *l, const char *path)
{
	struct err e = {0};
	int fd;

	l->handle = dlopen(path, RTLD_NOW);
	ck_assert_msg(l->handle != NULL, "%s", dlerror());
	ck_assert_int_eq(dlinfo(l->handle, RTLD_DI_LINKMAP, &l->lm), 0);
	fd = open(l->lm->l_name, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(fstat(fd, &l->st), 0);
	ck_assert_msg(image_open(fd, l->lm->l_name, &l->img, &e) == 0, "%s", e.msg);
	close(fd);
}

static void lib_close(struct lib *l)
{
	image_destroy(l->img);
	dlclose(l->handle);
}

static void check_symbol(const struct lib *l, const char *name, enum image_sym_kind kind)
{
	struct image_sym s;
	struct err e = {0};

	ck_assert_msg(image_sym(l->img, name, &s, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(s.addr + l->lm->l_addr, (uintptr_t)dlsym(l->handle, name));
	ck_assert_int_eq(s.kind, kind);
	ck_assert_uint_gt(s.size, 0);
}

static void check_bias(const struct lib *l)
{
	struct maps m;
	struct err e = {0};
	uint64_t bias;

	ck_assert_int_eq(maps_read(getpid(), getpid(), &m, &e), 0);
	ck_assert_msg(image_bias(l->img, &m, major(l->st.st_dev), minor(l->st.st_dev), l->st.st_ino,
				 &bias, &e) == 0,
		      "%s", e.msg);
	ck_assert_uint_eq(bias, l->lm->l_addr);
	maps_deinit(&m);
}

/* Code is the same in the file and in memory. */
static void check_text(const struct lib *l)
{
	struct image_range text;
	struct err e;
	const void *bytes;

	ck_assert_int_eq(image_text(l->img, &text, &e), 0);
	bytes = image_bytes(l->img, text.addr, text.size);
	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(memcmp(bytes, (void *)(l->lm->l_addr + text.addr), text.size), 0);
}

START_TEST(c_library)
{
	struct lib l;

	lib_open(&l, "libc.so.6");
	ck_assert(image_is_dyn(l.img));
	ck_assert_uint_eq(strlen(image_build_id(l.img)), 40);
	check_symbol(&l, "qsort", IMAGE_SYM_FUNC);
	check_symbol(&l, "program_invocation_name", IMAGE_SYM_OBJECT);
	check_bias(&l);
	check_text(&l);
	lib_close(&l);
}
END_TEST

/* The shared Ruby of this system, or NULL. */
static const char *libruby(void)
{
	static char path[256];
	const char *env = getenv("MEMPROF_TEST_LIBRUBY");
	glob_t g;

	if (env != NULL)
		return env;
	if (glob("/usr/lib/*/libruby*.so.*", 0, NULL, &g) == 0)
		snprintf(path, sizeof(path), "%s", g.gl_pathv[g.gl_pathc - 1]);
	globfree(&g);
	return path[0] == '\0' ? NULL : path;
}

START_TEST(ruby)
{
	struct lib l;
	struct image_sym s;
	struct err e = {0};
	const char *path = libruby();
	uint64_t slot;
	size_t module;

	lib_open(&l, path);
	check_symbol(&l, "ruby_version", IMAGE_SYM_OBJECT);
	check_symbol(&l, "ruby_description", IMAGE_SYM_OBJECT);
	check_symbol(&l, "rb_gc_count", IMAGE_SYM_FUNC);
	check_symbol(&l, "rb_during_gc", IMAGE_SYM_FUNC);
	check_symbol(&l, "ruby_current_vm_ptr", IMAGE_SYM_OBJECT);
	check_bias(&l);
	check_text(&l);

	/* The loader has filled in the pair: {its number of the module, offset of the variable}. */
	ck_assert_int_eq(image_sym(l.img, "ruby_current_ec", &s, &e), 0);
	ck_assert_int_eq(s.kind, IMAGE_SYM_TLS);
	ck_assert_msg(image_tls_got(l.img, "ruby_current_ec", &slot, &e) == 0, "%s", e.msg);
	const size_t *pair = (const size_t *)(l.lm->l_addr + slot);
	ck_assert_int_eq(dlinfo(l.handle, RTLD_DI_TLS_MODID, &module), 0);
	ck_assert_uint_eq(pair[0], module);
	ck_assert_uint_eq(pair[1], s.addr);
	ck_assert(image_in_relro(l.img, slot));
	lib_close(&l);
}
END_TEST

/* Before main: without a Ruby the whole program is a visible skip. */
__attribute__((constructor)) static void skip_without_ruby(void)
{
	if (libruby() == NULL) {
		printf("SKIP: no shared libruby under /usr/lib\n");
		fflush(stdout);
		_exit(77);
	}
}

SUITE_MAIN("image_live", c_library, ruby)
