/* An address in the tracee. Never a pointer: it can't be dereferenced here. */
#ifndef MEMPROF_UTIL_RADDR_H
#define MEMPROF_UTIL_RADDR_H

#include <inttypes.h>
#include <stdint.h>

typedef uint64_t raddr_t;

#define PRIRA "#" PRIx64 /* printf format of a raddr_t */

#endif
