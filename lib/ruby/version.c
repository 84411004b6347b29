#include "ruby/version.h"

#include "util/escape.h"

#include <stdio.h>
#include <string.h>

/* Copy an exported char array. It need not be terminated inside its symbol. */
static int constant_read(const struct image *img, const char *name, char *buf, size_t size,
			 struct err *e)
{
	struct image_sym sym;
	if (image_sym(img, name, &sym, e) == -1)
		return err_prefix(e, "%s is no Ruby", image_name(img));
	size_t len = sym.size < size ? (size_t)sym.size : size - 1;
	const void *bytes = image_bytes(img, sym.addr, len);
	if (!bytes || len == 0)
		return err_set(e, ERR_BADDATA, "%s: %s is not in the file", image_name(img), name);
	memcpy(buf, bytes, len);
	buf[len] = '\0';
	return 0;
}

static int number_parse(const char **s, unsigned *ret)
{
	const char *p = *s;
	unsigned n = 0;
	for (; *p >= '0' && *p <= '9' && n < 256; p++)
		n = n * 10 + (unsigned)(*p - '0');
	if (p == *s || n > 255)
		return -1;
	*s = p;
	*ret = n;
	return 0;
}

static int version_parse(const char *s, uint32_t *ret)
{
	unsigned part[3];
	for (int i = 0; i < 3; i++) {
		if (i > 0 && *s++ != '.')
			return -1;
		if (number_parse(&s, &part[i]) == -1)
			return -1;
	}
	if (*s != '\0')
		return -1;
	*ret = RUBY_VERSION_OF(part[0], part[1], part[2]);
	return 0;
}

int ruby_version_read(const struct image *img, struct ruby_version *ret, struct err *e)
{
	char text[sizeof(ret->text)], description[sizeof(ret->description)];

	*ret = (struct ruby_version){0};
	if (constant_read(img, "ruby_version", text, sizeof(text), e) == -1)
		return -1;
	escape_text(text, ret->text, sizeof(ret->text));
	if (version_parse(text, &ret->num) == -1)
		return err_set(e, ERR_BADDATA, "%s: \"%s\" is no version of Ruby", image_name(img),
			       ret->text);
	if (constant_read(img, "ruby_description", description, sizeof(description), e) == -1)
		return -1;
	escape_text(description, ret->description, sizeof(ret->description));
	return 0;
}
