/* Numbers for people. */
#ifndef MEMPROF_REPORT_FIGURE_H
#define MEMPROF_REPORT_FIGURE_H

#include <stdint.h>

enum { FIGURE_SIZE = 32 };

/* 1234567 -> "1,234,567". Returns buf. */
const char *figure_grouped(uint64_t v, char buf[static FIGURE_SIZE]);

/* At most five characters: 999 -> "999", 1234567 -> "1.2M". Returns buf. */
const char *figure_short(double v, char buf[static FIGURE_SIZE]);

/* part of whole in percent, cut (never rounded up to 100): "97.31 %". whole > 0. Returns buf. */
const char *figure_percent(uint64_t part, uint64_t whole, char buf[static FIGURE_SIZE]);

#endif
