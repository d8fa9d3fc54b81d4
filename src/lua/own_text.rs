//! The host's own Lua texts: compiled once in a process, loaded into many VMs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua};

/// Bytecode by the address and the name of its text. Only texts of this program get in, so it is bounded.
type Compiled = HashMap<(usize, String), Arc<[u8]>>;

static COMPILED: Mutex<Option<Compiled>> = Mutex::new(None);

/// The function of one of the host's own texts. The first VM compiles it, the others load the bytecode, several times as
/// fast; it is a copy of their own all the same. Bytecode of anyone else is never loaded.
///
/// # Errors
/// When the VM is out of memory.
pub fn own_text(lua: &Lua, name: &str, text: &'static str) -> mlua::Result<Function> {
    let key = (text.as_ptr() as usize, name.to_owned());
    let found = with(|compiled| compiled.get(&key).map(Arc::clone));
    if let Some(bytecode) = found {
        return lua.load(&*bytecode).set_name(name).set_mode(ChunkMode::Binary).into_function();
    }
    let function = lua.load(text).set_name(name).set_mode(ChunkMode::Text).into_function()?;
    // With lines, for the sake of messages.
    let bytecode = function.dump(false).into();
    with(|compiled| compiled.insert(key, bytecode));
    Ok(function)
}

fn with<R>(work: impl FnOnce(&mut Compiled) -> R) -> R {
    // Whole between any two statements, whatever panics.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    work(compiled.get_or_insert_default())
}

#[cfg(test)]
mod tests {
    use super::own_text;
    use mlua::Lua;

    #[test]
    fn all_vms_run_the_same_text_and_fail_in_the_same_line() {
        const TEXT: &str = "local n = ...\nif n == 2 then\n  error('two')\nend\nreturn n + 1";
        let of = |name: &str| {
            let lua = Lua::new();
            let function = own_text(&lua, name, TEXT).expect("it compiles");
            let value: i64 = function.call(1).expect("it runs");
            let error = function.call::<i64>(2).expect_err("it fails").to_string();
            (value, error.lines().next().unwrap_or_default().to_owned())
        };
        let (first, second, other) = (of("=first"), of("=first"), of("=other"));
        assert_eq!(first, second);
        assert_eq!((first.0, first.1.contains("first:3: two")), (2, true), "{first:?}");
        assert!(other.1.contains("other:3: two"), "{other:?}");
    }
}
