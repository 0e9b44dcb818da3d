//! Failed attempts by address: who guesses is slowed down, and what a flood of refusals writes is bounded. Both are kept in
//! memory only.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Failed attempts of one address within a window before it has to wait: a script with an old token notices, a person who
/// mistypes does not.
pub const FAILURES_MAX: u32 = 20;

/// The window.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Addresses that are remembered; each takes some dozen bytes. Where all are taken, those whose window is over are
/// forgotten, else the one that began first.
const ADDRESSES_MAX: usize = 10_000;

/// Refusals of unknown callers that are written into the audit log within a window, over all addresses.
const TOLD_MAX: u32 = 120;

/// What is known of failed attempts.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<IpAddr, Window>,
    told: Option<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
}

impl Window {
    fn is_over(self, now: Timestamp) -> bool {
        now.duration_since(self.since) >= WINDOW || now < self.since
    }

    fn seconds_left(self, now: Timestamp) -> u32 {
        let left = WINDOW.checked_sub(now.duration_since(self.since)).unwrap_or(WINDOW);
        u32::try_from(left.as_secs()).unwrap_or(0).saturating_add(1)
    }
}

impl Throttle {
    /// The seconds that this address has to wait; nothing where it may try.
    pub fn waits(&self, address: IpAddr, now: Timestamp) -> Option<u32> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = table.addresses.get(&whose(address)).filter(|window| !window.is_over(now))?;
        (window.count >= FAILURES_MAX).then(|| window.seconds_left(now))
    }

    /// Counts a failed attempt.
    pub fn failed(&self, address: IpAddr, now: Timestamp) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.make_place(now);
        let window = table.addresses.entry(whose(address)).or_insert(Window { since: now, count: 0 });
        if window.is_over(now) {
            *window = Window { since: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
    }

    /// Whether the refusal of an unknown caller still goes into the audit log in this window.
    pub fn may_be_told(&self, now: Timestamp) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = table.told.filter(|window| !window.is_over(now)).unwrap_or(Window { since: now, count: 0 });
        table.told = Some(Window { count: window.count.saturating_add(1), ..window });
        window.count < TOLD_MAX
    }
}

impl Table {
    fn make_place(&mut self, now: Timestamp) {
        if self.addresses.len() < ADDRESSES_MAX {
            return;
        }
        self.addresses.retain(|_, window| !window.is_over(now));
        if self.addresses.len() >= ADDRESSES_MAX
            && let Some(oldest) = self.addresses.iter().min_by_key(|(_, window)| window.since).map(|(key, _)| *key)
        {
            self.addresses.remove(&oldest);
        }
    }
}

/// Who an address stands for: an IPv6 host has a whole /64.
fn whose(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn who_fails_too_often_waits_until_the_window_is_over_and_others_do_not() {
        let (throttle, guesser) = (Throttle::default(), "203.0.113.7".parse().unwrap());
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.waits(guesser, at(0)), None);
            throttle.failed(guesser, at(0));
        }
        assert_eq!(throttle.waits(guesser, at(10)), Some(51));
        assert_eq!(throttle.waits("203.0.113.8".parse().unwrap(), at(10)), None);
        assert_eq!(throttle.waits(guesser, at(60)), None);
        throttle.failed(guesser, at(61));
        assert_eq!(throttle.waits(guesser, at(61)), None, "a new window");
    }

    #[test]
    fn a_host_of_the_newer_protocol_is_one_whatever_address_it_takes() {
        let throttle = Throttle::default();
        for number in 0..FAILURES_MAX {
            throttle.failed(format!("2001:db8::{number:x}").parse().unwrap(), at(0));
        }
        assert!(throttle.waits("2001:db8::ffff".parse().unwrap(), at(1)).is_some());
        assert!(throttle.waits("2001:db8:0:1::1".parse().unwrap(), at(1)).is_none());
    }

    #[test]
    fn the_table_does_not_grow_without_bound() {
        let throttle = Throttle::default();
        for number in 0..(ADDRESSES_MAX as u32 + 500) {
            throttle.failed(IpAddr::V4(number.into()), at(0));
        }
        assert_eq!(throttle.0.lock().unwrap().addresses.len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_flood_of_refusals_is_told_only_so_often() {
        let throttle = Throttle::default();
        assert_eq!((0..1_000).filter(|_| throttle.may_be_told(at(0))).count(), TOLD_MAX as usize);
        assert!(throttle.may_be_told(at(60)));
    }
}
