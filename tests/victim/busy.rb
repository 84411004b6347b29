# A program that does everything at once and notices when anything goes wrong: threads, signals,
# forks, sleeps, select, sockets, pipes, queues, subprocesses, garbage collections. "load" starts
# it, "rest" ends it and says "OK rounds..." or what went wrong.

require_relative "stage"
require "digest"
require "socket"
require "timeout"

SEED = "seed".freeze
DIGEST = 200.times.inject(SEED) { |s, i| Digest::SHA256.hexdigest(s + i.to_s) }.freeze

$signals = 0
trap(:USR1) { $signals += 1 }
$trouble = Queue.new
$rounds = Hash.new(0)
$quit = false

# Takes at least that long; never early, never an error.
def timed(seconds)
  start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  yield
  took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
  raise "#{seconds} s took #{took} s" if took < seconds || took > seconds + 30
end

def expect(what, seen)
  raise "expected #{what.inspect}, saw #{seen.inspect}" unless what == seen
end

ACTIVITIES = {
  digest: -> { expect(DIGEST, 200.times.inject(SEED) { |s, i| Digest::SHA256.hexdigest(s + i.to_s) }) },
  sort: -> { expect((0...2000).to_a, (0...2000).to_a.reverse.map(&:to_s).sort_by(&:to_i).map(&:to_i)) },
  sleep: -> { timed(0.05) { sleep 0.05 } },
  select: -> { timed(0.04) { expect(nil, IO.select([$never], nil, nil, 0.04)) } },
  pipe: lambda do
    r, w = IO.pipe
    t = Thread.new { r.read }
    20.times { |i| w.write(i.to_s * 100) }
    w.close
    expect((0...20).map { |i| i.to_s * 100 }.join, t.value)
    r.close
  end,
  socket: lambda do
    a, b = UNIXSocket.pair
    t = Thread.new { b.write(b.readline.upcase); b.close }
    a.puts "hello"
    expect("HELLO\n", a.read)
    t.join
    a.close
  end,
  queue: lambda do
    q = Queue.new
    t = Thread.new { Array.new(50) { q.pop } }
    50.times { |i| q << i }
    expect((0...50).to_a, t.value)
  end,
  mutex: lambda do
    lock = Mutex.new
    sum = 0
    Array.new(4) { Thread.new { 100.times { lock.synchronize { sum += 1 } } } }.each(&:join)
    expect(400, sum)
  end,
  fork: lambda do
    child = fork { exit!(Array.new(2000) { |i| "in the child #{i}" }.size == 2000 ? 7 : 8) }
    expect(7, Process.wait2(child)[1].exitstatus)
  end,
  system: lambda do
    expect(true, system("exit 0"))
    expect("text\n", `echo text`)
  end,
  timeout: lambda do
    Timeout.timeout(0.03) { sleep }
    raise "no timeout"
  rescue Timeout::Error
    nil
  end,
  fiber: lambda do
    f = Fiber.new { |x| 20.times { x = Fiber.yield(x + 1) }; :end }
    expect(20, 20.times.inject(0) { |x, _| f.resume(x) })
  end,
  gc: -> { GC.start; GC.compact if ENV["BUSY_COMPACT"]; sleep 0.02 },
  raise: lambda do
    100.times do |i|
      raise ArgumentError, "n#{i}"
    rescue ArgumentError => e
      expect("n#{i}", e.message)
    end
  end
}.freeze

def run(name, work)
  until $quit
    work.call
    $rounds[name] += 1
  end
rescue Exception => e # rubocop:disable Lint/RescueException
  $trouble << "#{name}: #{e.class}: #{e.message} #{e.backtrace.first}"
end

$never, $never_written = IO.pipe
threads = []
stage do |order|
  if order == "load"
    $quit = false
    threads = ACTIVITIES.map { |name, work| Thread.new { run(name, work) } }
    next
  end

  $quit = true
  threads.each(&:join)
  lazy = ACTIVITIES.keys.reject { |name| $rounds[name].positive? }
  $trouble << "never ran: #{lazy}" if lazy.any?
  GC.start
  if $trouble.empty?
    "OK #{$signals} signals, #{$rounds.values.sum} rounds"
  else
    "BAD #{Array.new($trouble.size) { $trouble.pop }.join(' | ')}"
  end
end
