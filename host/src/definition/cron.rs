//! Cron expressions: `minute hour day-of-month month day-of-week`, UTC. Each field is `*`, a number, a range `a-b`, a
//! step `*/n` or `a-b/n`, or a list of these; months and days of the week also by their first three letters, Sunday is
//! 0 or 7. Where both day fields are restricted, a day fits that fits one of them, as cron has always had it.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// So many days are looked at for the next time. Every date that exists comes back within eight years: 29 February, around
/// a century's end.
const DAYS_MAX: usize = 8 * 366 + 1;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The first time after `after` at which the expression fires in UTC; nothing where there is none, such as on 30 February.
///
/// # Errors
/// The text is no cron expression; the error says what would be.
pub fn next(text: &str, after: Timestamp) -> Result<Option<Timestamp>, String> {
    next_in(text, after, &TimeZone::UTC)
}

/// The same by the clocks of a zone. A time that is left out when clocks are set forward is moved by as much. When they
/// are set back, an expression for every hour fires through both passes of the hour, any other one in the first only.
///
/// # Errors
/// As [`next`].
pub fn next_in(text: &str, after: Timestamp, zone: &TimeZone) -> Result<Option<Timestamp>, String> {
    let cron = Cron::read(text)?;
    let found = cron.first_after(after, zone);
    if !cron.hourly {
        return Ok(found);
    }
    // Where clocks are set back in between, the times of the second pass read as if they were past.
    let changed = zone.following(after).next().map(|transition| transition.timestamp());
    let changed = changed.filter(|changed| found.is_none_or(|found| *changed < found));
    let again = changed.and_then(|changed| {
        let before = Timestamp::from_second(changed.as_second() - 1).ok()?;
        cron.first_after(before, zone)
    });
    Ok([found, again].into_iter().flatten().min())
}

/// An expression, each field as a set of bits.
struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day has to fit both day fields: one of them begins with `*`.
    both: bool,
    /// Whether the hours begin with `*`.
    hourly: bool,
}

impl Cron {
    fn read(text: &str) -> Result<Self, String> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!(
                "write five fields, `minute hour day-of-month month day-of-week`, such as `0 6 * * mon-fri`; found {}",
                fields.len()
            ));
        };
        let mut week = Field { name: "day of week", low: 0, high: 7, names: &WEEKDAYS }.read(weekdays)?;
        if week & (1 << 7) != 0 {
            week |= 1;
        }
        Ok(Self {
            minutes: Field { name: "minute", low: 0, high: 59, names: &[] }.read(minutes)?,
            hours: Field { name: "hour", low: 0, high: 23, names: &[] }.read(hours)?,
            days: Field { name: "day of month", low: 1, high: 31, names: &[] }.read(days)?,
            months: Field { name: "month", low: 1, high: 12, names: &MONTHS }.read(months)?,
            weekdays: week,
            both: days.starts_with('*') || weekdays.starts_with('*'),
            hourly: hours.starts_with('*'),
        })
    }

    /// The first fire after a time, by the clocks of a zone.
    fn first_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // The next whole minute is the first that may fire.
        let start = Timestamp::from_second((after.as_second().div_euclid(60) + 1) * 60).ok()?;
        let start = zone.to_datetime(start);
        let (mut date, mut from) = (start.date(), (start.hour(), start.minute()));
        for _ in 0..DAYS_MAX {
            while let Some((hour, minute)) = self.time_from(from).filter(|_| self.has_day(date)) {
                let due = zone.to_ambiguous_timestamp(date.to_datetime(Time::constant(hour, minute, 0, 0)));
                let passes = [due.compatible().ok(), due.later().ok().filter(|_| self.hourly)];
                if let Some(found) = passes.into_iter().flatten().find(|found| *found > after) {
                    return Some(found);
                }
                // One minute of at most the hour that is repeated; a day has 1,440 of them.
                let Some(later) = minute_after(hour, minute) else { break };
                from = later;
            }
            (date, from) = (date.checked_add(1.day()).ok()?, (0, 0));
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.both { day && weekday } else { day || weekday }
    }

    /// The first hour and minute of a day that are not before these.
    fn time_from(&self, (from_hour, from_minute): (i8, i8)) -> Option<(i8, i8)> {
        (from_hour..24).filter(|hour| has(self.hours, *hour)).find_map(|hour| {
            let first = if hour == from_hour { from_minute } else { 0 };
            (first..60).find(|minute| has(self.minutes, *minute)).map(|minute| (hour, minute))
        })
    }
}

fn minute_after(hour: i8, minute: i8) -> Option<(i8, i8)> {
    match (hour, minute) {
        (23, 59) => None,
        (hour, 59) => Some((hour + 1, 0)),
        (hour, minute) => Some((hour, minute + 1)),
    }
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits & (1 << value) != 0)
}

/// What a field may hold.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    /// Names of values, the first one's is `low`.
    names: &'static [&'static str],
}

