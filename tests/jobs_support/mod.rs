//! What the tests of many jobs share.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use millstream::job::{Delivery, Ended, JobIds, Pool, PoolOptions, Scheduler, Summary, VmFactory, Wait};
use millstream::lua::{Budget, Packer, Portable, Vm, VmOptions, spawn_lua_thread};

const NO_LIMIT: Budget = Budget { limit: None, slow: None };
/// Memory of a VM in which a test wants none to end.
const AMPLE: usize = 64 << 20;

fn vm(memory_limit: usize) -> Vm {
    Vm::new(&VmOptions { name: "plugin.lua".to_owned(), memory_limit, package_path: Vec::new() }).unwrap()
}

pub fn pool(options: PoolOptions) -> Pool {
    pool_with(AMPLE, options)
}

/// A pool whose workers have VMs of so much memory.
pub fn pool_with(memory_limit: usize, options: PoolOptions) -> Pool {
    let factory: VmFactory = Arc::new(move |_| Ok(vm(memory_limit)));
    Pool::new(options, factory)
}

/// A scheduling VM with its end of a pool.
pub struct Side {
    vm: Vm,
    packer: Packer,
    pub scheduler: Scheduler,
}

impl Side {
    pub fn of(pool: &Pool, delivery: Delivery) -> Self {
        let vm = vm(AMPLE);
        let packer = Packer::new(vm.lua()).unwrap();
        Self { vm, packer, scheduler: Scheduler::new(pool, &JobIds::new(0), delivery) }
    }

    pub fn portable(&mut self, text: &str) -> Portable {
        let chunk = self.vm.load(text.as_bytes(), "@plugin.lua").unwrap();
        let function: mlua::Function = self.vm.call(&chunk, (), NO_LIMIT).unwrap();
        self.packer.pack(self.vm.lua(), &function).unwrap().portable
    }

    pub fn shared(&mut self, text: &str) -> Arc<Portable> {
        Arc::new(self.portable(text))
    }

    pub fn settle(&self) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.scheduler.settle_ended(&Wait { limit: Some(Duration::from_secs(60)), cancel: None }, &mut ended);
        ended
    }
}

pub fn on_lua_thread(test: impl FnOnce() + Send + 'static) {
    spawn_lua_thread("test", test).unwrap().join().unwrap();
}

/// Jobs in any state.
pub fn sum(summary: &Summary) -> u64 {
    let Summary { queued, running, done, failed, timed_out, cancelled, dropped, .. } = *summary;
    queued + running + done + failed + timed_out + cancelled + dropped
}
