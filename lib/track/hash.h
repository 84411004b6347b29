/* uthash as this floor uses it: running out of memory leaves the element out (hh.tbl == NULL)
 * instead of ending the process. */
#ifndef MEMPROF_TRACK_HASH_H
#define MEMPROF_TRACK_HASH_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#endif
