//! Which layer a setting comes from, and what is said of mistakes.

use std::fs;

use serde_json::Value;

use crate::e2e::Place;
use crate::{LIMIT, capture, millstream};

fn shown(place: &Place, variables: &[(&str, &str)], options: &[&str]) -> Value {
    let arguments = [&["config", "show", "--json", "--"], options].concat();
    let ended = millstream(place, &arguments, |command| {
        // Behind -- everything is an option of run, so colours are chosen by variable.
        command.envs(variables.iter().copied());
    });
    ended.exits(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn setting<'a>(document: &'a Value, section: &str, key: &str) -> &'a Value {
    let found = document["settings"].as_array().unwrap().iter().find(|s| s["section"] == section && s["key"] == key);
    found.unwrap_or_else(|| panic!("[{section}] {key}"))
}

#[test]
fn the_command_line_wins_over_variables_these_over_the_file_and_that_over_defaults() {
    let place = Place::new();
    let file = place.path("m.toml");
    fs::write(
        &file,
        "[input]\nsnaplen = 11\nbuffer = 12\ncount = 13\nread = ['a', 'b']\nno_promisc = true\n[store]\nsize = '1g'\n",
    )
    .unwrap();
    let file = file.display().to_string();
    let variables = [("MILLSTREAM_INPUT_BUFFER", "22"), ("MILLSTREAM_INPUT_COUNT", "23"), ("MILLSTREAM_CONFIG", &file)];
    let document = shown(&place, &variables, &["--count", "33", "-r", "c", "--unset", "input.no_promisc"]);
    let value =
        |key| (&setting(&document, "input", key)["value"], &setting(&document, "input", key)["origin"]["layer"]);
    assert_eq!(value("snaplen"), (&"11".into(), &"file".into()));
    assert_eq!(setting(&document, "input", "snaplen")["origin"]["line"], 2);
    assert_eq!(value("buffer"), (&"22".into(), &"environment".into()));
    assert_eq!(value("count"), (&"33".into(), &"command line".into()));
    assert_eq!(value("loop"), (&"1".into(), &"default".into()));
    // A list is replaced as a whole; a setting that is taken back has its default.
    assert_eq!(value("read").0, &serde_json::json!(["c"]));
    assert_eq!(value("no_promisc"), (&false.into(), &"default".into()));
    assert_eq!(setting(&document, "store", "size")["remark"], "has no effect without --store");
    // An interface that is typed takes the place of the file's captures.
    let document = shown(&place, &variables, &["-i", "eth0"]);
    assert_eq!(setting(&document, "input", "read")["remark"], "left out because of --interface");
}

#[test]
fn a_run_does_what_its_file_says_and_scripts_see_its_values() {
    let body = "if n == 1 then print('root ' .. T.env.get_config('App>DBRoot') .. ' ' .. T.env.get_config('My>Own') .. \
                ' args ' .. T.args .. ' file ' .. T.env.configfile) end";
    let place = Place::new().counter("say.lua", crate::support::IPV4, "", body);
    let input = capture(&place, 50);
    let text = format!(
        "[input]\nread = ['{input}']\ncount = 7\n[plugins]\nargs = 'from file'\njson = true\nset = ['My>Own=6']\n[trisul]\n\
         'App>DBRoot' = '/srv/db'\n[trisul.My]\nOwn = 5\n"
    );
    fs::write(place.path("m.toml"), text).unwrap();
    let ended = place.run(&["--config", "m.toml"], LIMIT);
    ended.exits(0);
    assert_eq!(ended.report()["run"]["packets"], 7);
    let said = format!("root /srv/db 6 args from file file {}", place.path("m.toml").canonicalize().unwrap().display());
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    let ended = place.run(&["--config", "m.toml", "--count", "9", "--set", "App>DBRoot=/other"], LIMIT);
    assert_eq!(ended.report()["run"]["packets"], 9);
    assert!(ended.stderr.contains("root /other 6"), "{}", ended.stderr);
    // Nobody named it, so it is not read.
    fs::rename(place.path("m.toml"), place.path("millstream.toml")).unwrap();
    let ended = place.run(&["-r", &input, "--json"], LIMIT);
    assert_eq!(ended.report()["run"]["packets"], 50);
}

