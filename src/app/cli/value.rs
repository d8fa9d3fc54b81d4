//! Numbers, times and sizes as people type them.

use std::path::PathBuf;
use std::str::FromStr;

/// A number above zero.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above zero is needed, such as 1 or 2.5".to_owned()),
    }
}

/// A whole number above zero.
pub(super) fn whole<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) if number > T::default() => Ok(number),
        _ => Err("a whole number above zero is needed, such as 1000".to_owned()),
    }
}

/// A time above zero.
pub(super) fn interval(text: &str) -> Result<std::time::Duration, String> {
    match duration(text) {
        Ok(time) if time.is_zero() => Err("a time above zero is needed, such as 10s".to_owned()),
        other => other,
    }
}

/// A size such as `500k`, `64m`, `10g`; a number alone is bytes. At least 64 KiB, or a file would hold hardly a packet.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const NEEDED: &str = "a size of at least 64k such as 500m or 10g is needed";
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let shift = match text[split..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(NEEDED.to_owned()),
    };
    let bytes = text[..split].parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes >= 64 << 10).ok_or_else(|| NEEDED.to_owned())
}

/// A time such as `90`, `90s`, `500ms`, `5m`, `2h`, `7d`.
pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("a time such as 90, 90s, 500ms, 5m, 2h or 7d is needed".to_owned()),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number >= 0.0 && number * scale < 1e12 => Ok(std::time::Duration::from_secs_f64(number * scale)),
        _ => Err("a time such as 90, 90s, 500ms, 5m, 2h or 7d is needed".to_owned()),
    }
}

/// Any text as a path, an empty one too.
pub(super) fn any_path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("-1").is_err());
        assert!(duration("5 parsecs").is_err());
    }
}
