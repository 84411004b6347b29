# frozen_string_literal: true

# What the system tests share: which Rubies, how to run a program with deadlines, how to attach to
# one, and how to look at a process from outside. A test file is a program of its own; it ends with
# 0, 1, or 77 and a line that says why nothing could be tested.
#
#   MEMPROF              the binary under test (absolute path)
#   MEMPROF_TEST_RUBY    command that starts the Ruby under test (default: ruby)
#   MEMPROF_TEST_RUBIES  more such commands, separated by ':'
#   MEMPROF_TEST_TOOLS   directory with the built storm and killat (else they are compiled)
#   MEMPROF_TEST_TALLY   file to add one line of counts to

require "json"
require "minitest"
require "open3"
require "rbconfig"
require "shellwords"
require "tempfile"
require "tmpdir"

TESTS = File.expand_path("..", __dir__)
VICTIMS = File.join(TESTS, "victim")

def skip_file(reason)
  puts "SKIP #{File.basename($PROGRAM_NAME)}: #{reason}"
  tally("0 passed, 0 failed, 1 skipped")
  exit 77
end

def tally(text)
  path = ENV["MEMPROF_TEST_TALLY"] or return
  File.write(path, "#{File.basename($PROGRAM_NAME)}: #{text}\n", mode: "a")
end

MEMPROF = ENV["MEMPROF"].to_s
skip_file "MEMPROF names no program" unless File.executable?(MEMPROF)

# One Ruby under test. options are those of the interpreter (--yjit).
Interpreter = Struct.new(:command, :version, :yjit) do
  def self.probe(command)
    words = Shellwords.split(command)
    out, status = Open3.capture2e(*words, "-e", "print RUBY_VERSION")
    return unless status.success?

    _, jit = Open3.capture2e(*words, "--yjit", "-e", "exit RubyVM::YJIT.enabled?")
    new(words, out, jit.success?)
  rescue SystemCallError
    nil
  end

  def label
    version.tr(".", "_")
  end
end

RUBIES = [ENV.fetch("MEMPROF_TEST_RUBY", "ruby"), *ENV["MEMPROF_TEST_RUBIES"].to_s.split(":")]
         .uniq.map { |command| [command, Interpreter.probe(command)] }
RUBIES.each { |command, ruby| skip_file "cannot run #{command}" unless ruby }
RUBIES.map!(&:last).uniq!(&:version)

class Late < StandardError; end

# Ask again until the block gives something; a condition, never a duration.
def poll(what, seconds = 20)
  limit = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  loop do
    found = yield
    return found if found
    raise Late, "not within #{seconds} s: #{what}" if
      Process.clock_gettime(Process::CLOCK_MONOTONIC) > limit

    sleep 0.002
  end
end

# The lines of a pipe, gathered as they come.
class Lines
  def initialize(io)
    @lock = Mutex.new
    @news = ConditionVariable.new
    @lines = []
    @thread = Thread.new do
      io.each_line { |line| @lock.synchronize { @lines << line.chomp; @news.broadcast } }
    rescue IOError
      nil
    ensure
      @lock.synchronize { @ended = true; @news.broadcast }
      io.close
    end
  end

  # The first line from number `from` on that matches; its MatchData.
  def wait(pattern, seconds = 60)
    limit = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
    @lock.synchronize do
      seen = 0
      loop do
        @lines[seen..].each { |line| (m = pattern.match(line)) and return m }
        seen = @lines.size
        left = limit - Process.clock_gettime(Process::CLOCK_MONOTONIC)
        raise Late, "no #{pattern.inspect} in #{seconds} s: #{@lines.last(5)}" if left <= 0
        raise Late, "ended without #{pattern.inspect}: #{@lines.last(5)}" if @ended

        @news.wait(@lock, left)
      end
    end
  end

  # Forget what was read: the next wait sees only what comes.
  def clear
    @lock.synchronize { @lines.clear }
  end

  def text
    @thread.join(5)
    @lock.synchronize { @lines.map { |line| "#{line}\n" }.join }
  end
end

