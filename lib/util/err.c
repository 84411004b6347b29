#define MEMPROF_ERR_BODY
#include "util/err.h"

#include "util/escape.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Texts carry names from the target, and may be made from the very buffer they end up in: build
 * aside, then copy without control characters. */
static void text_set(char *dst, size_t size, const char *fmt, va_list ap, const char *suffix)
{
	char body[sizeof(((struct err *)0)->msg)];
	char whole[2 * sizeof(body)];

	vsnprintf(body, sizeof(body), fmt, ap);
	snprintf(whole, sizeof(whole), "%s%s", body, suffix);
	escape_text(whole, dst, size);
}

static void err_fill(struct err *e, enum err_code code, int sys, const char *fmt, va_list ap)
{
	char suffix[128] = "";

	if (sys != 0) {
		char text[sizeof(suffix) - 2];
		snprintf(suffix, sizeof(suffix), ": %s", strerror_r(sys, text, sizeof(text)));
	}
	text_set(e->msg, sizeof(e->msg), fmt, ap, suffix);
	e->code = code;
	e->sys = sys;
	e->remedy[0] = '\0';
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_fill(e, code, 0, fmt, ap);
	va_end(ap);
	return -1;
}

int err_sys(struct err *e, enum err_code code, const char *fmt, ...)
{
	int sys = errno;
	va_list ap;

	if (sys == EPERM || sys == EACCES)
		code = ERR_PERM;
	else if (sys == ESRCH)
		code = ERR_GONE;
	va_start(ap, fmt);
	err_fill(e, code, sys, fmt, ap);
	va_end(ap);
	return -1;
}

int err_remedy(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_set(e->remedy, sizeof(e->remedy), fmt, ap, "");
	va_end(ap);
	return -1;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char suffix[sizeof(e->msg) + 2];
	va_list ap;

	snprintf(suffix, sizeof(suffix), ": %s", e->msg);
	va_start(ap, fmt);
	text_set(e->msg, sizeof(e->msg), fmt, ap, suffix);
	va_end(ap);
	return -1;
}

int err_exit_code(const struct err *e)
{
	return e->code <= ERR_DIRTY ? (int)e->code : (int)ERR_FAILED;
}
