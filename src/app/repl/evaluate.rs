//! Lua at the prompt: a VM like that of a plugin, on the engine that is stepped.

use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use mlua::{Function, LightUserData, LuaString, Value};

use crate::api::EngineContext;
use crate::plugin::{CatalogEntry, HostSettings, Instance, JobPlan, LoadFailure, PluginKind, Script, Seat};

const DRIVER: &str = include_str!("evaluate.lua");
/// The script of the prompt's VM: no block, so nothing is called but what is typed.
const SOURCE: &str = "TrisulPlugin = { id = { name = 'repl' } }";
/// Its name.
pub const NAME: &str = "repl";

/// The VM of the prompt.
pub struct Evaluator {
    instance: Instance,
    driver: Function,
    context: Rc<EngineContext>,
}

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// Its values, or what is wrong with it.
    pub text: Result<String, String>,
    /// Whether its first value is true.
    pub holds: bool,
}

/// The script that the catalogue must have.
#[must_use]
pub fn script() -> Script {
    Script { path: NAME.into(), source: SOURCE.as_bytes().to_vec() }
}

impl Evaluator {
    /// A VM on an engine.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(
        entry: &CatalogEntry,
        context: &Rc<EngineContext>,
        settings: &HostSettings,
        jobs: &JobPlan,
    ) -> anyhow::Result<Self> {
        let file = Rc::new(entry.plugin_file(settings));
        let seat = Seat::new(PluginKind::SimpleCounter, u32::MAX);
        let loaded = Instance::load(&file, seat, context, settings, jobs);
        let (instance, _) = loaded.map_err(|failure| match failure {
            LoadFailure::Declined => anyhow!("the prompt's VM was declined"),
            LoadFailure::Fault(stage, error) => anyhow!("{stage}: {}", error.message),
        })?;
        instance.lend_values().map_err(|e| anyhow!(e.message)).context("the prompt's VM")?;
        let parts = instance.parts().clone();
        let driver = instance.driver(DRIVER, "=millstream.repl", (&parts.objects, &parts.engine));
        let driver = driver.map_err(|e| anyhow!(e.message)).context("the prompt's VM")?;
        Ok(Self { instance, driver, context: Rc::clone(context) })
    }

    /// Evaluates a text for the packet of the batch, if there is one.
    pub fn evaluate(&mut self, text: &str) -> Evaluated {
        let (address, seq) = self.packet();
        let address = address.map_or(Value::Nil, Value::LightUserData);
        let (answer, _) = self.instance.enter::<(bool, LuaString, bool)>(&self.driver, (text, address, seq));
        match answer {
            Ok((ok, text, holds)) => {
                let text = text.to_string_lossy();
                Evaluated { text: if ok { Ok(text) } else { Err(text) }, holds }
            }
            Err(e) => Evaluated { text: Err(e.message), holds: false },
        }
    }

    fn packet(&self) -> (Option<LightUserData>, i32) {
        let batch = self.context.batch.borrow();
        if batch.is_empty() {
            return (None, 0);
        }
        let mut loans = self.context.loans.borrow_mut();
        (Some(LightUserData(loans.packet(&batch, 0).cast())), loans.seq(0))
    }

    /// Takes results of jobs that were scheduled at the prompt.
    pub fn take_completions(&mut self) {
        self.instance.take_completions(&AtomicBool::new(false));
    }

    /// Whether jobs are on their way.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.instance.outstanding_jobs() > 0
    }
}
