# frozen_string_literal: true

# The table's figures, row by row: against the program's own count of what it made and kept, and
# against a second run of it that ObjectSpace watches.

require_relative "helper"

class Rows < SystemTest
  each_ruby "as_counted" do |ruby|
    victim = target(ruby, "rows.rb")
    counted = nil
    report = profile(victim) { counted = JSON.parse(victim.work) }
    rows = rows_of(report)
    expected = counted.map { |line, name, allocated, live| [line, name, allocated, allocated - live, live] }
    assert_equal expected, (expected.map { |line, name,| [line, name, *rows[[line, name]]] })
    assert_equal traced(ruby), (counted.to_h { |line, name, _, live| [[line, name], live] }
                                       .reject { |_, live| live.zero? })
  end

  each_ruby "survivors" do |ruby|
    victim = target(ruby, "rows.rb")
    report = profile(victim) { 2.times { victim.work } }
    rows = report.sites.select { |s| s["class"] == "Node" }
    # The first round's nodes lived through the second round's GC, and so did the second's: the
    # program ends each round with one.
    assert_equal [1400, 1400], (rows.map { |s| s.values_at("live", "survived") }.transpose.map(&:sum))
  end

  private

  # {[line, class] => [allocated, freed, live]}
  def rows_of(report)
    report.sites.select { |s| s["file"].end_with?("/rows.rb") }
          .to_h { |s| [s.values_at("line", "class"), s.values_at("allocated", "freed", "live")] }
  end

  def traced(ruby)
    victim = target(ruby, "rows.rb", "traced")
    JSON.parse(victim.work).to_h { |line, name, live| [[line, name], live] }
  end
end
