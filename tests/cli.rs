//! The commands as somebody types them: what they print, how they end, what they say when they cannot.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Parser;
use serde_json::Value;

const MILLSTREAM: &str = env!("CARGO_BIN_EXE_millstream");

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// How a command ended and what it said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("commands write UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The output of a command that went well.
    #[track_caller]
    fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self.out
    }

    /// The output of a command that ended with a code.
    #[track_caller]
    fn ended(self, code: i32) -> (String, String) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        (self.out, self.err)
    }

    #[track_caller]
    fn json(self, code: i32) -> Value {
        let (out, _) = self.ended(code);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }
}

/// A command in a directory, with an environment of its own.
fn command(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MILLSTREAM);
    command.args(args).current_dir(directory).stdin(Stdio::null());
    for name in ["TRISUL_LUA_PATHS", "MILLSTREAM_LUA_PATHS", "MILLSTREAM_LOG", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("MILLSTREAM_DATA", directory.join("data"));
    command
}

fn typed_in(directory: &Path, args: &[&str]) -> Said {
    Said::of(command(directory, args).output().expect("the binary of this build starts"))
}

/// A command typed in the project's folder.
fn typed(args: &[&str]) -> Said {
    typed_in(project(), args)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

const COUNTER: &str = "TrisulPlugin = { id = { name = 'counter' }, simplecounter = {
  protocol_guid = '{77E462AB-2E42-42EC-9A58-C1A6821D6B31}', onpacket = function() end } }";

#[test]
fn without_a_command_the_help_says_what_to_type_first() {
    let (out, err) = typed(&[]).ended(2);
    assert!(out.is_empty() && err.contains("millstream demo"), "{err}");
    assert!(typed(&["--help"]).good().contains("First steps:"));
    assert!(typed(&["--version"]).good().starts_with("millstream "));
    let (_, err) = typed(&["chekc", "x.lua"]).ended(2);
    assert!(err.contains("'check'"), "{err}");
}

#[test]
fn the_demo_runs_anywhere_and_reports_the_groups_of_its_plugins() {
    let elsewhere = folder();
    for directory in [project(), elsewhere.path()] {
        let out = typed_in(directory, &["demo"]).good();
        assert!(out.starts_with("The plugins of this project"), "{out}");
        for group in ["DNS domains", "Packet lengths", "Payload fingerprints", "TCP resets", "Top talkers"] {
            assert!(out.contains(group), "{group} is missing: {out}");
        }
        assert!(out.contains("new simplecounter my-counter"), "{out}");
    }
    let extraction = "Reassembly>FileExtraction>Enabled=true";
    let demo = typed(&["demo"]);
    assert!(!demo.err.contains("NOTICE"), "a plugin has nothing to do: {}", demo.err);
    let out = demo.good();
    let command = format!("run -r pcaps/demo.pcap -p plugins --builtin Hosts --top 5 --set '{extraction}'\n");
    assert!(out.contains(&command) && out.contains("File hashes: 7 keys"), "{out}");
    let report = typed(&["demo", "--json"]).json(0);
    assert!(report["groups"].as_array().is_some_and(|groups| groups.len() >= 6), "{report}");
}

#[test]
fn beside_a_document_standard_output_holds_nothing_that_scripts_print() {
    let folder = folder();
    let text = "TrisulPlugin = { id = { name = 'p', description = '' }, simplecounter = {
        protocol_guid = '{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}', onpacket = function() print('{ hello') end } }";
    fs::write(folder.path().join("p.lua"), text).unwrap();
    let capture = project().join("pcaps/ping.pcap");
    let arguments = ["run", "-r", capture.to_str().unwrap(), "-p", "p.lua"];
    let plain = typed_in(folder.path(), &arguments);
    assert!(plain.out.starts_with("{ hello\n") && !plain.err.contains("hello"), "{}{}", plain.out, plain.err);
    let document = typed_in(folder.path(), &[&arguments[..], &["--json"]].concat());
    assert!(document.err.contains("{ hello\n"), "{}", document.err);
    document.json(0);
}

