# Does as its order says: "exit", "exec", "make" objects of a few classes and sites, or nothing.

require_relative "stage"

KEPT = []
module Made
  Item = Struct.new(:name)
  def self.items(n)
    Array.new(n) { |i| Item.new("item #{i}") }
  end
end

stage do |order|
  case order
  when "make"
    KEPT << Made.items(300)
    KEPT << Array.new(200) { Object.new }
    KEPT << Array.new(100) { [] }
    GC.start
  when "exit" then exit!(9)
  when "exec" then exec("sleep", "60")
  end
  nil
end
