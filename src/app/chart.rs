//! Charts as inline SVG. Every text goes through [`escape`]: names and keys come from traffic.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write;

use super::moment;
use crate::sink::human_count;
use crate::time::Timestamp;

/// Width of a chart.
const WIDTH: f64 = 920.0;
/// Height of a line chart.
const HEIGHT: f64 = 200.0;
/// Room for the labels on the left.
const LEFT: f64 = 70.0;
/// Height of one bar.
const BAR: f64 = 22.0;
/// Longest label in a chart; more is cut.
const LABEL: usize = 42;
/// Points drawn at most; more are joined, the largest of each part stays.
const POINTS: usize = 900;

/// Text as it may stand in HTML and in attributes; characters that are not allowed there, or that turn the text around
/// them, are replaced.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}') =>
            {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(LABEL).collect();
    if text.chars().nth(LABEL).is_some() {
        cut.push('…');
    }
    escape(&cut)
}

/// Writing into a string does not fail.
macro_rules! put {
    ($out:expr, $($part:tt)*) => { let _ = write!($out, $($part)*); };
}

/// Values over time, as an area from 0 up.
#[must_use]
pub fn line(points: &[(Timestamp, f64)]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let span = last.0.since(first.0).as_secs_f64().max(1.0);
    let x = |time: Timestamp| LEFT + time.since(first.0).as_secs_f64() / span * (WIDTH - LEFT);
    let y = |value: f64| HEIGHT - value.max(0.0) / most * (HEIGHT - 20.0);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", HEIGHT + 24.0);
    for share in [0.0, 0.5, 1.0] {
        let at = y(most * share);
        put!(out, "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"grid\"/>");
        let text = escape(&human_count(most * share));
        put!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, at + 4.0);
    }
    put!(out, "<path class=\"area\" d=\"M{LEFT:.1} {HEIGHT:.1}");
    for part in points.chunks(points.len().div_ceil(POINTS)) {
        let peak = part.iter().fold(part[0], |a, b| if b.1 > a.1 { *b } else { a });
        put!(out, "L{:.1} {:.1}", x(peak.0), y(peak.1));
    }
    put!(out, "L{:.1} {HEIGHT:.1}Z\"/>", x(last.0));
    let below = HEIGHT + 18.0;
    put!(out, "<text x=\"{LEFT}\" y=\"{below}\">{}</text>", escape(&moment::text(first.0)));
    put!(out, "<text x=\"{WIDTH}\" y=\"{below}\" text-anchor=\"end\">{}</text></svg>", escape(&moment::text(last.0)));
    out
}

/// Names with bars as long as their values.
#[must_use]
pub fn bars(rows: &[(String, f64)]) -> String {
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let (start, room) = (330.0, WIDTH - 330.0 - 90.0);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", BAR * rows.len() as f64 + 4.0);
    for (number, (name, value)) in rows.iter().enumerate() {
        let top = BAR * number as f64;
        let width = (value.max(0.0) / most * room).max(1.0);
        put!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}", start - 8.0, top + 15.0, short(name));
        put!(out, "<title>{}</title></text>", escape(name));
        put!(out, "<rect x=\"{start}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\"/>", top + 3.0, BAR - 6.0);
        let text = escape(&human_count(*value));
        put!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{text}</text>", start + width + 6.0, top + 15.0);
    }
    out + "</svg>"
}

/// Names on a circle, with lines as thick as what is between them.
#[must_use]
pub fn graph(links: &[(String, String, f64)]) -> String {
    let names: BTreeMap<&str, usize> = {
        let mut names: Vec<&str> = links.iter().flat_map(|link| [link.0.as_str(), link.1.as_str()]).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().enumerate().map(|(number, name)| (name, number)).collect()
    };
    if names.is_empty() {
        return String::new();
    }
    let (size, radius) = (560.0, 190.0);
    let angle = |name: &str| names.get(name).copied().unwrap_or(0) as f64 / names.len() as f64 * TAU;
    let place = |name: &str| (WIDTH / 2.0 + radius * angle(name).cos(), size / 2.0 + radius * angle(name).sin());
    let most = links.iter().map(|link| link.2).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {size}\" role=\"img\">");
    for (from, to, value) in links {
        let ((ax, ay), (bx, by)) = (place(from), place(to));
        let (cx, cy) = (WIDTH / 2.0, size / 2.0);
        let thick = 1.0 + (value / most).max(0.0).sqrt() * 7.0;
        put!(
            out,
            "<path class=\"link\" d=\"M{ax:.1} {ay:.1}Q{cx:.1} {cy:.1} {bx:.1} {by:.1}\" stroke-width=\"{thick:.1}\">"
        );
        put!(out, "<title>{} - {}: {}</title></path>", escape(from), escape(to), escape(&human_count(*value)));
    }
    for name in names.keys() {
        let (x, y) = place(name);
        let right = angle(name).cos() >= 0.0;
        let (anchor, shift) = if right { ("start", 9.0) } else { ("end", -9.0) };
        put!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
        let (x, y) = (x + shift, y + 4.0);
        put!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", short(name));
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::{bars, escape, graph, line};
    use crate::time::Timestamp;
    use proptest::prelude::proptest;

    const HOSTILE: &str = "</text><script>alert(1)</script>\"' onload=x &amp; \u{202e}\0\u{1b}[31m";

    #[test]
    fn nothing_in_a_name_becomes_markup() {
        let name = HOSTILE.to_owned();
        for text in [bars(&[(name.clone(), 1.0)]), graph(&[(name.clone(), name, 2.0)])] {
            assert!(!text.contains("<script") && !text.contains('\0') && !text.contains('\u{202e}'), "{text}");
            assert!(!text.contains("\"' onload"), "{text}");
        }
    }

    #[test]
    fn charts_of_nothing_and_of_one_value_are_sound() {
        assert_eq!((line(&[]), graph(&[])), (String::new(), String::new()));
        let point = (Timestamp::new(1, 0), 0.0);
        for chart in [line(&[point]), bars(&[]), bars(&[("a".to_owned(), 0.0)])] {
            assert!(chart.ends_with("</svg>") && !chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_signs_of_markup(text in ".{0,60}") {
            let escaped = escape(&text);
            assert!(!escaped.contains(['<', '>', '"', '\'']));
        }
    }
}
