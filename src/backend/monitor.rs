//! One backend block in one VM: its callbacks, how they are called, and what becomes of their failures.

use mlua::{Function, IntoLuaMulti, MultiValue, Value};

use crate::api::{BackendObjects, ItemChange, ItemRef, LogLevel};
use crate::lua::PluginError;
use crate::plugin::{BlockTable, ErrorRow, Instance, PluginKind};

/// The callbacks of backend blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Hook {
    /// The flush begins.
    BeginFlush,
    /// A vote on an item.
    FlushFilter,
    /// An item is flushed.
    Flush,
    /// The flush ends.
    EndFlush,
    /// The toppers of a meter begin.
    BeginTopper,
    /// A vote on a topper.
    TopperFilter,
    /// A topper is flushed.
    Topper,
    /// The toppers of a meter end.
    EndTopper,
    /// Something was active in a second.
    Update,
    /// A key, alert, resource, document or flow appeared.
    New,
    /// A flow ended.
    Terminate,
    /// A tick.
    Metronome,
    /// What a tracker ranks a flow by.
    Metric,
}

impl Hook {
    const COUNT: usize = 13;
    const ALL: [Self; Self::COUNT] = [
        Self::BeginFlush,
        Self::FlushFilter,
        Self::Flush,
        Self::EndFlush,
        Self::BeginTopper,
        Self::TopperFilter,
        Self::Topper,
        Self::EndTopper,
        Self::Update,
        Self::New,
        Self::Terminate,
        Self::Metronome,
        Self::Metric,
    ];

    /// The field of a block that holds it; `None` where the block has no such callback.
    #[must_use]
    pub const fn field(self, kind: PluginKind) -> Option<&'static str> {
        use PluginKind as K;
        Some(match (self, kind) {
            (Self::Metronome, _) => "onmetronome",
            (Self::BeginFlush, _) => "onbeginflush",
            (Self::EndFlush, _) => "onendflush",
            (_, K::EngineMonitor) => return None,
            (Self::Metric, K::FlowTracker) => "getmetric",
            (_, K::FlowTracker) | (Self::Metric, _) => return None,
            (Self::FlushFilter, K::CgMonitor) => "onflushfilter",
            (Self::FlushFilter, _) => "flushfilter",
            (Self::Flush, _) => "onflush",
            (Self::BeginTopper, K::CgMonitor) => "onbegintopperflush",
            (Self::TopperFilter, K::CgMonitor) => "ontopperflushfilter",
            (Self::Topper, K::CgMonitor) => "ontopperflush",
            (Self::EndTopper, K::CgMonitor) => "onendtopperflush",
            (Self::BeginTopper | Self::TopperFilter | Self::Topper | Self::EndTopper, _) => return None,
            (Self::Update, K::CgMonitor | K::SgMonitor) => "onupdate",
            (Self::Update, _) => return None,
            (Self::New, K::CgMonitor) => "onnewkey",
            (Self::New, K::SgMonitor) => "onnewflow",
            (Self::New, K::AlertMonitor) => "onnewalert",
            (Self::New, K::ResourceMonitor) => "onnewresource",
            (Self::New, K::FtsMonitor) => "onnewfts",
            (Self::New, _) => return None,
            (Self::Terminate, K::SgMonitor) => "onterminate",
            (Self::Terminate, _) => return None,
        })
    }
}

struct Callback {
    function: Function,
    /// `block.callback`.
    name: String,
    errors: ErrorRow,
    /// The loop that calls it for many keys, and for how many values a key.
    driver: Option<(Function, usize)>,
}

/// The order in which `onupdate` and `onnewkey` of a counter group take their parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// Time, key.
    TimeFirst,
    /// Key, time: older scripts.
    KeyFirst,
}

/// A backend block at work.
pub struct Monitor {
    /// Its VM.
    pub instance: Instance,
    callbacks: [Option<Callback>; Hook::COUNT],
    objects: BackendObjects,
    /// How `onupdate` wants its parameters.
    pub update_order: KeyOrder,
    /// How `onnewkey` wants its parameters.
    pub new_key_order: KeyOrder,
    /// Ticks so far.
    pub ticks: u64,
}

