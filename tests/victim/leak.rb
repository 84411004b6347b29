# A program to try memprof on: when told, it leaks 1,000 strings in one place
# and 100 in another.

def leak(list)

  100.times do
    list << "one of a hundred"
  end

  1000.times do
    list << "one of a thousand"
  end
end

$stdout.sync = true
puts "ready #{$$}"
puts "In another terminal: memprof attach #{$$}    Then press Enter here, and ^C there."
leaked = []
$stdin.gets
leak(leaked)
puts "done"
$stdin.gets
