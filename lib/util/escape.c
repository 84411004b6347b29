#include "util/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character at s (NUL-terminated) and its code point, or 0 when it is none:
 * a stray byte, cut short, overlong, a surrogate, or beyond U+10FFFF (RFC 3629, section 4). */
static size_t utf8_decode(const unsigned char *s, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	uint32_t v = len == 1 ? s[0] : s[0] & (0xffu >> (len + 1));

	if (len == 0 || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if (len > 1 && (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)))
		return 0;
	*cp = v;
	return len;
}

/* What moves the cursor, starts a terminal's command or reorders the text around it. */
static bool cp_is_unsafe(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || /* C0, DEL, C1 */
	       cp == 0x61c || cp == 0x200e || cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) ||
	       (cp >= 0x2066 && cp <= 0x2069) || /* bidi controls */
	       cp == 0x2028 || cp == 0x2029;     /* line and paragraph separator */
}

static const char *escape(const char *str, char *buf, size_t size, bool (*unsafe)(uint32_t))
{
	const unsigned char *s = (const unsigned char *)str;
	size_t used = 0;

	if (size == 0)
		return "";
	while (*s != '\0') {
		char piece[16];
		uint32_t cp = *s;
		size_t len = utf8_decode(s, &cp), n = len;

		if (len == 0 || (unsafe != NULL && unsafe(cp)))
			n = (size_t)snprintf(piece, sizeof(piece),
					     len > 1 ? "\\u{%04x}" : "\\x%02x", cp);
		else
			memcpy(piece, s, len);
		if (used + n >= size)
			break;
		memcpy(buf + used, piece, n);
		used += n;
		s += len == 0 ? 1 : len;
	}
	buf[used] = '\0';
	return buf;
}

const char *escape_text(const char *s, char *buf, size_t size)
{
	return escape(s, buf, size, cp_is_unsafe);
}

const char *escape_utf8(const char *s, char *buf, size_t size)
{
	return escape(s, buf, size, NULL);
}
