/* Which gem a source file belongs to, told by its path. */
#ifndef MEMPROF_REPORT_GEM_H
#define MEMPROF_REPORT_GEM_H

#include <stddef.h>

/*
 * "NAME-VERSION" of a path below .../gems/NAME-VERSION/, "NAME-SHA" of Bundler's git checkouts,
 * "stdlib", "site_ruby", "vendor_ruby", "ruby core" (<internal:...>), "app" for all else and "" for
 * no path. Not terminated: *len bytes, inside path or a constant.
 */
const char *gem_of(const char *path, size_t *len);

#endif
