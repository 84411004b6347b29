# frozen_string_literal: true

# The reader keeps up with the tightest loop and its default ring: nothing is lost, unless the
# kernel kept it from running for more than half the time the ring takes to fill.
#
#   reader.rb [--runs N] [--seconds S]

require_relative "../ruby/helper"

def option(name, default)
  at = ARGV.index(name)
  at ? Float(ARGV.slice!(at, 2).last) : default
end
RUNS = option("--runs", 20).to_i
SECONDS = option("--seconds", 10.0)

class Reader < SystemTest
  RING = 32 << 20
  EVENT = 96 # bytes in the ring: an allocation 64, a free 32
  BASE_KB = 100 << 10
  LIVE_BYTES = 64 # of memory allowed for each live object, beyond the base

  each_ruby "keeps_up" do |ruby|
    victim = target(ruby, "loops.rb")
    waits = Array.new(RUNS) { one_run(victim) }
    puts format("  %s: longest waits of the reader, ms: %s", ruby.version,
                waits.map { |w| (w / 1e6).round(1) }.join(" "))
  end

  private

  # The longest time the reader had to wait for a processor, in ns.
  def one_run(victim)
    session = attach(victim.pid)
    victim.out.clear
    victim.tell("spin #{SECONDS}")
    wait = longest_wait(session.pid) { !Look.syscall(victim.pid).to_s.start_with?("0 0x0 ") }
    peak = peak_kb(session.pid)
    rounds = Integer(victim.out.wait(/^done (\d+)/)[1])
    session.stop
    check(session.report.summary, wait, rounds, peak)
    session.close
    wait
  end

  def check(sum, wait, rounds, peak)
    fill = RING / (rounds / SECONDS * EVENT) * 1e9
    puts format("  %.1f M objects/s, ring full after %.1f ms, longest wait %.1f ms, dropped %d, " \
                "memory %d MB without the ring", rounds / SECONDS / 1e6, fill / 1e6, wait / 1e6,
                sum["dropped"], peak >> 10)
    assert_equal sum["vm_allocated"], sum["allocated"] + sum["dropped_alloc"], sum.inspect
    assert_in_delta sum["vm_freed"], sum["freed"] + sum["dropped_free"], 818, sum.inspect
    assert_equal 0, sum["dropped"], sum.inspect if wait <= fill / 2
    assert_operator peak, :<=, BASE_KB + sum["live"] * LIVE_BYTES / 1024
  end

  # Sampled while the block gives true; a wait is booked when it ends, so none is missed, but
  # neighbours within one sample are added up.
  def longest_wait(pid)
    longest = 0
    last = waits(pid)
    while yield
      sleep 0.005
      seen = waits(pid)
      longest = [longest, *seen.map { |tid, ns| ns - last.fetch(tid, 0) }].max
      last = seen
    end
    longest
  end

  def waits(pid)
    Dir.children("/proc/#{pid}/task").to_h do |tid|
      [tid, Look.read("#{pid}/task/#{tid}", "schedstat").to_s.split[1].to_i]
    end
  end

  def peak_kb(pid)
    status = Look.read(pid, "status")
    peak, shared = %w[VmHWM RssShmem].map { |key| status[/^#{key}:\s+(\d+)/, 1].to_i }
    peak - shared
  end
end
