//! Jobs from the call that schedules them to the completion, through the public face.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "jobs/cancelling.rs"]
mod cancelling;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use millstream::job::{
    Completion, Delivery, FileOp, JobIds, JobRequest, JobState, OutputLine, Overflow, Pool, PoolOptions, Scheduler,
    VmFactory, Wait,
};
use millstream::lua::{Budget, Packer, Vm, VmOptions, spawn_lua_thread};
use millstream::time::Stopwatch;
use mlua::{Function, Table};

const NO_LIMIT: Budget = Budget { limit: None, slow: None };

fn vm() -> Vm {
    let options = VmOptions { name: "plugin.lua".to_owned(), memory_limit: 64 << 20, package_path: Vec::new() };
    let vm = Vm::new(&options).unwrap();
    vm.lua().load("T = { log = function() end }").exec().unwrap();
    vm
}

fn factory() -> VmFactory {
    Arc::new(|context| {
        let vm = vm();
        let output = context.output.clone();
        let log = vm.lua().create_function(move |_, (level, text): (i32, String)| {
            output.push(OutputLine::Log { level, text: text.into_bytes() });
            Ok(())
        });
        vm.lua().globals().get::<Table>("T").unwrap().set("log", log.unwrap()).unwrap();
        Ok(vm)
    })
}

fn options(workers: i64) -> PoolOptions {
    PoolOptions::new("plugin", workers)
}

/// A scheduling VM with its end of a pool.
struct Side {
    vm: Vm,
    packer: Packer,
    scheduler: Scheduler,
}

impl Side {
    fn of(pool: &Pool, ids: &JobIds, delivery: Delivery) -> Self {
        let vm = vm();
        let packer = Packer::new(vm.lua()).unwrap();
        Self { vm, packer, scheduler: Scheduler::new(pool, ids, delivery) }
    }

    fn function(&self, text: &str) -> Function {
        let chunk = self.vm.load(text.as_bytes(), "@plugin.lua").unwrap();
        self.vm.call(&chunk, (), NO_LIMIT).unwrap()
    }

    fn request(&mut self, function: &Function, data: &str) -> JobRequest {
        let packed = self.packer.pack(self.vm.lua(), function).unwrap();
        JobRequest { function: packed.portable, data: data.into(), token: 0, timeout: None }
    }

    fn schedule(&mut self, text: &str, data: &str) {
        let function = self.function(text);
        let request = self.request(&function, data);
        self.scheduler.schedule(request).unwrap();
    }

    /// Schedules so many jobs of one function and hands them over.
    fn schedule_many(&mut self, text: &str, count: usize) {
        let function = self.function(text);
        for _ in 0..count {
            let request = self.request(&function, "");
            self.scheduler.schedule(request).unwrap();
        }
        self.scheduler.flush();
    }

    fn settle(&self) -> Vec<Completion> {
        self.scheduler.settle(&Wait { limit: Some(Duration::from_secs(60)), cancel: None })
    }

    /// Runs one function to its end.
    fn run(&mut self, text: &str, data: &str) -> Completion {
        self.schedule(text, data);
        let mut completions = self.settle();
        assert_eq!(completions.len(), 1);
        completions.remove(0)
    }
}

fn side(options: PoolOptions) -> (Pool, Side) {
    let pool = Pool::new(options, factory());
    let side = Side::of(&pool, &JobIds::new(0), Delivery::InOrder);
    (pool, side)
}

fn result(completion: &Completion) -> String {
    assert_eq!(completion.state, JobState::Done, "{:?}", completion.error);
    String::from_utf8(completion.result.clone().unwrap()).unwrap()
}

fn message(completion: &Completion) -> &str {
    &completion.error.as_ref().unwrap().message
}

