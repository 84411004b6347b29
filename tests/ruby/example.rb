# frozen_string_literal: true

# The example of the README, to the letter.

require_relative "helper"

class Example < SystemTest
  TABLE = "       1000 leak.rb:11:String\n        100 leak.rb:7:String\n"

  each_ruby "first_two_rows" do |ruby|
    victim = target(ruby, "leak.rb", chdir: VICTIMS)
    session = attach(victim.pid, format: "stats")
    victim.work
    session.stop
    assert_equal TABLE, session.text.lines.first(2).join
    assert_empty session.text.lines.grep_v(/\A {0,10}\d{1,11} .*:\d+:\S+/)
    counts = session.text.lines.map { |line| line[/\d+/].to_i }
    assert_equal counts.sort.reverse, counts
    assert_predicate victim.finish, :success?
  end
end
