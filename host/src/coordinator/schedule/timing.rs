//! When a schedule fires by time.

use jiff::{SignedDuration, Timestamp};

use crate::definition::cron;
use crate::definition::graph::Schedule;

/// A schedule fires at most once in this time, whatever it says: each fire is an instance with its history.
pub(super) const PERIOD_MIN: SignedDuration = SignedDuration::from_secs(1);

/// The first fire of a schedule that begins now.
pub(super) fn first(schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    match schedule {
        Schedule::Every(period) => Some(later(now, (*period).max(PERIOD_MIN))),
        Schedule::After(delay) => Some(later(now, (*delay).max(PERIOD_MIN))),
        Schedule::Cron(text) => next_of(text, now),
        Schedule::On(..) => None,
    }
}

/// The fire after the one that was due then: the first of the rhythm that is not past.
pub(super) fn next(schedule: &Schedule, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
    match schedule {
        Schedule::Every(period) => {
            let period = (*period).max(PERIOD_MIN).as_nanos();
            let passed = now.as_nanosecond().saturating_sub(due.as_nanosecond()).max(0);
            let steps = passed / period + 1;
            Timestamp::from_nanosecond(due.as_nanosecond().saturating_add(steps.saturating_mul(period))).ok()
        }
        Schedule::After(delay) => Some(later(now, (*delay).max(PERIOD_MIN))),
        Schedule::Cron(text) => next_of(text, due.max(now)),
        Schedule::On(..) => None,
    }
}

fn next_of(text: &str, after: Timestamp) -> Option<Timestamp> {
    cron::next(text, after).unwrap_or_else(|error| {
        tracing::error!(cron = text, error, "a cron expression cannot be read any more; it does not fire");
        None
    })
}

/// A later time; the calendar's last moment where there is none.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).expect("a signed duration always saturates")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rhythm_goes_on_as_it_was() {
        let check = |schedule: Schedule, due: &str, now: &str, expected: &str| {
            let day = |time: &str| format!("2026-01-01T{time}Z").parse().unwrap();
            assert_eq!(next(&schedule, day(due), day(now)), Some(day(expected)), "{schedule:?} {now}");
        };
        let every = |seconds| Schedule::Every(SignedDuration::from_secs(seconds));
        check(every(60), "00:01:00", "00:01:00", "00:02:00");
        check(every(60), "00:01:00", "00:01:59", "00:02:00");
        check(every(60), "00:01:00", "01:30:30", "01:31:00");
        check(every(0), "00:01:00", "00:01:00", "00:01:01");
        check(Schedule::Cron("0 * * * *".to_owned()), "01:00:00", "01:00:00", "02:00:00");
        check(Schedule::Cron("0 * * * *".to_owned()), "01:00:00", "05:30:00", "06:00:00");
        check(Schedule::After(SignedDuration::from_secs(9)), "00:01:00", "00:02:00", "00:02:09");
    }
}