/// All threads of a test that runs Lua need the stack for it.
fn on_lua_thread(test: impl FnOnce() + Send + 'static) {
    spawn_lua_thread("test", test).unwrap().join().unwrap();
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Stopwatch::start();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn adds_up(pool: &Pool) {
    let s = pool.summary();
    let sum = s.queued + s.running + s.done + s.failed + s.timed_out + s.cancelled + s.dropped + s.orphaned;
    assert_eq!(s.scheduled, sum, "{s:?}");
}

#[test]
fn a_plugin_schedules_and_gets_its_results() {
    on_lua_thread(|| {
        // The loop that an owner of a scheduler writes: `schedule` keeps `onresult` under a token, completions call it.
        let pool = Pool::new(options(1), factory());
        let side = Side::of(&pool, &JobIds::new(3), Delivery::AsFinished);
        let lua = side.vm.lua();
        let callbacks = lua.create_table().unwrap();
        let Side { packer, scheduler, .. } = side;
        let (packer, scheduler) = (std::cell::RefCell::new(packer), std::rc::Rc::new(scheduler));
        let (keep, owner) = (callbacks.clone(), std::rc::Rc::clone(&scheduler));
        let schedule = lua
            .create_function(move |lua, job: Table| {
                let packed = packer.borrow_mut().pack(lua, &job.get("onexecute")?).map_err(mlua::Error::external)?;
                let token = keep.raw_len() as u64 + 1;
                keep.raw_set(token, job.get::<Function>("onresult")?)?;
                let data = job.get::<mlua::LuaString>("data")?.as_bytes().to_vec();
                let request = JobRequest { function: packed.portable, data, token, timeout: None };
                owner.schedule(request).map(|id| id.to_string()).map_err(mlua::Error::external)
            })
            .unwrap();
        lua.globals().set("schedule", schedule).unwrap();
        let text = r#"
            lines = {}
            local prefix = "n="
            local job = { onexecute = function(d) if d ~= "2" then return prefix .. d end end,
                          onresult = function(d, r) lines[#lines + 1] = d .. " " .. r end }
            for i = 1, 3 do job.data = i ids = schedule(job) end
        "#;
        lua.load(text).exec().unwrap();
        assert_eq!(lua.globals().get::<String>("ids").unwrap(), "3-3");
        assert_eq!(scheduler.pending(), 3);
        let drained = scheduler.drain(&Wait::default(), |completion| {
            if let Some(result) = completion.result {
                let onresult: Function = callbacks.raw_get(completion.token).unwrap();
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                onresult.call::<()>((text(completion.data), text(result))).unwrap();
            }
        });
        assert_eq!((drained.delivered, drained.cancelled), (3, 0));
        let lines: Vec<String> = lua.globals().get("lines").unwrap();
        assert_eq!(lines, ["1 n=1", "3 n=3"]);
        assert_eq!(scheduler.pending(), 0);
        adds_up(&pool);
    });
}

#[test]
fn a_captured_path_reaches_a_command() {
    on_lua_thread(|| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "abc").unwrap();
        let (_pool, mut side) = side(options(1));
        let text = format!(
            "local path = '{}' return function(d) local h = io.popen('sha1sum ' .. path) local r = h:read('*a') h:close() return r end",
            file.display()
        );
        assert!(result(&side.run(&text, "")).starts_with("a9993e364706816aba3e25717850c26c9cd0d89d "));
    });
}

#[test]
fn only_strings_and_numbers_are_results() {
    on_lua_thread(|| {
        let (pool, mut side) = side(options(1));
        for (returned, expected) in
            [("'x'", "x"), ("42", "42"), ("0.5", "0.5"), ("2^53", "9.007199254741e+15"), ("''", "")]
        {
            assert_eq!(result(&side.run(&format!("return function() return {returned} end"), "")), expected);
        }
        for nothing in ["nil", "true", "{}", "print", "io.stdout", ""] {
            let completion = side.run(&format!("return function() return {nothing} end"), "data");
            assert_eq!(
                (completion.state, &completion.result, &*completion.data),
                (JobState::Done, &None, &b"data"[..])
            );
        }
        let completion = side.run("return function(d) return ('x'):rep(17 * 1024 * 1024) end", "");
        assert_eq!(completion.state, JobState::Failed);
        assert!(message(&completion).contains("exceeds the limit"), "{}", message(&completion));
        assert_eq!(pool.summary().done, 11);
    });
}

#[test]
fn errors_come_home_with_their_line() {
    on_lua_thread(|| {
        let (pool, mut side) = side(options(1));
        let completion =
            side.run("return function(d)\n local function inner() error('broken ' .. d) end\n inner() end", "x");
        assert_eq!(completion.state, JobState::Failed);
        assert_eq!(message(&completion), "plugin.lua:2: broken x");
        assert!(completion.error.as_ref().unwrap().traceback.contains("plugin.lua:3"), "{completion:?}");
        assert_eq!(&*completion.function, "plugin.lua:1");
        for odd in ["error()", "error({})", "error(nil)", "os.exit(1)", "local x = nil + 1"] {
            assert_eq!(side.run(&format!("return function() {odd} end"), "").state, JobState::Failed);
        }
        assert_eq!(result(&side.run("return function(d) return d end", "alive")), "alive");
        assert_eq!((pool.summary().failed, pool.summary().done), (6, 1));
    });
}

#[test]
fn prints_and_logs_come_home_in_order() {
    on_lua_thread(|| {
        let (_pool, mut side) = side(options(1));
        let completion =
            side.run("return function(d) print('a', 1, nil) T.log(4, 'careful') print(d) error('x') end", "data");
        let print = |text: &[u8]| OutputLine::Print(text.to_vec());
        let log = OutputLine::Log { level: 4, text: b"careful".to_vec() };
        assert_eq!(completion.output, [print(b"a\t1\tnil"), log, print(b"data")]);
        let flood = side.run("return function(d) for i = 1, 100000 do print(('x'):rep(100)) end return 'ok' end", "");
        assert_eq!(flood.output.len() as u64 + flood.output_cut, 100_000);
        assert!(flood.output.len() < 10_000);
    });
}

#[test]
fn globals_persist_on_a_worker_and_captured_values_do_not() {
    on_lua_thread(|| {
        let (_pool, mut side) = side(options(1));
        let function = side
            .function("local n = 0 return function() n = n + 1 count = (count or 0) + 1 return n .. ' ' .. count end");
        for round in 1..=5 {
            let request = side.request(&function, "");
            side.scheduler.schedule(request).unwrap();
            assert_eq!(result(&side.settle()[0]), format!("1 {round}"));
        }
    });
}

#[test]
fn an_endless_loop_ends_at_its_deadline() {
    on_lua_thread(|| {
        let (pool, mut side) = side(PoolOptions { deadline: Duration::from_millis(100), ..options(1) });
        for text in [
            "while true do end",
            "local n = 0 while true do n = n + 1 end",
            "while true do pcall(function() while true do end end) end",
        ] {
            let begin = Stopwatch::start();
            let completion = side.run(&format!("return function() {text} end"), "");
            assert_eq!(completion.state, JobState::TimedOut, "{completion:?}");
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        }
        assert_eq!(result(&side.run("return function(d) return d end", "alive")), "alive");
        let summary = pool.summary();
        assert_eq!((summary.timed_out, summary.workers_abandoned), (3, 0));
    });
}

#[test]
fn commands_end_with_their_job() {
    on_lua_thread(|| {
        let dir = tempfile::tempdir().unwrap();
        let (pool, mut side) = side(PoolOptions { deadline: Duration::from_millis(300), ..options(1) });
        let pid = |name: &str| {
            let path = dir.path().join(name);
            wait_until("the child has written its number", || {
                std::fs::read_to_string(&path).is_ok_and(|t| t.ends_with('\n'))
            });
            std::fs::read_to_string(path).unwrap().trim().parse::<u32>().unwrap()
        };
        let in_dir = |name: &str| dir.path().join(name).display().to_string();
        for (name, text) in [
            ("read", "local h = io.popen('echo $$ > FILE; sleep 30') return h:read('*a')"),
            ("close", "local h = io.popen('echo $$ > FILE; exec sleep 30') h:close() return 'closed'"),
            ("execute", "return os.execute('echo $$ > FILE; sleep 30 & wait')"),
            ("caught", "pcall(os.execute, 'echo $$ > FILE; sleep 30') return 'caught'"),
            ("write", "local h = io.popen('echo $$ > FILE; sleep 30', 'w') h:write(('x'):rep(1000000)) h:flush()"),
            ("loop", "os.execute('sleep 30 & echo $! > FILE') while true do end"),
        ] {
            let begin = Stopwatch::start();
            let completion = side.run(&format!("return function() {} end", text.replace("FILE", &in_dir(name))), "");
            assert_eq!(completion.state, JobState::TimedOut, "{name}: {completion:?}");
            assert!(begin.elapsed() < Duration::from_secs(3), "{name}: {:?}", begin.elapsed());
            let child = pid(name);
            wait_until("the child is gone", || !is_alive(child));
        }
        // A job that ends in time takes what it left running along as well.
        let text = format!("return function() os.execute('sleep 30 & echo $! > {}') return 'done' end", in_dir("left"));
        assert_eq!(result(&side.run(&text, "")), "done");
        let child = pid("left");
        wait_until("the child is gone", || !is_alive(child));
        assert_eq!((pool.summary().timed_out, pool.summary().workers_abandoned), (6, 0));
    });
}

fn is_alive(pid: u32) -> bool {
    // A zombie that nobody has reaped yet is dead.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
fn popen_and_execute_behave_like_those_of_the_standard_library() {
    on_lua_thread(|| {
        let (_pool, mut side) = side(options(1));
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            r#"return function(d)
            local h = io.popen("printf 'one\ntwo\n\n12 0x10 -1.5e2x\nlast'")
            assert(io.type(h) == "file" and tostring(h):find("^file %(") and type(h) == "userdata")
            assert(h:read() == "one" and h:read("*l") == "two" and h:read("*L") == "\n")
            local a, b, c = h:read("*n", "*n", "*n")
            assert(a == 12 and b == 16 and c == -150, tostring(a) .. tostring(b) .. tostring(c))
            assert(h:read(1) == "x" and h:read(0) == "" and h:read("*l") == "" and h:read(2) == "la")
            assert(h:read("*a") == "st" and h:read("*a") == "" and h:read("*l") == nil and h:read(1) == nil and h:read(0) == nil)
            assert(h:close() == true and io.type(h) == "closed file" and tostring(h) == "file (closed)")
            assert(not pcall(h.read, h) and not pcall(h.close, h))
            local lines = {{}}
            for line in io.popen("seq 1 10000"):lines() do lines[#lines + 1] = line end
            assert(#lines == 10000 and lines[10000] == "10000")
            local w = io.popen("cat > {file}", "w")
            assert(w:write("a", 1, "\0", ("y"):rep(200000)) == true and w:flush() and io.close(w))
            local f = assert(io.open("{file}", "rb"))
            assert(f:read("*a") == "a1\0" .. ("y"):rep(200000) and f:close())
            assert(io.type(f) == "closed file" and io.type(7) == nil and io.type(io.stdout) == "file")
            assert(os.execute() ~= 0 and os.execute("true") == 0 and os.execute("exit 3") == 768)
            assert(os.execute("kill -9 $$") == 9 and not pcall(io.popen, "true", "x"))
            assert(io.popen("exit 7"):close() == true)
            assert(io.popen("head -c 3000000 /dev/zero"):read("*a") == ("\0"):rep(3000000))
            local n = 0
            for i = 1, 100 do n = n + os.execute("true") end
            assert(n == 0 and io.popen("cat"):read("*a") == "")
            return d
        end"#,
            file = dir.path().join("out").display()
        );
        assert_eq!(result(&side.run(&text, "ok")), "ok");
    });
}

#[test]
fn a_worker_stuck_in_c_is_replaced_and_its_job_ends_once() {
    on_lua_thread(|| {
        let limits = PoolOptions {
            deadline: Duration::from_millis(50),
            grace: Duration::from_millis(100),
            ..PoolOptions::new("stuck", 1)
        };
        let (pool, mut side) = side(limits);
        let door = Door::new();
        let stuck = side.function(&format!("return function() io.open('{}') return 'late' end", door.path.display()));
        let echo = side.function("return function(d) return d end");
        for function in [&stuck, &echo, &echo] {
            let request = side.request(function, "x");
            side.scheduler.schedule(request).unwrap();
        }
        let begin = Stopwatch::start();
        let completions = side.settle();
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let states: Vec<JobState> = completions.iter().map(|completion| completion.state).collect();
        assert_eq!(states, [JobState::TimedOut, JobState::Done, JobState::Done]);
        // Deadline and grace.
        let least = Duration::from_millis(150);
        assert!(completions[0].ran >= least, "{:?}", completions[0].ran);
        let summary = pool.summary();
        assert_eq!((summary.runs.count, summary.whole.count), (3, 3));
        assert!(summary.runs.max >= least && summary.whole.max >= least, "{summary:?}");
        // The stuck call returns at last; nothing comes of it.
        door.open();
        wait_until("the thread of the worker has ended", || threads_named("job0-stuck") == 1);
        assert_eq!(side.settle().len(), 0);
        let summary = pool.summary();
        assert_eq!((summary.timed_out, summary.done, summary.workers_abandoned), (1, 2, 1));
        adds_up(&pool);
    });
}

#[test]
fn when_every_worker_is_stuck_for_good_jobs_fail_instead_of_waiting() {
    on_lua_thread(|| {
        let limits =
            PoolOptions { deadline: Duration::from_millis(20), grace: Duration::from_millis(20), ..options(8) };
        let (pool, mut side) = side(limits);
        let door = Door::new();
        side.schedule_many(&format!("return function() io.open('{}') end", door.path.display()), 60);
        let completions = side.settle();
        assert_eq!(completions.len(), 60);
        assert!(completions.iter().any(|c| c.state == JobState::Failed && message(c).contains("no worker is left")));
        let late = side.run("return function() end", "");
        assert_eq!(late.state, JobState::Failed);
        door.open();
        adds_up(&pool);
    });
}

/// A FIFO: whoever opens it for reading is stuck in C until it is opened for writing.
struct Door {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Door {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self { _dir: dir, path }
    }

    fn open(&self) {
        // For reading as well, so that this does not wait itself.
        drop(std::fs::OpenOptions::new().read(true).write(true).open(&self.path).unwrap());
    }
}

fn threads_named(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    threads.filter(|t| std::fs::read_to_string(t.path().join("comm")).is_ok_and(|comm| comm.trim() == name)).count()
}

#[test]
fn a_memory_bomb_fails_and_the_worker_goes_on() {
    on_lua_thread(|| {
        let (pool, mut side) = side(options(1));
        let hoard = "return function() kept = {} for i = 1, 1e9 do kept[i] = ('x'):rep(1000) .. i end end";
        let completion = side.run(hoard, "");
        assert_eq!(completion.state, JobState::Failed);
        assert!(message(&completion).contains("not enough memory"), "{completion:?}");
        assert_eq!(result(&side.run("return function(d) return d .. tostring(kept) end", "alive")), "alivenil");
        assert_eq!(pool.summary().vms_replaced, 1);
        let garbage = "return function() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end";
        assert_eq!(side.run(garbage, "").state, JobState::Failed);
        assert_eq!(result(&side.run("return function(d) return d end", "alive")), "alive");
        assert_eq!(pool.summary().vms_replaced, 1, "collecting was enough");
    });
}

#[test]
fn a_hundred_thousand_jobs_at_once_and_no_more() {
    on_lua_thread(|| {
        let (pool, mut side) = side(options(1));
        let function = side.function("local p = 'x' return function(d) return p .. d end");
        let mut dropped = 0;
        for n in 0..100_500 {
            let request = side.request(&function, &n.to_string());
            if let Err(rejected) = side.scheduler.schedule(request) {
                assert_eq!(rejected.overflow, Overflow::Jobs(100_000));
                assert!(n >= 100_000);
                dropped += 1;
            }
        }
        assert_eq!((dropped, side.scheduler.pending()), (500, 100_000));
        adds_up(&pool);
        let completions = side.settle();
        for (n, completion) in completions.iter().enumerate() {
            assert_eq!(result(completion), format!("x{n}"));
        }
        let summary = pool.summary();
        assert_eq!((summary.scheduled, summary.done, summary.dropped), (100_500, 100_000, 500));
        assert_eq!(side.scheduler.pending(), 0);
    });
}

#[test]
fn data_and_results_have_limits_in_bytes() {
    on_lua_thread(|| {
        let (pool, mut side) = side(PoolOptions { max_bytes: 1 << 20, max_result_bytes: 1 << 20, ..options(1) });
        let function = side.function("return function(d) return d end");
        let large = "x".repeat(300_000);
        let mut results = Vec::new();
        for _ in 0..5 {
            let request = side.request(&function, &large);
            results.push(side.scheduler.schedule(request).map_err(|rejected| rejected.overflow));
        }
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
        assert_eq!(results[4], Err(Overflow::Bytes(1 << 20)));
        assert_eq!(side.settle().len(), 3);
        let function = side.function("return function(d) return ('x'):rep(300000) end");
        for _ in 0..5 {
            let request = side.request(&function, "");
            side.scheduler.schedule(request).unwrap();
        }
        let states: Vec<JobState> = side.settle().iter().map(|completion| completion.state).collect();
        assert_eq!(states.iter().filter(|state| **state == JobState::Done).count(), 3);
        assert_eq!(pool.summary().results_over_limit, 2);
        assert_eq!(result(&side.run("return function(d) return d end", "room again")), "room again");
        adds_up(&pool);
    });
}

#[test]
fn draining_is_bounded_by_time() {
    on_lua_thread(|| {
        let (pool, mut side) = side(options(1));
        side.schedule("return function(d) return d end", "quick");
        side.schedule("return function(d) os.execute('sleep 30') end", "slow");
        let mut states = Vec::new();
        let wait = Wait { limit: Some(Duration::from_millis(300)), cancel: None };
        let drained = side.scheduler.drain(&wait, |completion| states.push(completion.state));
        assert_eq!(states, [JobState::Done, JobState::Cancelled]);
        assert_eq!(drained.cancelled, 1);
        adds_up(&pool);
    });
}

#[test]
fn jobs_scheduled_while_draining_are_drained_too() {
    on_lua_thread(|| {
        let (pool, mut side) = side(options(2));
        let function = side.function("return function(d) return d end");
        let requests: Vec<JobRequest> = (0..5).map(|n| side.request(&function, &n.to_string())).collect();
        let mut requests = requests.into_iter();
        side.scheduler.schedule(requests.next().unwrap()).unwrap();
        let drained = side.scheduler.drain(&Wait::default(), |_| {
            if let Some(request) = requests.next() {
                side.scheduler.schedule(request).unwrap();
            }
        });
        assert_eq!((drained.delivered, pool.summary().done), (5, 5));
    });
}

#[test]
fn two_scheduling_threads_are_accounted_exactly() {
    let pool = Pool::new(PoolOptions { max_jobs: 3000, deadline: Duration::from_secs(20), ..options(3) }, factory());
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = [0, 1]
        .into_iter()
        .map(|engine| {
            let pool = pool.clone();
            spawn_lua_thread("engine", move || {
                let mut side = Side::of(&pool, &JobIds::new(engine), Delivery::AsFinished);
                let function = side.function(
                    "return function(d) local n = tonumber(d) if n % 7 == 0 then error('seven') end if n % 5 == 0 then return nil end return d * 2 end",
                );
                let (mut accepted, mut rejected, mut failed, mut with_result) = (0_u64, 0_u64, 0_u64, 0_u64);
                let mut completions = Vec::new();
                for n in 0..30_000_u64 {
                    let request = side.request(&function, &n.to_string());
                    match side.scheduler.schedule(request) {
                        Ok(_) => accepted += 1,
                        Err(_) => rejected += 1,
                    }
                    if n % 256 == 0 {
                        side.scheduler.flush();
                        side.scheduler.poll(64, &mut completions);
                    }
                }
                side.scheduler.drain(&Wait::default(), |completion| completions.push(completion));
                for completion in &completions {
                    let n: u64 = std::str::from_utf8(&completion.data).unwrap().parse().unwrap();
                    failed += u64::from(completion.state == JobState::Failed);
                    assert_eq!(completion.state == JobState::Failed, n.is_multiple_of(7));
                    if let Some(result) = &completion.result {
                        assert_eq!(std::str::from_utf8(result).unwrap(), (2 * n).to_string());
                        with_result += 1;
                    }
                }
                assert_eq!(completions.len() as u64, accepted);
                (accepted, rejected, failed, with_result)
            })
            .unwrap()
        })
        .collect();
    let watcher = {
        let (pool, over) = (pool.clone(), Arc::clone(&over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                adds_up(&pool);
            }
        })
    };
    let sums: Vec<(u64, u64, u64, u64)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    over.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    let summary = pool.summary();
    assert!(sums.iter().any(|sum| sum.3 > 0));
    assert_eq!(summary.scheduled, 60_000);
    assert_eq!(summary.dropped, sums.iter().map(|sum| sum.1).sum::<u64>());
    assert_eq!(summary.failed, sums.iter().map(|sum| sum.2).sum::<u64>());
    assert_eq!(summary.done + summary.failed, sums.iter().map(|sum| sum.0).sum::<u64>());
    assert_eq!((summary.queued, summary.running, pool.pending()), (0, 0, 0));
}

#[test]
fn jobs_of_one_vm_start_in_order() {
    on_lua_thread(|| {
        let (_pool, mut side) = side(options(1));
        let function = side.function("return function(d) seen = (seen or '') .. d return seen end");
        for n in 0..200 {
            let request = side.request(&function, &(n % 10).to_string());
            side.scheduler.schedule(request).unwrap();
        }
        let last = result(side.settle().last().unwrap());
        assert_eq!(last, "0123456789".repeat(20));
    });
}

fn contents(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn file_operations_on_one_file_keep_their_order_with_many_workers() {
    on_lua_thread(|| {
        let dir = tempfile::tempdir().unwrap();
        let (pool, side) = side(options(4));
        let path = |name: &str| -> PathBuf { dir.path().join(name) };
        let file = |operation| side.scheduler.schedule_file(operation, 0).unwrap();
        let write = |name: &str, text: String| FileOp::CopyBuffer {
            bytes: text.into_bytes(),
            path: path(name),
            position: None,
        };
        let mut expected = [String::new(), String::new(), String::new()];
        for n in 0..600 {
            let target = n % 3;
            // A chunk that is appended and then deleted, as extracted files are joined.
            file(write("chunk", format!("<{n}>")));
            file(FileOp::Cat { from: path("chunk"), to: path(&format!("whole{target}")) });
            file(FileOp::Remove { path: dir.path().join("../").join(dir.path().file_name().unwrap()).join("chunk") });
            file(write(&format!("whole{target}"), "+".to_owned()));
            expected[target] += &format!("<{n}>+");
        }
        file(FileOp::Copy { from: path("whole0"), to: path("copy") });
        let completions = side.settle();
        assert_eq!(completions.len(), 2401);
        assert!(
            completions.iter().all(|completion| completion.state == JobState::Done),
            "{:?}",
            completions.iter().find(|c| c.state != JobState::Done)
        );
        for (target, text) in expected.iter().enumerate() {
            assert!(&contents(&path(&format!("whole{target}"))) == text, "whole{target} is out of order");
        }
        assert!(contents(&path("copy")) == expected[0], "the copy is not the last state");
        file(FileOp::Copy { from: path("absent"), to: path("y") });
        let failed = &side.settle()[0];
        assert_eq!((failed.state, failed.kind.name()), (JobState::Failed, "copy"));
        assert!(message(failed).contains("No such file"));
        adds_up(&pool);
    });
}

#[test]
fn a_factory_that_fails_fails_the_job_only() {
    on_lua_thread(|| {
        let fail = Arc::new(AtomicBool::new(true));
        let switch = Arc::clone(&fail);
        let make = factory();
        let factory: VmFactory = Arc::new(move |context| {
            if switch.load(Ordering::Relaxed) {
                return Err(millstream::lua::PluginError::caught(b"no VM today", b""));
            }
            make(context)
        });
        let pool = Pool::new(options(1), factory);
        let mut side = Side::of(&pool, &JobIds::new(0), Delivery::InOrder);
        assert_eq!(message(&side.run("return function(d) return d end", "")), "no VM today");
        fail.store(false, Ordering::Relaxed);
        assert_eq!(result(&side.run("return function(d) return d end", "now")), "now");
    });
}

#[test]
fn an_aborted_pool_leaves_no_process_behind() {
    on_lua_thread(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let (pool, mut side) = side(options(1));
        side.schedule(&format!("return function() os.execute('echo $$ > {}; exec sleep 30') end", path.display()), "");
        side.scheduler.flush();
        wait_until("the child has started", || std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        let child: u32 = contents(&path).trim().parse().unwrap();
        pool.abort();
        wait_until("the child is gone", || !is_alive(child));
        assert_eq!(side.settle()[0].state, JobState::Cancelled);
        let late = side.run("return function() end", "");
        assert_eq!(late.state, JobState::Cancelled);
        adds_up(&pool);
    });
}

#[test]
fn sleeping_jobs_sleep_side_by_side() {
    on_lua_thread(|| {
        let (_pool, mut side) = side(options(50));
        let sleep = side.function("return function() local ffi = require('ffi') ffi.cdef('int usleep(unsigned)') ffi.C.usleep(10000) return 'x' end");
        let begin = Stopwatch::start();
        for _ in 0..1000 {
            let request = side.request(&sleep, "");
            side.scheduler.schedule(request).unwrap();
        }
        assert!(begin.elapsed() < Duration::from_millis(500), "scheduling does not wait: {:?}", begin.elapsed());
        assert!(side.settle().iter().all(|completion| completion.state == JobState::Done));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    });
}
