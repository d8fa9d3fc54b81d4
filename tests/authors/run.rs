//! Runs the built program in a folder with plugins.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A group that plugins of these tests count in.
pub const GROUP: &str = "{0B1C2D3E-0000-4000-8000-00000000ABCD}";

pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn capture(name: &str) -> PathBuf {
    project().join("pcaps").join(name)
}

/// How the program ended and what it said.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn ended(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self.out
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The program in a folder, without anything the machine may have set.
pub fn millstream(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.current_dir(folder).stdin(Stdio::null());
    for name in ["TRISUL_LUA_PATHS", "MILLSTREAM_LUA_PATHS", "MILLSTREAM_LOG", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("MILLSTREAM_DATA", std::env::temp_dir().join("millstream-no-data"));
    command
}

pub fn run(folder: &Path, args: &[&str]) -> Said {
    millstream(folder).args(args).output().expect("the program starts").into()
}

/// The same with lines on standard input.
pub fn run_with(folder: &Path, args: &[&str], input: &str) -> Said {
    let mut command = millstream(folder);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("it has a standard input");
    // It may end before it has read everything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends").into()
}

/// A folder with one plugin, `p.lua`, and one case of it.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new(plugin: &str, case: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a directory"));
        folder.write("p.lua", plugin);
        fs::create_dir_all(folder.path("tests/p")).expect("a directory");
        folder.write("tests/p/case.toml", case);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    pub fn test(&self, options: &[&str]) -> Said {
        run(self.0.path(), &[&["test", "."], options].concat())
    }
}

/// A plugin with one block in its table.
pub fn plugin(head: &str, block: &str) -> String {
    format!(
        "{head}\nTrisulPlugin = {{ id = {{ name = 'p', description = 'a test' }},\n\
         countergroup = {{ control = {{ guid = '{GROUP}', name = 'Things', description = 'd', bucketsize = 10 }},\n\
         meters = {{ {{ 0, T.K.vartype.COUNTER, 10, 0, 'Count', 'd', 'n' }} }} }},\n{block} }}\n"
    )
}

/// A plugin that does something with every packet.
pub fn on_packet(head: &str, body: &str) -> String {
    let ethernet = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}";
    let block =
        format!("simplecounter = {{ protocol_guid = '{ethernet}', onpacket = function(engine, layer)\n{body}\nend }}");
    plugin(head, &block)
}

/// A case over a capture of the project.
pub fn case(name: &str, more: &str) -> String {
    format!("capture = '{}'\n{more}\n", capture(name).display())
}
