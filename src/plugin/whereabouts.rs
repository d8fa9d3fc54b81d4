//! Where a script is that does not come back, in words.

use std::path::Path;
use std::sync::Arc;

use super::instance::PluginFile;
use super::underway::Stage;
use crate::lua::{Frame, Tokens};

/// What a VM was made for, for other threads.
#[derive(Clone, Debug)]
pub(super) struct Purpose {
    title: String,
    block: String,
    source: Arc<[u8]>,
}

impl Purpose {
    pub fn new(file: &PluginFile, block: &str) -> Self {
        Self { title: file.title.clone(), block: block.to_owned(), source: file.script.source.as_slice().into() }
    }

    /// What the function is set as that begins in a line: `name = function` or `function block.name`.
    fn callback(&self, line: u32) -> Option<String> {
        let tokens = Tokens::of(&self.source);
        let functions = (0..tokens.len()).filter(|&at| tokens.name(at) == Some("function") && tokens.line(at) == line);
        let mut names = functions.filter_map(|at| {
            if at >= 2 && tokens.is(at - 1, "=") {
                return tokens.name(at - 2).map(str::to_owned);
            }
            let mut last = at + 1;
            while tokens.is_access(last + 1) {
                last += 2;
            }
            tokens.name(last).map(str::to_owned)
        });
        names.next()
    }
}

/// Where a script is that was interrupted or takes long, and does not come back.
#[derive(Clone, Debug)]
pub struct Whereabouts<'a> {
    /// The file.
    pub file: &'a Path,
    /// What it is at.
    pub stage: Stage,
    /// The VM, if it was made for a block of the file.
    purpose: Option<&'a Purpose>,
    /// Innermost first.
    stack: Vec<Frame>,
}

impl<'a> Whereabouts<'a> {
    pub(super) const fn new(file: &'a Path, stage: Stage, purpose: Option<&'a Purpose>, stack: Vec<Frame>) -> Self {
        Self { file, stage, purpose, stack }
    }

    /// A file that is loaded, for nothing in particular.
    #[must_use]
    pub fn loading(file: &'a Path) -> Self {
        Self::new(file, Stage::Load, None, Vec::new())
    }

    /// The plugin: its file, and what it calls itself.
    #[must_use]
    pub fn plugin(&self) -> String {
        let file = self.file.file_name().unwrap_or(self.file.as_os_str()).display();
        match self.purpose.map(|purpose| &purpose.title).filter(|title| !title.is_empty()) {
            Some(title) => format!("{file} ({title})"),
            None => file.to_string(),
        }
    }

    /// The callback: its block, and its name as far as the stack tells it.
    #[must_use]
    pub fn callback(&self) -> String {
        let block = self.purpose.map(|purpose| format!("{}: ", purpose.block)).unwrap_or_default();
        let begins = self.stack.last().filter(|frame| self.is_own(&frame.source)).and_then(|frame| frame.begins);
        let name = begins.zip(self.purpose).and_then(|(line, purpose)| purpose.callback(line));
        format!("{block}{}", name.as_deref().unwrap_or("a callback"))
    }

    /// Whether a function is from the file, by how the VM names its text: long names are cut at their beginning.
    fn is_own(&self, source: &str) -> bool {
        let file = self.file.display().to_string();
        source == file || source.strip_prefix("...").is_some_and(|end| file.ends_with(end))
    }

    /// The stack, a line each behind the line that it explains; nothing if it is not known.
    #[must_use]
    pub fn stack(&self) -> String {
        self.stack.iter().map(|frame| format!("\n{frame}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Purpose, Whereabouts};
    use crate::lua::Frame;
    use crate::plugin::Stage;

    fn frame(source: &str, name: &str, line: u32, begins: u32) -> Frame {
        let number = |number| (number > 0).then_some(number);
        Frame { source: source.to_owned(), name: name.to_owned(), line: number(line), begins: number(begins) }
    }

    fn purpose(source: &str) -> Purpose {
        Purpose { title: "Stuck".to_owned(), block: "simplecounter".to_owned(), source: source.as_bytes().into() }
    }

    #[test]
    fn the_callback_is_the_function_of_the_script_that_the_host_called() {
        let purpose = purpose(
            "local function find(s)\n end\nTrisulPlugin = { simplecounter = {\nonpacket = function()\n end } }",
        );
        let own = |name, line| frame("plugins/a.lua", name, line, line);
        let stack = vec![frame("[C]", "find", 0, 0), own("find", 1), own("", 4)];
        let at = Whereabouts::new(Path::new("plugins/a.lua"), Stage::Callback, Some(&purpose), stack);
        assert_eq!((at.plugin().as_str(), at.callback().as_str()), ("a.lua (Stuck)", "simplecounter: onpacket"));
        let expected = "\n[C]: in function 'find'\nplugins/a.lua:1: in function 'find'\nplugins/a.lua:4: in function <plugins/a.lua:4>";
        assert_eq!(at.stack(), expected);
    }

    #[test]
    fn functions_of_libraries_have_no_name_in_the_script() {
        let purpose = purpose("TrisulPlugin = { simplecounter = {\nonpacket = function()\n end } }");
        let of = |source: &str| {
            let file = Path::new("a/directory/plugins/a.lua");
            Whereabouts::new(file, Stage::Callback, Some(&purpose), vec![frame(source, "", 2, 2)]).callback()
        };
        for own in ["a/directory/plugins/a.lua", "...ory/plugins/a.lua"] {
            assert_eq!(of(own), "simplecounter: onpacket", "{own}");
        }
        for other in ["a/directory/plugins/lib.lua", "...plugins/lib.lua", "plugins/a.lua", "...others/a.lua"] {
            assert_eq!(of(other), "simplecounter: a callback", "{other}");
        }
    }

    #[test]
    fn what_the_stack_does_not_tell_is_left_out() {
        let purpose = purpose("TrisulPlugin = {}\nfunction TrisulPlugin.onmessage()\nend");
        let of = |stack| Whereabouts::new(Path::new("a.lua"), Stage::Callback, Some(&purpose), stack);
        let unknown = of(Vec::new());
        assert_eq!((unknown.callback(), unknown.stack()), ("simplecounter: a callback".to_owned(), String::new()));
        assert_eq!(of(vec![frame("a.lua", "", 2, 2)]).callback(), "simplecounter: onmessage");
        assert_eq!(of(vec![frame("a.lua", "", 3, 3)]).callback(), "simplecounter: a callback");
        let loading = Whereabouts::loading(Path::new("a.lua"));
        assert_eq!((loading.plugin(), loading.callback()), ("a.lua".to_owned(), "a callback".to_owned()));
    }
}
