/* A hand-made profile, and what an exporter makes of it, for the suites of this floor. */
#ifndef MEMPROF_TESTS_REPORT_SAMPLE_H
#define MEMPROF_TESTS_REPORT_SAMPLE_H

#include "report/exporter.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAMPLE_MAX (1 << 20)

/* Attacks on terminals and parsers: escape sequence, bidi override, invalid UTF-8, quote, newline.
 */
#define NASTY "\033[31mEvil\xe2\x80\xae\xff\"\n\\"

static const struct profile_row sample_rows[] = {
    {"/srv/app/lib/cache.rb", 7, "store", "String", NULL, NULL, 100, 0, 100, 4000, 90},
    {"/srv/app/app/models/order.rb", 11, "block in leak", "Order::Line", NULL, NULL, 1200, 200,
     1000, 40000, 800},
    {"/usr/share/rubygems-integration/all/gems/rack-2.2.4/lib/rack/utils.rb", 310, "parse", "Hash",
     "<internal:kernel>", NULL, 500000, 500000, 0, 0, 0},
    {"", 0, "", "(iseq)", NULL, NULL, 3, 0, 3, 120, 3},
    {"/srv/app/lib/cache.rb", 7, "store", NASTY, NULL, NULL, 5, 1, 4, 160, 0},
};

static inline struct profile sample_profile(void)
{
	return (struct profile){
	    .pid = 4242,
	    .ruby = "3.1.7",
	    .description = "ruby 3.1.7p261 (2025-03-26 revision 0a3704f218) [x86_64-linux-gnu]",
	    .exe = "/usr/bin/ruby3.1",
	    .image = "libruby-3.1.so.3.1.7",
	    .build_id = "80c5f1",
	    .duration_s = 5.0010004,
	    .allocated = 501308,
	    .freed = 500301,
	    .freed_tracked = 500201,
	    .live = 1107,
	    .live_bytes = 44280,
	    .moved_known = true,
	    .vm_allocated = 501308,
	    .vm_freed = 500301,
	    .vm_known = true,
	    .gc_runs = 31,
	    .attach_pause_us = 131,
	    .attach_hold_us = 620,
	    .detach_pause_us = 118,
	    .detach_hold_us = 540,
	    .detached = true,
	    .sampled = 1,
	    .rows = (struct profile_row *)sample_rows,
	    .nrows = sizeof(sample_rows) / sizeof(sample_rows[0]),
	};
}

/* The exporter's output, owned. */
static inline char *sample_export(const struct exporter *x, const struct profile *p,
				  const struct export_opts *o)
{
	struct err e = {0};
	struct sink *s;
	int fd = memfd_create("report", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(sink_fd(fd, "report", &s, &e), 0);
	ck_assert_msg(x->write(p, o, s, &e) == 0, "%s", e.msg);
	ck_assert_msg(sink_commit(s, &e) == 0, "%s", e.msg);
	sink_destroy(s);

	char *buf = calloc(1, SAMPLE_MAX);
	ssize_t n = pread(fd, buf, SAMPLE_MAX - 1, 0);
	ck_assert_int_ge((int)n, 0);
	close(fd);
	return buf;
}

static inline void sample_expect(const struct exporter *x, const struct profile *p,
				 const struct export_opts *o, const char *want)
{
	char *got = sample_export(x, p, o);
	ck_assert_str_eq(got, want);
	free(got);
}

#endif
