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

/// A time span: microseconds to hours.
pub(super) fn duration(secs: f64) -> String {
    match secs {
        s if s <= 0.0 => "0 s".to_owned(),
        s if s < 1e-3 => format!("{} µs", digits(s * 1e6)),
        s if s < 1.0 => format!("{} ms", digits(s * 1e3)),
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
    use super::{bit_rate, bytes, count, duration, percent};

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
    fn durations_choose_their_unit() {
        for (secs, text) in [
            (0.0, "0 s"),
            (2.5e-5, "25.0 µs"),
            (0.41, "410 ms"),
            (12.0, "12.0 s"),
            (312.4, "0:05:12"),
            (90_061.0, "1 d 01:01:01"),
        ] {
            assert_eq!(duration(secs), text);
        }
    }
}