# A program that was started here, and is certain to be gone when close returns.
class Child
  attr_reader :pid, :out, :err

  def initialize(*command, chdir: Dir.pwd, env: {}, stdout: nil)
    input, @input = IO.pipe
    out, out_end = IO.pipe
    err, err_end = IO.pipe
    @pid = Process.spawn(env, *command, chdir: chdir, in: input, out: stdout || out_end,
                                        err: err_end, pgroup: true)
    [input, out_end, err_end].each(&:close)
    @waiter = Process.detach(@pid)
    @out = Lines.new(out)
    @err = Lines.new(err)
  end

  def tell(line)
    @input.puts line
    @input.flush
  end

  def end_input
    @input.close
  end

  def signal(name)
    Process.kill(name, @pid) if alive?
  rescue Errno::ESRCH
    nil # reaped since we asked
  end

  def alive?
    @waiter.alive?
  end

  def wait(seconds = 60)
    @waiter.join(seconds) or raise Late, "#{@pid} did not end in #{seconds} s: #{err_so_far}"
    @waiter.value
  end

  def close
    @input.close unless @input.closed?
    return unless alive?

    Process.kill(:KILL, -@pid) # its own group: what it forked goes too
    @waiter.join
  rescue Errno::ESRCH
    @waiter.join
  end

  private

  def err_so_far
    Process.kill(:KILL, @pid)
    @err.text
  end
end

# A Ruby program of tests/victim that says "ready PID" and then does as it is told on its stdin.
class Target < Child
  def initialize(ruby, script, *args, options: [], chdir: Dir.pwd, env: {})
    path = File.exist?(File.join(chdir, script)) ? script : File.join(VICTIMS, script)
    super(*ruby.command, *options, path, *args.map(&:to_s), chdir: chdir, env: env)
    named = out.wait(/^ready (\d+)/)[1].to_i
    raise "#{ruby.command} is no exec wrapper: #{named} is not #{pid}" unless named == pid

    parked
  end

  # Until the main thread blocks in read(0): nothing allocates any more.
  def parked
    poll("#{pid} reads its stdin") { Look.syscall(pid)&.start_with?("0 0x0 ") }
  end

  # Have it do its work, to the end.
  def work(order = "go")
    out.clear
    tell(order)
    reply = out.wait(/^done(?: (.*))?$/, 120)[1]
    parked
    reply
  end

  def finish
    tell("end")
    wait
  end
end

# The report of one run.
class Report
  attr_reader :lines, :status, :stderr

  def initialize(text, status, stderr)
    @lines = text.lines.map { |line| JSON.parse(line) }
    @status = status
    @stderr = stderr
  end

  def of(type)
    @lines.select { |line| line["type"] == type }
  end

  def summary
    of("summary").first
  end

  def sites
    of("site")
  end

  # {[file, line, class] => figure}
  def figures(name)
    sites.to_h { |s| [s.values_at("file", "line", "class"), s[name]] }
  end

  def sum(name)
    sites.sum { |site| site[name] }
  end
end

# memprof at work on a target.
class Attached < Child
  def initialize(pid, *options, format: "json", env: {}, prefix: [])
    @report = Tempfile.new("report")
    super(*prefix, MEMPROF, "attach", pid.to_s, "-v", "-f", format, *options,
          env: env, stdout: @report.path)
  end

  def attached
    err.wait(/^memprof: attached to \d+/)
    self
  end

  # End the profile; the report as text, or parsed when it is json.
  def stop(signal = :INT)
    signal(signal)
    status = wait
    raise "memprof: #{status}\n#{err.text}" unless status.success?

    self
  end

  def text
    File.read(@report.path)
  end

  def report
    Report.new(text, wait, err.text)
  end
end

