/* Small readers of Ruby's own objects. Every length is checked and capped. */
#ifndef MEMPROF_RUBY_OBJECT_H
#define MEMPROF_RUBY_OBJECT_H

#include "ruby/ruby.h"

enum ruby_type { /* flags & 31, all versions */
	RT_NONE = 0, RT_OBJECT = 1, RT_CLASS = 2, RT_MODULE = 3, RT_FLOAT = 4, RT_STRING = 5,
	RT_REGEXP = 6, RT_ARRAY = 7, RT_HASH = 8, RT_STRUCT = 9, RT_BIGNUM = 10, RT_FILE = 11,
	RT_DATA = 12, RT_MATCH = 13, RT_COMPLEX = 14, RT_RATIONAL = 15, RT_SYMBOL = 20,
	RT_IMEMO = 26, RT_NODE = 27, RT_ICLASS = 28, RT_ZOMBIE = 29, RT_MOVED = 30,
};

enum { RUBY_STR_CAP = 4096 }; /* longest string we read, bytes */

/* Bytes of a String, cut at size - 1 and NUL-terminated. Returns its length as copied, or -1 and
 * e: ERR_BADDATA that is no String, ERR_FAULT. */
ssize_t ruby_str_read(const struct ruby *rb, raddr_t str, char *buf, size_t size, struct err *e);

/* "(iseq)", "(imemo:ment)", "(hidden String)": an object that has no class to show. Returns buf. */
const char *ruby_internal_name(const struct ruby_layout *lay, uint32_t flags, char *buf,
			       size_t size);

/* True if the class word of an object with these flags is a class that has a name to print. */
bool ruby_has_class(const struct ruby_layout *lay, uint32_t flags, raddr_t klass);

/* True if the object is an iseq (its free ends what we know of its code), a class or a module. */
bool ruby_is_iseq(const struct ruby_layout *lay, uint32_t flags);
bool ruby_is_class(uint32_t flags);

#endif
