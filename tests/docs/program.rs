//! The built program, run where the documentation says to run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of its own that looks like that of the project: programs, captures, plugins, documentation.
pub struct Workplace {
    dir: tempfile::TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["pcaps", "plugins", "samples", "docs", "README.md"] {
            std::os::unix::fs::symlink(root().join(name), dir.path().join(name)).expect("a new name");
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_millstream"), dir.path().join("millstream"))
            .expect("a new name");
        std::fs::create_dir(dir.path().join("tmp")).expect("a new directory");
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a line as a shell would; `/tmp/` is a folder of this workplace, and `millstream` is the built program.
    pub fn shell(&self, line: &str) -> Output {
        let tmp = format!("{}/", self.path("tmp").display());
        let line = line.replace("/tmp/", &tmp);
        let path = format!("{}:{}", self.dir.path().display(), std::env::var("PATH").unwrap_or_default());
        Command::new("bash")
            .args(["-c", &line])
            .current_dir(self.dir.path())
            .env("PATH", path)
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .env("MILLSTREAM_DATA", self.path("tmp/data"))
            .env("XDG_DATA_HOME", self.path("tmp/share"))
            .env_remove("TRISUL_LUA_PATHS")
            .env_remove("MILLSTREAM_LUA_PATHS")
            .env_remove("MILLSTREAM_LOG")
            .output()
            .unwrap_or_else(|e| panic!("{line}: {e}"))
    }
}

/// True if expectations are to be written instead of compared.
pub fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}