impl Monitor {
    /// Looks up the callbacks of a loaded block.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn attach(instance: Instance, block: &BlockTable) -> Result<Self, PluginError> {
        let kind = instance.kind;
        let mut callbacks = [const { None }; Hook::COUNT];
        for hook in Hook::ALL {
            let Some(field) = hook.field(kind) else { continue };
            if let Value::Function(function) = instance.field::<Value>(block, field)? {
                let name = format!("{}.{field}", kind.name());
                callbacks[hook as usize] = Some(Callback { function, name, errors: ErrorRow::default(), driver: None });
            }
        }
        let parts = instance.parts();
        let getlocal: Function = parts.objects.get("getlocal")?;
        let order = |hook: Hook| -> mlua::Result<KeyOrder> {
            let Some(callback) = &callbacks[hook as usize] else { return Ok(KeyOrder::TimeFirst) };
            let name: Value = getlocal.call((&callback.function, 2))?;
            let key_first = name.as_string().is_some_and(|name| &*name.as_bytes() == b"key");
            Ok(if kind == PluginKind::CgMonitor && key_first { KeyOrder::KeyFirst } else { KeyOrder::TimeFirst })
        };
        let (update_order, new_key_order) = (order(Hook::Update)?, order(Hook::New)?);
        let objects = BackendObjects::install(instance.vm().lua(), parts, instance.context())?;
        Ok(Self { instance, callbacks, objects, update_order, new_key_order, ticks: 0 })
    }

    /// Whether it has a callback.
    #[must_use]
    pub fn has(&self, hook: Hook) -> bool {
        self.callbacks[hook as usize].is_some()
    }

    /// The function of a callback.
    pub(super) fn function(&self, hook: Hook) -> Option<Function> {
        self.callbacks[hook as usize].as_ref().map(|callback| callback.function.clone())
    }

    /// The loop over keys of a callback, if it was made.
    pub(super) fn row_driver(&self, hook: Hook) -> Option<&(Function, usize)> {
        self.callbacks[hook as usize].as_ref()?.driver.as_ref()
    }

    /// Keeps the loop over keys of a callback.
    pub(super) fn set_row_driver(&mut self, hook: Hook, driver: Function, width: usize) {
        if let Some(callback) = &mut self.callbacks[hook as usize] {
            callback.driver = Some((driver, width));
        }
    }

    /// Errors in a row of a callback.
    pub(super) fn errors(&self, hook: Hook) -> Option<&ErrorRow> {
        self.callbacks[hook as usize].as_ref().map(|callback| &callback.errors)
    }

    /// True if it has no callback at all and takes no messages.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.callbacks.iter().all(Option::is_none) && !self.instance.listens()
    }

    /// Calls a callback with the engine and what `args` makes; `None` if there is none, or it failed.
    pub fn call(
        &mut self,
        hook: Hook,
        args: impl FnOnce(&mlua::Lua) -> mlua::Result<MultiValue>,
    ) -> Option<MultiValue> {
        let callback = self.callbacks[hook as usize].as_ref()?;
        let function = callback.function.clone();
        let lua = self.instance.vm().lua();
        let made = args(lua).map(|mut values| {
            values.push_front(Value::Table(self.instance.parts().engine.clone()));
            (function, values)
        });
        self.enter(hook, made)
    }

    /// Calls a callback with the engine and an object.
    pub fn call_item(&mut self, hook: Hook, item: ItemRef<'_>) -> Option<MultiValue> {
        let callback = self.callbacks[hook as usize].as_ref()?;
        let made = self.objects.call(self.instance.vm().lua(), &callback.function, item);
        self.enter(hook, made)
    }

    fn enter(&mut self, hook: Hook, made: mlua::Result<(Function, MultiValue)>) -> Option<MultiValue> {
        let callback = self.callbacks[hook as usize].as_mut()?;
        let name = std::mem::take(&mut callback.name);
        let before = self.instance.health.faults;
        let result = match made {
            Ok((function, args)) => self.instance.callback::<MultiValue>(&name, &function, args),
            Err(e) => {
                self.instance.fault(&name, &PluginError::from_lua(&e));
                None
            }
        };
        let callback = self.callbacks[hook as usize].as_mut()?;
        if result.is_some() {
            callback.errors.succeeded();
        } else if self.instance.health.faults > before {
            callback.errors.failed();
        }
        if callback.errors.is_full() {
            self.instance.suspend(&name);
        }
        callback.name = name;
        result
    }

    /// What the last callback changed of its object.
    #[must_use]
    pub fn take_changes(&self) -> Vec<ItemChange> {
        self.objects.take_changes()
    }

    /// Logs an error about what a callback answered.
    pub fn complain(&self, hook: Hook, what: &str) {
        if let Some(callback) = &self.callbacks[hook as usize] {
            self.instance.context().log(LogLevel::Error, format!("{}: {what}", callback.name));
        }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// Only an explicit false is a no.
#[must_use]
pub fn is_no(answer: Option<&MultiValue>) -> bool {
    matches!(answer.and_then(|answer| answer.front()), Some(Value::Boolean(false)))
}

/// Arguments as a callback takes them.
///
/// # Errors
/// When the VM is out of memory.
pub fn values(lua: &mlua::Lua, args: impl IntoLuaMulti) -> mlua::Result<MultiValue> {
    args.into_lua_multi(lua)
}

#[cfg(test)]
mod tests {
    use super::Hook;
    use crate::plugin::PluginKind;

    #[test]
    fn every_block_has_the_callbacks_of_the_contract() {
        let of = |kind| Hook::ALL.iter().filter_map(|hook| hook.field(kind)).collect::<Vec<_>>().join(" ");
        assert_eq!(of(PluginKind::EngineMonitor), "onbeginflush onendflush onmetronome");
        assert_eq!(
            of(PluginKind::CgMonitor),
            "onbeginflush onflushfilter onflush onendflush onbegintopperflush ontopperflushfilter ontopperflush \
             onendtopperflush onupdate onnewkey onmetronome"
        );
        assert_eq!(
            of(PluginKind::SgMonitor),
            "onbeginflush flushfilter onflush onendflush onupdate onnewflow onterminate onmetronome"
        );
        assert_eq!(of(PluginKind::AlertMonitor), "onbeginflush flushfilter onflush onendflush onnewalert onmetronome");
        assert_eq!(
            of(PluginKind::ResourceMonitor),
            "onbeginflush flushfilter onflush onendflush onnewresource onmetronome"
        );
        assert_eq!(of(PluginKind::FtsMonitor), "onbeginflush flushfilter onflush onendflush onnewfts onmetronome");
        assert_eq!(of(PluginKind::FlowTracker), "onbeginflush onendflush onmetronome getmetric");
    }
}
