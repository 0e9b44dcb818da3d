//! How many requests one caller may send: a bucket of tokens for each, filled at an even rate. What is left is told in
//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). Who is not known by name is known by address.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::front::Front;
use super::problem::{Kind, Problem};
use super::serve::Peer;

/// Callers that are kept apart; those who have not come for longest make room. Each takes some dozens of bytes.
const CALLERS_MAX: usize = 50_000;

/// Seconds that a quota is told for.
const WINDOW_SECONDS: u32 = 60;

/// Bits of an IPv6 address that one caller is likely to have all to itself.
const IPV6_PREFIX_BITS: u32 = 64;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How many requests are taken of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a minute, spread evenly; at least 1.
    pub per_minute: u32,
    /// Requests at once after a pause; at least 1.
    pub burst: u32,
}

/// The buckets.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    buckets: Mutex<HashMap<u64, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// What became of a request's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    is_granted: bool,
    left: u32,
    /// Seconds until there is one more, or until one is there at all.
    next_seconds: u32,
}

impl Rates {
    /// Full buckets for everybody.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    fn take(&self, caller: u64, now: Instant) -> Taken {
        let (per_second, burst) = (f64::from(self.rate.per_minute) / 60.0, f64::from(self.rate.burst));
        let mut buckets = self.buckets.lock().expect("no holder of this lock panics");
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(&caller) {
            make_room(&mut buckets, Duration::from_secs_f64(burst / per_second), now);
        }
        let bucket = buckets.entry(caller).or_insert(Bucket { tokens: burst, filled: now });
        let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() * per_second;
        *bucket = Bucket { tokens: (bucket.tokens + gained).min(burst), filled: now };
        let is_granted = bucket.tokens >= 1.0;
        if is_granted {
            bucket.tokens -= 1.0;
        }
        let missing = (1.0 - bucket.tokens.fract()) / per_second;
        Taken { is_granted, left: bucket.tokens as u32, next_seconds: missing.ceil() as u32 }
    }

    fn told(&self, taken: Taken, response: &mut Response) {
        let quota = u64::from(self.rate.per_minute) * u64::from(WINDOW_SECONDS) / 60;
        let policy = format!("\"caller\";q={quota};w={WINDOW_SECONDS}");
        let limit = format!("\"caller\";r={};t={}", taken.left, taken.next_seconds);
        for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

/// Forgets whose bucket is full again; where nobody's is, those who came longest ago.
fn make_room(buckets: &mut HashMap<u64, Bucket>, full_after: Duration, now: Instant) {
    buckets.retain(|_, bucket| now.saturating_duration_since(bucket.filled) < full_after);
    if buckets.len() >= CALLERS_MAX {
        let mut ages: Vec<Instant> = buckets.values().map(|bucket| bucket.filled).collect();
        let middle = ages.len() / 2;
        let (_, cut, _) = ages.select_nth_unstable(middle);
        let cut = *cut;
        buckets.retain(|_, bucket| bucket.filled > cut);
    }
}

/// Who sends a request, as a number that is the same for the same caller in this run.
fn caller_of(request: &Request) -> u64 {
    let mut hasher = DefaultHasher::new();
    let principal =
        request.extensions().get::<Caller>().map(|caller| &caller.0).filter(|who| who.subject != "anonymous");
    match (principal, request.extensions().get::<Peer>()) {
        (Some(principal), _) => (&principal.tenant, &principal.subject).hash(&mut hasher),
        (None, Some(Peer(Some(address)))) => network(address.ip()).hash(&mut hasher),
        (None, _) => {}
    }
    hasher.finish()
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6((address.to_bits() >> (128 - IPV6_PREFIX_BITS) << (128 - IPV6_PREFIX_BITS)).into())
        }
        address => address,
    }
}

/// The layer itself; without a rate in the settings it lets everything pass.
pub async fn limit(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let Some(rates) = &front.rates else { return next.run(request).await };
    let taken = rates.take(caller_of(&request), Instant::now());
    let mut response = match taken.is_granted {
        true => next.run(request).await,
        false => {
            let text = format!("send at most {} requests a minute", rates.rate.per_minute);
            Problem::new(Kind::RateLimited, text).after(taken.next_seconds).into_response()
        }
    };
    rates.told(taken, &mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gets_its_burst_and_then_its_rate() {
        let rates = Rates::new(Rate { per_minute: 60, burst: 3 });
        let start = Instant::now();
        let at = |seconds: f64, caller| rates.take(caller, start + Duration::from_secs_f64(seconds));
        let granted: Vec<_> = (0..4).map(|_| at(0.0, 1).is_granted).collect();
        assert_eq!(granted, [true, true, true, false]);
        assert_eq!(at(0.0, 1), Taken { is_granted: false, left: 0, next_seconds: 1 });
        assert!(at(0.0, 2).is_granted, "another caller has a bucket of its own");
        assert!(at(1.0, 1).is_granted && !at(1.0, 1).is_granted);
        assert_eq!(at(100.0, 1).left, 2);
    }

    #[test]
    fn the_table_of_callers_stays_bounded() {
        let rates = Rates::new(Rate { per_minute: 1, burst: 2 });
        let start = Instant::now();
        for caller in 0..(CALLERS_MAX as u64 + 10) {
            rates.take(caller, start + Duration::from_micros(caller));
        }
        assert!(rates.buckets.lock().unwrap().len() <= CALLERS_MAX);
        let newest = rates.take(CALLERS_MAX as u64 + 9, start + Duration::from_secs(1));
        assert_eq!(newest.left, 0, "who came last is not forgotten");
    }

    #[test]
    fn a_network_of_one_site_is_one_caller() {
        let same = |one: &str, other: &str| network(one.parse().unwrap()) == network(other.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff") && same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1") && !same("10.0.0.1", "10.0.0.2"));
    }
}
