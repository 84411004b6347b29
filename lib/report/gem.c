#include "report/gem.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* A part of a path between two slashes. */
struct part {
	const char *s;
	size_t len;
};

static struct part part_at(const char *s)
{
	return (struct part){s, strcspn(s, "/")};
}

static bool part_is(struct part p, const char *s)
{
	return p.len == strlen(s) && memcmp(p.s, s, p.len) == 0;
}

/* "rack-3.1.8", "nokogiri-1.16.7-x86_64-linux": a dash with a digit behind it. */
static bool has_version(struct part p)
{
	for (size_t i = 1; i + 1 < p.len; i++)
		if (p.s[i] == '-' && isdigit((unsigned char)p.s[i + 1]))
			return true;
	return false;
}

/* "3.1.0": the directory of one Ruby's library. */
static bool is_api_version(struct part p)
{
	size_t dots = 0;
	for (size_t i = 0; i < p.len; i++) {
		if (p.s[i] == '.')
			dots++;
		else if (!isdigit((unsigned char)p.s[i]))
			return false;
	}
	return dots == 2 && isdigit((unsigned char)p.s[0]);
}

/* What the directory after .../lib/ruby/ or .../lib/TRIPLET/ruby/ (Debian) holds. */
static struct part library_of(struct part dir)
{
	if (is_api_version(dir))
		return part_at("stdlib");
	if (part_is(dir, "site_ruby") || part_is(dir, "vendor_ruby"))
		return dir;
	return (struct part){NULL, 0};
}

/* The innermost gem wins: an app may live in a directory that looks like one. */
static struct part scan(const char *path)
{
	struct part p = {"", 0}, before = p, before2 = p, found = {"app", 3};

	for (const char *s = path; *s; s = p.s + p.len + (p.s[p.len] == '/')) {
		struct part last = p;
		p = part_at(s);
		bool is_dir = p.s[p.len] == '/';
		if (is_dir && part_is(last, "gems") &&
		    (has_version(p) || part_is(before, "bundler")))
			found = p;
		bool in_lib = part_is(before, "lib") || part_is(before2, "lib");
		if (is_dir && part_is(last, "ruby") && in_lib && library_of(p).s)
			found = library_of(p);
		before2 = before;
		before = last;
	}
	return found;
}

const char *gem_of(const char *path, size_t *len)
{
	struct part p = {"", 0};

	if (strncmp(path, "<internal:", strlen("<internal:")) == 0)
		p = part_at("ruby core");
	else if (path[0] == '(' && strcmp(path, "(collected code)") == 0)
		p = part_at(path);
	else if (path[0])
		p = scan(path);
	*len = p.len;
	return p.s;
}
