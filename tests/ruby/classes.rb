# frozen_string_literal: true

# Classes are printed with the names Ruby gives them.

require_relative "helper"

class Classes < SystemTest
  each_ruby "names" do |ruby|
    victim = target(ruby, "classes.rb")
    expected = nil
    report = profile(victim) { expected = JSON.parse(victim.work) }
    rows = report.sites.select { |s| s["file"].end_with?("/classes.rb") && s["live"] >= 20 }
    missing = expected.reject { |line, name| rows.any? { |s| s.values_at("line", "class") == [line, name] } }
    assert_empty(missing.map { |line, name| [line, name, rows.select { |s| s["line"] == line }] })
    assert_internals(report)
  end

  private

  def assert_internals(report)
    names = report.sites.select { |s| s["live"].positive? }.map { |s| s["class"] }.uniq
    assert_includes names, "(iseq)"
    assert_includes names, "(imemo:ment)"
    odd = names.grep(/\A\(/).grep_v(/\A\((hidden [A-Z]\w+|[a-z_:]+)\)\z/)
    assert_empty odd
    assert_empty(names.select(&:empty?))
  end
end