#[test]
fn list_tells_what_is_there_and_what_is_passed_over() {
    let out = typed(&["list", "-p", "plugins"]).good();
    let line = out.lines().find(|line| line.contains("dns-names.lua")).expect("a line for each plugin");
    assert!(line.contains("protocol_handler (frontend), simplecounter (frontend)"), "{line}");
    assert!(out.contains("counter group   {DE5D5455-889A-4AE1-A48D-C191679F9621}  Top talkers (4 meters)"), "{out}");

    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.lua", COUNTER);
    write("b.lua", "TrisulPlugin = { id = { name = 'b' }, cg_monitor = { onflush = function() end } }");
    write("lib.lua", "return {}");
    let out = typed_in(folder.path(), &["list", "-p", "."]).good();
    assert!(out.contains("cg_monitor (backend)") && out.contains("is bound to no group"), "{out}");
    assert!(out.contains("./lib.lua: does not mention TrisulPlugin"), "{out}");
    write("c.lua", "TrisulPlugin = {\n  id = {{ }\n");
    let (out, _) = typed_in(folder.path(), &["list", "-p", "."]).ended(1);
    assert!(out.contains("c.lua:3: "), "{out}");
    assert!(out.contains("1 file with errors; for details: millstream check ./c.lua"), "{out}");
}

#[test]
fn list_as_json_holds_the_same() {
    let document = typed(&["list", "-p", "plugins", "samples", "--json"]).json(0);
    let plugins = document["plugins"].as_array().unwrap();
    let numbers: Vec<u64> = plugins.iter().map(|plugin| plugin["order"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=52).collect::<Vec<u64>>());
    let handler = plugins.iter().find(|plugin| plugin["name"] == "sample-protocol_handler").unwrap();
    assert_eq!(handler["blocks"][1]["type"], "protocol_handler");
    assert_eq!(handler["blocks"][1]["side"], "frontend");
    assert_eq!(handler["definitions"][1]["numbers"], serde_json::json!([123]));
    assert_eq!(document["searched"][0]["path"], "plugins");
}

#[test]
fn list_without_plugins_says_where_it_looked() {
    let folder = folder();
    let out = typed_in(folder.path(), &["list"]).good();
    assert!(out.starts_with("no plugins found; looked in:") && out.contains("millstream list -p plugins"), "{out}");
}

#[test]
fn what_does_not_exist_is_named_with_the_way_out() {
    for args in [vec!["list", "-p", "plugins/top-talkers"], vec!["check", "plugins/top-talkers"]] {
        let (_, err) = typed(&args).ended(2);
        assert!(err.contains("did you mean plugins/top-talkers.lua?"), "{err}");
    }
    let (_, err) = typed(&["run", "-r", "no-such.pcap", "-p", "plugins"]).ended(2);
    assert!(err.contains("no-such.pcap"), "{err}");
    let (_, err) = typed(&["run", "-p", "plugins"]).ended(2);
    assert!(err.contains("-r FILE") && err.contains("millstream demo"), "{err}");
    let (_, err) = typed(&["run", "-i", "no-such-interface", "-p", "plugins"]).ended(2);
    assert!(err.contains("no-such-interface"), "{err}");
    let (_, err) = typed(&["run", "-r", "README.md", "-p", "plugins"]).ended(2);
    assert!(err.contains("README.md"), "{err}");
}

/// The findings of `check` without the lines of advice.
fn findings(out: &str) -> String {
    let lines: Vec<&str> = out.lines().filter(|line| !line.starts_with("    ")).collect();
    lines.join("\n") + "\n"
}

#[test]
fn check_points_at_each_mistake() {
    let directory = project().join("tests/check");
    let (out, _) = typed_in(&directory, &["check", "."]).ended(1);
    let expected = directory.join("expected.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, findings(&out)).unwrap();
    }
    assert_eq!(findings(&out), fs::read_to_string(&expected).unwrap(), "for the new findings: BLESS=1");
}

#[test]
fn check_ends_well_unless_there_are_errors() {
    let directory = project().join("tests/check");
    let out = typed_in(&directory, &["check", "clean.lua"]).good();
    assert_eq!(out, "1 file checked: nothing to complain about\n");
    let out = typed_in(&directory, &["check", "globals.lua"]).good();
    assert!(out.ends_with("1 file checked: 0 errors, 3 warnings, 0 notes\n"), "{out}");
    let out = typed_in(&directory, &["check", "library.lua"]).good();
    assert!(out.contains("library.lua:1: note: does not mention TrisulPlugin"), "{out}");
    let document = typed_in(&directory, &["check", "syntax.lua", "clean.lua", "--json"]).json(1);
    assert_eq!((document["files"].as_u64(), document["errors"].as_u64()), (Some(2), Some(1)));
    assert_eq!(document["findings"][0]["line"], 7);
    let (_, err) = typed_in(folder().path(), &["check", "."]).ended(2);
    assert!(err.contains(".: no plugin to check"), "{err}");
}

