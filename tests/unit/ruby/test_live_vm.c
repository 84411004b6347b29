#include "live.h"

#include <sys/ptrace.h>
#include <sys/user.h>

static const char parked[] = "$stdout.sync = true; puts 'ready'; gets";

START_TEST(test_open)
{
	struct live l;
	live_start(&l, parked);
	ck_assert_uint_eq(l.version.num >> 8, RUBY_VERSION_OF(3, 1, 0) >> 8);
	ck_assert_ptr_nonnull(strstr(l.version.description, l.version.text));
	ck_assert_uint_ne(l.rb.main_ractor, 0);
	ck_ok(&l, ruby_probe(&l.rb, &l.e));
	live_stop(&l);
}
END_TEST

/* The probe must not mind a program that never stands still. */
START_TEST(test_probe_busy)
{
	struct live l;
	live_start(&l, "$stdout.sync = true; def f(n) = n == 0 ? Object.new : f(n - 1)\n"
		       "4.times { Thread.new { loop { 'x' * 50; Class.new } } }\n"
		       "puts 'ready'; loop { f(rand(40)); [1].each { |x| x.to_s } }");
	for (int i = 0; i < 50; i++)
		ck_ok(&l, ruby_probe(&l.rb, &l.e));
	live_stop(&l);
}
END_TEST

static void expect_probe_fails(struct live *l, const struct ruby_layout *lay, const char *what)
{
	struct ruby rb = l->rb;
	rb.lay = lay;
	ck_assert_msg(ruby_probe(&rb, &l->e) == -1, "%s: not noticed", what);
	ck_assert_int_eq(l->e.code, ERR_UNSUPPORTED);
	ck_assert_msg(strstr(l->e.msg, what), "\"%s\" does not name \"%s\"", l->e.msg, what);
}

/* A row that is wrong in one number must not pass. */
START_TEST(test_probe_wrong_row)
{
	struct live l;
	live_start(&l, parked);
	struct ruby_layout lay = *l.rb.lay;
	lay.klass.iv_tbl += 8;
	expect_probe_fails(&l, &lay, "names of classes");
	lay = *l.rb.lay;
	lay.klass.super += 8;
	expect_probe_fails(&l, &lay, "superclasses");
	lay = *l.rb.lay;
	lay.objspace.total_freed -= 8;
	lay.objspace.final_slots -= 24;
	expect_probe_fails(&l, &lay, "counters");
	lay = *l.rb.lay;
	lay.objspace.heap_range += 8;
	expect_probe_fails(&l, &lay, "heap");
	lay = *l.rb.lay;
	lay.agent.cfp_size = 56;
	expect_probe_fails(&l, &lay, "control frame");
	lay = *l.rb.lay;
	lay.body.succ_index_table += 8;
	expect_probe_fails(&l, &lay, "control frame");
	live_stop(&l);
}
END_TEST

/* Before main the VM's pointer is still 0: as ruby_open sees a Ruby that boots. */
START_TEST(test_not_booted)
{
	struct live l;
	live_start(&l, parked);
	struct ruby_code code = l.code;
	struct ruby rb;
	uint64_t zero = l.rb.vm;
	for (uint64_t v = 1; v != 0; zero += 8) /* some word of the VM that is 0 */
		ck_ok(&l, mem_u64(&l.mem, zero, &v, &l.e));
	code.vm_ptr = zero - 8 - l.bias;
	ck_assert_int_eq(ruby_open(&l.mem, l.img, l.bias, &code, l.rb.lay, &rb, &l.e), -1);
	ck_assert_int_eq(l.e.code, ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(l.e.msg, "has not booted yet"));

	code = l.code;
	code.vm_ptr = 1ull << 60;
	ck_assert_int_eq(ruby_open(&l.mem, l.img, l.bias, &code, l.rb.lay, &rb, &l.e), -1);
	ck_assert_int_eq(l.e.code, ERR_UNSUPPORTED);

	code = l.code;
	code.objspace_flags += 4;
	ck_assert_int_eq(ruby_open(&l.mem, l.img, l.bias, &code, l.rb.lay, &rb, &l.e), -1);
	ck_assert_int_eq(l.e.code, ERR_UNSUPPORTED);
	live_stop(&l);
}
END_TEST

static uint64_t number(struct live *l)
{
	char line[64];
	live_expect(l, line, sizeof(line));
	return strtoull(line, NULL, 10);
}

/* GC.stat before and after the wait; printing a dot and gets take a few Strings. */
START_TEST(test_counters)
{
	struct live l;
	live_start(&l,
		   "$stdout.sync = true; 50_000.times { Object.new }; GC.compact; GC.start\n"
		   "ObjectSpace.define_finalizer(Object.new, proc {}); GC.start; GC.disable\n"
		   "puts 'ready'; gets\n"
		   "a = GC.stat(:total_allocated_objects); print '.'; gets\n"
		   "b = GC.stat(:total_allocated_objects)\n"
		   "puts; puts a, b, GC.stat(:total_freed_objects), GC.stat(:heap_final_slots),\n"
		   "  GC.count, GC.stat(:major_gc_count), GC.stat(:total_moved_objects); gets");
	live_go(&l);
	ck_assert_int_eq(fgetc(l.from), '.');
	live_wait_parked(&l);
	struct ruby_counters c;
	ck_ok(&l, ruby_counters_read(&l.rb, &c, &l.e));
	live_go(&l);
	ck_assert_int_eq(fgetc(l.from), '\n');
	uint64_t before = number(&l), after = number(&l);
	ck_assert_uint_le(before, c.allocated);
	ck_assert_uint_le(c.allocated, after);
	ck_assert_uint_le(after - before, 8);
	ck_assert_uint_eq(c.freed, number(&l));
	ck_assert_uint_ge(c.freed, 50000);
	ck_assert_uint_eq(c.zombies, number(&l));
	ck_assert_uint_eq(c.gc_count, number(&l));
	ck_assert_uint_eq(c.major_gc_count, number(&l));
	ck_assert_uint_eq(c.moved, number(&l));
	ck_assert_uint_gt(c.moved, 0);
	ck_assert_uint_eq(c.ractors, 1);
	ck_assert(!c.gc_running);
	live_stop(&l);
}
END_TEST

