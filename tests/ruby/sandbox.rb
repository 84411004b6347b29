# frozen_string_literal: true

# Targets that somebody has fenced in, with a filter that kills at the first system call of ours.

require_relative "helper"

class Sandbox < SystemTest
  each_ruby "seccomp_filter_is_suspended" do |ruby|
    fenced = ruby.dup.tap { |r| r.command = [Tools.path("filtered", "victim"), *ruby.command] }
    victim = target(fenced, "rows.rb")
    assert_equal "2", Look.read(victim.pid, "status")[/^Seccomp:\s+(\d)/, 1]
    report = profile(victim, "-f", "json") { victim.work }
    assert_equal 1.0, report.summary["coverage"]
    assert_equal 0, victim.finish.exitstatus
  end

  each_ruby "seccomp_filter_without_the_privilege_is_refused" do |ruby|
    fenced = ruby.dup.tap { |r| r.command = [Tools.path("filtered", "victim"), *ruby.command] }
    victim = target(fenced, "rows.rb")
    status, out, err = memprof("attach", victim.pid, "-d", "1",
                               prefix: %w[setpriv --bounding-set -sys_admin])
    assert_equal 3, status.exitstatus, err
    assert_empty out
    assert_match(/seccomp filter.*CAP_SYS_ADMIN/, err)
    assert_match(/^  try: /, err)
    assert_equal 0, victim.finish.exitstatus
  end
end
