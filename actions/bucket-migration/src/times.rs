//! Times as the protocol writes them. A guest has no clock: what it knows of time are the servers' own words, as text
//! `2026-01-31T12:00:00Z` in UTC, whose order is the order of time.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads a `Date` field: `Sat, 21 Nov 2026 06:29:23 GMT`.
pub fn of_date_field(field: &str) -> Option<String> {
    let mut words = field.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (day, year): (u32, i64) = (day.parse().ok()?, year.parse().ok()?);
    let plausible = time.len() == 8 && (1..=31).contains(&day) && (1000..=9999).contains(&year);
    plausible.then(|| format!("{year:04}-{month:02}-{day:02}T{time}Z"))
}

/// The part of a time down to the second, for comparing: `2026-01-31T12:00:00`. A day alone is its beginning.
pub fn to_the_second(time: &str) -> &str {
    time.get(..19).unwrap_or(time).trim_end_matches('Z')
}

/// The time so many days before; fractions count.
pub fn days_before(time: &str, days: f64) -> Option<String> {
    let seconds = seconds(time)? - (days * 86_400.0) as i64;
    let (day, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(day);
    Some(format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60))
}

/// Seconds since 1970.
fn seconds(time: &str) -> Option<i64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let of_day = match time.len() {
        0..19 => 0,
        _ => number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?,
    };
    Some(days(year, month, day) * 86_400 + of_day)
}

/// Days since 1970-01-01 of a day of the Gregorian calendar; years begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_field_becomes_a_time_whose_text_sorts() {
        let check = |field: &str, time: Option<&str>| assert_eq!(of_date_field(field).as_deref(), time, "{field}");
        check("Sat, 21 Nov 2026 06:29:23 GMT", Some("2026-11-21T06:29:23Z"));
        check("Fri, 01 Jan 1999 00:00:00 GMT", Some("1999-01-01T00:00:00Z"));
        check("yesterday", None);
        check("Sat, 21 Nov", None);
    }

    #[test]
    fn days_are_counted_back_over_months_and_leap_years() {
        let check = |time: &str, days: f64, expected: &str| {
            assert_eq!(days_before(time, days).as_deref(), Some(expected), "{time} {days}");
        };
        check("2026-11-21T06:29:23Z", 0.0, "2026-11-21T06:29:23Z");
        check("2026-03-01T12:00:00Z", 1.0, "2026-02-28T12:00:00Z");
        check("2024-03-01T12:00:00.000Z", 1.0, "2024-02-29T12:00:00Z");
        check("2026-01-01T00:00:00Z", 365.0, "2025-01-01T00:00:00Z");
        check("2026-01-01T00:00:00Z", 0.5, "2025-12-31T12:00:00Z");
        check("1970-01-01", 1.0, "1969-12-31T00:00:00Z");
        assert_eq!(days_before("never", 1.0), None);
    }
}
