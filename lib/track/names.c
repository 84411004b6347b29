#include "track/names.h"

#include "track/hash.h"

const char names_none[] = "";
const char names_collected_code[] = "(collected code)";
const char names_collected_class[] = "(collected class)";
const char names_other[] = "(other)";

struct name {
	UT_hash_handle hh;
	char text[];
};

/* The fixed ones by content, too, so that a target's "(other)" is no second row. */
static const char *fixed_find(const char *s)
{
	static const char *const fixed[] = {names_none, names_collected_code, names_collected_class,
					    names_other};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (strcmp(s, fixed[i]) == 0)
			return fixed[i];
	return NULL;
}

static const char *name_add(struct names *n, const char *s, size_t len)
{
	size_t bytes = sizeof(struct name) + len + 1;
	struct name *name;

	if (bytes > n->limit - n->bytes)
		return names_other;
	name = calloc(1, bytes);
	if (name == NULL)
		return names_other;
	memcpy(name->text, s, len);
	HASH_ADD(hh, n->table, text[0], (unsigned)len, name);
	if (name->hh.tbl == NULL) {
		free(name);
		return names_other;
	}
	n->bytes += bytes;
	return name->text;
}

const char *names_intern(struct names *n, const char *s)
{
	const char *fixed = fixed_find(s);
	size_t len = strlen(s);
	struct name *name;

	if (fixed != NULL)
		return fixed;
	HASH_FIND(hh, n->table, s, (unsigned)len, name);
	return name != NULL ? name->text : name_add(n, s, len);
}

void names_deinit(struct names *n)
{
	struct name *name, *next;

	HASH_ITER(hh, n->table, name, next)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): uthash walks by its own links */
		HASH_DEL(n->table, name);
		free(name);
	}
	n->bytes = 0;
}
