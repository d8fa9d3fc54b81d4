//! Times as text: `2026-01-15T09:00:30.123456`.

use crate::time::Timestamp;

/// Appends a time to the microsecond, without a zone.
pub(super) fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    push_seconds(out, time);
    out.push(b'.');
    push_digits::<6>(out, time.subsec_micros());
}

/// Appends a time to the second, without a zone.
pub(super) fn push_seconds(out: &mut Vec<u8>, time: Timestamp) {
    let secs = time.secs();
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400) as u32);
    let (year, month, day) = civil(days);
    push_digits::<4>(out, year);
    out.push(b'-');
    push_digits::<2>(out, month);
    out.push(b'-');
    push_digits::<2>(out, day);
    out.push(b'T');
    push_digits::<2>(out, of_day / 3_600);
    out.push(b':');
    push_digits::<2>(out, of_day / 60 % 60);
    out.push(b':');
    push_digits::<2>(out, of_day % 60);
}

fn push_digits<const N: usize>(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Year, month and day of a day since 1970. Years are counted from March, so that the odd day is the last of a year.
fn civil(days: i64) -> (u32, u32, u32) {
    // The range of a timestamp is the years 1677 to 2262, so nothing here overflows.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let (month, carry) = if shifted < 10 { (shifted + 3, 0) } else { (shifted - 9, 1) };
    ((year_of_era + era * 400 + carry) as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::push_time;
    use crate::time::Timestamp;

    #[test]
    fn times_follow_the_civil_calendar() {
        let text = |secs, nanos| {
            let mut out = Vec::new();
            push_time(&mut out, Timestamp::new(secs, nanos));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000");
        assert_eq!(text(951_782_400, 5_000), "2000-02-29T00:00:00.000005");
        assert_eq!(text(4_294_967_295, 999_999_999), "2106-02-07T06:28:15.999999");
        assert_eq!(text(-1, 0), "1969-12-31T23:59:59.000000");
        assert_eq!(text(1_768_467_630, 123_456_000), "2026-01-15T09:00:30.123456");
    }
}
