# Twelve ways to make objects, and compaction. usage: workloads.rb NAME COUNT

require_relative "stage"
require "json"
require "set"
require "stringio"

Point = Struct.new(:x, :y)
Money = Struct.new(:cents) do
  include Comparable
  def <=>(other)
    cents <=> other.cents
  end
end

STDLIB = %w[abbrev base64 benchmark csv delegate digest erb find forwardable logger matrix observer
            open3 optparse ostruct pp prime pstore securerandom shellwords singleton tempfile
            tmpdir tsort uri yaml].freeze

WORKLOADS = {
  "objects" => ->(n) { n.times { Object.new } },
  "literals" => lambda do |n|
    n.times do |i|
      a = "text"
      b = [i, a]
      c = { i => b, "k" => a }
      d = "#{a}:#{i}"
      e = i..(i + 1.5)
      [c, d, e].hash
    end
  end,
  "json" => lambda do |n|
    text = JSON.generate("a" => [1, 2.5, nil, "s"], "b" => { "c" => "d" * 30 })
    (n / 10).times { JSON.generate(JSON.parse(text)) }
  end,
  "procs" => lambda do |n|
    n.times { |i| [proc { i }, ->(x) { x + i }, :to_s.to_proc, method(:puts)].size }
  end,
  "exceptions" => lambda do |n|
    (n / 10).times do |i|
      raise ArgumentError, "no #{i}"
    rescue ArgumentError => e
      e.backtrace.size + e.message.size + e.backtrace_locations.size
    end
  end,
  "structs" => ->(n) { n.times { |i| Point.new(i, i.to_s).to_a } },
  "stringio" => lambda do |n|
    io = StringIO.new("line\n" * 200)
    (n / 100).times { io.rewind; io.each_line { |line| line.strip } }
    StringIO.new.tap { |out| n.times { |i| out.puts i } }
  end,
  "mix" => lambda do |n|
    (n / 20).times { |i| [Money.new(i), Money.new(-i)].sort.first.clamp(Money.new(0), Money.new(9)) }
    words = Enumerator.new { |y| (n / 20).times { |i| y << "w#{i}" } }
    while (words.next rescue nil); end
    (n / 200).times { |i| Fiber.new { |x| Fiber.yield(x.to_s); "end#{i}" }.then { |f| 2.times { f.resume(i) } } }
    Array.new(8) { |t| Thread.new { (n / 20).times { |i| "#{t}-#{i}".upcase } } }.each(&:join)
    (n / 20).times { |i| [Time.now, Rational(i, 7), (1 << 70) + i, "a-b".gsub("-", "+"), 1e300 * i] }
  end,
  "eval" => lambda do |n|
    (n / 200).times do |i|
      c = Class.new { define_method(:m) { i }; attr_accessor :a }
      eval("def c.x#{i}; 'x'; end; c.new.m", binding, "made-up.rb", i)
      Module.new { def self.y; :y; end }.y
    end
  end,
  "pack" => lambda do |n|
    (n / 20).times { |i| [i, i.to_s, 1.5].pack("NA8E").unpack("NA8E") }
    (n / 200).times { [1, 2, 3].product([4, 5], [6]); [1, 2, 3, 4].permutation(3).to_a }
    (n / 20).times { |i| Set[i, i + 1] | [3] }
  end,
  "churn" => lambda do |n|
    kept = []
    n.times do |i|
      s = "s" * (i % 100)
      kept << s if (i % 50).zero?
      GC.start(full_mark: (i % 2).zero?) if (i % (n / 8)).zero?
    end
    kept.size
  end,
  "require" => ->(_) { STDLIB.each { |name| require name } },
  "compact" => lambda do |n|
    kept = Array.new(n) { |i| "kept #{i}" }
    kept.reject!.with_index { |_, i| i.odd? }
    GC.compact
    n.times { |i| "after #{i}" }
    kept.size
  end
}.freeze

if $PROGRAM_NAME == __FILE__
  name, count = ARGV
  work = WORKLOADS.fetch(name)
  stage do
    work.call(Integer(count))
    2.times { GC.start }
    nil
  end
end
