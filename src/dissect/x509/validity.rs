//! Points in time as certificates write them.

use std::fmt;

use super::der::{Element, GENERALIZED_TIME, UTC_TIME};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time as in a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a>(pub Element<'a>);

impl Moment<'_> {
    /// `2026-01-02T03:04:05`, in universal time.
    pub fn iso(&self) -> Option<String> {
        let [year, month, day, hour, minute, second] = self.fields()?;
        Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"))
    }

    /// Year, month from 1, day, hour, minute, second.
    fn fields(&self) -> Option<[u32; 6]> {
        let Element { tag, value, .. } = self.0;
        let digits = value.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let pair = |at: usize| digits.get(at..at + 2).map(|p| u32::from(p[0] - b'0') * 10 + u32::from(p[1] - b'0'));
        let (year, at) = match tag {
            UTC_TIME => {
                let year = pair(0)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, 2)
            }
            GENERALIZED_TIME => (pair(0)? * 100 + pair(2)?, 4),
            _ => return None,
        };
        let seconds = match digits.len() - at {
            10 => pair(at + 8)?,
            8 => 0,
            _ => return None,
        };
        let fields = [year, pair(at)?, pair(at + 2)?, pair(at + 4)?, pair(at + 6)?, seconds];
        let [_, month, day, hour, minute, second] = fields;
        let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
        valid.then_some(fields)
    }
}

/// `Jan  2 03:04:05 2026 GMT`.
impl fmt::Display for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fields() {
            Some([year, month, day, hour, minute, second]) => {
                let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
                write!(f, "{month} {day:2} {hour:02}:{minute:02}:{second:02} {year} GMT")
            }
            None => f.write_str("Bad time value"),
        }
    }
}

/// Milliseconds since 1970 as `Jan  2 03:04:05.678 2026 GMT`.
#[derive(Clone, Copy, Debug)]
pub struct Milliseconds(pub u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, seconds) = (self.0 % 1_000, self.0 / 1_000);
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // Days are counted from the first of March of the year 0, in eras of 400 years.
        let days = days + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let (month, carry) = if shifted < 10 { (shifted + 2, 0) } else { (shifted - 10, 1) };
        let year = year_of_era + era * 400 + carry;
        let month = MONTHS.get(month as usize).copied().unwrap_or_default();
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{month} {day:2} {hour:02}:{minute:02}:{second:02}.{millis:03} {year} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(tag: u8, value: &[u8]) -> String {
        Moment(Element { tag, value, whole: &[] }).to_string()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        assert_eq!(moment(UTC_TIME, b"491231235959Z"), "Dec 31 23:59:59 2049 GMT");
        assert_eq!(moment(UTC_TIME, b"5001020304Z"), "Jan  2 03:04:00 1950 GMT");
        assert_eq!(moment(GENERALIZED_TIME, b"20810831072706Z"), "Aug 31 07:27:06 2081 GMT");
        for wrong in [&b""[..], b"Z", b"4913312359Z", b"491231235959", b"4912312359597Z", b"49123123595\xB2Z"] {
            assert_eq!(moment(UTC_TIME, wrong), "Bad time value");
        }
    }

    #[test]
    fn milliseconds_become_a_date() {
        assert_eq!(Milliseconds(1_490_307_541_508).to_string(), "Mar 23 22:19:01.508 2017 GMT");
        assert_eq!(Milliseconds(951_782_400_000).to_string(), "Feb 29 00:00:00.000 2000 GMT");
        assert_eq!(Milliseconds(0).to_string(), "Jan  1 00:00:00.000 1970 GMT");
        assert!(!Milliseconds(u64::MAX).to_string().is_empty());
    }
}
