# frozen_string_literal: true

# Every allocation and every free is seen: our counts against the VM's own counters.

require_relative "helper"

class Exact < SystemTest
  NAMES = %w[objects literals json procs exceptions structs stringio mix eval pack churn require
             compact].freeze
  COUNT = Integer(ENV.fetch("MEMPROF_TEST_COUNT", 20_000))

  NAMES.each do |name|
    each_ruby(name) { |ruby| check(ruby, name, []) }
    each_ruby("yjit_#{name}") do |ruby|
      skip "ruby #{ruby.version} has no YJIT" unless ruby.yjit
      check(ruby, name, %w[--yjit --yjit-call-threshold=5])
    end
  end

  private

  def check(ruby, name, options)
    victim = target(ruby, "workloads.rb", name, COUNT, options: options)
    before = Look.state(victim.pid)
    report = profile(victim) { victim.work }
    assert_counts(report.summary)
    assert_rows(report)
    assert_clean(before, victim.pid) unless options.any? # a JIT makes code of its own
    assert_predicate victim.finish, :success?
  end

  def assert_counts(sum)
    assert_equal 0, sum["dropped"], sum.inspect
    assert_operator sum["allocated"], :>, 100
    assert_equal sum["vm_allocated"], sum["allocated"] + sum["dropped_alloc"], sum.inspect
    assert_equal sum["vm_freed"], sum["freed"] + sum["dropped_free"], sum.inspect
    assert_in_delta 1.0, sum["coverage"], 0.0
    assert_equal sum["allocated"] - sum["freed_tracked"], sum["live"], sum.inspect
    assert_operator sum["gc_runs"], :>, 0
  end

  def assert_rows(report)
    sum = report.summary
    assert_equal sum["allocated"], report.sum("allocated")
    assert_equal sum["freed_tracked"], report.sum("freed")
    assert_equal sum["live"], report.sum("live")
    assert_equal sum["live_bytes"], report.sum("live_bytes")
    report.sites.each do |s|
      assert_equal s["allocated"] - s["freed"], s["live"], s.inspect
      assert_operator s["survived"], :<=, s["live"], s.inspect
    end
  end
end
