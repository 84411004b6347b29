# frozen_string_literal: true

# How long the target stands still at attach and detach, by number of threads.
#
#   pause.rb [--assert] [--cycles N]

require_relative "../ruby/helper"

ASSERT = ARGV.delete("--assert")
CYCLES = (at = ARGV.index("--cycles")) ? Integer(ARGV.slice!(at, 2).last) : 30

class Pause < SystemTest
  # threads => microseconds, medians
  LIMITS = { 1 => 300, 16 => 1500 }.freeze
  HOLD_LIMIT = 5000
  FIGURES = %w[attach_pause_us detach_pause_us attach_hold_us detach_hold_us].freeze

  LIMITS.each_key { |threads| each_ruby("with_#{threads}_threads") { |ruby| measure(ruby, threads) } }

  private

  def measure(ruby, threads)
    victim = target(ruby, "loops.rb")
    victim.work("threads #{threads - 1}") if threads > 1
    medians = FIGURES.zip(cycles(victim).transpose.map { |values| values.sort[values.size / 2] }).to_h
    puts "  #{ruby.version} #{threads} threads: #{medians.map { |name, us| "#{name} #{us}" }.join(', ')}"
    return unless ASSERT

    medians.each { |name, us| assert_operator us, :<=, name.include?("hold") ? HOLD_LIMIT : LIMITS[threads], name }
  end

  # The figures of each cycle; the target computes meanwhile, so that there is something to stop.
  def cycles(victim)
    Array.new(CYCLES) do
      session = attach(victim.pid)
      victim.work("time strings")
      session.stop
      session.report.summary.values_at(*FIGURES).tap { session.close }
    end
  end
end
