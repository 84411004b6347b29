# frozen_string_literal: true

# memprof dies by SIGKILL at any of its system calls: the target goes on as if nothing had been, and
# `memprof detach` finds what is left and takes it out. MEMPROF_TEST_KILLS: at how many points (100).

require_relative "../ruby/helper"

class Kill < SystemTest
  KILLS = Integer(ENV.fetch("MEMPROF_TEST_KILLS", 100))
  SHARE = { "start" => 0.1, "seize" => 0.35, "attached" => 0.2, "stop" => 0.35 }.freeze
  PER_TARGET = 10

  each_ruby "at_any_system_call" do |ruby|
    points = spread(calibrate(ruby))
    @deviations = []
    outcomes = points.each_slice(PER_TARGET).flat_map { |slice| try(ruby, slice) }
    died = outcomes.compact
    puts "  #{died.size} of #{points.size} points reached on #{ruby.version}; " \
         "slowest detach #{died.map(&:last).max.round(2)} s; " \
         "system calls: #{died.map(&:first).tally.sort_by { |_, n| -n }.first(8).to_h}"
    assert_empty @deviations
    assert_operator died.size, :>=, points.size * 9 / 10
  end

  private

  # Stops in each phase of an undisturbed run.
  def calibrate(ruby)
    victim = target(ruby, "steady.rb")
    log = killat(victim, [])
    assert_match(/^exit 0$/, log)
    victim.close
    SHARE.keys.to_h { |phase| [phase, log[/^#{phase} (\d+)/, 1].to_i] }
  end

  # [phase, n], shuffled always in the same way so that each target sees all phases.
  def spread(stops)
    SHARE.flat_map do |phase, share|
      count = [(KILLS * share).round, 1].max
      Array.new(count) { |i| [phase, 1 + (stops[phase] - 1) * i / count] }
    end.uniq.shuffle(random: Random.new(1))
  end

  # One target for several deaths; what goes wrong is kept, and the other points still get theirs.
  def try(ruby, points)
    victim = target(ruby, "steady.rb")
    assert_match(/\AOK/, victim.work("sum"))
    before = Look.state(victim.pid)
    masks = Array.new(5) { Look.masks(victim.pid) }.reduce { |a, b| a.merge(b) { |_, x, y| [x, y].min } }
    outcomes = points.map { |phase, n| die(victim, before, phase, n) }
    same_masks(victim.pid, masks)
    assert_equal 42, victim.finish.exitstatus
    outcomes
  rescue Minitest::Assertion, Late => e
    @deviations << e.message
    outcomes || []
  ensure
    victim.close
  end

  # Ruby itself blocks all signals for the instants of a fork; only what stays so is ours.
  def same_masks(pid, before)
    poll("signal masks as before, #{before}", 5) do
      Look.masks(pid).all? { |tid, mask| before.fetch(tid, mask) == mask }
    end
  end

  # [system call, seconds of the detach], or nil when the run ended before the point.
  def die(victim, before, phase, n)
    log = killat(victim, ["-k", "#{phase}:#{n}"])
    note = "#{phase}:#{n} #{log}"
    start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    status, _, err = memprof("detach", victim.pid)
    took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
    assert_equal 0, status.exitstatus, "#{note} detach: #{err}"
    assert_clean before, victim.pid, note
    assert_match(/\AOK/, victim.work("sum"), note)
    (call = log[/^killed \S+ (.*)/, 1]) && [call, took]
  end

  def killat(victim, options)
    Tempfile.create("killat") do |log|
      child = keep Child.new(Tools.path("killat", "fault"), *options, log.path,
                             MEMPROF, "attach", victim.pid.to_s, "-v", "-f", "json")
      status = child.wait
      assert_equal 0, status.exitstatus, child.err.text
      File.read(log.path)
    end
  end
end
