//! Calls of functions that plugins have: finding the VM that answers, handing the call in, waiting for what it returns.
//!
//! Nothing here waits with a lock held or reaches into a packet thread: a call is put where that thread looks between two
//! batches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::jobs::{find, id_of, text};
use super::ledger::Ledger;
use super::life::{Life, fields};
use super::pressure::Pressure;
use crate::app::check::nearest;
use crate::app::control_socket::Requests;
use crate::app::reload::Lineup;
use crate::job::{CallArguments, Door, Errand, ErrandError, FunctionInfo, JobId, Order, Pool, Progress, Reply};
use crate::pipeline::Stop;
use crate::time::Stopwatch;

/// How long an answer is waited for unless told otherwise, and at most.
const PATIENCE: f64 = 60.0;
const LONGEST: f64 = 3_600.0;
/// How long a plugin that has no VM may take to have one, as while it is loaded again.
const NO_VM: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Calls whose answers are to be delivered to other functions, each with a thread that waits.
const MAX_CALLBACKS: usize = 64;

type Fields = Map<String, Value>;

/// What answers requests to call functions.
pub struct Calls {
    lineup: Lineup,
    life: Arc<Life>,
    pressure: Pressure,
    ledger: Mutex<Ledger>,
    callbacks: AtomicUsize,
}

/// Whose VM answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engines {
    /// The first that has the function.
    First,
    /// That of one thread.
    One(u16),
    /// One of every thread.
    All,
}

/// A request to call a function.
struct Wanted<'a> {
    plugin: &'a str,
    function: &'a str,
    engines: Engines,
    timeout: Duration,
    is_async: bool,
    /// The function that is called with what this one returns.
    callback: Option<&'a str>,
}

/// Adds the requests about functions.
pub fn add_requests(lineup: &Lineup, life: &Arc<Life>, requests: &mut Requests) {
    let (lineup, life, pressure) = (lineup.clone(), Arc::clone(life), Pressure::new(life));
    let ledger = Mutex::default();
    let calls = Arc::new(Calls { lineup, life, pressure, ledger, callbacks: AtomicUsize::default() });
    let own = Arc::clone(&calls);
    let purpose = "call \"function\", as in plugin.name, with \"args\"; \"engine\", \"timeout\" in seconds, \"async\", \"callback\"";
    requests.add("call", purpose, move |request| own.call(request));
    let purpose = "what the call \"id\" has returned, waiting \"timeout\" seconds for it";
    requests.add("call_result", purpose, move |request| calls.result(request));
}

/// The functions that can be called in the VMs of a plugin, each once.
pub fn functions(pool: &Pool) -> Vec<FunctionInfo> {
    let mut functions: Vec<FunctionInfo> =
        pool.doors().list().iter().flat_map(|door| door.functions().to_vec()).collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    functions.dedup_by(|a, b| a.name == b.name);
    functions
}

impl Calls {
    fn call(self: &Arc<Self>, request: &Fields) -> Result<Fields, String> {
        let wanted = wanted(request)?;
        let since = Stopwatch::start();
        if let Some(callback) = wanted.callback {
            self.check(callback)?;
        }
        let asked = self.ask(&wanted, request)?;
        let name = format!("{}.{}", wanted.plugin, wanted.function);
        if wanted.is_async {
            let ids: Vec<String> = asked.iter().map(|(_, errand)| errand.id().to_string()).collect();
            for (_, errand) in &asked {
                self.keep(&name, errand, since)?;
                if let Some(callback) = wanted.callback {
                    self.deliver_to(callback, &name, errand)?;
                }
            }
            let one = if ids.len() == 1 { json!({ "id": ids[0] }) } else { json!({ "ids": ids }) };
            return Ok(fields(one));
        }
        if wanted.engines != Engines::All {
            return self.answer(asked, &wanted, request, since).map_err(|error| format!("{name}: {error}"));
        }
        let row = |(door, errand): &(Door, Arc<Errand>)| {
            let (id, engine) = (errand.id(), door.engine());
            match self.wait(&name, errand, since, wanted.timeout).map_err(|e| e.to_string()).and_then(value) {
                Ok(value) => Value::Object(described(id, engine, value)),
                Err(error) => json!({ "id": id.to_string(), "engine": engine, "error": error }),
            }
        };
        Ok(fields(json!({ "results": asked.iter().map(row).collect::<Vec<_>>() })))
    }

