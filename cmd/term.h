/* The terminal: its size, whether colour is welcome, and the one line of progress on stderr. */
#ifndef MEMPROF_CMD_TERM_H
#define MEMPROF_CMD_TERM_H

#include <stdbool.h>

/* Columns of the terminal at fd ($COLUMNS, else its own word, else 80); 0: fd is no terminal. */
unsigned term_width(int fd);

/* Colour at fd: only on a terminal, and not with NO_COLOR or a dumb one. */
bool term_colour(int fd);

/* The progress line is rewritten in place and cut to the width. It is skipped while the terminal
 * takes no output (^S): progress is not worth waiting for. */
bool term_has_progress(void);
void term_progress(const char *line);
void term_progress_erase(void);

#endif
