#include "live.h"

#include "ruby/klass.h"
#include "ruby/object.h"

/* ADDRESS TAB PERMANENT TAB NAME for many kinds of classes, as objects' class words have them. */
static const char classes[] =
    "$stdout.sync = true; require 'objspace'\n"
    "def adr(o) = ObjectSpace.dump(o)[/0x\\h+/]\n"
    "def word(o) = ObjectSpace.dump(o)[/\"class\":\"(0x\\h+)/, 1]\n"
    "def row(a, perm, name) = puts(\"#{a}\\t#{perm}\\t#{name}\")\n"
    "module Outer; class Inner; class Deep; end; end; end\n"
    "puts 'ready'\n"
    "ObjectSpace.each_object(Class).reject(&:singleton_class?).each { |c|\n"
    "  row adr(c), (c.name && !c.name.start_with?('#')) ? 1 : 0, c.inspect }\n"
    "anon = Class.new; row adr(anon), 0, anon.inspect\n"
    "sub = Class.new(Outer::Inner); row adr(sub), 0, sub.inspect\n"
    "anon.const_set(:Foo, Class.new); row adr(anon::Foo), 0, anon::Foo.inspect\n"
    "o = Outer::Inner::Deep.new; def o.x; end; row word(o), 1, o.class.inspect\n"
    "o.singleton_class.singleton_class; row word(o), 1, o.class.inspect\n"
    "row word(Outer::Inner), 1, Outer::Inner.class.inspect\n"
    "row word(anon), 1, 'Class'\n"
    "row word(Outer), 1, 'Module'\n"
    "late = Class.new; 40.times { |i| late.instance_variable_set(\"@v#{i}\", 'x') }\n"
    "row adr(late), 0, late.inspect; late2 = Class.new\n"
    "200.times { |i| late2.instance_variable_set(\"@v#{i}\", 'x') }\n"
    "100.times { |i| late2.remove_instance_variable(\"@v#{i}\") }; Late2 = late2\n"
    "row adr(late2), 1, 'Late2'\n"
    "m = Module.new; row adr(m), 0, m.inspect\n"
    "class Kind < Module; end; k = Kind.new; row adr(k), 0, k.inspect\n"
    "k2 = Class.new(Module).new; row adr(k2), 0, k2.inspect\n"
    "k3 = Kind.new; def k3.x; end; row adr(k3), 0, k3.inspect\n"
    "ext = Object.new; ext.extend(Outer, Comparable); row word(ext), 1, 'Object'\n"
    "class Pre; prepend Comparable; prepend Outer; end; row word(Pre.new), 1, 'Pre'\n"
    "st = Struct.new(:a); row adr(st), 0, st.inspect\n"
    "long = 'L' + 'o' * 300; Object.const_set(long, Class.new)\n"
    "row adr(Object.const_get(long)), 1, long\n"
    "ref = nil; Module.new { ref = refine(String) { def zz; end } }\n"
    "row word(ref), 1, ref.class.inspect\n"
    "utf = Object.const_set(\"\\u00c9t\\u00e9\", Class.new); row adr(utf), 1, utf.name\n"
    "puts '.'; gets; Late = late\n"
    "row adr(late), 1, 'Late'; puts '.'; gets";

static int rows_check(struct live *l)
{
	char line[1024], name[1024];
	int n = 0;
	while (live_line(l, line, sizeof(line))) {
		char *text;
		bool permanent;
		raddr_t klass = strtoull(line, &text, 16);
		ck_assert_uint_ne(klass, 0);
		ck_ok(l, ruby_class_name(&l->rb, klass, name, sizeof(name), &permanent, &l->e));
		ck_assert_str_eq(name, text + 3);
		ck_assert_msg(permanent == (text[1] == '1'), "%s: permanent %d", name, permanent);
		n++;
	}
	return n;
}

START_TEST(test_classes)
{
	struct live l;
	live_start(&l, classes);
	ck_assert_int_gt(rows_check(&l), 200);
	live_go(&l);
	ck_assert_int_eq(rows_check(&l), 1);
	live_stop(&l);
}
END_TEST

/* Names stay right, or are errors, while the tables grow and shrink under our hands. */
START_TEST(test_classes_torn)
{
	struct live l;
	char line[64], name[64];
	bool permanent;
	int right = 0, torn = 0;
	live_start(
	    &l, "$stdout.sync = true; require 'objspace'; class Busy; end\n"
		"Thread.new { loop { 300.times { |i| Busy.instance_variable_set(\"@a#{i}\", i) }\n"
		"  300.times { |i| Busy.remove_instance_variable(\"@a#{i}\") } } }\n"
		"puts 'ready', ObjectSpace.dump(Busy)[/0x\\h+/]; gets");
	live_expect(&l, line, sizeof(line));
	raddr_t busy = strtoull(line, NULL, 16);
	while (right < 2000 || torn == 0) { /* both must come: the test's time limit says so */
		if (ruby_class_name(&l.rb, busy, name, sizeof(name), &permanent, &l.e) == -1) {
			torn++;
			continue;
		}
		ck_assert_str_eq(name, "Busy");
		ck_assert(permanent);
		right++;
	}
	live_stop(&l);
}
END_TEST

static const char strings[] =
    "$stdout.sync = true; require 'objspace'\n"
    "def adr(o) = ObjectSpace.dump(o)[/0x\\h+/]\n"
    "s = ['', 'a', 'x' * 23, 'y' * 24, 'z' * 4096, 'long ' * 2000]\n"
    "s << s[4][10..-1] << s[5].dup << \"caf\\u00e9\" << :symbol_to_s.to_s << 'q'.freeze\n"
    "puts 'ready'; s.each { |x| puts \"#{adr(x)}\\t#{x.bytesize}\\t#{x[0, 60]}\" }\n"
    "puts '.', adr([]), adr(Object.new); gets";

START_TEST(test_strings)
{
	struct live l;
	char line[1024], buf[8192], *text;
	int n = 0;
	live_start(&l, strings);
	while (live_line(&l, line, sizeof(line))) {
		raddr_t str = strtoull(line, &text, 16);
		long len = strtol(text, &text, 10);
		ssize_t got = ruby_str_read(&l.rb, str, buf, sizeof(buf), &l.e);
		ck_ok(&l, got);
		ck_assert_int_eq(got, len < RUBY_STR_CAP ? len : RUBY_STR_CAP);
		ck_assert_int_eq(strncmp(buf, text + 1, strlen(text + 1)), 0);
		ck_assert_int_eq(ruby_str_read(&l.rb, str, buf, 5, &l.e), len < 4 ? len : 4);
		ck_assert_uint_eq(strlen(buf), (size_t)(len < 4 ? len : 4));
		n++;
	}
	ck_assert_int_eq(n, 11);
	while (n-- > 9) {
		live_expect(&l, line, sizeof(line));
		raddr_t other = strtoull(line, NULL, 16);
		ck_assert_int_eq(ruby_str_read(&l.rb, other, buf, sizeof(buf), &l.e), -1);
		ck_assert_int_eq(l.e.code, ERR_BADDATA);
	}
	live_stop(&l);
}
END_TEST

LIVE_MAIN("ruby names", test_classes, test_classes_torn, test_strings)