#[test]
fn check_has_nothing_to_say_about_the_plugins_of_the_project() {
    for folder in ["plugins", "samples", "tests/bench/lua"] {
        let out = typed(&["check", folder]).good();
        assert!(out.ends_with("checked: nothing to complain about\n"), "{out}");
    }
}

#[test]
fn endless_recursion_is_an_error_with_its_line() {
    let folder = folder();
    fs::write(folder.path().join("loop.lua"), "TrisulPlugin = { id = { name = 'x' } }\nlocal function f() f() end f()")
        .unwrap();
    let (out, _) = typed_in(folder.path(), &["check", "loop.lua"]).ended(1);
    assert!(out.starts_with("loop.lua:2: error: stack overflow"), "{out}");
}

/// The types that `new` knows, as it lists them.
fn types() -> Vec<String> {
    let out = typed(&["new"]).good();
    let lines = out.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn new_plugins_of_every_type_are_clean_and_run() {
    let folder = folder();
    let types = types();
    assert_eq!(types.len(), 31);
    let mut guids = Vec::new();
    for kind in &types {
        let name = format!("my-{kind}");
        let out = typed_in(folder.path(), &["new", kind, &name]).good();
        let file = format!("{name}.lua");
        assert!(out.starts_with(&format!("{file}\n")) && out.contains(&format!("check {file}")), "{out}");
        let checked = typed_in(folder.path(), &["check", &file]).good();
        assert_eq!(checked, "1 file checked: nothing to complain about\n");
        let listed = typed_in(folder.path(), &["list", "-p", &file, "--json"]).json(0);
        assert_eq!(listed["plugins"][0]["name"], name.as_str());
        for definition in listed["plugins"][0]["definitions"].as_array().unwrap() {
            guids.push(definition["guid"].as_str().unwrap().to_owned());
        }
        let run = out.lines().find(|line| line.contains(" run ")).map(str::to_owned);
        // The one that reads alerts goes on for ever, as it should.
        if let Some(run) = run.filter(|_| kind != "inputfilter-step_alert") {
            let args: Vec<&str> = run.split_whitespace().skip(1).chain(["--quiet"]).collect();
            typed_in(folder.path(), &args).good();
        }
    }
    let number = guids.len();
    guids.sort();
    guids.dedup();
    assert_eq!(guids.len(), number, "each definition has an identifier of its own");
    assert_eq!(number, 14, "{guids:?}");
}

#[test]
fn new_overwrites_nothing_and_says_what_it_knows() {
    let folder = folder();
    typed_in(folder.path(), &["new", "simple_counter", "a.lua"]).good();
    let before = fs::read(folder.path().join("a.lua")).unwrap();
    let (_, err) = typed_in(folder.path(), &["new", "alertgroup", "a"]).ended(2);
    assert!(err.contains("a.lua exists already"), "{err}");
    assert_eq!(fs::read(folder.path().join("a.lua")).unwrap(), before);
    let out = typed_in(folder.path(), &["new", "simplecounter", "a b"]).good();
    assert!(out.contains(" check 'a b.lua'\n") && out.contains(" -p 'a b.lua'\n"), "{out}");
    assert!(out.contains(" test 'a b.lua' --update\n"), "{out}");
    let text = fs::read_to_string(folder.path().join("a b.lua")).unwrap();
    assert!(text.contains("millstream run -r ") && text.contains(" -p 'a b.lua'\n"), "{text}");
    let (_, err) = typed_in(folder.path(), &["new", "simplecounter", "a b"]).ended(2);
    assert!(err.contains("rm 'a b.lua'"), "{err}");
    let (_, err) = typed_in(folder.path(), &["new", "nothing", "b"]).ended(2);
    assert!(err.contains("'nothing' is no type of script") && err.contains("  protocol_handler "), "{err}");
    let (_, err) = typed_in(folder.path(), &["new", "simplecounter", "no/such/b"]).ended(2);
    assert!(err.contains("mkdir -p no/such"), "{err}");
    let (_, err) = typed_in(folder.path(), &["new", "simplecounter"]).ended(2);
    assert!(err.contains("needs a name"), "{err}");
}

#[test]
fn guids_are_new_each_time() {
    let out = typed(&["guid", "3"]).good();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        let guid: millstream::guid::Guid = line.parse().unwrap();
        assert_eq!(guid.to_string(), *line, "normal form");
    }
    assert_ne!(out, typed(&["guid", "3"]).good());
    typed(&["guid", "0"]).ended(2);
}

