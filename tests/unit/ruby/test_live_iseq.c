#include "live.h"

#include "ruby/iseq.h"

enum { TEXT = 8192 };

/*
 * For each iseq: ADDRESS, path, label, first line, then its instructions. disasm shows a line where
 * it changes (POSITION:LINE); elsewhere it is the last one, or there is none (POSITION?LINE), in
 * which case Ruby takes the iseq's first line.
 */
#define DUMP                                                                                       \
	"def lines(i)\n"                                                                           \
	"  line = 0; own = i.disasm.split(/^\n== disasm/).first\n"                                 \
	"  own.split(/^(?=\\d{4,} )/).drop(1).map { |t|\n"                                         \
	"    shown = t[/\\(\\s*(\\d+)\\)(\\[\\w+\\])?\\s*\\z/, 1]; line = shown if shown\n"        \
	"    [t.to_i, shown ? ':' : '?', line] }.uniq(&:first)\n"                                  \
	"end\n"                                                                                    \
	"$keep = []\n"                                                                             \
	"def show(i)\n"                                                                            \
	"  $keep << i\n"                                                                           \
	"  at = ObjectSpace.dump(i)[/references\":\\[\"(0x\\h+)/, 1] or return\n"                  \
	"  return if i.path =~ /[\\n\\t]/ || i.label =~ /[\\n\\t]/\n"                              \
	"  puts at, i.path, i.label, i.to_a[8], lines(i).map(&:join).join(' ')\n"                  \
	"  i.each_child { |c| show(c) }\n"                                                         \
	"end\n"

static struct iseq *iseq_get(struct live *l, raddr_t addr)
{
	struct iseq *i;
	ck_ok(l, iseq_read(&l->rb, addr, &i, &l->e));
	return i;
}

/* The first word of the code is what iseq_holds begins at. */
static raddr_t encoded_of(struct live *l, raddr_t addr)
{
	raddr_t body, encoded;
	ck_ok(l, mem_u64(&l->mem, addr + l->rb.lay->agent.iseq_body, &body, &l->e));
	ck_ok(l, mem_u64(&l->mem, body + l->rb.lay->body.iseq_encoded, &encoded, &l->e));
	return encoded;
}

/* Every instruction of a line "POS:LINE POS?LINE ...". Returns the last position. */
static unsigned long check_lines(struct live *l, raddr_t addr, const struct iseq *i,
				 unsigned long first, char *text)
{
	const struct ruby_layout *lay = l->rb.lay;
	raddr_t code = encoded_of(l, addr);
	unsigned long pos = 0, last = 0;
	for (char *p = text; *p;) {
		pos = strtoul(p, &p, 10);
		bool shown = *p == ':';
		unsigned long line = strtoul(p + 1, &p, 10);
		unsigned long mine = iseq_line(i, lay, code + 8 * pos, true);
		ck_assert_msg(mine == line || (!shown && mine == first),
			      "%s, %s: word %lu has line %lu, not %lu", iseq_path(i), iseq_label(i),
			      pos, mine, line);
		/* a pc after an instruction means that one */
		ck_assert_uint_eq(iseq_line(i, lay, code + 8 * pos, false), pos > 0 ? last : mine);
		last = mine;
	}
	ck_assert(iseq_holds(i, code) && iseq_holds(i, code + 8 * pos));
	ck_assert(!iseq_holds(i, code - 8) && !iseq_holds(i, code + 4));
	ck_assert_uint_eq(iseq_line(i, lay, code - 8, false), 0);
	ck_assert_uint_eq(iseq_line(i, lay, 0, false), first);
	return pos;
}

/* Compare all that the script shows. Returns how many iseqs; *longest: their largest position. */
static int check_iseqs(struct live *l, unsigned long *longest)
{
	char *line = malloc(1 << 20), path[TEXT], label[TEXT];
	int n = 0;
	*longest = 0;
	for (; live_line(l, line, 1 << 20); n++) {
		raddr_t addr = strtoull(line, NULL, 16);
		live_expect(l, path, sizeof(path));
		live_expect(l, label, sizeof(label));
		struct iseq *i = iseq_get(l, addr);
		ck_assert_str_eq(iseq_path(i), path);
		ck_assert_str_eq(iseq_label(i), label);
		ck_assert_int_eq(iseq_is_internal(i), strncmp(path, "<internal:", 10) == 0);
		live_expect(l, line, 1 << 20);
		unsigned long first = strtoul(line, NULL, 10);
		live_expect(l, line, 1 << 20);
		unsigned long last = check_lines(l, addr, i, first, line);
		if (last > *longest)
			*longest = last;
		iseq_destroy(i);
	}
	free(line);
	return n;
}