/* During a lazy sweep the VM says so. */
START_TEST(test_gc_running)
{
	struct live l;
	struct ruby_counters c;
	live_start(&l,
		   "$stdout.sync = true; GC.start; a = Array.new(200_000) { Object.new }; a = nil\n"
		   "GC.start(full_mark: true, immediate_sweep: false); puts 'ready'; gets");
	ck_ok(&l, ruby_counters_read(&l.rb, &c, &l.e));
	ck_assert(c.gc_running);
	live_stop(&l);
}
END_TEST

static raddr_t tls_base_of(pid_t tid)
{
	struct user_regs_struct regs;
	ck_assert_int_eq(ptrace(PTRACE_SEIZE, tid, 0, 0), 0);
	ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, tid, 0, 0), 0);
	ck_assert_int_eq(waitpid(tid, NULL, __WALL), tid);
	ck_assert_int_eq(ptrace(PTRACE_GETREGS, tid, 0, &regs), 0);
	ck_assert_int_eq(ptrace(PTRACE_DETACH, tid, 0, 0), 0);
	return regs.fs_base;
}

START_TEST(test_tls)
{
	struct live l;
	char line[64];
	raddr_t ec, thread, main_ec;
	live_start(&l, "$stdout.sync = true; q = Queue.new\n"
		       "t = Thread.new { q.pop }; Thread.pass until t.stop?\n"
		       "puts 'ready'; puts t.native_thread_id; gets");
	live_expect(&l, line, sizeof(line));
	raddr_t main_base = tls_base_of(l.pid), other_base = tls_base_of(atoi(line));
	int64_t other;
	ck_ok(&l, ruby_tls_offset(&l.mem, l.bias, &l.code, main_base, &l.rb.ec_tls, &l.e));
	ck_ok(&l, ruby_tls_offset(&l.mem, l.bias, &l.code, other_base, &other, &l.e));
	ck_assert_int_lt(l.rb.ec_tls, 0);
	ck_assert_int_eq(l.rb.ec_tls, other);
	ck_assert(ruby_thread_has_ec(&l.rb, main_base));
	ck_assert(ruby_thread_has_ec(&l.rb, other_base));
	ck_assert(!ruby_thread_has_ec(&l.rb, main_base + 64));
	ck_assert(!ruby_thread_has_ec(&l.rb, 0));

	ck_ok(&l, mem_u64(&l.mem, main_base + (uint64_t)l.rb.ec_tls, &ec, &l.e));
	ck_ok(&l, mem_u64(&l.mem, l.rb.main_ractor + l.rb.lay->ractor.main_thread, &thread, &l.e));
	ck_ok(&l, mem_u64(&l.mem, thread + l.rb.lay->thread.ec, &main_ec, &l.e));
	ck_assert_uint_eq(ec, main_ec);

	ck_assert_int_eq(ruby_tls_offset(&l.mem, l.bias, &l.code, main_base + 8, &other, &l.e), -1);
	ck_assert_int_eq(l.e.code, ERR_UNSUPPORTED);
	live_stop(&l);
}
END_TEST

START_TEST(test_agent_config)
{
	struct live l;
	struct mp_config cfg = {.magic = 7, .units = 9};
	uint64_t lo, hi, count;
	live_start(&l, parked);
	l.rb.ec_tls = -8;
	ruby_agent_config(&l.rb, &cfg);
	ck_ok(&l, mem_u64(&l.mem, cfg.heap_lo, &lo, &l.e));
	ck_ok(&l, mem_u64(&l.mem, cfg.heap_hi, &hi, &l.e));
	ck_ok(&l, mem_u64(&l.mem, cfg.gc_count, &count, &l.e));
	ck_assert(lo <= l.rb.c_object && l.rb.c_object < hi);
	struct ruby_counters c;
	ck_ok(&l, ruby_counters_read(&l.rb, &c, &l.e));
	ck_assert_uint_eq(count, c.gc_count);
	ck_assert_int_eq(cfg.ec_tls, -8);
	ck_assert_uint_eq(cfg.ec_global, 0);
	ck_assert_mem_eq(&cfg.ruby, &l.rb.lay->agent, sizeof(cfg.ruby));
	ck_assert_uint_eq(cfg.magic, 7);
	ck_assert_uint_eq(cfg.units, 9);
	live_stop(&l);
}
END_TEST

START_TEST(test_gone)
{
	struct live l;
	struct ruby_counters c;
	live_start(&l, parked);
	kill(l.pid, SIGKILL);
	waitpid(l.pid, NULL, 0);
	ck_assert_int_eq(ruby_counters_read(&l.rb, &c, &l.e), -1);
	ck_assert_int_eq(l.e.code, ERR_GONE);
	ck_assert_int_eq(ruby_probe(&l.rb, &l.e), -1);
	ck_assert_int_eq(l.e.code, ERR_GONE);
	image_destroy(l.img);
}
END_TEST

LIVE_MAIN("ruby vm", test_open, test_probe_busy, test_probe_wrong_row, test_not_booted,
	  test_counters, test_gc_running, test_tls, test_agent_config, test_gone)
