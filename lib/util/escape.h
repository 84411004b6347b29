/* Names are bytes from the target: make them harmless for the medium they go to. */
#ifndef MEMPROF_UTIL_ESCAPE_H
#define MEMPROF_UTIL_ESCAPE_H

#include <stddef.h>

/* For a terminal: C0, DEL, C1, bidi controls, line separators and invalid UTF-8 become \xNN or
 * \u{NNNN}; everything else stays. Cut (at a character) so that it fits. Returns buf. */
const char *escape_text(const char *s, char *buf, size_t size);

/* Valid UTF-8 of the same bytes, invalid ones as \xNN: what a JSON string can hold (the JSON
 * library escapes the rest). Returns buf. */
const char *escape_utf8(const char *s, char *buf, size_t size);

#endif
