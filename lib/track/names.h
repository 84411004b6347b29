/* Names, one copy each: equal strings are equal pointers. */
#ifndef MEMPROF_TRACK_NAMES_H
#define MEMPROF_TRACK_NAMES_H

#include <stddef.h>

/* What stands where a name can't. Names like all others: compare by pointer. */
extern const char names_none[];            /* "" */
extern const char names_collected_code[];  /* "(collected code)" */
extern const char names_collected_class[]; /* "(collected class)" */
extern const char names_other[];           /* "(other)" */

struct names {
	struct name *table;
	size_t bytes, limit; /* memory they take, and may take */
};

/* Zeroed but for the limit is a good start. Lives until names_deinit. Over the limit, or without
 * memory: names_other. */
const char *names_intern(struct names *n, const char *s);
void names_deinit(struct names *n);

#endif