/* Code of every length around the borders of the index: 54 words, and 512 more a block. */
START_TEST(test_lengths)
{
	struct live l;
	unsigned long longest;
	live_start(&l,
		   "$stdout.sync = true; require 'objspace'\n" DUMP
		   "puts 'ready'; [*0..40, 60, 90, 130, 170, 200, 300, 400, 1000].each { |n|\n"
		   "  [\"\", \"\\n\"].each { |sep|\n"
		   "  src = \"def m\\n\" + (0...n).map { |k| \"  a#{k % 7} = 'x' + #{sep}b(1,\"\\\n"
		   "    \"#{sep}#{k})\\n\" }.join + \"end\"\n"
		   "  show RubyVM::InstructionSequence.compile(src, 'a.rb') } }\n"
		   "show RubyVM::InstructionSequence.compile(\"1\\n\" * 3 + '[' + (\"x,\\n\" * "
		   "6_000) + ']')\n"
		   "puts '.'; gets");
	ck_assert_int_gt(check_iseqs(&l, &longest), 180);
	ck_assert_uint_gt(longest, 54 + 3 * 512);
	live_stop(&l);
}
END_TEST

/* The standard library's own code, and Ruby's builtin methods. */
START_TEST(test_library)
{
	struct live l;
	unsigned long longest;
	live_start(&l,
		   "$stdout.sync = true; require 'objspace'\n" DUMP
		   "%w[set optparse erb csv json time uri net/http].each { |f| require f }\n"
		   "puts 'ready'; seen = 0\n"
		   "ObjectSpace.each_object(Module).sort_by(&:inspect).each { |m|\n"
		   "  next if (seen += 1) % 3 != 0 && ![Kernel, Array, Integer].include?(m)\n"
		   "  m.instance_methods(false).each { |n|\n"
		   "    i = RubyVM::InstructionSequence.of(m.instance_method(n)) and show(i) } }\n"
		   "puts '.'; gets");
	ck_assert_int_gt(check_iseqs(&l, &longest), 500);
	live_stop(&l);
}
END_TEST

static const char labels[] =
    "$stdout.sync = true; require 'objspace'\n" DUMP "src = <<~'S'\n"
    "  class Foo\n"
    "    def bar; [1].each { |x| [x].map { x + 1 } }; end\n"
    "    def baz; yield; rescue ArgumentError => e; raise; ensure; puts 1; end\n"
    "    class << self; def s; ->(x) { x }; end; end\n"
    "    define_method(:dyn) { 1 }\n"
    "  end\n"
    "  module Mod; X = 1; end\n"
    "  at_exit { }\n"
    "S\n"
    "puts 'ready'\n"
    "show RubyVM::InstructionSequence.compile(src, 'b.rb', '/x/b.rb', 10)\n"
    "show RubyVM::InstructionSequence.compile('x = 1', nil)\n"
    "show RubyVM::InstructionSequence.of(eval('proc { 1 }'))\n"
    "show RubyVM::InstructionSequence.of(eval('proc { 1 }', binding, 'c.rb', 77))\n"
    "puts '.'; gets";

START_TEST(test_labels)
{
	struct live l;
	unsigned long longest;
	live_start(&l, labels);
	ck_assert_int_ge(check_iseqs(&l, &longest), 16);
	live_stop(&l);
}
END_TEST

/* -- frames of a parked thread ---------------------------------------------------------------- */

static const char nested[] =
    "$stdout.sync = true\n"
    "class Foo\n"
    "  def one\n"
    "    [1].each do |x|\n"
    "      two(x)\n"
    "    end\n"
    "  end\n"
    "  def two(x)\n"
    "    raise 'a'\n"
    "  rescue\n"
    "    instance_eval { three }\n"
    "  end\n"
    "  def three = eval(\"\\n\\nfour\")\n"
    "  def four; y =\n"
    "    5\n"
    "    begin; 1\n"
    "    ensure\n"
    "      puts 'ready', caller_locations(0).map { |c| \"#{c.lineno} #{c.label}\" }, '.'; gets\n"
    "    end\n"
    "  end\n"
    "  new.one\n"
    "end\n";