#[test]
fn what_is_wrong_is_said_with_its_place_before_anything_runs() {
    let place = Place::new();
    fs::write(place.path("bad.toml"), "[input]\nsnaplne = 96\n[work]\nengines = 99\n").unwrap();
    let expected = [
        "bad.toml:2:1: snaplne: no such setting in [input]; did you mean snaplen?",
        "bad.toml:4:11: engines: \"99\": 99 is not in 1..=64",
    ];
    let checked = millstream(&place, &["config", "check", "bad.toml"], |_| {});
    checked.exits(2);
    assert_eq!(checked.stdout.lines().collect::<Vec<_>>(), expected);
    let ended = place.run(&["--config", "bad.toml", "-r", "x"], LIMIT);
    ended.exits(2);
    let lines: Vec<String> = expected.iter().map(|line| format!("millstream: {line}")).collect();
    assert_eq!(ended.stderr.lines().collect::<Vec<_>>(), lines);

    let texts = "[plugins]\nset = ['a']\nhomenet = ['10.0.0.0/99']\n[input]\nfilter = 'tcp prt 80'\n[metering]\n\
                 builtin = ['nosuch']\n[outputs_for_other_programs]\nwebhook = 'ftp://x/'\n";
    fs::write(place.path("texts.toml"), texts).unwrap();
    let checked = millstream(&place, &["config", "check", "texts.toml"], |_| {});
    let lines: Vec<&str> = checked.exits(2).stdout.lines().collect();
    for (line, begin) in lines.iter().zip([
        "texts.toml:2:8: set: \"a\": configuration override 'a' lacks '='",
        "texts.toml:3:12: homenet: \"10.0.0.0/99\": ",
        "texts.toml:5:10: filter: \"tcp prt 80\": this does not compile: ",
        "texts.toml:7:12: builtin: \"nosuch\": no counter group 'nosuch' is metered natively; there are: all, ",
        "texts.toml:9:11: webhook: \"ftp://x/\": 'ftp://x/': only http and https are spoken",
    ]) {
        assert!(line.starts_with(begin), "{line}");
    }
    assert_eq!(lines.len(), 5, "{lines:?}");

    let refused = |arguments: &[&str], part: &str| {
        let ended = place.run(arguments, LIMIT);
        ended.exits(2);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    };
    refused(&["--config", "none.toml"], "millstream: none.toml: cannot be read: No such file or directory");
    refused(
        &["--unset", "input.fliter"],
        "--unset input.fliter: fliter: no such setting in [input]; did you mean filter?",
    );
    refused(&["--unset", "filter"], "--unset filter: write the setting as section.key, such as input.filter");
    fs::write(place.path("both.toml"), "[input]\nread = ['a']\ninterface = ['b']\n").unwrap();
    refused(
        &["--config", "both.toml"],
        "both.toml:3:1: input.interface cannot be set together with input.read; remove one",
    );
    fs::write(place.path("bytes.toml"), b"[input]\nfilter = '\xff'\n").unwrap();
    refused(&["--config", "bytes.toml"], "bytes.toml:2:11: not UTF-8");
    let mut command = place.command(&["-r", "x"]);
    command.env("MILLSTREAM_INPUT_SNAPLEN", "no");
    let ended = place.start_command(&mut command).wait(LIMIT);
    ended.exits(2);
    assert!(ended.stderr.contains("MILLSTREAM_INPUT_SNAPLEN: \"no\": a whole number above zero"), "{}", ended.stderr);
    let mut command = place.command(&["-r", "x"]);
    command.env("MILLSTREAM_TRISUL_FOO", "1");
    let ended = place.start_command(&mut command).wait(LIMIT);
    ended.exits(2);
    assert!(ended.stderr.contains("MILLSTREAM_TRISUL_FOO: [trisul] has no variables"), "{}", ended.stderr);
    let mut command = place.command(&["-r", "x", "-p", "none"]);
    command.env("MILLSTREAM_PLUGINS_SET", "[\"App>DBRoot=/some/dir\"]");
    let ended = place.start_command(&mut command).wait(LIMIT);
    assert!(ended.stderr.contains("plugin path none does not exist"), "{}", ended.stderr);
    fs::write(place.path("good.toml"), "[input]\nsnaplen = 96\n").unwrap();
    let checked = millstream(&place, &["config", "check", "good.toml"], |_| {});
    assert_eq!(checked.exits(0).stdout, "good.toml: 1 setting, all well\n");
    let checked = millstream(&place, &["config", "check", "none.toml"], |_| {});
    assert!(checked.exits(2).stderr.starts_with("millstream: none.toml: cannot be read: No such file"));
}

#[test]
fn the_sample_is_that_of_the_project_and_every_setting_in_it_can_be_made() {
    let place = Place::new();
    let printed = millstream(&place, &["config", "sample"], |_| {}).stdout;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/millstream.toml");
    if std::env::var_os("BLESS").is_some() {
        fs::write(file, &printed).unwrap();
    }
    let kept = fs::read_to_string(file).unwrap_or_default();
    assert!(kept == printed, "samples/millstream.toml is out of date: BLESS=1 cargo nextest run --test life");
    fs::write(place.path("sample.toml"), &printed).unwrap();
    millstream(&place, &["config", "check", "sample.toml"], |_| {}).exits(0);

    // Every option of run has a line, with a comment above it.
    let document = shown(&place, &[], &[]);
    let lines: Vec<&str> = printed.lines().collect();
    let mut section = "";
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if let Some((key, value)) = line.strip_prefix('#').and_then(|line| line.split_once(" = "))
            && !key.starts_with([' ', '"'])
        {
            assert!(lines[index - 1].starts_with("# "), "{section}.{key} has no comment");
            found.push((section.to_owned(), key.to_owned(), value.to_owned()));
        }
    }
    for setting in document["settings"].as_array().unwrap() {
        let (section, key) = (setting["section"].as_str().unwrap(), setting["key"].as_str().unwrap());
        let (_, _, value) =
            found.iter().find(|(s, k, _)| s == section && k == key).unwrap_or_else(|| panic!("{section}.{key}"));
        if let Some(default) = setting["value"].as_str().filter(|_| setting["origin"]["layer"] == "default") {
            assert_eq!(value.trim_matches('"'), default, "{section}.{key}");
        }
        // As it stands it can be used.
        fs::write(place.path("one.toml"), format!("[{section}]\n{key} = {value}\n")).unwrap();
        millstream(&place, &["config", "check", "one.toml"], |_| {}).exits(0);
    }
    assert_eq!(found.len(), document["settings"].as_array().unwrap().len());
}
