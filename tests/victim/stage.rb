# The victims' half of the protocol: say "ready PID", wait for an order, do it, say "done", wait.

$stdout.sync = true

# Runs the block for each order until "end". What the block returns is said with "done".
def stage
  2.times { GC.start } # no zombies and no half-swept page from the time before
  puts "ready #{$$}"
  while (order = $stdin.gets) && order != "end\n"
    reply = yield order.chomp
    puts(reply ? "done #{reply}" : "done")
  end
end
