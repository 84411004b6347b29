# frozen_string_literal: true

# The command line: exit codes, messages, what happens to other processes, other users, files and
# terminals.

require_relative "helper"
require "io/console"
require "pty"

class Cli < SystemTest
  RUBY = RUBIES.first

  # -- refusals ------------------------------------------------------------------------------------

  def test_usage
    ["frobnicate", "attach abc", "attach -- -5", "attach 0", "attach 1 2", "attach 99999999999",
     "attach 1 --frobnicate", "attach 1 -f nope", "attach 1 -d x", "attach 1 -d -1", "attach 1 -d 0",
     "attach 1 -n x", "attach 1 -n -1", "attach 1 --by nope", "attach 1 --sort nope",
     "attach 1 --ring 12q", "attach 1 -o", "detach x", "check 1x"].each do |args|
      assert_refused 2, *args.split
    end
  end

  def test_nothing_said
    status, out, err = memprof
    assert_equal [2, ""], [status.exitstatus, out]
    assert_match(/^usage: memprof/, err)
  end

  def test_help_and_version
    [%w[--help], %w[attach --help], %w[check --help], %w[detach --help]].each do |args|
      status, out, err = memprof(*args)
      assert_equal [0, ""], [status.exitstatus, err], args.inspect
      assert_match(/\Ausage: memprof/i, out, args.inspect)
    end
    _, out, = memprof("--version")
    assert_match(/\Amemprof \d+\.\d+\.\d+\n\z/, out)
  end

  def test_no_such_process
    gone = Process.spawn("true")
    Process.wait(gone)
    %w[attach check detach].each { |verb| assert_refused 5, verb, gone }
  end

  def test_not_ruby
    sleeper = keep Child.new("sleep", "60")
    poll("sleep is up") { Look.read(sleeper.pid, "comm") == "sleep\n" }
    %w[attach check].each { |verb| assert_match(/ruby/i, assert_refused(3, verb, sleeper.pid)) }
    assert_predicate sleeper, :alive?
  end

  def test_itself
    child = keep Child.new("sh", "-c", "exec #{MEMPROF.shellescape} attach $$")
    assert_equal 3, child.wait.exitstatus, child.err.text
  end

  def test_kernel_thread
    skip "no kernel thread is to be seen here" unless Look.read(2, "stat")&.start_with?("2 (kthreadd)")
    %w[attach check].each { |verb| assert_refused 3, verb, 2 }
  end

  def test_zombie
    zombie = Process.spawn(*RUBY.command, "-e", "exit")
    poll("a zombie") { Look.read(zombie, "stat").to_s.match?(/\) Z /) }
    assert_refused 5, "attach", zombie
  ensure
    Process.wait(zombie)
  end

  def test_32_bit
    tiny = Tools.compile(File.join(VICTIMS, "tiny32.c"), "tiny32", "-m32", "-static", "-nostdlib",
                         "-fno-pic", "-no-pie", "-fno-stack-protector", "-fcf-protection=none")
    skip "this compiler makes no 32-bit programs" unless tiny
    child = keep Child.new(tiny)
    begin
      poll("it pauses") { Look.syscall(child.pid).to_s.start_with?("29 ", "34 ") }
    rescue Late
      skip "this kernel runs no 32-bit programs"
    end
    assert_refused 3, "attach", child.pid
    assert_predicate child, :alive?
  end

  def test_not_permitted
    skip "needs root to become another user" unless Process.uid.zero?
    victim = target(RUBY, "idle.rb")
    Dir.mktmpdir do |dir|
      File.chmod(0o755, dir)
      FileUtils.cp(MEMPROF, dir)
      %w[attach check].each do |verb|
        status, out, err = memprof(verb, victim.pid, binary: File.join(dir, File.basename(MEMPROF)),
                                   prefix: %w[setpriv --reuid 65534 --regid 65534 --clear-groups])
        assert_equal [4, ""], [status.exitstatus, out], err
        assert_match(/\Amemprof: .+\n  try: .+\n\z/, err)
      end
    end
    assert_predicate victim.finish, :success?
  end

  def test_already_traced
    victim = target(RUBY, "idle.rb")
    tracer = keep Child.new("strace", "-f", "-o", "/dev/null", "-p", victim.pid.to_s)
    poll("strace traces") { Look.tracer(victim.pid) == tracer.pid }
    assert_match(/\b#{tracer.pid}\b/, assert_refused(6, "attach", victim.pid))
    tracer.signal(:INT)
    tracer.wait
    assert_predicate victim.finish, :success?
  end

  def test_already_profiled
    victim = target(RUBY, "idle.rb")
    first = attach(victim.pid)
    assert_match(/\b#{first.pid}\b/, assert_refused(6, "attach", victim.pid))
    assert_match(/\b#{first.pid}\b/, assert_refused(6, "detach", victim.pid))
    victim.work("make")
    first.stop
    assert_equal 300, live(first.report, "Made::Item")
    assert_predicate victim.finish, :success?
  end

  # -- ends ----------------------------------------------------------------------------------------

  %w[INT TERM HUP].each do |name|
    define_method("test_ended_by_#{name}") do
      victim = target(RUBY, "idle.rb")
      before = Look.state(victim.pid)
      session = attach(victim.pid)
      victim.work("make")
      session.stop(name)
      assert_equal 300, live(session.report, "Made::Item")
      assert_clean before, victim.pid
      assert_predicate victim.finish, :success?
    end
  end

  def test_duration
    victim = target(RUBY, "idle.rb")
    session = attach(victim.pid, "-d", "0.3")
    assert_predicate session.wait(20), :success?
    assert_in_delta 0.3, session.report.summary["duration_s"], 0.25
    assert_predicate victim.finish, :success?
  end

  { "exit" => 9, "exec" => nil }.each do |order, code|
    define_method("test_target_#{order}s") do
      victim = target(RUBY, "idle.rb")
      session = attach(victim.pid)
      victim.work("make")
      victim.tell(order)
      assert_predicate session.wait(20), :success?, session.err.text
      sum = session.report.summary
      assert_equal [nil, nil, nil], sum.values_at("vm_allocated", "vm_freed", "coverage")
      assert_equal 300, live(session.report, "Made::Item")
      next assert_equal(code, victim.wait.exitstatus) if code

      assert_equal "sleep\n", Look.read(victim.pid, "comm")
      assert_empty Look.ours(victim.pid)
    end
  end

  # A target that is killed or ends at any time between the first look and the report.
  def test_target_goes_during_attach
    rounds = 40
    seen = Array.new(rounds) do |i|
      victim = target(RUBY, "idle.rb")
      session = keep Attached.new(victim.pid, "-d", "0.2")
      sleep 1.5 * i / rounds # not to wait for something: to hit another moment each time
      i.odd? ? victim.signal(:KILL) : victim.tell("exit")
      code = session.wait(20).exitstatus
      assert_includes [0, 5], code, session.err.text
      victim.wait
      code
    end
    puts "  targets that went: #{seen.tally}"
  end

  def test_detach_on_a_clean_target
    victim = target(RUBY, "idle.rb")
    status, out, err = memprof("detach", victim.pid)
    assert_equal 0, status.exitstatus, err
    assert_match(/\b#{victim.pid}\b.*(nothing|clean)/i, out + err)
    assert_predicate victim.finish, :success?
  end

  def test_check
    victim = target(RUBY, "idle.rb")
    before = Look.state(victim.pid)
    status, out, err = memprof("check", victim.pid)
    assert_equal 0, status.exitstatus, err
    assert_includes out, RUBY.version
    assert_clean before, victim.pid
    assert_predicate victim.finish, :success?
  end

  # -- reports -------------------------------------------------------------------------------------

  KEYS = {
    "memprof" => %w[type schema version],
    "target" => %w[type pid ruby description exe image build_id],
    "summary" => %w[type pid duration_s allocated freed freed_tracked live live_bytes dropped
                    dropped_alloc dropped_free dropped_move moved vm_allocated vm_freed coverage
                    gc_runs attach_pause_us attach_hold_us detach_pause_us detach_hold_us sampled
                    verified],
    "site" => %w[type pid file line method class allocated freed live live_bytes survived]
  }.freeze

  def test_json
    victim, report = made
    KEYS.each do |type, keys|
      report.of(type).each { |line| assert_equal keys, line.keys & keys, type } # more may be added
    end
    assert_equal %w[memprof target summary], report.lines.first(3).map { |line| line["type"] }
    assert_equal [1, victim.pid], [report.lines[0]["schema"], report.lines[1]["pid"]]
    assert_equal RUBY.version, report.lines[1]["ruby"]
    assert_includes report.lines[1]["description"], "ruby #{RUBY.version}"
    item = report.sites.find { |s| s["class"] == "Made::Item" }
    assert_match(/\Ablock in .*items\z/, item["method"])
    assert_equal [300, 12_000], item.values_at("live", "live_bytes")
  end

  def test_by_and_sort_and_limit
    _, sites = made
    %w[class file line method gem thread].each do |key|
      _, report = made("--by", key)
      groups = report.of("group")
      assert_empty report.sites
      assert_equal report.summary["live"], groups.sum { |g| g["live"] }, key
      assert_equal groups.size, groups.map { |g| g["key"] }.uniq.size
      assert_equal groups.sort_by { |g| -g["live"] }.map { |g| g["live"] }, groups.map { |g| g["live"] }
    end
    { "live" => "live", "bytes" => "live_bytes", "allocated" => "allocated", "freed" => "freed",
      "survived" => "survived" }.each do |sort, figure|
      _, report = made("--sort", sort, "-n", "3")
      assert_equal 3, report.sites.size
      values = report.sites.map { |s| s[figure] }
      assert_equal values.sort.reverse, values, sort
    end
    assert_operator sites.sites.size, :>, 3
  end

  def test_by_class_adds_up
    _, report = made("--by", "class")
    groups = report.of("group").to_h { |g| g.values_at("key", "live") }
    assert_equal [300, 200], groups.values_at("Made::Item", "Object")
  end

  def test_every_format
    %w[text stats json].each do |format|
      victim = target(RUBY, "idle.rb")
      session = attach(victim.pid, format: format)
      victim.work("make")
      session.stop
      assert_includes session.text, "Made::Item", format
      refute_match(/[^\n[:print:]]/, session.text, format)
    end
  end

  # -- files and terminals -------------------------------------------------------------------------

  def test_output_file
    victim = target(RUBY, "idle.rb")
    Dir.mktmpdir do |dir|
      path = File.join(dir, "out.json")
      session = keep(Child.new(MEMPROF, "attach", victim.pid.to_s, "-v", "-d", "0.1", "-o", path))
      assert_predicate session.wait, :success?, session.err.text
      assert_equal ["", "100600"], [session.out.text, File.stat(path).mode.to_s(8)]
      assert_equal({ "type" => "memprof" }, JSON.parse(File.open(path, &:readline)).slice("type"))
      assert_equal ["out.json"], Dir.children(dir)
    end
  end

  def test_no_output_file_on_failure
    sleeper = keep Child.new("sleep", "60")
    Dir.mktmpdir do |dir|
      assert_refused 3, "attach", sleeper.pid, "-o", File.join(dir, "out.json")
      assert_empty Dir.children(dir)
    end
  end

  def test_no_output_through_a_symlink
    victim = target(RUBY, "idle.rb")
    Dir.mktmpdir do |dir|
      precious = File.join(dir, "precious")
      File.write(precious, "as it was")
      File.symlink(precious, link = File.join(dir, "link"))
      status, = memprof("attach", victim.pid, "-d", "0.1", "-o", link)
      refute_equal 0, status.exitstatus
      assert_equal ["as it was", true], [File.read(precious), File.symlink?(link)]
      assert_equal %w[link precious], Dir.children(dir).sort
    end
    assert_predicate victim.finish, :success?
  end

  [40, 80, 200].each do |columns|
    define_method("test_text_fits_#{columns}_columns") do
      victim = target(RUBY, "idle.rb")
      text = on_terminal(columns, victim) { victim.work("make") }
      plain = text.gsub(/\e\[[\d;?]*[A-Za-z]/, "")
      assert_match(/coverage/i, plain)
      assert_empty(plain.split(/\r?\n|\r/).select { |line| line.size > columns })
      assert_includes plain, "Made::Item" if columns > 40
    end
  end

  def test_no_colour
    victim = target(RUBY, "idle.rb")
    text = on_terminal(80, victim, "NO_COLOR" => "1") { victim.work("make") }
    refute_match(/\e\[\d*(;\d+)*m/, text)
  end

  private

  # One or two lines on stderr, nothing on stdout; the message.
  def assert_refused(code, *args)
    status, out, err = memprof(*args)
    assert_equal [code, ""], [status.exitstatus, out], "#{args.inspect}: #{err}"
    assert_match(/\Amemprof: .+\n(  try: .+\n)?\z/, err, args.inspect)
    err
  end

  def live(report, name)
    report.sites.select { |s| s["class"] == name }.sum { |s| s["live"] }
  end

  def made(*options)
    victim = target(RUBY, "idle.rb")
    report = profile(victim, *options) { victim.work("make") }
    assert_predicate victim.finish, :success?
    [victim, report]
  end

  # What memprof writes to a terminal of that width.
  def on_terminal(columns, victim, env = {})
    PTY.open do |ours, theirs|
      theirs.winsize = [24, columns]
      text = +""
      reader = Thread.new { loop { text << ours.readpartial(4096) } rescue nil }
      pid = Process.spawn({ "TERM" => "xterm-256color" }.merge(env), MEMPROF, "attach", victim.pid.to_s,
                          in: theirs, out: theirs, err: theirs)
      waiter = Process.detach(pid)
      poll("it is attached") { Look.ours(victim.pid).any? && Look.altered_text(victim.pid).any? }
      yield
      Process.kill(:INT, pid)
      assert_predicate waiter.join(20)&.value, :success?, text
      theirs.close
      reader.join(5)
      text.force_encoding(Encoding::UTF_8)
    ensure
      Process.kill(:KILL, pid) if waiter&.alive?
    end
  end
end
