//! Functions on their way into another VM.

use std::hint::black_box;

use millstream::lua::{Loader, Packer};

use crate::{NO_LIMIT, Outcome, figure, function, nanos, vm};

const ROUNDS: u32 = 30_000;

pub fn run() -> Outcome {
    let (here, there) = (vm()?, vm()?);
    let (mut packer, mut loader) = (Packer::new(here.lua())?, Loader::new(there.lua())?);
    for (name, text) in [
        ("no-upvalue", "return function(d) return d end"),
        ("a-string", "local p = '/some/path' return function(d) return p end"),
        ("three-values", "local a, b, c = 'x', 2, true return function(d) return a, b, c end"),
        ("a-library", "local f = string.format return function(d) return f(d) end"),
        ("a-helper", "local function h(x) return x end return function(d) return h(d) end"),
        ("a-small-table", "local t = { a = 1, b = 'x', 3 } return function(d) return t.a end"),
        ("a-table-of-100", "local t = {} for i = 1, 100 do t[i] = i end return function(d) return t[1] end"),
    ] {
        let f = function(&here, text)?;
        let pack = nanos(ROUNDS, || {
            black_box(packer.pack(here.lua(), &f)?);
            Ok(())
        })?;
        figure(&format!("closures/{name}/pack"), pack, "ns")?;
        let packed = packer.pack(here.lua(), &f)?;
        let load = nanos(ROUNDS, || {
            black_box(loader.load(there.lua(), &packed.portable, |f, a| there.call(f, a, NO_LIMIT))?);
            Ok(())
        })?;
        figure(&format!("closures/{name}/load"), load, "ns")?;
    }
    Ok(())
}
