#include "report/figure.h"

#include <stdio.h>
#include <string.h>

const char *figure_grouped(uint64_t v, char buf[static FIGURE_SIZE])
{
	char digits[FIGURE_SIZE];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
	char *to = buf;

	for (int i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return buf;
}

const char *figure_short(double v, char buf[static FIGURE_SIZE])
{
	static const char units[] = " kMGTPE";
	size_t u = 0;

	/* 999.95 would print as 1000.0 */
	while (v >= (u ? 999.95 : 999.5) && u + 1 < strlen(units)) {
		v /= 1000;
		u++;
	}
	if (u == 0)
		snprintf(buf, FIGURE_SIZE, "%.0f", v);
	else
		snprintf(buf, FIGURE_SIZE, "%.1f%c", v, units[u]);
	return buf;
}

const char *figure_percent(uint64_t part, uint64_t whole, char buf[static FIGURE_SIZE])
{
	unsigned __int128 cents = (unsigned __int128)part * 10000 / whole;
	snprintf(buf, FIGURE_SIZE, "%llu.%02u %%", (unsigned long long)(cents / 100),
		 (unsigned)(cents % 100));
	return buf;
}
