//! The pace of an attempt: how many bytes of answers it may take in a second, all its exchanges together. A guest asks for
//! it with a field of its request, which is taken out here and never sent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::wit::orchestrator::http::client::{Error, Header};

/// The field that a guest asks with.
const FIELD: &str = "orchestrator-bytes-per-second";

/// What an attempt did not use in this time it may still use: short pauses between requests do not slow it down.
const UNUSED_MAX: Duration = Duration::from_millis(200);

/// The bytes of one attempt, paid for in time.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: AtomicU64,
    /// When all bytes until now are paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { bytes_per_second: AtomicU64::new(u64::MAX), paid: Mutex::new(None) }
    }

    /// Another pace from now on.
    pub(super) fn set(&self, bytes_per_second: u64) {
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Takes note of bytes that arrived; when the next may be taken.
    pub(super) fn charge(&self, bytes: u64, now: Instant) -> Instant {
        let rate = self.bytes_per_second.load(Ordering::Relaxed).max(1);
        let mut paid = self.paid.lock().expect("no holder of this lock panics");
        let unused = now.checked_sub(UNUSED_MAX).unwrap_or(now);
        let start = paid.unwrap_or(now).max(unused);
        let until = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *paid = Some(until);
        until
    }
}

/// Takes the pace that a guest asks for out of its fields.
pub(super) fn asked(headers: &mut Vec<Header>) -> Result<Option<u64>, Error> {
    let Some(at) = headers.iter().position(|header| header.name.eq_ignore_ascii_case(FIELD)) else { return Ok(None) };
    let value = headers.remove(at).value;
    match value.parse::<u64>() {
        Ok(rate) if rate > 0 => Ok(Some(rate)),
        _ => Err(Error::InvalidRequest(format!("write a number of bytes above 0 into the field `{FIELD}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_paid_for_in_time_by_all_exchanges_together() {
        let (pace, start) = (Pace::new(), Instant::now());
        let after = |ms: u64| start + Duration::from_millis(ms);
        pace.set(1_000);
        assert_eq!(pace.charge(500, start), after(500));
        assert_eq!(pace.charge(500, start), after(1_000));
        assert_eq!(pace.charge(100, after(900)), after(1_100));
        // After a pause only a little of the unused time is left.
        assert_eq!(pace.charge(1_000, after(5_000)), after(5_800));
        pace.set(10_000);
        assert_eq!(pace.charge(1_000, after(5_800)), after(5_900));
    }

    #[test]
    fn the_field_is_taken_out_and_has_to_be_a_number() {
        let field = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let mut headers = vec![field("range", "bytes=0-1"), field("Orchestrator-Bytes-Per-Second", "65536")];
        assert_eq!(asked(&mut headers).ok().flatten(), Some(65_536));
        assert_eq!((headers.len(), asked(&mut headers).ok().flatten()), (1, None));
        for wrong in ["0", "-1", "fast", ""] {
            assert!(asked(&mut vec![field(FIELD, wrong)]).is_err(), "{wrong}");
        }
    }
}
