#include "ruby/klass.h"

#include "ruby/object.h"
#include "ruby/table.h"

#include <stdio.h>
#include <string.h>

/* No chain of superclasses is longer: what seems to be is a cycle in something that is no class. */
enum { SUPER_CAP = 4096 };

/* Init_var_tables (variable.c) interns __classpath__ and __tmp_classpath__ one after the other, and
 * consecutive IDs of new names are this far apart (ID_SCOPE_SHIFT, symbol.h). */
enum { ID_STEP = 1 << 4 };

static int class_word(const struct ruby *rb, raddr_t klass, int32_t off, uint64_t *ret,
		      struct err *e)
{
	return mem_u64(rb->mem, klass + off, ret, e);
}

static int class_flags(const struct ruby *rb, raddr_t klass, uint32_t *ret, struct err *e)
{
	if (klass == 0 || (klass & 7) != 0)
		return err_set(e, ERR_BADDATA, "%" PRIRA " is no class", klass);
	return mem_u32(rb->mem, klass, ret, e);
}

/* As rb_class_real: past singleton and include classes. */
static int class_real(const struct ruby *rb, raddr_t klass, raddr_t *ret, uint32_t *flags,
		      struct err *e)
{
	raddr_t at = klass;
	for (int i = 0; i < SUPER_CAP; i++) {
		if (class_flags(rb, at, flags, e) == -1)
			return -1;
		bool iclass = (*flags & rb->lay->agent.type_mask) == RT_ICLASS;
		if (!iclass && !ruby_is_class(*flags))
			break;
		if (!iclass && !(*flags & rb->lay->klass.singleton)) {
			*ret = at;
			return 0;
		}
		if (class_word(rb, at, rb->lay->klass.super, &at, e) == -1)
			return -1;
	}
	return err_set(e, ERR_BADDATA, "no class behind %" PRIRA, klass);
}

/* The table of instance variables; 0 when the class has none. */
static int class_ivars(const struct ruby *rb, raddr_t klass, raddr_t *ret, struct err *e)
{
	raddr_t ext;
	if (class_word(rb, klass, rb->lay->klass.ext, &ext, e) == -1)
		return -1;
	if (ext == 0)
		return err_set(e, ERR_BADDATA, "class at %" PRIRA " is not complete", klass);
	return mem_u64(rb->mem, ext + rb->lay->klass.iv_tbl, ret, e);
}

struct name_search {
	uint64_t classpath_id, tmp_classpath_id;
	raddr_t permanent, temporary; /* Strings, 0: none */
};

static bool name_seen(void *arg, uint64_t key, uint64_t record)
{
	struct name_search *s = arg;
	if (key == s->classpath_id)
		s->permanent = record;
	else if (key == s->tmp_classpath_id)
		s->temporary = record;
	return s->permanent == 0;
}

/* The String that names the class, as classname() of variable.c; 0 when there is none. */
static int class_name_str(const struct ruby *rb, raddr_t klass, raddr_t *ret, bool *permanent,
			  struct err *e)
{
	struct name_search s = {rb->classpath_id, rb->tmp_classpath_id, 0, 0};
	raddr_t ivars;
	if (class_ivars(rb, klass, &ivars, e) == -1)
		return -1;
	if (ivars != 0 && ruby_table_each(rb, ivars, name_seen, &s, e) == -1)
		return -1;
	*permanent = s.permanent != 0;
	*ret = *permanent ? s.permanent : s.temporary;
	return 0;
}

/* What stands before the address of an anonymous module: the name of its class, asked without
 * skipping a singleton class, as rb_tmp_class_path does. */
static int module_kind(const struct ruby *rb, raddr_t module, char *buf, size_t size, struct err *e)
{
	raddr_t word, real, str;
	uint32_t flags;
	bool permanent;

	if (class_word(rb, module, rb->lay->klass.word, &word, e) == -1 ||
	    class_real(rb, word, &real, &flags, e) == -1)
		return -1;
	if (real == rb->c_module) {
		snprintf(buf, size, "Module");
		return 0;
	}
	if (class_name_str(rb, word, &str, &permanent, e) == -1)
		return -1;
	if (str != 0)
		return ruby_str_read(rb, str, buf, size, e) == -1 ? -1 : 0;
	snprintf(buf, size, "#<Class:0x%016" PRIx64 ">", word);
	return 0;
}

static int anonymous_name(const struct ruby *rb, raddr_t klass, uint32_t flags, char *buf,
			  size_t size, struct err *e)
{
	char kind[256] = "Class";
	if ((flags & rb->lay->agent.type_mask) == RT_MODULE &&
	    module_kind(rb, klass, kind, sizeof(kind), e) == -1)
		return -1;
	snprintf(buf, size, "#<%s:0x%016" PRIx64 ">", kind, klass);
	return 0;
}

int ruby_class_name(const struct ruby *rb, raddr_t klass, char *buf, size_t size, bool *permanent,
		    struct err *e)
{
	raddr_t real, str;
	uint32_t flags;

	if (class_real(rb, klass, &real, &flags, e) == -1 ||
	    class_name_str(rb, real, &str, permanent, e) == -1)
		return -1;
	if (str == 0)
		return anonymous_name(rb, real, flags, buf, size, e);
	return ruby_str_read(rb, str, buf, size, e) == -1 ? -1 : 0;
}

/* -- learning the IDs ------------------------------------------------------------------------- */

enum { CANDIDATES = 16 };

struct candidates {
	const struct ruby *rb;
	const char *name;
	uint64_t key[CANDIDATES];
	size_t n;
};

static bool candidate_seen(void *arg, uint64_t key, uint64_t record)
{
	struct candidates *c = arg;
	char text[32];
	struct err ignored;
	if (ruby_str_read(c->rb, record, text, sizeof(text), &ignored) != -1 &&
	    strcmp(text, c->name) == 0)
		c->key[c->n++] = key;
	return c->n < CANDIDATES;
}

/* The instance variables of a class whose value is a String of this text. */
static int candidates_find(const struct ruby *rb, raddr_t klass, const char *name,
			   struct candidates *ret, struct err *e)
{
	raddr_t ivars;
	*ret = (struct candidates){.rb = rb, .name = name};
	if (class_ivars(rb, klass, &ivars, e) == -1)
		return -1;
	return ivars == 0 ? 0 : ruby_table_each(rb, ivars, candidate_seen, ret, e);
}

int ruby_classpath_learn(struct ruby *rb, struct err *e)
{
	struct candidates object, module;
	if (candidates_find(rb, rb->c_object, "Object", &object, e) == -1 ||
	    candidates_find(rb, rb->c_module, "Module", &module, e) == -1)
		return -1;
	/* A program may keep its own "Object" in Object: the name's variable fits both. */
	for (size_t i = 0; i < object.n; i++)
		for (size_t k = 0; k < module.n; k++)
			if (object.key[i] == module.key[k]) {
				rb->classpath_id = object.key[i];
				rb->tmp_classpath_id = object.key[i] + ID_STEP;
				return 0;
			}
	return err_set(e, ERR_BADDATA,
		       "the names of Object and Module are not where they should be");
}
