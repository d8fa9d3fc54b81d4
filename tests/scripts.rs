//! The shell scripts of the project, where they do more than call programs one after the other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of a folder, which is a shell script.
fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs `setup` for a user who is not root, on a machine without a compiler, where `sudo` does as it is told here.
fn setup(sudo: &str, arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).unwrap();
    for name in ["dirname", "sed", "cat"] {
        let found = ["/usr/bin", "/bin"].map(|bin| Path::new(bin).join(name)).into_iter().find(|path| path.exists());
        symlink(found.unwrap(), programs.join(name)).unwrap();
    }
    let log = folder.path().join("log");
    program(&programs, "id", "echo 1000");
    program(&programs, "sudo", &format!("echo \"$*\" >> {}\n{sudo}", log.display()));
    program(&programs, "apt-get", "exit 0");
    let mut command = Command::new("/bin/bash");
    command.arg(project().join("setup")).args(arguments).env_clear().env("PATH", &programs).env("HOME", folder.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output, fs::read_to_string(log).unwrap_or_default())
}

#[test]
fn setup_that_is_to_ask_nothing_does_not_wait_for_a_password() {
    let (output, asked) = setup("exit 1", &["--yes"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("sudo asks for a password; run ./setup without --yes, or install: gcc libc6-dev make"),
        "{said}"
    );
    assert_eq!(asked, "-n true\n");
    // Where it asks for none, everything is done that way.
    let (output, asked) = setup("exit 0", &["--yes"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("    sudo -n apt-get update -q\n"), "{said}");
    let lines: Vec<&str> = asked.lines().collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.starts_with("-n ")), "{asked}");
}

#[test]
fn what_tests_left_out_is_told_with_its_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("junit.xml");
    let told = |cases: &str| {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<testsuites name=\"run\">\n<testsuite name=\"s\">\n{cases}</testsuite>\n</testsuites>\n"
        );
        fs::write(&report, text).unwrap();
        let output = Command::new("bash").arg(project().join(".ci/skipped")).arg(&report).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let case = |name: &str, err: &str| {
        format!("<testcase name=\"{name}\" time=\"0.1\">\n<system-err>{err}</system-err>\n</testcase>\n")
    };
    assert_eq!(told(&case("fine", "nothing was skipped: all there\n")), "");
    let cases = [
        case("a::one", "skipped: no &quot;tshark&quot;\nskipped: no &quot;tshark&quot;\n"),
        case("fine", "some note"),
        case("two", "some note\nskipped: no &quot;tshark&quot;\nskipped in part: needs root"),
    ];
    let expected = "test: 2 tests left something out:\n  2 x skipped: no \"tshark\"\n      a::one two\n  \
                    1 x skipped in part: needs root\n      two\n";
    assert_eq!(told(&cases.concat()), expected);
}
