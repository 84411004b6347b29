/* The rows, ascending and disjoint by version. Only layout.c reads them. */
#ifndef MEMPROF_RUBY_LAYOUTS_H
#define MEMPROF_RUBY_LAYOUTS_H

#include "ruby/layout.h"

#include <stddef.h>

extern const struct ruby_layout ruby_layouts[];
extern const size_t ruby_layouts_count;

#endif
