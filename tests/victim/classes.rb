# One object of each kind of class, and the name its class must be printed with.

require_relative "stage"
require "objspace"

module Outer
  class Inner
    class Deep; end
  end
  Record = Struct.new(:a)
end
Made = Struct.new(:a)
Struct.new("Named", :a)
Aliased = Outer::Inner
class Bare < BasicObject; end

class Liar
  def self.name = "Truth"
  def self.inspect = "Truth"
  def self.to_s = "Truth"
  def class = Integer
end
class Élan; end
module Refining
  refine(String) { def made = yield }
end
using Refining

# Not in constants: that would name them.
anonymous = Class.new
inside_anonymous = Module.new { const_set(:Foo, Class.new) }
later = Class.new
child = Class.new(Outer::Inner)
error = Class.new(StandardError)
SINGULAR = Outer::Inner.new.tap { |o| def o.only = yield }

CASES = [
  [-> { Outer::Inner.new }, "Outer::Inner"],
  [-> { Outer::Inner::Deep.new }, "Outer::Inner::Deep"],
  [-> { Aliased.new }, "Outer::Inner"],
  [-> { Outer::Record.new(1) }, "Outer::Record"],
  [-> { Made.new(1) }, "Made"],
  [-> { Struct::Named.new(1) }, "Struct::Named"],
  [-> { Bare.new }, "Bare"],
  [-> { Liar.new }, "Liar"],
  [-> { Élan.new }, "Élan"],
  [-> { "x".made { Outer::Inner.new } }, "Outer::Inner"],
  [-> { anonymous.new }, anonymous.inspect],
  [-> { inside_anonymous::Foo.new }, inside_anonymous::Foo.inspect],
  [-> { later.new }, "NamedLater"],
  [-> { SINGULAR.only { Outer::Inner.new } }, "Outer::Inner"],
  [-> { Outer::Inner.new.tap { |o| def o.x = 1 } }, "Outer::Inner"],
  [-> { child.new }, child.inspect],
  [-> { error.new("m") }, error.inspect],
  [-> { Class.new }, "Class"],
  [-> { Module.new }, "Module"],
  [-> { "string".dup }, "String"],
  [-> { Thread.new {}.tap(&:join) }, "Thread"],
  [-> { Thread::Queue.new }, "Thread::Queue"],
  [-> { Process.clock_gettime(Process::CLOCK_REALTIME, :float_second) * 1e300 }, "Float"],
  [-> { ObjectSpace::WeakMap.new }, "ObjectSpace::WeakMap"],
  [-> { 1.step(5, 2) }, "Enumerator::ArithmeticSequence"],
  [-> { (1..3).lazy }, "Enumerator::Lazy"],
  [-> { Random.new(1) }, "Random"],
  [-> { binding }, "Binding"],
  [-> { $stdout.dup }, "IO"],
  [-> { Encoding::Converter.new("UTF-8", "UTF-16") }, "Encoding::Converter"]
].freeze

KEPT = []
stage do
  CASES.each { |make,| 20.times { KEPT << make.call } }
  KEPT << Array.new(20) { |i| eval("proc { |x| x + #{i} }") }
  KEPT << Array.new(20) { |i| Outer::Inner.define_method("m#{i}") { i } }
  NamedLater = later
  GC.start
  CASES.map { |make, name| [make.source_location[1], name] }.inspect
end
