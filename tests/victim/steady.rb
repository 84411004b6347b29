# A program with one thread in each state a tracer can meet: computing, and blocked in read, in
# sleep, in a futex, in select and in wait4. All check what they see. "sum" says whether all went
# well since the last time; the exit status is 42.

require_relative "stage"
require "timeout"

def checksum
  x = 1
  list = Array.new(500) { |i| (x = (x * 1_103_515_245 + 12_345 + i) & 0xffffffff).to_s }
  list.inject(0) { |sum, s| (sum * 31 + s.to_i) & 0xffffffff }
end

$trouble = Queue.new
$signals = 0
$ticks = Hash.new(0)
trap(:USR1) { $signals += 1 }

def watch(name)
  Thread.new do
    loop do
      yield
      $ticks[name] += 1
    end
  rescue Exception => e # rubocop:disable Lint/RescueException
    $trouble << "#{name}: #{e.class} #{e.message}"
  end
end

def same(what, seen)
  raise "#{seen.inspect}, not #{what.inspect}" unless what == seen
end

expected = checksum
reader, writer = IO.pipe
requests = Queue.new
never, _never_written = IO.pipe

watch(:busy) { same(expected, checksum) }
watch(:read) { same("ping\n", reader.readline) }
watch(:futex) { same(:ping, requests.pop) }
watch(:sleep) do
  start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  sleep 0.2
  took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
  raise "slept #{took} s" if took < 0.2
end
watch(:select) { same(nil, IO.select([never], nil, nil, 0.3)) }
watch(:wait) { same(7, Process.wait2(spawn("sleep 0.1; exit 7"))[1].exitstatus) }

stage do
  before = $ticks.dup
  writer.puts "ping"
  requests << :ping
  Process.kill(:USR1, $$)
  Timeout.timeout(30) do
    Thread.pass until %i[busy read futex sleep select wait].all? { |name| $ticks[name] > before[name] } ||
                      !$trouble.empty?
  end
  $trouble.empty? ? "OK signals #{$signals}" : "BAD #{Array.new($trouble.size) { $trouble.pop }.join(' | ')}"
rescue Timeout::Error
  "BAD stuck: #{$ticks.inspect} after #{before.inspect}"
end
exit! 42
