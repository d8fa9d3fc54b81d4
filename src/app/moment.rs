//! Points in time as people write them.

use std::time::Duration;

use anyhow::{anyhow, bail};

use crate::pipeline::date_time;
use crate::time::Timestamp;

/// What a time may look like.
const FORMS: &str =
    "a time such as 2026-01-31T08:15:30Z, 2026-01-31, 1767225600.5, or -10m before the last packet is needed";

/// A time range as it was asked for; either end may be left out.
pub type Range = (Option<Timestamp>, Option<Timestamp>);

/// The range of `--from` and `--to`.
///
/// # Errors
/// When a time cannot be understood, or the range ends before it begins.
pub fn range(from: Option<&str>, to: Option<&str>, latest: Timestamp) -> anyhow::Result<Range> {
    let time = |name: &str, text: Option<&str>| match text {
        Some(text) => parse(text, latest).map(Some).map_err(|e| anyhow!("{name} {text}: {e}")),
        None => Ok(None),
    };
    let range = (time("--from", from)?, time("--to", to)?);
    if let (Some(first), Some(last)) = range
        && first > last
    {
        let of = |given: Option<&str>, time| match given {
            // What is relative is better seen as what it is.
            Some(given) if given.starts_with('-') => format!("{given} ({})", text(time)),
            given => given.unwrap_or_default().to_owned(),
        };
        bail!("--from {} is after --to {}", of(from, first), of(to, last));
    }
    Ok(range)
}

/// A range in words, with a blank before it; nothing for all times.
#[must_use]
pub fn range_text((from, to): Range) -> String {
    let bound = |word: &str, time: Option<Timestamp>| time.map(|time| format!(" {word} {}", text(time)));
    [bound("from", from), bound("to", to)].map(Option::unwrap_or_default).concat()
}

/// A time: RFC 3339 (UTC unless it has an offset), seconds since 1970, or `-90s`, `-10m`, `-2h`, `-1d` before `latest`.
///
/// # Errors
/// A text that says what is needed.
pub fn parse(text: &str, latest: Timestamp) -> Result<Timestamp, &'static str> {
    if let Some(back) = text.strip_prefix('-') {
        let split = back.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(back.len());
        let scale = match &back[split..] {
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(FORMS),
        };
        let number: f64 = back[..split].parse().map_err(|_| FORMS)?;
        let secs = number * scale;
        if !(0.0..1e12).contains(&secs) {
            return Err(FORMS);
        }
        let nanos = i64::try_from(Duration::from_secs_f64(secs).as_nanos()).map_err(|_| FORMS)?;
        return Ok(Timestamp::from_nanos(latest.as_nanos().saturating_sub(nanos)));
    }
    if text.contains('-') { calendar(text).ok_or(FORMS) } else { epoch(text).ok_or(FORMS) }
}

fn epoch(text: &str) -> Option<Timestamp> {
    let (secs, fraction) = text.split_once('.').unwrap_or((text, ""));
    Some(Timestamp::new(digits(secs, 1..=12)?, nanos(fraction)?))
}

/// Nanoseconds of a decimal fraction.
fn nanos(fraction: &str) -> Option<i64> {
    if fraction.is_empty() {
        return Some(0);
    }
    digits(fraction, 1..=30)?;
    // Digits are one byte each.
    let kept = &fraction[..fraction.len().min(9)];
    Some(digits(kept, 1..=9)? * 10_i64.pow(9 - kept.len() as u32))
}

fn digits(text: &str, len: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let sound = len.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number has room for only occur in fractions, of which the first nine count.
    if sound { text[..text.len().min(18)].parse().ok() } else { None }
}

fn calendar(text: &str) -> Option<Timestamp> {
    let (date, clock) = match text.split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4..=4)?, digits(parts.next()?, 2..=2)?, digits(parts.next()?, 2..=2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || !(1..=longest).contains(&day) {
        return None;
    }
    // Days since 1970-01-01 in years that begin with March, so that the leap day comes last.
    let (shifted, moved) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * moved + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400) + day_of_year
        - 719_468;
    let (secs, nanos) = clock.map_or(Some((0, 0)), time_of_day)?;
    Some(Timestamp::new(days * 86_400 + secs, nanos))
}

/// Seconds (the offset taken off) and nanoseconds.
fn time_of_day(text: &str) -> Option<(i64, i64)> {
    let split = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(split);
    let offset = match zone {
        "" | "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let size = digits(hours, 2..=2)? * 3_600 + digits(minutes, 2..=2)? * 60;
            if zone.starts_with('-') { -size } else { size }
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2..=2)?, digits(parts.next()?, 2..=2)?);
    let second = parts.next().map_or(Some(0), |text| digits(text, 2..=2))?;
    let sound = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    sound.then_some(())?;
    Some((hour * 3_600 + minute * 60 + second - offset, nanos(fraction)?))
}

/// `2026-01-31T08:15:30.123456Z`.
#[must_use]
pub fn text(time: Timestamp) -> String {
    date_time(time).replace(' ', "T") + "Z"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{parse, range, range_text, text};
    use crate::time::Timestamp;

    #[test]
    fn times_have_three_forms() {
        let latest = Timestamp::new(1_000_000, 0);
        let at = |text: &str| parse(text, latest).map(|time| (time.secs(), time.subsec_nanos()));
        assert_eq!(at("1970-01-02"), Ok((86_400, 0)));
        assert_eq!(at("2000-02-29T12:00:00Z"), Ok((951_825_600, 0)));
        assert_eq!(at("2000-02-29 13:00:00.25+01:00"), Ok((951_825_600, 250_000_000)));
        assert_eq!(at("1767225600.5"), Ok((1_767_225_600, 500_000_000)));
        assert_eq!(at("-10m"), Ok((999_400, 0)));
        assert_eq!(at("-1.5s"), Ok((999_998, 500_000_000)));
        for wrong in [
            "",
            "-",
            "-1y",
            "2001-02-29",
            "2001-13-01",
            "2001-1-1",
            "2001-01-01T25:00",
            "soon",
            "1e9",
            "-nan",
            "2001-01-01T10:00:00+1",
        ] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_ends_after_it_begins() {
        let latest = Timestamp::new(100_000, 0);
        let of = |from: &'static str, to: &'static str| range(Some(from), Some(to), latest).map_err(|e| e.to_string());
        assert_eq!(of("-1h", "-1h"), Ok((Some(Timestamp::new(96_400, 0)), Some(Timestamp::new(96_400, 0)))));
        assert_eq!(range_text(of("5", "1970-01-02").unwrap()).len(), 2 * " from 1970-01-01T00:00:05.000000Z".len() - 2);
        assert_eq!(of("1970-01-03", "1970-01-02"), Err("--from 1970-01-03 is after --to 1970-01-02".to_owned()));
        let relative = "--from -10s (1970-01-02T03:46:30.000000Z) is after --to -1m (1970-01-02T03:45:40.000000Z)";
        assert_eq!(of("-10s", "-1m"), Err(relative.to_owned()));
        assert!(of("-1h", "soon").unwrap_err().starts_with("--to soon: a time such as"));
        assert_eq!(range_text(range(None, None, latest).unwrap()), "");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(secs in 0..4_000_000_000_i64, micros in 0..1_000_000_i64) {
            let time = Timestamp::new(secs, micros * 1_000);
            assert_eq!(parse(&text(time), Timestamp::EPOCH), Ok(time));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text, Timestamp::EPOCH);
        }
    }
}
