//! What lines at the prompt mean.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::lines::Lines;
use super::session::{Origin, Session, Stepped};
use crate::app::Outcome;
use crate::app::cli::{Cli, ColourChoice, ReplArgs};
use crate::app::run;
use crate::app::screen::{Paint, Screen};
use crate::app::watch;
use crate::lua::spawn_lua_thread;

const HELP: &str = "\
next [N]           go on by one packet, or N
goto N             go to packet N; backwards means from the beginning again
until EXPR         go on until a Lua expression is true, such as: until packet:wire_length() > 1000
filter [BPF]       stop only at packets that match a capture filter; without one at all again
packets [N]        the last packets, the present one at the end
layers             the layers of the packet
hex [LAYER]        its bytes, or those of a layer, by number or name
flow               the flow of the packet
flows              the flows so far
counters [GROUP]   the groups counted in, or the largest keys of one
help, quit         this; the end
Anything else is Lua. There are T, engine, packet, layers (from 1, the outermost first), layer (the innermost) and flow,
as plugins know them; values are shown. Objects of a packet are good for that packet.";

/// Packets listed without a number.
const LISTED: usize = 20;
/// Packets after which what they led to is shown.
const SHOWN_EVERY: u64 = 256;

/// Reads lines until there are none any more.
///
/// # Errors
/// When the capture cannot be opened, or standard input or output fails.
pub fn repl(args: &ReplArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    let origin =
        Origin { files: args.read.clone(), filter: args.filter.clone(), plugins: Arc::new(args.plugins.clone()) };
    let colour = cli.color;
    watch::end_at_once()?;
    let thread = spawn_lua_thread("repl", move || converse(&origin, colour)).context("starting a thread")?;
    run::join(thread)?
}

fn converse(origin: &Origin, colour: ColourChoice) -> anyhow::Result<Outcome> {
    let mut session = Session::open(origin)?;
    let mut lines = Lines::open()?;
    loop {
        let prompt = format!("{}> ", session.number);
        let Some(line) = lines.next(&prompt)? else { break };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if matches!(line, "quit" | "exit") {
            break;
        }
        let mut screen = Screen::stdout(colour);
        match obey(line, &mut session, origin, &mut screen) {
            Ok(Said { text, is_problem }) => {
                hear(&mut session, &mut screen)?;
                for part in text {
                    writeln!(screen, "{}", if is_problem { screen.paint(Paint::Bad, &part) } else { part })?;
                }
            }
            Err(e) => {
                hear(&mut session, &mut screen)?;
                writeln!(screen, "{}", screen.paint(Paint::Bad, &format!("{e:#}")))?;
            }
        }
        screen.flush()?;
    }
    session.close();
    Ok(Outcome::Good)
}

/// Shows what scripts have printed and logged.
fn hear(session: &mut Session, screen: &mut Screen<'_>) -> std::io::Result<()> {
    show(session.take_heard(), screen)
}

/// Goes on by one packet. What it leads to is shown on the way: many packets lead to more than memory holds.
fn step(session: &mut Session, screen: &mut Screen<'_>) -> anyhow::Result<Stepped> {
    let stepped = session.step()?;
    if session.number.is_multiple_of(SHOWN_EVERY) {
        show(session.take_lines(), screen)?;
        screen.flush()?;
    }
    Ok(stepped)
}

fn show((out, err): (Vec<u8>, Vec<u8>), screen: &mut Screen<'_>) -> std::io::Result<()> {
    screen.write_all(&out)?;
    let logged = String::from_utf8_lossy(&err);
    logged.lines().try_for_each(|line| writeln!(screen, "{}", screen.paint(Paint::Doubtful, line)))
}

/// What there is to show.
struct Said {
    text: Vec<String>,
    is_problem: bool,
}

impl From<Vec<String>> for Said {
    fn from(text: Vec<String>) -> Self {
        Self { text, is_problem: false }
    }
}

fn obey(line: &str, session: &mut Session, origin: &Origin, screen: &mut Screen<'_>) -> anyhow::Result<Said> {
    let (word, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()));
    Ok(match word {
        "help" => vec![HELP.to_owned()].into(),
        "next" => advance(session, number(rest, 1)?, screen)?.into(),
        "goto" if !rest.is_empty() => go_to(session, origin, number(rest, 1)?, screen)?.into(),
        "until" if !rest.is_empty() => return until(session, rest, screen),
        "filter" => {
            session.set_filter(rest)?;
            let said = if rest.is_empty() { "all packets".to_owned() } else { format!("packets that match: {rest}") };
            vec![said].into()
        }
        "packets" => session.packets(usize::try_from(number(rest, LISTED as u64)?).unwrap_or(LISTED)).into(),
        "layers" if rest.is_empty() => session.layers().into(),
        "hex" => vec![session.hex(rest)?.trim_end().to_owned()].into(),
        "flow" if rest.is_empty() => session.flow().into(),
        "flows" if rest.is_empty() => session.flow_lines().into(),
        "counters" => session.counters(rest)?.into(),
        _ => {
            let evaluated = session.evaluate(line.trim_start_matches('='));
            match evaluated.text {
                Ok(text) if text.is_empty() => Vec::new().into(),
                Ok(text) => vec![text].into(),
                Err(problem) => Said { text: vec![problem], is_problem: true },
            }
        }
    })
}

fn number(text: &str, default: u64) -> anyhow::Result<u64> {
    if text.is_empty() {
        return Ok(default);
    }
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("'{text}' is no number of packets"),
    }
}

fn end(session: &Session) -> Vec<String> {
    vec![format!("the capture ends after packet {}", session.number)]
}

fn advance(session: &mut Session, count: u64, screen: &mut Screen<'_>) -> anyhow::Result<Vec<String>> {
    for _ in 0..count {
        if step(session, screen)? == Stepped::End {
            return Ok(end(session));
        }
    }
    Ok(vec![session.packet_line()])
}

fn go_to(session: &mut Session, origin: &Origin, wanted: u64, screen: &mut Screen<'_>) -> anyhow::Result<Vec<String>> {
    if wanted < session.number {
        let earlier = std::mem::replace(session, Session::open(origin)?);
        earlier.close();
    }
    while session.number < wanted {
        if step(session, screen)? == Stepped::End {
            return Ok(end(session));
        }
    }
    Ok(vec![session.packet_line()])
}

fn until(session: &mut Session, expression: &str, screen: &mut Screen<'_>) -> anyhow::Result<Said> {
    loop {
        if step(session, screen)? == Stepped::End {
            return Ok(end(session).into());
        }
        let evaluated = session.evaluate(expression);
        if let Err(problem) = evaluated.text {
            return Ok(Said { text: vec![problem], is_problem: true });
        }
        if evaluated.holds {
            return Ok(vec![session.packet_line()].into());
        }
    }
}