    /// The answer of one VM. One that went away before it began was replaced, or the run ends.
    fn answer(
        &self,
        mut asked: Vec<(Door, Arc<Errand>)>,
        wanted: &Wanted<'_>,
        request: &Fields,
        since: Stopwatch,
    ) -> Result<Fields, String> {
        let name = format!("{}.{}", wanted.plugin, wanted.function);
        loop {
            let Some((door, errand)) = asked.pop() else { return Err("no VM answers".to_owned()) };
            match self.wait(&name, &errand, since, wanted.timeout) {
                Ok(reply) => return value(reply).map(|value| described(errand.id(), door.engine(), value)),
                Err(ErrandError::Closed) if self.goes_on() && since.elapsed() < wanted.timeout => {
                    asked = self.ask(wanted, request)?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Whether there is a function that can be called back.
    fn check(&self, callback: &str) -> Result<(), String> {
        if self.callbacks.load(Ordering::Relaxed) >= MAX_CALLBACKS {
            return Err(format!("{MAX_CALLBACKS} calls with a callback have no answer yet; try again later"));
        }
        let request = fields(json!({ "function": callback }));
        let wanted = wanted(&request).map_err(|error| format!("callback: {error}"))?;
        let (catalog, pools) = (self.lineup.catalog(), self.lineup.pools());
        let entry = find(&catalog, wanted.plugin).map_err(|error| format!("callback: {error}"))?;
        let doors = pools.get(usize::from(entry.id.0)).map(|pool| pool.doors().list()).unwrap_or_default();
        choose(&doors, &wanted).map(|_| ()).map_err(|error| format!("callback: {error}"))
    }

    /// Calls a function with the answer of another call, once there is one. Nobody waits for what it returns.
    fn deliver_to(self: &Arc<Self>, callback: &str, name: &str, errand: &Arc<Errand>) -> Result<(), String> {
        let (calls, callback, name) = (Arc::clone(self), callback.to_owned(), name.to_owned());
        let errand = Arc::clone(errand);
        let deliver = move || {
            let result = match errand.wait(Duration::from_secs_f64(LONGEST)) {
                Progress::Ended(result) => result.map_err(|error| error.to_string()).and_then(value),
                Progress::Waiting | Progress::Begun => Err(format!("no answer within {LONGEST} s")),
            };
            let mut answer = fields(json!({ "id": errand.id().to_string(), "function": name }));
            answer.extend(fields(result.unwrap_or_else(|error| json!({ "error": error }))));
            let told = calls.call(&fields(json!({ "function": callback, "args": [answer] })));
            calls.callbacks.fetch_sub(1, Ordering::Relaxed);
            if let Err(error) = told {
                log::warn!("the answer of call {} was not delivered: {error}", errand.id());
            }
        };
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        let started = thread::Builder::new().name("callback".to_owned()).spawn(deliver);
        started.map(|_| ()).map_err(|error| {
            self.callbacks.fetch_sub(1, Ordering::Relaxed);
            format!("callback: no thread: {error}")
        })
    }

    fn goes_on(&self) -> bool {
        self.life.control().stop() == Stop::No
    }

    /// Hands the call in. A plugin that is being loaded again has no VM for a moment.
    fn ask(&self, wanted: &Wanted<'_>, request: &Fields) -> Result<Vec<(Door, Arc<Errand>)>, String> {
        let since = Stopwatch::start();
        loop {
            let late = since.elapsed() >= NO_VM || !self.goes_on();
            let (catalog, pools) = (self.lineup.catalog(), self.lineup.pools());
            let entry = find(&catalog, wanted.plugin)?;
            let doors = pools.get(usize::from(entry.id.0)).map(|pool| pool.doors().list()).unwrap_or_default();
            if !doors.is_empty() {
                let chosen = choose(&doors, wanted)?;
                if wanted.is_async && !self.ledger().has_room() {
                    return Err("too many calls have no answer yet; try again later".to_owned());
                }
                let asked: Result<Vec<_>, ErrandError> = chosen
                    .into_iter()
                    .map(|(door, info)| {
                        self.refuse(&info)?;
                        let arguments = arguments(request, &info)?;
                        let order = Order::Call { function: info.name, arguments };
                        door.ask(order).map(|errand| (door, errand))
                    })
                    .collect();
                match asked {
                    Err(ErrandError::Closed) if !late && wanted.engines != Engines::All => {}
                    other => return other.map_err(|e| format!("{}.{}: {e}", wanted.plugin, wanted.function)),
                }
            } else if late {
                let why = match (&entry.error, &entry.manifest) {
                    (Some(_), _) => "it did not load",
                    (None, Some(manifest)) if manifest.functions.is_empty() => "it has no functions",
                    _ => "no VM of it runs, or the run is ending",
                };
                return Err(format!("{}: {why}", wanted.plugin));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn refuse(&self, info: &FunctionInfo) -> Result<(), ErrandError> {
        let dropped = if info.allow_when_overloaded { 0 } else { self.pressure.dropped() };
        if dropped > 0 {
            return Err(ErrandError::Overloaded(format!("packets are being dropped ({dropped} just now)")));
        }
        Ok(())
    }

    /// Waits for an answer. A call that nobody has begun by then is taken back; one that goes on is kept.
    fn wait(&self, name: &str, errand: &Arc<Errand>, since: Stopwatch, limit: Duration) -> Result<Reply, ErrandError> {
        let seconds = limit.as_secs_f64();
        match errand.wait(limit.saturating_sub(since.elapsed())) {
            Progress::Ended(result) => result,
            Progress::Waiting if errand.withdraw() => Err(ErrandError::Failed(format!(
                "not begun within {seconds} s, and taken back: its thread is busy, or stands still"
            ))),
            Progress::Waiting | Progress::Begun => {
                self.keep(name, errand, since).map_err(ErrandError::Failed)?;
                let id = errand.id();
                Err(ErrandError::Failed(format!(
                    "no answer within {seconds} s; it goes on, and may be asked for: call --result {id}"
                )))
            }
        }
    }

    fn keep(&self, name: &str, errand: &Arc<Errand>, since: Stopwatch) -> Result<(), String> {
        let kept = self.ledger().keep(name.to_owned(), errand, since);
        if kept { Ok(()) } else { Err("too many calls have no answer yet; this one is not kept".to_owned()) }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self, request: &Fields) -> Result<Fields, String> {
        let id = id_of(text(request, "id")?.ok_or("the text field \"id\" is missing")?)?;
        let limit = timeout(request, 0.0)?;
        let Some(entry) = self.ledger().find(id) else {
            return Err(format!(
                "no call {id} is kept: answers are kept for 10 minutes, and of the last 1000 calls at most"
            ));
        };
        let waits = |state: &str| {
            let seconds = entry.since.elapsed().as_secs_f64();
            Ok(fields(json!({ "id": id.to_string(), "function": entry.function, "state": state, "seconds": seconds })))
        };
        match entry.errand.wait(limit) {
            Progress::Waiting => waits("waiting"),
            Progress::Begun => waits("running"),
            Progress::Ended(Err(error)) => Err(format!("{}: {error}", entry.function)),
            Progress::Ended(Ok(reply)) => {
                let result = value(reply).map_err(|error| format!("{}: {error}", entry.function))?;
                let mut answer = fields(json!({ "id": id.to_string(), "function": entry.function, "state": "done" }));
                answer.extend(fields(result));
                Ok(answer)
            }
        }
    }
}

fn described(id: JobId, engine: u16, result: Value) -> Fields {
    let mut answer = fields(json!({ "id": id.to_string(), "engine": engine }));
    answer.extend(fields(result));
    answer
}

/// An answer: `result`, or `result_hex` for a text that is not UTF-8.
fn value(reply: Reply) -> Result<Value, String> {
    Ok(match reply {
        Reply::Nothing => json!({ "result": null }),
        Reply::Text(bytes) => match String::from_utf8(bytes) {
            Ok(text) => json!({ "result": text }),
            Err(error) => {
                let hex: String = error.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "result_hex": hex })
            }
        },
        Reply::Json(text) => {
            let result: Value = serde_json::from_str(&String::from_utf8_lossy(&text))
                .map_err(|e| format!("the answer cannot travel: it is no JSON ({e})"))?;
            json!({ "result": result })
        }
    })
}

fn timeout(request: &Fields, usual: f64) -> Result<Duration, String> {
    let seconds = match request.get("timeout") {
        None | Some(Value::Null) => usual,
        Some(value) => value
            .as_f64()
            .filter(|seconds| (0.0..=LONGEST).contains(seconds))
            .ok_or_else(|| format!("timeout: a number from 0 to {LONGEST} is needed, not {value:.64}"))?,
    };
    Ok(Duration::from_secs_f64(seconds))
}

fn wanted(request: &Fields) -> Result<Wanted<'_>, String> {
    let name = text(request, "function")?.ok_or("the text field \"function\" is missing")?;
    let Some((plugin, function)) =
        name.rsplit_once('.').filter(|(plugin, name)| !plugin.is_empty() && !name.is_empty())
    else {
        return Err(format!("{name:.64?} is not the name of a function, such as plugin.name"));
    };
    let engines = match request.get("engine") {
        None | Some(Value::Null) => Engines::First,
        Some(Value::String(all)) if all == "all" => Engines::All,
        Some(other) => Engines::One(
            other
                .as_u64()
                .and_then(|number| u16::try_from(number).ok())
                .ok_or_else(|| format!("engine: a number or \"all\" is needed, not {other:.64}"))?,
        ),
    };
    let is_async = match request.get("async") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(other) => return Err(format!("async: true or false is needed, not {other:.64}")),
    };
    let callback = text(request, "callback")?;
    if callback.is_some() && !is_async {
        return Err("callback: only a call with \"async\" has one".to_owned());
    }
    Ok(Wanted { plugin, function, engines, timeout: timeout(request, PATIENCE)?, is_async, callback })
}

/// The VMs that are to answer: of each thread the first that has the function.
fn choose(doors: &[Door], wanted: &Wanted<'_>) -> Result<Vec<(Door, FunctionInfo)>, String> {
    let of_thread = |door: &&Door| match wanted.engines {
        Engines::One(engine) => door.engine() == engine,
        Engines::First | Engines::All => true,
    };
    let mut threads: Vec<u16> = doors.iter().map(Door::engine).collect();
    threads.dedup();
    let doors: Vec<&Door> = doors.iter().filter(of_thread).collect();
    if doors.is_empty() {
        let threads: Vec<String> = threads.iter().map(ToString::to_string).collect();
        return Err(format!("{}: no VM of it is on this engine, but on {}", wanted.plugin, threads.join(", ")));
    }
    let mut chosen: Vec<(Door, FunctionInfo)> = Vec::new();
    for door in &doors {
        let is_new = chosen.last().is_none_or(|(last, _)| last.engine() != door.engine());
        let functions = door.functions();
        if let Some(info) = functions.iter().find(|info| info.name == wanted.function).filter(|_| is_new) {
            chosen.push(((*door).clone(), info.clone()));
        }
    }
    if wanted.engines != Engines::All {
        chosen.truncate(1);
    }
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let mut names: Vec<String> = doors
        .iter()
        .flat_map(|door| door.functions().iter().map(|info| info.name.clone()).collect::<Vec<_>>())
        .collect();
    names.sort_unstable();
    names.dedup();
    let meant = match nearest(wanted.function, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean \"{}.{meant}\"?", wanted.plugin),
        None if names.is_empty() => "the plugin has none".to_owned(),
        None => format!("it has {}", names.join(", ")),
    };
    Err(format!("\"{}.{:.64}\": no such function; {meant}", wanted.plugin, wanted.function))
}

/// The arguments as the function wants them: a list, or one text as it was given.
fn arguments(request: &Fields, info: &FunctionInfo) -> Result<CallArguments, ErrandError> {
    let list: &[Value] = match request.get("args") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(list)) => list,
        Some(text @ Value::String(_)) => std::slice::from_ref(text),
        Some(other) => {
            return Err(ErrandError::Failed(format!("args: a list or a text is needed, not {other:.64}")));
        }
    };
    if info.raw_arguments {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return Ok(CallArguments::Raw(list.iter().map(word).collect::<Vec<_>>().join(" ")));
    }
    Ok(CallArguments::List(Value::Array(list.to_vec()).to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Engines, arguments, choose, timeout, value, wanted};
    use crate::job::{CallArguments, Door, Doors, FunctionInfo, JobIds, Reply};

    fn request(value: Value) -> Map<String, Value> {
        super::fields(value)
    }

    fn door(engine: u16, functions: &[&str]) -> Door {
        let door = Doors::make(&JobIds::new(engine), 1, "simplecounter");
        let info = |name: &&str| FunctionInfo { name: (*name).to_owned(), ..FunctionInfo::default() };
        door.publish(functions.iter().map(info).collect());
        door
    }

    #[test]
    fn a_request_says_what_is_called_where_and_for_how_long() {
        let ask = request(json!({ "function": "a.lua.count", "engine": "all", "timeout": 1.5, "async": true }));
        let wanted = wanted(&ask).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((wanted.plugin, wanted.function, wanted.engines), ("a.lua", "count", Engines::All));
        assert!(wanted.is_async && wanted.timeout.as_secs_f64() == 1.5);
        for wrong in [
            json!({}),
            json!({ "function": 1 }),
            json!({ "function": "count" }),
            json!({ "function": ".count" }),
            json!({ "function": "a." }),
            json!({ "function": "a.b", "engine": -1 }),
            json!({ "function": "a.b", "engine": [] }),
            json!({ "function": "a.b", "timeout": -1 }),
            json!({ "function": "a.b", "timeout": "1" }),
            json!({ "function": "a.b", "timeout": 1e9 }),
            json!({ "function": "a.b", "async": "yes" }),
            json!({ "function": "a.b", "callback": "a.c" }),
            json!({ "function": "a.b", "async": true, "callback": 1 }),
        ] {
            assert!(super::wanted(&request(wrong.clone())).is_err(), "{wrong}");
        }
        assert!(timeout(&request(json!({})), 60.0).is_ok_and(|limit| limit.as_secs() == 60));
    }

    #[test]
    fn the_first_vm_that_has_the_function_answers_or_one_of_every_thread() {
        let doors = [door(0, &["other"]), door(0, &["count"]), door(0, &["count"]), door(1, &["count"])];
        let chosen = |engine: Value| {
            let ask = request(json!({ "function": "p.count", "engine": engine }));
            let wanted = wanted(&ask).unwrap_or_else(|e| panic!("{e}"));
            choose(&doors, &wanted).map(|chosen| chosen.iter().map(|(door, _)| door.engine()).collect::<Vec<_>>())
        };
        assert_eq!(chosen(Value::Null), Ok(vec![0]));
        assert_eq!(chosen(json!(1)), Ok(vec![1]));
        assert_eq!(chosen(json!("all")), Ok(vec![0, 1]));
        assert_eq!(chosen(json!(7)), Err("p: no VM of it is on this engine, but on 0, 1".to_owned()));
        let ask = request(json!({ "function": "p.cuont" }));
        let near = choose(&doors, &wanted(&ask).unwrap_or_else(|e| panic!("{e}"))).map(|_| ()).unwrap_err();
        assert_eq!(near, "\"p.cuont\": no such function; did you mean \"p.count\"?");
        let ask = request(json!({ "function": "p.zzzzzz" }));
        let far = choose(&doors, &wanted(&ask).unwrap_or_else(|e| panic!("{e}"))).map(|_| ()).unwrap_err();
        assert_eq!(far, "\"p.zzzzzz\": no such function; it has count, other");
    }

    #[test]
    fn arguments_are_a_list_or_one_text() {
        let plain = FunctionInfo::default();
        let raw = FunctionInfo { raw_arguments: true, ..FunctionInfo::default() };
        let ask = request(json!({ "args": ["a b", { "n": 1 }] }));
        assert_eq!(arguments(&ask, &plain), Ok(CallArguments::List("[\"a b\",{\"n\":1}]".to_owned())));
        assert_eq!(arguments(&ask, &raw), Ok(CallArguments::Raw("a b {\"n\":1}".to_owned())));
        assert_eq!(arguments(&request(json!({ "args": " x " })), &raw), Ok(CallArguments::Raw(" x ".to_owned())));
        assert_eq!(arguments(&request(json!({})), &plain), Ok(CallArguments::List("[]".to_owned())));
        assert!(arguments(&request(json!({ "args": 1 })), &plain).is_err());
    }

    #[test]
    fn answers_are_text_bytes_or_json() {
        assert_eq!(value(Reply::Text(b"x".to_vec())), Ok(json!({ "result": "x" })));
        assert_eq!(value(Reply::Text(vec![0xff, 0])), Ok(json!({ "result_hex": "ff00" })));
        assert_eq!(value(Reply::Json(b"[1]".to_vec())), Ok(json!({ "result": [1] })));
        assert!(value(Reply::Json(b"[nan]".to_vec())).is_err());
    }
}
