/* Which Ruby is it? Full version, because offsets have moved inside a patch series. */
#ifndef MEMPROF_RUBY_VERSION_H
#define MEMPROF_RUBY_VERSION_H

#include "elf/image.h"
#include "util/err.h"

#include <stdint.h>

#define RUBY_VERSION_OF(major, minor, teeny) ((uint32_t)(major) << 16 | (minor) << 8 | (teeny))

struct ruby_version {
	uint32_t num;		/* RUBY_VERSION_OF */
	char text[16];		/* "3.1.7" */
	char description[160];	/* ruby_description, made printable */
};

/* From the exported constants of the image's file. Returns 0, or -1 and e: ERR_NOSYM this image is
 * no Ruby; ERR_BADDATA its version can't be understood. */
int ruby_version_read(const struct image *img, struct ruby_version *ret, struct err *e);

#endif
