# frozen_string_literal: true

# Births are where Ruby itself puts them: every kind of expression, against ObjectSpace's own
# tracing in the same process.

require_relative "helper"

class LinesTest < SystemTest
  COUNT = 50

  each_ruby "as_ruby_says" do |ruby|
    truth, report = observe(ruby, "--internal")
    assert_operator truth["kinds"], :>=, 25
    expected = truth["truth"].to_h { |file, line, name, count| [[file, line, name], count] }
    seen = report.figures("live")
    wrong = expected.reject { |key, count| same?(key, count, seen[key]) }
                    .map { |key, count| "#{key.join(':')}: #{seen[key].inspect}, not #{count}" }
    assert_empty wrong
    assert_empty unexpected(report, expected)
  end

  each_ruby "internal_goes_to_the_caller" do |ruby|
    truth, report = observe(ruby)
    lines = truth["inside"]
    born = truth["truth"].select { |file, line,| file.start_with?("<internal:") || lines.include?(line) }
    expected = born.group_by { |row| row[2] }.transform_values { |rows| rows.sum(&:last) }
    rows = report.sites.select { |s| lines.include?(s["line"]) && s["file"].end_with?("/lines.rb") }
    seen = rows.group_by { |s| s["class"] }.transform_values { |group| group.sum { |s| s["live"] } }
    assert_equal expected, seen.slice(*expected.keys)
    skipped = rows.map { |s| s["internal"] }.uniq
    born.map(&:first).grep(/<internal:/).uniq.each { |file| assert_includes skipped, file }
    assert_operator skipped.size, :>, 3
  end

  each_ruby "labels" do |ruby|
    truth, report = observe(ruby)
    named = report.sites.select { |s| s["file"].end_with?("/lines.rb") && !s["class"].start_with?("(") }
    checked = named.count do |s|
      labels = truth["labels"][s["line"].to_s] or next
      assert_includes labels, s["method"], s.inspect
    end
    assert_operator checked, :>, 80
  end

  private

  # What the program knows of itself, and what was seen from outside.
  def observe(ruby, *options)
    victim = target(ruby, "lines.rb")
    reply = nil
    report = profile(victim, *options) { reply = victim.work(COUNT.to_s) }
    assert_equal 0, report.summary["dropped"]
    [JSON.parse(reply), report]
  end

  # A new class comes with its singleton class, which ObjectSpace shows only to those who asked for it.
  def same?(key, expected, seen)
    key.last == "Class" ? seen.to_i >= expected : seen == expected
  end

  # Live objects on the kinds' lines that ObjectSpace doesn't know. Its walk leaves out what only
  # the VM sees: internal objects, and singleton classes nobody asked for.
  def unexpected(report, expected)
    lines = expected.keys.select { |file,| file.end_with?("/lines.rb") }.map { |_, line,| line }.minmax
    report.sites.select do |s|
      s["live"].positive? && s["file"].end_with?("/lines.rb") && s["line"].between?(*lines) &&
        !s["class"].start_with?("(") && s["class"] != "Class" &&
        !expected.key?(s.values_at("file", "line", "class"))
    end
  end
end
