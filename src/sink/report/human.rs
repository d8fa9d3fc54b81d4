//! Numbers as people read them.

/// `1.2 k`, `3.4 M`: three significant digits at most, decimal steps. Small whole numbers stay whole.
#[must_use]
pub fn count(value: f64) -> String {
    scaled(value, &["", "k", "M", "G", "T", "P", "E"])
}

/// `1.2 kB`, `3.4 MB`: decimal steps, as network rates are told.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Bits per second from bytes per second.
pub(super) fn bit_rate(bytes_per_sec: f64) -> String {
    scaled(bytes_per_sec * 8.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s"])
}

/// A time span: nanoseconds to days. Steps are where the smaller unit would be printed as 1000.
pub(super) fn duration(secs: f64) -> String {
    match secs {
        s if s < 0.0 => format!("-{}", duration(-s)),
        0.0 => "0 s".to_owned(),
        s if s < 0.999_5e-6 => format!("{} ns", digits(s * 1e9)),
        s if s < 0.999_5e-3 => format!("{} µs", digits(s * 1e6)),
        s if s < 0.999_5 => format!("{} ms", digits(s * 1e3)),
        s if s < 120.0 => format!("{} s", digits(s)),
        s => {
            let whole = s.round() as u64;
            let (days, hours, minutes, secs) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
            if days > 0 {
                format!("{days} d {hours:02}:{minutes:02}:{secs:02}")
            } else {
                format!("{hours}:{minutes:02}:{secs:02}")
            }
        }
    }
}

/// `42.9 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What a meter has measured, in the unit it deserves: bytes and times in steps of their own. The volume of a rate in bytes
/// per second is bytes.
pub(super) fn measured(value: f64, units: &str, vartype: &str) -> String {
    let units = units.trim();
    let is_rate = vartype == "RATE_COUNTER";
    match units.to_ascii_lowercase().as_str() {
        "bps" | "b/s" | "/bps" | "bytes/s" | "bytes/sec" if is_rate => bytes(value),
        "b" | "bytes" | "byte" => bytes(value),
        "bps" | "b/s" => format!("{}/s", bytes(value)),
        "pps" if is_rate => format!("{} pkts", count(value)),
        "ns" => duration(value / 1e9),
        "us" | "µs" | "usec" | "usecs" | "microseconds" => duration(value / 1e6),
        "ms" | "msec" | "msecs" | "milliseconds" => duration(value / 1e3),
        "s" | "sec" | "secs" | "seconds" => duration(value),
        "" => count(value),
        _ => format!("{} {units}", count(value)),
    }
}

fn scaled(value: f64, units: &[&str]) -> String {
    let mut scaled = value;
    let mut step = 0;
    // 999.5 would be printed as 1000.
    while scaled.abs() >= 999.5 && step + 1 < units.len() {
        scaled /= 1_000.0;
        step += 1;
    }
    let number = if step == 0 && scaled.fract() == 0.0 { format!("{scaled:.0}") } else { digits(scaled) };
    if units[step].is_empty() { number } else { format!("{number} {}", units[step]) }
}

/// Three significant digits.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bit_rate, bytes, count, duration, measured, percent};

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let cases = [
            (0.0, "0"),
            (7.0, "7"),
            (0.5, "0.50"),
            (999.0, "999"),
            (999.6, "1.00 k"),
            (1_234.0, "1.23 k"),
            (45_600.0, "45.6 k"),
        ];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
        assert_eq!(count(-1_500.0), "-1.50 k");
        assert_eq!(count(1e30), "1000000000000 E");
        assert_eq!((bytes(900.0), bytes(9_876_543.0)), ("900 B".to_owned(), "9.88 MB".to_owned()));
        assert_eq!((bit_rate(125_000.0), percent(0.4287)), ("1.00 Mbit/s".to_owned(), "42.9 %".to_owned()));
    }

    #[test]
    fn meters_of_bytes_and_time_choose_their_unit() {
        for (value, units, vartype, text) in [
            (19_800.0, "us", "AVERAGE", "19.8 ms"),
            (1_500_000.0, "us", "MAXIMUM", "1.50 s"),
            (12.0, "usec", "MAXIMUM", "12.0 µs"),
            (2_500.0, "Msec", "GAUGE", "2.50 s"),
            (3_600.0, "secs", "COUNTER", "1:00:00"),
            (19_800.0, "packets", "COUNTER", "19.8 k packets"),
            (19_800.0, "Bps", "RATE_COUNTER", "19.8 kB"),
            (19_800.0, "Bps", "GAUGE", "19.8 kB/s"),
            (19_800.0, "", "COUNTER", "19.8 k"),
        ] {
            assert_eq!(measured(value, units, vartype), text, "{units} of a {vartype}");
        }
    }

    #[test]
    fn durations_choose_their_unit() {
        for (secs, text) in [
            (0.0, "0 s"),
            (3e-7, "300 ns"),
            (2.5e-5, "25.0 µs"),
            (0.000_999_7, "1.00 ms"),
            (0.019_8, "19.8 ms"),
            (0.41, "410 ms"),
            (0.999_6, "1.00 s"),
            (-0.002, "-2.00 ms"),
            (12.0, "12.0 s"),
            (312.4, "0:05:12"),
            (90_061.0, "1 d 01:01:01"),
        ] {
            assert_eq!(duration(secs), text);
        }
    }
}
