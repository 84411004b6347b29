# frozen_string_literal: true

# What being profiled costs the target: the same loops in one process, off, on, off, in pairs. A
# pair whose base moved by more than 15 % between its two measures says nothing and is left out; when
# that leaves fewer than half, the figures are void. The figures are by the clock on the wall; those
# by processor time stand beside them, for machines that do other things, too.
#
#   overhead.rb [--assert] [--pairs N]

require_relative "../ruby/helper"

ASSERT = ARGV.delete("--assert")
PAIRS = (at = ARGV.index("--pairs")) ? Integer(ARGV.slice!(at, 2).last) : 15

class Overhead < SystemTest
  LIMITS = { "tight" => 1.30, "json" => 1.25, "strings" => 1.25, "exceptions" => 1.25 }.freeze
  MOVED = 0.15
  WALL = 0
  CPU = 1

  LIMITS.each_key { |name| each_ruby(name) { |ruby| measure(ruby, name) } }

  private

  def measure(ruby, name)
    victim = target(ruby, "loops.rb")
    pairs = Array.new(PAIRS) { pair(victim, name) }
    steady = pairs.select { |before, _, after| (after[WALL] / before[WALL] - 1).abs <= MOVED }
    show(ruby, name, pairs, steady, traced(victim, name))
    if steady.size < PAIRS / 2.0
      skip "#{name}: void, the base moved in #{PAIRS - steady.size} of #{PAIRS} pairs"
    elsif ASSERT
      assert_operator quantile(ratios(steady, WALL), 0.5), :<=, LIMITS[name]
    end
  end

  # [wall, processor] nanoseconds a round: before, while profiled, after.
  def pair(victim, name)
    before = ns_per_round(victim, name)
    session = attach(victim.pid)
    ns_per_round(victim, name) # the first lap through the ring touches its pages
    on = ns_per_round(victim, name)
    session.stop
    session.close
    [before, on, ns_per_round(victim, name)]
  end

  # The best of three, for either clock.
  def ns_per_round(victim, name, how = "time")
    Array.new(3) { victim.work("#{how} #{name}").split.map(&:to_f) }.transpose.map(&:min)
  end

  def traced(victim, name)
    base = ns_per_round(victim, name)
    ns_per_round(victim, name, "traced")[CPU] / base[CPU]
  end

  def ratios(pairs, clock)
    pairs.map { |before, on, after| 2 * on[clock] / (before[clock] + after[clock]) }.sort
  end

  def quantile(sorted, q)
    sorted.empty? ? Float::NAN : sorted[((sorted.size - 1) * q).round]
  end

  def show(ruby, name, pairs, steady, traced)
    base = quantile(pairs.flat_map { |before, _, after| [before[WALL], after[WALL]] }.sort, 0.5)
    wall = ratios(steady, WALL)
    puts format("  %-5s %-10s base %8.1f ns; wall: lower quartile %.3f, median %.3f (%d of %d pairs); " \
                "processor: median %.3f; ObjectSpace.trace_object_allocations %.2f",
                ruby.version, name, base, quantile(wall, 0.25), quantile(wall, 0.5), steady.size,
                pairs.size, quantile(ratios(pairs, CPU), 0.5), traced)
  end
end
