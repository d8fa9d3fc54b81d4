//! A look into a VM: which globals code uses, what its functions hold. The looking is done in Lua, see `inspect.lua`.

use mlua::{Function, LuaString, Table};

use crate::lua::{Budget, PluginError, Vm};

const INSPECT: &str = include_str!("inspect.lua");

/// How code uses a global variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalUse {
    /// Set while the file is executed.
    SetAtTop,
    /// Set inside a function.
    SetInside,
    /// Read.
    Read,
}

/// A place where a global variable is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalName {
    /// Its name.
    pub name: String,
    /// Where.
    pub line: u32,
    /// How.
    pub usage: GlobalUse,
}

/// What a worker meets in the place of what cannot travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nil,
    /// The table, without its metatable.
    BareTable,
}

/// A variable of an `onexecute` that its worker does not get, or not as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostVariable {
    /// Where the function begins.
    pub line: u32,
    /// Which it is and why, in words.
    pub reason: String,
    /// What there is in its place.
    pub left: Left,
}

/// The inspector in one VM.
pub struct Inspector<'a> {
    vm: &'a Vm,
    budget: Budget,
    globals: Function,
    workers: Function,
    names: Function,
}

impl<'a> Inspector<'a> {
    /// Prepares a VM. Best done before plugin code had a chance to replace what the inspector uses.
    ///
    /// # Errors
    /// When it cannot be prepared, for instance because plugin code replaced a library.
    pub fn new(vm: &'a Vm, budget: Budget) -> Result<Self, PluginError> {
        let chunk = vm.load(INSPECT.as_bytes(), "=millstream:check")?;
        let (globals, workers, names) = vm.call(&chunk, (), budget)?;
        Ok(Self { vm, budget, globals, workers, names })
    }

    /// The globals that a compiled file uses. It is not executed.
    ///
    /// # Errors
    /// When the inspection fails.
    pub fn globals(&self, chunk: &Function) -> Result<Vec<GlobalName>, PluginError> {
        let text: LuaString = self.vm.call(&self.globals, chunk, self.budget)?;
        let rows = rows(&text).into_iter().filter_map(|row| {
            let [usage, name, line] = row.try_into().ok()?;
            let usage = match usage.as_str() {
                "top" => GlobalUse::SetAtTop,
                "set" => GlobalUse::SetInside,
                _ => GlobalUse::Read,
            };
            Some(GlobalName { name, line: line.parse().ok()?, usage })
        });
        Ok(rows.collect())
    }

    /// Variables of `onexecute` functions reachable from the plugin's table that cannot travel.
    ///
    /// # Errors
    /// When the inspection fails.
    pub fn lost_variables(&self, plugin: &Table) -> Result<Vec<LostVariable>, PluginError> {
        let globals = self.vm.lua().globals();
        let standard = self.vm.lua().create_table()?;
        standard.push(&globals)?;
        for name in ["T", "package"] {
            if let Some(table) = globals.get::<Option<Table>>(name).ok().flatten() {
                standard.push(if name == "package" { table.get::<Table>("loaded")? } else { table })?;
            }
        }
        let text: LuaString = self.vm.call(&self.workers, (plugin, standard), self.budget)?;
        let rows = rows(&text).into_iter().filter_map(|row| {
            let [line, left, reason] = row.try_into().ok()?;
            let left = if left == "bare" { Left::BareTable } else { Left::Nil };
            Some(LostVariable { line: line.parse().ok()?, reason, left })
        });
        Ok(rows.collect())
    }

    /// Names of a table's fields with the type of their values.
    ///
    /// # Errors
    /// When the inspection fails.
    pub fn fields(&self, table: &Table) -> Result<Vec<(String, String)>, PluginError> {
        let text: LuaString = self.vm.call(&self.names, table, self.budget)?;
        let mut fields: Vec<(String, String)> = rows(&text)
            .into_iter()
            .filter_map(|row| {
                let [name, kind] = row.try_into().ok()?;
                Some((name, kind))
            })
            .collect();
        // The order of a table is that of its hashes, which differ from run to run.
        fields.sort_unstable();
        Ok(fields)
    }
}

fn rows(text: &LuaString) -> Vec<Vec<String>> {
    let text = text.to_string_lossy();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