# One process seen from outside.
module Look
  Map = Struct.new(:from, :to, :perms, :offset, :path)

  module_function

  def read(pid, name)
    File.binread("/proc/#{pid}/#{name}")
  rescue SystemCallError
    nil
  end

  def syscall(pid)
    read(pid, "syscall")
  end

  def maps(pid)
    (read(pid, "maps") || "").lines.map do |line|
      range, perms, offset, _dev, _inode, path = line.chomp.split(" ", 6)
      Map.new(*range.split("-").map(&:hex), perms, offset.hex, path.to_s)
    end
  end

  # What is executable and from a file.
  def text_maps(pid)
    maps(pid).select { |m| m.perms.include?("x") && m.path.start_with?("/") }
  end

  # The part of it that is Ruby itself.
  def ruby_text(pid)
    text_maps(pid).select { |m| File.basename(m.path).match?(/\A(lib)?ruby/) }
  end

  # The maps whose bytes are not those of the file behind them.
  def altered_text(pid)
    File.open("/proc/#{pid}/mem", "rb") do |mem|
      text_maps(pid).reject do |m|
        mem.pread(m.to - m.from, m.from) == padded(m)
      end
    end
  end

  # A file's page as it is mapped: zeros after the file's end.
  def padded(map)
    size = map.to - map.from
    bytes = File.binread(map.path, size, map.offset) || ""
    bytes.ljust(size, "\0".b)
  end

  def ours(pid)
    maps(pid).select { |m| m.path.start_with?("/memfd:memprof") }
  end

  def anonymous_code(pid)
    maps(pid).select { |m| m.perms.include?("x") && m.path.empty? }
  end

  # KiB of private copies in the executable file maps.
  def dirty_text(pid)
    map = nil
    (read(pid, "smaps") || "").lines.sum do |line|
      map = line if line.match?(/\A\h+-\h+ /)
      next 0 unless line.start_with?("Private_Dirty:") && map.split[1].include?("x") &&
                    map.split[5].to_s.start_with?("/")

      line.split[1].to_i
    end
  end

  def files(pid)
    Dir.children("/proc/#{pid}/fd").sort_by(&:to_i).to_h do |n|
      [n.to_i, File.readlink("/proc/#{pid}/fd/#{n}")]
    rescue Errno::ENOENT
      [n.to_i, nil]
    end
  end

  def tracer(pid)
    read(pid, "status").to_s[/^TracerPid:\s+(\d+)/, 1].to_i
  end

  # Signal masks of all threads, by thread.
  def masks(pid)
    Dir.children("/proc/#{pid}/task").to_h do |tid|
      [tid.to_i, read("#{pid}/task/#{tid}", "status").to_s[/^SigBlk:\s+(\h+)/, 1]]
    end
  end

  # What must hold of a process that memprof has left, compared to before.
  def state(pid)
    { perms: ruby_text(pid).map { |m| [m.from, m.to, m.perms, m.path] },
      altered: altered_text(pid).map(&:path), ours: ours(pid).map(&:path),
      code: anonymous_code(pid).map { |m| m.to - m.from }, dirty: dirty_text(pid),
      tracer: tracer(pid) }
  end
end

# Small C programs of the tests.
module Tools
  module_function

  def path(name, source_dir)
    built = ENV["MEMPROF_TEST_TOOLS"] && File.join(ENV["MEMPROF_TEST_TOOLS"], name)
    return built if built && File.executable?(built)

    @built ||= {}
    @built[name] ||= compile(File.join(TESTS, source_dir, "#{name}.c"), name)
  end

  def compile(source, name, *flags)
    @dir ||= Dir.mktmpdir("memprof-tools").tap { |dir| at_exit { FileUtils.rm_rf(dir) } }
    out = File.join(@dir, name)
    _, status = Open3.capture2e("cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra",
                                *flags, source, "-o", out)
    status.success? ? out : nil
  end
end

class SystemTest < Minitest::Test
  def self.test_order
    :alpha
  end

  # One test method for each Ruby.
  def self.each_ruby(name, &body)
    RUBIES.each do |ruby|
      define_method("test_#{name}_on_#{ruby.label}") { instance_exec(ruby, &body) }
    end
  end

  def teardown
    (@children || []).reverse_each(&:close)
  end

  def keep(child)
    (@children ||= []) << child
    child
  end

  def target(ruby, script, *args, **how)
    keep Target.new(ruby, script, *args, **how)
  end

  def attach(pid, *options, **how)
    keep(Attached.new(pid, *options, **how)).attached
  end

  # Profile what the block has the target do.
  def profile(target, *options, **how)
    session = attach(target.pid, *options, **how)
    yield if block_given?
    session.stop
    session.report
  end

  # A run to its end: [status, stdout, stderr].
  def memprof(*args, prefix: [], binary: MEMPROF)
    child = keep Child.new(*prefix, binary, *args.map(&:to_s))
    status = child.wait
    [status, child.out.text, child.err.text]
  end

  def assert_clean(before, pid, note = nil)
    assert_equal before, Look.state(pid), note
  end
end

# Counts for the caller of many test files; 77 when everything was skipped.
class Tally < Minitest::StatisticsReporter
  def report
    super
    bad = failures + errors
    puts "#{count - bad - skips} passed, #{bad} failed, #{skips} skipped"
    results.select(&:skipped?).each { |r| puts "SKIP #{r.name}: #{r.failure.message}" }
    tally("#{count - bad - skips} passed, #{bad} failed, #{skips} skipped")
    Minitest.after_run { exit! 77 } if count.positive? && skips == count
  end
end

module Minitest
  def self.plugin_tally_init(_options)
    reporter << Tally.new
  end
end
Minitest.extensions << "tally"
Minitest.autorun
$stdout.sync = true
