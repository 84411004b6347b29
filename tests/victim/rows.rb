# A program whose births are known line by line, because it counts them itself. With "traced" as
# its argument it has ObjectSpace watch as well, and says what that saw alive.

require_relative "stage"
require "objspace"

WORD = "word".freeze
Node = Struct.new(:left, :right)
class Holder
  def initialize(size)
    @list = Array.new(size) { Object.new } # objects
  end
end

# The marked lines: name => line.
LINES = File.readlines(__FILE__).each_with_index
            .to_h { |text, i| [text[/# (\w+)$/, 1], i + 1] }.freeze

def build(kept)
  1000.times { kept << "kept and named".dup } # strings
  5000.times { "dropped" } # dropped
  3000.times { |i| list = [i, i]; kept << list if (i % 3).zero? } # thirds
  500.times { |i| kept << { i => i } } # hashes
  200.times { kept << Holder.new(5) } # holders
  tree = nil
  700.times { tree = Node.new(tree, nil) } # nodes
  kept << tree
  400.times { |i| kept << (i..i + 1) } # ranges
  250.times { kept << "n#{WORD}" } # interpolated
  600.times { kept << 2.0**900 } # floats
end

# [line, class, allocated, live]
COUNTED = [
  ["strings", "String", 2000, 1000], ["dropped", "String", 5000, 0],
  ["thirds", "Array", 3000, 1000], ["hashes", "Hash", 500, 500],
  ["holders", "Holder", 200, 200], ["objects", "Object", 1000, 1000],
  ["objects", "Array", 200, 200], ["nodes", "Node", 700, 700],
  ["ranges", "Range", 400, 400], ["interpolated", "String", 250, 250],
  ["floats", "Float", 600, 600]
].map { |name, *rest| [LINES.fetch(name), *rest] }.freeze

def alive
  seen = Hash.new(0)
  ObjectSpace.each_object do |o|
    next unless ObjectSpace.allocation_sourcefile(o) == __FILE__

    key = [ObjectSpace.allocation_sourceline(o), o.class.name]
    seen[key] += 1 if COUNTED.any? { |line, name,| key == [line, name] }
  end
  seen.map(&:flatten)
end

KEPT = []
stage do
  if ARGV == ["traced"]
    GC.disable
    ObjectSpace.trace_object_allocations_start
  end
  Thread.new { build(KEPT) }.join # a stack that goes away with all that lay on it
  GC.start
  ARGV == ["traced"] ? alive.inspect : COUNTED.inspect
end
