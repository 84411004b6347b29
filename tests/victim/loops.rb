# Timed loops for the benchmarks. Orders: "time NAME" runs that loop once and says its nanoseconds
# per round, by the clock on the wall and by the processor time it had; "traced NAME" does so under ObjectSpace's tracing; "spin SECONDS" runs the tight loop
# that long; "threads N" starts N threads that sleep.

require_relative "stage"
require "json"
require "objspace"

DOC = JSON.generate("a" => [1, 2.5, nil, "s"] * 4, "b" => { "c" => "d" * 30 })

def fail_deep(depth)
  depth.zero? ? raise(ArgumentError, "deep") : fail_deep(depth - 1)
end

# name => [rounds, loop]; each takes about 0.1 s
LOOPS = {
  "tight" => [2_000_000, ->(n) { i = 0; while i < n; Object.new; i += 1; end }],
  "json" => [8000, ->(n) { i = 0; while i < n; JSON.generate(JSON.parse(DOC)); i += 1; end }],
  "strings" => [300_000, ->(n) { i = 0; while i < n; "a#{i}b".upcase.sub("B", "c"); i += 1; end }],
  "exceptions" => [60_000, lambda do |n|
    i = 0
    while i < n
      begin
        fail_deep(5)
      rescue ArgumentError => e
        e.message
      end
      i += 1
    end
  end]
}.freeze

def now(clock = Process::CLOCK_MONOTONIC)
  Process.clock_gettime(clock)
end

CLOCKS = [Process::CLOCK_MONOTONIC, Process::CLOCK_THREAD_CPUTIME_ID].freeze

def time(name)
  rounds, work = LOOPS.fetch(name)
  start = CLOCKS.map { |clock| now(clock) }
  work.call(rounds)
  CLOCKS.zip(start).map { |clock, from| (now(clock) - from) * 1e9 / rounds }.join(" ")
end

def spin(seconds)
  limit = now + seconds
  rounds = 0
  while now < limit
    LOOPS["tight"][1].call(100_000)
    rounds += 100_000
  end
  rounds
end

LOOPS.each_key { |name| time(name) }
stage do |order|
  what, argument = order.split
  case what
  when "time" then time(argument)
  when "traced" then ObjectSpace.trace_object_allocations { time(argument) }
  when "spin" then spin(Float(argument))
  when "threads" then Integer(argument).times { Thread.new { sleep } } && nil
  end
end