#[test]
fn the_doctor_looks_at_everything_and_says_what_to_do() {
    let out = typed(&["doctor"]);
    assert!(out.code == Some(0) || out.out.contains("FAIL"), "{}", out.out);
    for name in
        ["LuaJIT", "processors", "thread stack", "libpcap", "capture right", "interface", "clock", "data directory"]
    {
        assert!(out.out.contains(name), "{name} is missing: {}", out.out);
    }
    let document = typed(&["doctor", "--json"]).json(out.code.unwrap());
    for finding in document["findings"].as_array().unwrap() {
        let state = finding["state"].as_str().unwrap();
        assert!(["OK", "WARN", "FAIL"].contains(&state));
        assert!(state == "OK" || !finding["advice"].as_str().unwrap().is_empty(), "{finding}");
    }
    let folder = folder();
    let mut command = command(folder.path(), &["doctor"]);
    let output = command.env("MILLSTREAM_LUA_PATHS", "/no/such/place").output().unwrap();
    assert!(Said::of(output).out.contains("/no/such/place does not exist"));
}

#[test]
fn completions_and_manual_name_every_command() {
    let manual = typed(&["man"]).good();
    let bash = typed(&["completions", "bash"]).good();
    let tools = ["list", "check", "api", "new", "guid", "doctor", "completions", "man"];
    for name in ["run", "demo", "query", "report", "search"].into_iter().chain(tools) {
        assert!(manual.contains(&format!(".SS \"millstream {name}\"")), "{name}");
        assert!(bash.contains(name), "{name}");
    }
    assert!(manual.contains(".SH \"EXIT STATUS\""));
    typed(&["completions", "zsh"]).good();
    typed(&["completions", "no-such-shell"]).ended(2);
    // Where there is a formatter, it has nothing to complain about either.
    let mut formatter = Command::new("groff");
    formatter.args(["-man", "-ww", "-z", "-K", "utf8"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let formatter = formatter.spawn();
    let Ok(mut formatter) = formatter else { return eprintln!("skipped: no groff here") };
    formatter.stdin.take().unwrap().write_all(manual.as_bytes()).unwrap();
    let said = formatter.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in
        [vec!["man"], vec!["completions", "zsh"], vec!["list", "-p", "plugins", "--json"], vec!["guid", "100000"]]
    {
        let mut child =
            command(project(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn colours_are_for_terminals_or_for_those_who_ask() {
    let directory = project().join("tests/check");
    let plain = typed_in(&directory, &["check", "globals.lua"]).good();
    assert!(!plain.contains('\x1b'));
    let coloured = typed_in(&directory, &["check", "globals.lua", "--color", "always"]).good();
    assert!(coloured.contains("\x1b[33mwarning\x1b[0m"), "{coloured}");
    assert!(!typed(&["doctor", "--color", "never"]).out.contains('\x1b'));
}

#[test]
fn help_and_usage_errors_have_the_colours_that_were_asked_for() {
    for args in [&["--color", "always", "run", "--help"][..], &["run", "--help", "--color=always"]] {
        assert!(typed(args).good().contains('\x1b'), "{args:?}");
    }
    let (_, err) = typed(&["run", "--no-such-option", "--color", "always"]).ended(2);
    assert!(err.contains('\x1b'), "{err}");
    // On a terminal there are colours unless somebody wants none.
    let on_terminal = |line: &str| {
        let found = Command::new("script")
            .args(["-qec", &format!("{MILLSTREAM} {line}"), "/dev/null"])
            .stdin(Stdio::null())
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .output();
        found.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(coloured) = on_terminal("run --help") else {
        return eprintln!("skipped: `script`, which runs it on a terminal, is not here");
    };
    assert!(coloured.contains('\x1b'), "{coloured}");
    for line in ["--color never run --help", "run --color=never --help", "run --no-such-option --color never"] {
        let plain = on_terminal(line).unwrap();
        assert!(plain.contains("Usage: ") && !plain.contains('\x1b'), "{line}: {plain}");
    }
}

/// The commands of the README with their explanations cut off.
fn readme_commands() -> Vec<String> {
    let readme = fs::read_to_string(project().join("README.md")).expect("the README");
    let start = readme.find("## Use").expect("the README has a part on use");
    let block = readme[start..].split("```").nth(1).expect("commands in a block");
    block
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split("  ").next().unwrap_or(line).to_owned())
        .collect()
}

#[test]
fn captures_come_from_standard_input_compressed_or_not() {
    let plain = fs::read(project().join("pcaps/demo.pcap")).unwrap();
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&plain).unwrap();
    for bytes in [plain, zipped.finish().unwrap()] {
        let mut run = command(project(), &["run", "-r", "-", "-p", "plugins/top-talkers.lua", "--json"]);
        let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        run.stdin.take().unwrap().write_all(&bytes).unwrap();
        let report = Said::of(run.wait_with_output().unwrap()).json(0);
        assert_eq!(report["run"]["packets"], 3399, "{}", report["run"]);
    }
}

#[test]
fn many_captures_leave_most_of_what_may_be_open_to_the_rest_of_a_run() {
    let folder = folder();
    let captures = folder.path().join("captures");
    fs::create_dir(&captures).unwrap();
    let demo = fs::read(project().join("pcaps/demo.pcap")).unwrap();
    fs::write(captures.join("a"), &demo).unwrap();
    // The head of a file alone: no packets.
    (0..300).for_each(|number| fs::write(captures.join(format!("b{number}")), &demo[..24]).unwrap());
    let plugin = "local files = {} TrisulPlugin = { id = { name = 'opens' }, simplecounter = { \
        protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}', onpacket = function() \
        while #files < 150 do files[#files + 1] = assert(io.open('/dev/null')) end end } }";
    fs::write(folder.path().join("opens.lua"), plugin).unwrap();
    let line = format!("ulimit -n 270; exec {MILLSTREAM} run -q -p opens.lua -r captures");
    let ended = Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
}

#[test]
fn a_file_on_standard_input_is_read_from_where_it_is() {
    let folder = folder();
    let path = folder.path().join("capture");
    let plain = fs::read(project().join("pcaps/demo.pcap")).unwrap();
    for bytes in [plain.clone(), zstd::encode_all(&plain[..], 0).unwrap()] {
        for head in ["", "read by the shell\n"] {
            fs::write(&path, [head.as_bytes(), &bytes].concat()).unwrap();
            for engines in ["1", "2"] {
                let mut file = fs::File::open(&path).unwrap();
                file.seek(SeekFrom::Start(head.len() as u64)).unwrap();
                let mut run = command(project(), &["run", "-r", "-", "--engines", engines, "--json"]);
                let report = Said::of(run.stdin(file).output().unwrap()).json(0);
                assert_eq!(report["run"]["packets"], 3399, "{}", report["run"]);
            }
        }
    }
}

#[test]
fn nothing_is_written_over_the_capture_on_standard_input() {
    let folder = folder();
    let path = folder.path().join("x.pcap");
    fs::copy(project().join("pcaps/dns.pcap"), &path).unwrap();
    fs::hard_link(&path, folder.path().join("other")).unwrap();
    let before = fs::read(&path).unwrap();
    for (option, name) in [("--eve", "x.pcap"), ("--events", "other")] {
        let mut run = command(folder.path(), &["run", "-r", "-", option, name, "-q"]);
        let (_, err) = Said::of(run.stdin(fs::File::open(&path).unwrap()).output().unwrap()).ended(2);
        let expected = format!("{option} {name}: packets are read from this file (-r -); name another file");
        assert!(err.contains(&expected), "{err}");
        assert!(fs::read(&path).unwrap() == before, "{option}");
    }
    let mut run = command(folder.path(), &["run", "-r", "-", "--eve", "y.json", "-q"]);
    Said::of(run.stdin(fs::File::open(&path).unwrap()).output().unwrap()).good();
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let demo = project().join("pcaps/demo.pcap");
    fs::copy(&demo, at("capture.pcap")).unwrap();
    fs::copy(project().join("plugins/top-talkers.lua"), at("top-talkers.lua")).unwrap();
    fs::copy(project().join("samples/inputfilter-step.lua"), at("importer.lua")).unwrap();
    std::os::unix::fs::symlink(project().join("plugins"), at("plugins")).unwrap();

    let commands = readme_commands();
    assert!(commands.len() > 10, "{commands:?}");
    for line in commands {
        // These need another machine, or an interface and somebody to stop them: that they are understood must do here.
        let elsewhere = ["sudo ", "ssh host tcpdump -w - | "];
        if let Some(live) = elsewhere.iter().find_map(|prefix| line.strip_prefix(prefix)) {
            millstream::app::cli::Cli::try_parse_from(live.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
            continue;
        }
        let bin: PathBuf = Path::new(MILLSTREAM).parent().unwrap().into();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        // A prompt is given something to do.
        let typed = if line.starts_with("millstream repl ") { format!("echo next | {line}") } else { line.clone() };
        shell.args(["-c", &typed]).current_dir(folder.path()).env("PATH", path).stdin(Stdio::null());
        let said = Said::of(shell.output().unwrap());
        let fine = said.code == Some(0) || (line == "millstream doctor" && said.code == Some(1));
        assert!(fine && !said.out.is_empty(), "{line}: {:?}\n{}\n{}", said.code, said.out, said.err);
    }
}

#[test]
fn the_lines_in_the_headings_of_samples_are_true() {
    for entry in fs::read_dir(project().join("samples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "lua") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix("-- Run it:")).expect("each sample says how to run it");
        let line = line.trim();
        assert!(line.contains(&format!("samples/{}", path.file_name().unwrap().to_str().unwrap())), "{line}");
        millstream::app::cli::Cli::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn flows_are_reported_without_a_plugin_when_asked_for() {
    let args = ["run", "-r", "pcaps/demo.pcap", "--flows", "--json"];
    let document = typed(&args).json(0);
    let flows = &document["flows"];
    let ended: u64 = flows["ended"].as_array().unwrap().iter().filter_map(|end| end["count"].as_u64()).sum();
    assert!(ended > 10, "{flows}");
    assert_eq!(flows["created"], ended);
    assert!(flows["live_peak"].as_u64().is_some_and(|peak| peak > 0 && peak <= ended));
    let top = flows["top"].as_array().unwrap();
    assert_eq!(top.len(), 10);
    assert!(top.windows(2).all(|pair| pair[0]["bytes"].as_u64() >= pair[1]["bytes"].as_u64()));
    let groups = document["records"]["resource_groups"].as_array().unwrap();
    assert!(groups.iter().any(|group| group["name"] == "DNS Resources"), "{groups:?}");
    let text = typed(&args[..4]).good();
    assert!(text.contains("Flows: ") && text.contains("ended by "), "{text}");
    assert!(typed(&["run", "-r", "pcaps/demo.pcap", "--json"]).json(0)["flows"].is_null());
}

#[test]
fn standard_input_that_is_no_capture_is_a_reason_not_to_run() {
    let run = |input: &[u8]| {
        let mut command = Command::new(MILLSTREAM);
        command.args(["run", "-r", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // It may have ended before it has read all.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        Said::of(child.wait_with_output().expect("the program ends"))
    };
    let (out, err) = run(b"").ended(2);
    assert_eq!((out.as_str(), err.contains("-: standard input is empty")), ("", true), "{err}");
    let (out, err) = run(b"hello, this is no capture at all\n").ended(2);
    assert_eq!((out.as_str(), err.contains("-: not a capture file: it looks like a text file")), ("", true), "{err}");
}

#[test]
fn nothing_at_all_is_no_number_of_bytes_or_keys() {
    for option in ["--snaplen", "--top"] {
        let said = Command::new(MILLSTREAM).args(["run", "-r", "x.pcap", option, "0"]).output();
        let (_, err) = Said::of(said.expect("the program starts")).ended(2);
        assert!(err.contains(option) && err.contains("a whole number above zero is needed"), "{err}");
    }
}
