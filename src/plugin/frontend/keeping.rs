//! Whether a callback may be told of its flow by a new object each time.
//!
//! Scripts may keep what they know of a flow in a table by its object, so a flow is the same object in all callbacks of a
//! VM. To remember an object for each flow costs more than most callbacks do. One that uses its flow only to call methods of
//! it, or hands it to methods of the engine, cannot tell: then nothing needs to be remembered, and the compiler does
//! without the object altogether.

use std::ops::RangeInclusive;

use mlua::Function;

use super::levels::{Before, Levels};
use crate::lua::Tokens;
use crate::plugin::instance::Instance;

/// Whether the object of a flow has to be the same in every callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// No callback can tell.
    Never,
    /// One might.
    Perhaps,
}

/// The lines of a callback, if it is written in the script's own file: what is not, is not looked at.
pub(super) fn lines_of(instance: &Instance, callback: &Function) -> Option<RangeInclusive<u32>> {
    let info = callback.info();
    let own = instance.file.script.chunk_name();
    let (first, last) = (info.line_defined?, info.last_line_defined?);
    (info.source.as_deref() == Some(&own)).then_some(first as u32..=last as u32)
}

/// Looks at the only function that begins in the first of these lines of a script; `place` is that of the flow among its
/// parameters, the engine being the first.
pub(super) fn keeping(script: &Tokens, lines: RangeInclusive<u32>, place: usize) -> Keeping {
    let within = || (0..script.len()).filter(|&at| lines.contains(&script.line(at)));
    let Some(function) = only_function(script, &lines) else { return Keeping::Perhaps };
    let Some((parameters, body)) = parameters(script, function) else { return Keeping::Perhaps };
    let (Some(engine), Some(flow)) = (parameters.first(), parameters.get(place)) else { return Keeping::Never };
    let Some(levels) = Levels::of(script) else { return Keeping::Perhaps };
    let mentions = within().filter(|&at| at >= body && script.name(at) == Some(flow));
    let is_harmless = |at| {
        is_field(script, at) || is_object(script, at) || is_missed(script, at) || is_handed(script, &levels, at, engine)
    };
    let mut others = mentions.filter(|&at| !is_harmless(at));
    if others.next().is_none() { Keeping::Never } else { Keeping::Perhaps }
}

/// The only function that begins in the first of these lines.
pub(super) fn only_function(script: &Tokens, lines: &RangeInclusive<u32>) -> Option<usize> {
    let is_there = |&at: &usize| script.line(at) == *lines.start() && script.name(at) == Some("function");
    let mut functions = (0..script.len()).filter(is_there);
    let first = functions.next()?;
    functions.next().is_none().then_some(first)
}

/// The names of a function's parameters, and where its body begins; `None` if it takes any number.
pub(super) fn parameters(script: &Tokens, function: usize) -> Option<(Vec<&str>, usize)> {
    let mut at = (function..function + 8).find(|&at| script.is(at, "("))? + 1;
    let mut names = Vec::new();
    if script.is(at.saturating_sub(3), ":") {
        names.push("self");
    }
    while let Some(name) = script.name(at) {
        names.push(name);
        at += 1;
        if script.is(at, ",") {
            at += 1;
        }
    }
    script.is(at, ")").then_some((names, at + 1))
}

/// `x.flow`, which is another thing.
pub(super) fn is_field(script: &Tokens, at: usize) -> bool {
    at > 0 && script.is_access(at - 1)
}

/// `flow:method`.
fn is_object(script: &Tokens, at: usize) -> bool {
    script.is(at + 1, ":")
}

/// `flow == nil` or `flow ~= nil`.
fn is_missed(script: &Tokens, at: usize) -> bool {
    (script.is(at + 1, "==") || script.is(at + 1, "~=")) && script.name(at + 2) == Some("nil")
}

/// `engine:method(..., flow, ...)`.
fn is_handed(script: &Tokens, levels: &Levels<'_>, at: usize, engine: &str) -> bool {
    let is_argument = |at: usize| script.is(at, ",") || script.is(at, "(") || script.is(at, ")");
    if at == 0 || !is_argument(at - 1) || !is_argument(at + 1) || script.is(at + 1, "(") || script.is(at - 1, ")") {
        return false;
    }
    let Before::Bracket(bracket, _) = levels.before(at) else { return false };
    script.is(bracket, "(")
        && bracket >= 3
        && script.is(bracket - 2, ":")
        && script.name(bracket - 3) == Some(engine)
        && !is_field(script, bracket - 3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Keeping, keeping};
    use crate::lua::Tokens;

    fn of(text: &str) -> Keeping {
        let tokens = Tokens::of(text.as_bytes());
        keeping(&tokens, 1..=text.lines().count() as u32, 2)
    }

    #[test]
    fn methods_of_the_flow_and_arguments_of_the_engine_do_not_keep_it() {
        for body in [
            "",
            "print(flow:id(), x.flow, x:flow()) -- flow",
            "engine:tag_flow(flow, 'x')",
            "engine:add_flow_counter(flow, G, f(1, { 2 })[3], 0)",
            "engine:update_flow((f(1)), 1) engine:disable_reassembly(flow)",
            "return WEB[flow:portz_readable()]",
            "if flow == nil or flow ~= nil then return end",
            "T.async:schedule { data = flow:id(), onresult = function(engine) engine:terminate_flow(flow) end }",
        ] {
            assert_eq!(of(&format!("f = function(engine, ts, flow)\n{body}\nend")), Keeping::Never, "{body}");
        }
        assert_eq!(of("f = function(engine)\nreturn flow end"), Keeping::Never, "another variable");
    }

    #[test]
    fn any_other_use_may() {
        for body in [
            "seen[flow] = 1",
            "seen.last = flow",
            "local f = flow",
            "helper(flow)",
            "helper(1, flow)",
            "engine:tag_flow(helper(flow), 'x')",
            "engine.tag_flow(engine, flow)",
            "other:tag_flow(flow, 'x')",
            "x.engine:tag_flow(flow, 'x')",
            "engine:tag_flow({ flow, 1 }, 'x')",
            "engine:tag_flow(({ id = flow }), 'x')",
            "return flow",
            "if flow == last then f() end",
            "if nil == flow then f() end",
            "flow = flow or {}",
            "print(flow)",
        ] {
            assert_eq!(of(&format!("f = function(engine, ts, flow)\n{body}\nend")), Keeping::Perhaps, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_for_sure_may() {
        for text in [
            "f = function(...)\nend",
            "f = function(engine, ...)\nend",
            "f, g = function(engine, ts, flow) end, function() end",
            "f = loaded",
            "function t:f(ts, flow)\nseen[flow] = 1\nend",
            "",
        ] {
            assert_eq!(of(text), Keeping::Perhaps, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300), place in 0_usize..5) {
            let mut text = b"f = function(engine, ts, flow)\nflow:a(flow, (".to_vec();
            text.extend(bytes);
            let _ = keeping(&Tokens::of(&text), 1..=9, place);
        }
    }
}
