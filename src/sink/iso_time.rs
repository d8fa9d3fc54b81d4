//! Times as text: `2026-01-15T09:00:30.123456`.

use crate::time::Timestamp;

/// The decimal digits of the numbers below a hundred.
pub(super) static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Appends a time to the microsecond, without a zone.
pub(super) fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    let mut text = *b"0000-00-00T00:00:00.000000";
    let [seconds @ .., _, m1, m2, m3, m4, m5, m6] = &mut text;
    put_seconds(seconds, time);
    let micros = time.subsec_micros();
    [*m1, *m2] = pair(micros / 10_000);
    [*m3, *m4] = pair(micros / 100 % 100);
    [*m5, *m6] = pair(micros % 100);
    out.extend_from_slice(&text);
}

/// Appends a time to the second, without a zone.
pub(super) fn push_seconds(out: &mut Vec<u8>, time: Timestamp) {
    let mut text = *b"0000-00-00T00:00:00";
    put_seconds(&mut text, time);
    out.extend_from_slice(&text);
}

/// Puts the digits in their places.
#[inline]
fn put_seconds(text: &mut [u8; 19], time: Timestamp) {
    let secs = time.secs();
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400) as u32);
    let (year, month, day) = civil(days);
    let [y1, y2, y3, y4, _, n1, n2, _, d1, d2, _, h1, h2, _, m1, m2, _, s1, s2] = text;
    [*y1, *y2] = pair(year / 100);
    [*y3, *y4] = pair(year % 100);
    [*n1, *n2] = pair(month);
    [*d1, *d2] = pair(day);
    [*h1, *h2] = pair(of_day / 3_600);
    [*m1, *m2] = pair(of_day / 60 % 60);
    [*s1, *s2] = pair(of_day % 60);
}

/// Both digits of a number; it is below a hundred wherever times are.
#[inline]
fn pair(number: u32) -> [u8; 2] {
    PAIRS[(number % 100) as usize]
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
