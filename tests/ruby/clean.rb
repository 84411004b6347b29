# frozen_string_literal: true

# Attach and detach over and over while the target does everything at once: it notices nothing, and
# nothing is left in it. MEMPROF_TEST_CYCLES: how often (200).

require_relative "helper"

class Clean < SystemTest
  CYCLES = Integer(ENV.fetch("MEMPROF_TEST_CYCLES", 200))
  PAGE = 818 # slots of two heap pages: attach and detach may each fall into the sweep of one
  USR1 = Signal.list.fetch("USR1")

  each_ruby("under_load") { |ruby| cycles(ruby, CYCLES, {}) }
  each_ruby("under_load_with_compaction") do |ruby|
    cycles(ruby, [CYCLES / 5, 1].max, { "BUSY_COMPACT" => "1" })
  end

  private

  def cycles(ruby, count, env)
    victim = target(ruby, "busy.rb", env: env)
    files = Look.files(victim.pid)
    mask = Look.masks(victim.pid)[victim.pid]
    before = Look.state(victim.pid)
    victim.work("load")
    storm = keep Child.new(Tools.path("storm", "victim"), victim.pid.to_s, USR1.to_s, "1000")
    count.times { |i| cycle(victim, before, "cycle #{i}") }
    storm.end_input
    storm.wait
    verdict = victim.work("rest")
    puts "  #{count} cycles on #{ruby.version}: #{verdict}; #{storm.out.text}"
    assert_match(/\AOK /, verdict)
    assert_equal files, Look.files(victim.pid)
    assert_equal mask, Look.masks(victim.pid)[victim.pid]
    assert_clean before, victim.pid
    assert_predicate victim.finish, :success?
  end

  def cycle(victim, before, note)
    sum = profile(victim).summary
    assert_clean before, victim.pid, note
    assert_empty Look.files(victim.pid).values.compact.grep(/memfd/), note
    assert_in_delta sum["vm_allocated"], sum["allocated"] + sum["dropped_alloc"], 1, "#{note} #{sum}"
    assert_in_delta sum["vm_freed"], sum["freed"] + sum["dropped_free"], PAGE, "#{note} #{sum}"
  end
end
