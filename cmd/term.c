#include "term.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 80, WIDTH_MAX = 1000 };

static unsigned width_of(const char *number)
{
	char *end;
	unsigned long n = number ? strtoul(number, &end, 10) : 0;
	return n > 0 && n <= WIDTH_MAX && *end == '\0' ? (unsigned)n : 0;
}

unsigned term_width(int fd)
{
	if (!isatty(fd))
		return 0;

	struct winsize ws = {0};
	unsigned width = width_of(getenv("COLUMNS"));
	if (width == 0 && ioctl(fd, TIOCGWINSZ, &ws) == 0)
		width = ws.ws_col;
	return width ? width : WIDTH_DEFAULT;
}

static bool is_dumb(void)
{
	const char *term = getenv("TERM");
	return !term || term[0] == '\0' || strcmp(term, "dumb") == 0;
}

bool term_colour(int fd)
{
	const char *no = getenv("NO_COLOR");
	return isatty(fd) && !is_dumb() && !(no && no[0]);
}

bool term_has_progress(void)
{
	return isatty(STDERR_FILENO) && !is_dumb();
}

static bool is_writable(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

void term_progress(const char *line)
{
	/* a line that reaches the last column would wrap and could not be rewritten */
	if (is_writable())
		dprintf(STDERR_FILENO, "\r%.*s\033[K", (int)term_width(STDERR_FILENO) - 1, line);
}

void term_progress_erase(void)
{
	dprintf(STDERR_FILENO, "\r\033[K");
}
