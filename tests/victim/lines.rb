# One kind of expression after the other, each on lines of its own; what each gives is kept.
# Then says which file, line and class ObjectSpace saw for every object, and which labels each
# line's frames may have.

require_relative "stage"
require "json"
require "objspace"
require "set"

Pair = Struct.new(:a, :b)
Keyed = Struct.new(:k, keyword_init: true)
class Thing
  attr_reader :part

  def initialize(part = "default part".dup)
    @part = part
  end

  def with_default(a, b = [a, "default"])
    b
  end

  define_method(:defined) { |x| "defined #{x}" }

  def each_part
    yield "yielded"
    yield "again"
  end

  def self.build(*args, **opts, &blk)
    [new(*args), opts, blk]
  end

  def raising
    raise KeyError, "no such key"
  ensure
    @ensured = "ensured"
  end

  def method_missing(name, *args)
    name == :ghost ? ["ghost", args] : super
  end

  def respond_to_missing?(name, all = false)
    name == :ghost || super
  end
end

T = Thing.new("shared")
TEXT = "one two,three four".freeze
DOC = '{"a":[1,2.5,"x"],"b":{"c":null}}'.freeze
LIST = [5, 3, 9, 1].freeze

FIRST = __LINE__
KINDS = {
  literal: -> { "literal" },
  interpolation: ->(i) { "number #{i} of #{LIST.size}" },
  array: ->(i) { [i, "a", :b] },
  hash: ->(i) { { "key" => i, sym: "value" } },
  array_lines: lambda { |i|
    [
      "first",
      i.to_s,
      [i,
       "inner"]
    ]
  },
  hash_lines: lambda { |i|
    {
      "one" => "1",
      "two" =>
        "2",
      three: [i]
    }
  },
  call_lines: lambda { |i|
    Thing.build(
      "argument #{i}",
      option: "o",
      other: ["p"]
    )
  },
  new: -> { Object.new },
  new_initialize: -> { Thing.new },
  block: -> { LIST.map { |x| "in block #{x}" } },
  nested_block: lambda {
    LIST.each_slice(2).map { |pair|
      pair.map { |x|
        x.to_s
      }
    }
  },
  proc: ->(i) { proc { i } },
  lambda: ->(i) { ->(x) { x + i } },
  range: ->(i) { i..(i + 1) },
  float: ->(i) { i * 1e300 },
  bignum: ->(i) { (1 << 80) + i },
  rational: ->(i) { Rational(i + 1, 3) },
  complex: ->(i) { Complex(i, 2) },
  regexp_match: -> { TEXT.match(/(\w+) (\w+)/) },
  regexp_match_op: -> { TEXT =~ /two/ ? [$~, $&, $1, $`] : nil },
  regexp_dynamic: ->(i) { /a#{i}/ },
  scan: -> { TEXT.scan(/\w+/) },
  gsub: -> { TEXT.gsub(/o/) { |m| m.upcase } },
  split: -> { TEXT.split(",") },
  map_select: lambda {
    LIST
      .map { |x| "m#{x}" }
      .select { |s| s.size == 2 }
      .each_with_index
      .to_a
  },
  chained: lambda {
    TEXT
      .upcase
      .sub("ONE", "1")
      .split(" ")
      .join("-")
  },
  sort_by: -> { LIST.sort_by { |x| [x.to_s, x] } },
  group_by: -> { LIST.group_by(&:odd?) },
  inject: -> { LIST.inject("") { |s, x| s + x.to_s } },
  zip_each: -> { LIST.zip(LIST.each_cons(2)) },
  json_parse: -> { JSON.parse(DOC) },
  json_generate: -> { JSON.generate({ "a" => [1, nil] }) },
  struct: ->(i) { Pair.new(i, "b") },
  struct_keyword: -> { Keyed.new(k: "v") },
  raised: lambda {
    begin
      raise ArgumentError, "wrong"
    rescue ArgumentError => e
      [e, e.message]
    end
  },
  raised_below: lambda do
    T.raising
  rescue KeyError => e
    e
  end,
  vm_error: lambda do
    nil.no_such_method
  rescue NoMethodError => e
    e
  end,
  zero_div: ->(i) { (i / 0 rescue $!) },
  caught: lambda {
    catch do |tag|
      throw tag, ["thrown"]
    end
  },
  format: ->(i) { format("%05d %s", i, "f") },
  percent: ->(i) { "%d-%d" % [i, i] },
  to_s: ->(i) { i.to_s },
  inspect: -> { LIST.inspect },
  symbol_to_s: -> { :symbol.to_s },
  dup: -> { TEXT.dup },
  array_dup: -> { LIST.dup },
  unary_plus: -> { +"frozen" },
  symbol_to_proc: -> { LIST.map(&:to_s) },
  method_object: -> { T.method(:with_default) },
  method_to_proc: -> { %w[a b].map(&T.method(:defined)) },
  heredoc: ->(i) { <<~TEXT },
    a heredoc
    of #{i}
  TEXT
  times: -> { "ab" * 30 },
  plus: lambda {
    "left" +
      "right" +
      TEXT
  },
  append: -> { +"" << "appended" },
  slice: -> { TEXT[4..] },
  ternary: ->(i) { i.odd? ? "odd" : "even" },
  ternary_lines: lambda { |i|
    i > 1 ?
      "more" :
      "less"
  },
  case: lambda { |i|
    case i % 3
    when 0 then "zero"
    when 1
      "one"
    else
      ["other"]
    end
  },
  pattern: lambda { |i|
    case { name: "n", list: [i, 2] }
    in { name: String => name, list: [*, last] }
      [name, last]
    end
  },
  and_or: -> { nil || "or" },
  or_assign: lambda {
    x = nil
    x ||= "assigned"
    x
  },
  multiple: lambda {
    a, b = "a", "b"
    b, *a = [a, b, "c"]
    [a, b]
  },
  splat: ->(i) { [*LIST, *[i, "s"]] },
  double_splat: -> { { **{ a: "1" }, b: "2" } },
  default_argument: ->(i) { T.with_default(i) },
  define_method: ->(i) { T.defined(i) },
  missing: ->(i) { T.ghost(i) },
  send: ->(i) { T.public_send(:defined, i) },
  yielded: lambda {
    [].tap { |a|
      T.each_part { |p|
        a << p
      }
    }
  },
  instance_eval: -> { T.instance_eval { "self is #{self.class}" } },
  evaluated: ->(i) { eval("['evaluated', i]", binding, "made-up.rb", 70) },
  class_body: lambda {
    Object.const_set("Made#{$made = $made.to_i + 1}", Class.new do
      const_set(:NAME, "in the body".dup)
      def self.make
        "by a class method"
      end
    end).make
  },
  singleton: -> { Object.new.tap { |o| def o.s = "s" } },
  set: -> { Set["a", "b"] },
  enumerator: -> { LIST.each_with_index },
  lazy: -> { (1..).lazy.map { |x| x.to_s }.first(2) },
  fiber: lambda {
    f = Fiber.new { Fiber.yield("from a fiber"); "end" }
    [f.resume, f.resume]
  },
  thread: -> { Thread.new { "from a thread" }.value },
  while: lambda { |i|
    list = []
    while list.size < 2
      list << "while #{i}"
    end
    list
  },
  flip: -> { LIST.each_with_object({}) { |x, h| h[x.to_s] = x } },
  symbols: ->(i) { "sym#{i}".to_sym },
  words: -> { %w[w x y] },
  backtick: -> { :"dynamic #{TEXT.size}".to_proc },
  global: -> { $stage_global = "global" },
  file_stat: -> { File.stat(__FILE__) },
  encoding: -> { TEXT.encode("UTF-16LE") },
  marshal: -> { Marshal.dump(["m"]) },
  time_now: -> { Time.now },
  float_of: -> { Float("1e300") },
  clone: -> { TEXT.clone },
  pack: ->(i) { [i, 2].pack("NN") },
  unpack: -> { "abcd".unpack("a2a2") },
  shuffle: -> { LIST.shuffle },
  tap: -> { "tapped".tap { |s| s << "!" } },
  then: -> { "x".then { |s| s + "then" } },
  marshal_load: -> { Marshal.load("\x04\b[\aI\"\x06a\x06:\x06ETI\"\x06b\x06;\x00T".b) }
}.freeze
LAST = __LINE__
raise "a kind is missing" if KINDS.size != KINDS.keys.uniq.size

# Born in an <internal:...> frame of this Ruby, called from the line of the kind.
INSIDE = %i[time_now float_of clone pack unpack shuffle marshal_load].freeze

KEPT = Array.new(KINDS.size)

def make(count)
  KINDS.each_value.with_index do |kind, k|
    KEPT[k] = Array.new(count) { |i| kind.arity.zero? ? kind.call : kind.call(i) }
  end
end

def watched?(file, line)
  file == "made-up.rb" || file&.start_with?("<internal:") ||
    (file == __FILE__ && line.between?(FIRST, LAST))
end

CLASS = Kernel.instance_method(:class)
NAME = Module.instance_method(:name)

def class_name(object)
  c = CLASS.bind_call(object)
  NAME.bind_call(c) || c.inspect
end

def truth
  seen = Hash.new(0)
  ObjectSpace.each_object do |o|
    file = ObjectSpace.allocation_sourcefile(o) or next
    line = ObjectSpace.allocation_sourceline(o)
    seen[[file, line, class_name(o)]] += 1 if watched?(file, line)
  end
  seen.map { |key, count| [*key, count] }
end

# {line => labels of the code that is on it}
def labels(iseq, seen = Hash.new { |h, line| h[line] = [] })
  iseq.to_a[13].grep(Integer) { |line| seen[line] |= [iseq.label] }
  iseq.each_child { |child| labels(child, seen) }
  seen
end

LABELS = labels(RubyVM::InstructionSequence.compile_file(__FILE__))
make(3) # what is made once and cached, and inline caches
KEPT.clear
stage do |order|
  GC.start
  GC.disable
  ObjectSpace.trace_object_allocations_start
  make(Integer(order))
  GC.start # while the tracing still sees the frees
  JSON.generate("truth" => truth, "labels" => LABELS, "kinds" => KINDS.size,
                "inside" => INSIDE.map { |name| KINDS[name].source_location[1] })
end