/* The next Ruby frame at or outwards of *cfp; false at the end. */
static bool frame_next(struct live *l, raddr_t *cfp, raddr_t end, raddr_t *iseq, raddr_t *pc)
{
	const struct mp_ruby *a = &l->rb.lay->agent;
	for (; *cfp < end - a->cfp_size; *cfp += a->cfp_size) {
		raddr_t ep, flags;
		ck_ok(l, mem_u64(&l->mem, *cfp + a->cfp_ep, &ep, &l->e));
		ck_ok(l, mem_u64(&l->mem, ep, &flags, &l->e));
		if (flags & a->frame_cframe)
			continue;
		ck_ok(l, mem_u64(&l->mem, *cfp + a->cfp_iseq, iseq, &l->e));
		ck_ok(l, mem_u64(&l->mem, *cfp + a->cfp_pc, pc, &l->e));
		*cfp += a->cfp_size;
		return true;
	}
	return false;
}

START_TEST(test_frames)
{
	struct live l;
	char line[256], mine[512];
	raddr_t thread, ec, cfp, stack, words, iseq, pc;
	int n = 0;
	live_start(&l, nested);
	const struct ruby_layout *lay = l.rb.lay;
	ck_ok(&l, mem_u64(&l.mem, l.rb.main_ractor + lay->ractor.main_thread, &thread, &l.e));
	ck_ok(&l, mem_u64(&l.mem, thread + lay->thread.ec, &ec, &l.e));
	live_wait_parked(&l);
	ck_ok(&l, mem_u64(&l.mem, ec + lay->agent.ec_cfp, &cfp, &l.e));
	ck_ok(&l, mem_u64(&l.mem, ec + lay->agent.ec_vm_stack, &stack, &l.e));
	ck_ok(&l, mem_u64(&l.mem, ec + lay->agent.ec_vm_stack_size, &words, &l.e));
	for (; live_line(&l, line, sizeof(line)); n++) {
		if (strstr(line, " each") || strstr(line, " instance_eval") ||
		    strstr(line, " eval") || strstr(line, " new")) {
			/* frames of C, with the line of the Ruby frame below */
			if (!strstr(line, "block") && !strstr(line, "<"))
				continue;
		}
		ck_assert_msg(frame_next(&l, &cfp, stack + 8 * words, &iseq, &pc),
			      "no frame for %s", line);
		struct iseq *i = iseq_get(&l, iseq);
		ck_assert(iseq_holds(i, pc));
		snprintf(mine, sizeof(mine), "%u %s", iseq_line(i, lay, pc, false), iseq_label(i));
		ck_assert_str_eq(mine, line);
		iseq_destroy(i);
	}
	ck_assert_int_ge(n, 10);
	ck_assert(!frame_next(&l, &cfp, stack + 8 * words, &iseq, &pc));
	live_stop(&l);
}
END_TEST

/* What is freed and reused while we read is an error or an iseq, never a crash. */
START_TEST(test_reused)
{
	struct live l;
	char line[64];
	raddr_t at[64];
	int n = 0, good = 0, bad = 0;
	live_start(
	    &l,
	    "$stdout.sync = true; require 'objspace'; puts 'ready'\n"
	    "a = Array.new(64) { |k| RubyVM::InstructionSequence.compile(\"x\\n\" * (k + 1)) }\n"
	    "a.each { |i| puts ObjectSpace.dump(i)[/references\":\\[\"(0x\\h+)/, 1] }\n"
	    "puts '.'; a = nil; loop { eval(\"y\\n\" * rand(900) + '1; proc { 2 }') if true\n"
	    "GC.start if rand(50) == 0 } rescue retry");
	while (n < 64 && live_line(&l, line, sizeof(line)))
		at[n++] = strtoull(line, NULL, 16);
	ck_assert_int_eq(n, 64);
	for (int k = 0; k < 20000 || bad == 0; k++) {
		struct iseq *i;
		if (iseq_read(&l.rb, at[k % 64], &i, &l.e) == -1) {
			bad++;
			continue;
		}
		good++;
		iseq_destroy(i);
	}
	ck_assert_int_gt(good, 0);
	live_stop(&l);
}
END_TEST

LIVE_MAIN("ruby iseq", test_lengths, test_library, test_labels, test_frames, test_reused)