impl Field {
    fn read(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step, part)?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // `5/15` counts from 5 to the end, as common implementations have it.
            None if step.is_some() => (self.value(range)?, self.high),
            None => (self.value(range)?, self.value(range)?),
        };
        if first > last {
            return Err(format!("turn `{part}` around: a range of the {} goes from low to high", self.name));
        }
        Ok((first..=last).step_by(step.unwrap_or(1)).fold(0, |bits, value| bits | 1 << value))
    }

    fn step(&self, text: &str, part: &str) -> Result<usize, String> {
        match text.parse::<u8>() {
            Ok(step) if step > 0 && !text.starts_with('+') => Ok(step.into()),
            _ => Err(format!("the step of `{part}` ({}) is a number from 1 to 255", self.name)),
        }
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().zip(self.low..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| plain && (self.low..=self.high).contains(number));
        named.map(|(_, number)| number).or(number).ok_or_else(|| {
            let names = self.names.first().zip(self.names.last());
            let names = names.map(|(first, last)| format!(" or {first} to {last}")).unwrap_or_default();
            format!("`{text}` is no {}; write {} to {}{names}", self.name, self.low, self.high)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, after: &str, expected: &str) {
        let found = next(text, after.parse().unwrap()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.map(|at| at.to_string()).unwrap_or_default(), expected, "{text} after {after}");
    }

    #[test]
    fn the_next_time_is_the_first_that_fits_every_field() {
        let noon = "2026-01-01T12:00:00Z"; // A Thursday.
        check("* * * * *", noon, "2026-01-01T12:01:00Z");
        check("* * * * *", "2026-01-01T12:00:59.999Z", "2026-01-01T12:01:00Z");
        check("0 * * * *", "2026-01-01T11:59:59Z", "2026-01-01T12:00:00Z");
        check("0 12 * * *", noon, "2026-01-02T12:00:00Z");
        check("*/15 9-17 * * mon-fri", "2026-01-02T17:50:00Z", "2026-01-05T09:00:00Z");
        check("5/20 * * * *", noon, "2026-01-01T12:05:00Z");
        check("1,31 0 1 JAN,jul *", noon, "2026-07-01T00:01:00Z");
        check("0 0 * * 7", noon, "2026-01-04T00:00:00Z");
        check("0 0 * * 0", noon, "2026-01-04T00:00:00Z");
        check("0 0 29 2 *", noon, "2028-02-29T00:00:00Z");
        check("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z");
        check("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z");
        check("0 0 1 1 *", "1969-06-01T00:00:30Z", "1970-01-01T00:00:00Z");
    }

    #[test]
    fn of_two_restricted_day_fields_one_is_enough() {
        check("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        check("0 0 13 * fri", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z");
        check("0 0 */2 * fri", "2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z");
    }

    #[test]
    fn the_clocks_of_a_zone_decide_also_when_they_are_changed() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let check = |text: &str, after: &str, expected: &str| {
            let found = next_in(text, after.parse().unwrap(), &zone).unwrap().unwrap();
            assert_eq!(found.to_string(), expected, "{text} after {after}");
        };
        check("0 6 * * *", "2026-01-01T12:00:00Z", "2026-01-02T05:00:00Z");
        check("0 6 * * *", "2026-07-01T12:00:00Z", "2026-07-02T04:00:00Z");
        // Set forward on 29 March from 2 to 3 o'clock: what is left out comes as much later, once.
        check("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z");
        check("30 2 * * *", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z");
        check("*/30 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z");
        check("*/30 * * * *", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z");
        // Set back on 25 October from 3 to 2 o'clock: once a day stays once, every half hour stays every half hour.
        check("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
        check("30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
        check("30 2 * * *", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z");
        for (after, expected) in [("00:00", "00:30"), ("00:30", "01:00"), ("01:00", "01:30"), ("01:30", "02:00")] {
            let day = |time: &str| format!("2026-10-25T{time}:00Z");
            check("*/30 * * * *", &day(after), &day(expected));
        }
    }

    #[test]
    fn a_date_that_never_comes_is_no_error() {
        check("0 0 30 2 *", "2026-01-01T00:00:00Z", "");
        check("* * * * *", "9999-12-30T21:59:59Z", "9999-12-30T22:00:00Z");
    }

    #[test]
    fn a_wrong_expression_is_refused_with_its_cure() {
        let check = |text: &str, part: &str| {
            let error = next(text, Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "five fields");
        check("0 0 * * * *", "found 6");
        check("@daily", "five fields");
        check("60 * * * *", "`60` is no minute; write 0 to 59");
        check("* 24 * * *", "hour");
        check("* * 0 * *", "write 1 to 31");
        check("* * * foo *", "write 1 to 12 or jan to dec");
        check("* * * * 8", "write 0 to 7 or sun to sat");
        check("30-10 * * * *", "low to high");
        check("*/0 * * * *", "1 to 255");
        check("*/x * * * *", "1 to 255");
        check("1, * * * *", "`` is no minute");
        check("+1 * * * *", "`+1`");
        check("-1 * * * *", "`` is no minute");
    }
}
