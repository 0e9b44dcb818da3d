//! The inbox: events in the order in which they were stored, each with a number. An event stays for a window, so that it
//! may come before its listener; that it came is known for longer, so that a duplicate is dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::cloud_event::identity;
use crate::journal::{Batch, Expectation, Journal, Scan, StoreError, keys, row};
use crate::model::{Json, TenantName};

/// Events in the inbox, at most. Beyond it none is taken from outside until the oldest are past their window.
pub(super) const EVENTS_MAX: u64 = 100_000;

/// So many events are read at once. Each has up to a MiB, and many instances may read at the same time.
pub(super) const READ_MAX: usize = 64;

/// So many old rows are removed in one batch, so that others have their turn in between.
const PRUNED_AT_ONCE: usize = 256;

/// An event of the inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EventRow {
    /// When it was taken.
    at: Timestamp,
    event: Arc<Json>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "TenantName::is_standard")]
    tenant: TenantName,
}

/// The number of a known event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IdentityRow {
    number: u64,
}

/// The age of a known event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AgeRow {
    at: Timestamp,
    /// The key of its identity, hexadecimal.
    identity: String,
}

/// An event with its place in the inbox.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::coordinator) struct Arrival {
    pub(in crate::coordinator) number: u64,
    pub(in crate::coordinator) at: Timestamp,
    pub(in crate::coordinator) event: Arc<Json>,
}

/// Gives numbers. Held while a batch is handed to the journal, so that events take effect in order of their numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    /// The next event's.
    next: u64,
    /// No event below it is in the inbox.
    pub(super) oldest: u64,
    /// Identities of events that are on their way into the journal.
    under_way: BTreeSet<[u8; 32]>,
}

/// A batch with events in it, and what has to be done when it is durable.
pub(super) struct Stored {
    pub(super) batch: Batch,
    /// Whose they are.
    tenant: TenantName,
    /// The number of the last event in it; 0 where there is none.
    pub(super) last: u64,
    pub(super) accepted: usize,
    /// Already known, or about to be.
    pub(super) duplicates: usize,
    identities: Vec<[u8; 32]>,
}

impl Stored {
    pub(super) fn new(batch: Batch, tenant: &TenantName) -> Self {
        Self { batch, tenant: tenant.clone(), last: 0, accepted: 0, duplicates: 0, identities: Vec::new() }
    }
}

impl Numbers {
    /// Reads where an inbox stands.
    pub(super) fn open(journal: &dyn Journal) -> Result<Self, StoreError> {
        let end = |prefix, reverse| -> Result<Option<u64>, StoreError> {
            let rows = journal.scan(Scan { reverse, ..Scan::prefix(prefix, 1) })?;
            Ok(rows.first().and_then(|row| keys::number_of(&row.key)))
        };
        let next = end(keys::event_ages(), true)?.unwrap_or(0) + 1;
        let oldest = end(keys::events(), false)?.unwrap_or(next);
        Ok(Self { next, oldest, under_way: BTreeSet::new() })
    }

    /// The newest number given.
    pub(super) fn newest(&self) -> u64 {
        self.next - 1
    }

    /// Whether so many more events fit in.
    pub(super) fn has_place(&self, events: usize) -> bool {
        self.next.saturating_sub(self.oldest).saturating_add(events as u64) <= EVENTS_MAX
    }

    /// Adds an event to a batch, unless it is known. `known` says what the journal knows.
    pub(super) fn add(&mut self, stored: &mut Stored, event: &Arc<Json>, at: Timestamp, known: bool, expect: bool) {
        let hash = identity(&stored.tenant, event);
        if known || !self.under_way.insert(hash) {
            stored.duplicates += 1;
            return;
        }
        let (number, place) = (self.next, keys::event_identity(&hash));
        self.next += 1;
        let mut batch = std::mem::take(&mut stored.batch);
        if expect {
            batch = batch.expect(Expectation::Absent(place.clone()));
        }
        stored.batch = batch
            .put(place, row::encode(&IdentityRow { number }))
            .put(keys::event_age(number), row::encode(&AgeRow { at, identity: hex::encode(hash) }))
            .put(
                keys::event(number),
                row::encode(&EventRow { at, event: event.clone(), tenant: stored.tenant.clone() }),
            );
        stored.last = number;
        stored.accepted += 1;
        stored.identities.push(hash);
    }

    /// A batch is durable or was refused: from here on the journal knows its events, or nobody.
    pub(super) fn settled(&mut self, stored: &Stored) {
        for identity in &stored.identities {
            self.under_way.remove(identity);
        }
    }
}

/// Whether the journal knows an event of a tenant.
pub(super) fn is_known(journal: &dyn Journal, tenant: &TenantName, event: &Json) -> Result<bool, StoreError> {
    Ok(journal.get(&keys::event_identity(&identity(tenant, event)))?.is_some())
}

/// A tenant's events after number `after` up to `until` that came at `since` or later, of at most [`READ_MAX`] of all
/// tenants; and the number up to which they are complete.
pub(super) fn read(
    journal: &dyn Journal,
    tenant: &TenantName,
    after: u64,
    until: u64,
    since: Timestamp,
) -> Result<(Vec<Arrival>, u64), StoreError> {
    let rows = journal.scan(Scan { after: Some(keys::event(after)), ..Scan::prefix(keys::events(), READ_MAX) })?;
    let full = rows.len() == READ_MAX;
    let (mut arrivals, mut reached) = (Vec::with_capacity(rows.len()), after);
    for stored in rows {
        // What is newer may have gaps still: a batch before it may not have been seen by this very scan.
        let Some(number) = keys::number_of(&stored.key).filter(|number| *number <= until) else {
            return Ok((arrivals, until));
        };
        reached = number;
        match row::decode(&stored.value) {
            Ok(EventRow { at, event, tenant: owner }) if at >= since && owner == *tenant => {
                arrivals.push(Arrival { number, at, event })
            }
            Ok(_) => {}
            // One damaged event must not keep everybody from the others.
            Err(error) => tracing::error!(number, %error, "an event of the inbox cannot be read and is passed over"),
        }
    }
    Ok((arrivals, if full { reached } else { until }))
}

/// What is too old: the rows to remove, and the new oldest number of the inbox; nothing when nothing is.
pub(super) struct Old {
    pub(super) batch: Batch,
    pub(super) oldest: u64,
}

/// Finds what is older than the window in the inbox, and what need not be known any more.
pub(super) fn old(
    journal: &dyn Journal,
    oldest: u64,
    now: Timestamp,
    window: SignedDuration,
    dedup: SignedDuration,
) -> Result<Option<Old>, StoreError> {
    let mut old = Old { batch: Batch::default(), oldest };
    for (number, age) in ages(journal, oldest.saturating_sub(1), PRUNED_AT_ONCE)? {
        if later(age.at, window) > now {
            break;
        }
        old.batch = old.batch.delete(keys::event(number));
        old.oldest = number + 1;
    }
    let known = ages(journal, 0, PRUNED_AT_ONCE)?;
    // The newest stays, so that numbers go on after it.
    for (number, age) in &known[..known.len().saturating_sub(1)] {
        if later(age.at, dedup) > now || *number >= old.oldest {
            break;
        }
        old.batch = old.batch.delete(keys::event_age(*number));
        let mut identity = [0; 32];
        if hex::decode_to_slice(&age.identity, &mut identity).is_ok() {
            old.batch = old.batch.delete(keys::event_identity(&identity));
        }
    }
    Ok((!old.batch.writes.is_empty()).then_some(old))
}

/// When the next row is too old.
pub(super) fn expiry(
    journal: &dyn Journal,
    oldest: u64,
    window: SignedDuration,
    dedup: SignedDuration,
) -> Result<Option<Timestamp>, StoreError> {
    let in_inbox = ages(journal, oldest.saturating_sub(1), 1)?.first().map(|(_, age)| later(age.at, window));
    let known = match &ages(journal, 0, 2)?[..] {
        [(_, first), _] => Some(later(first.at, dedup)),
        _ => None,
    };
    Ok(in_inbox.into_iter().chain(known).min())
}

fn ages(journal: &dyn Journal, after: u64, limit: usize) -> Result<Vec<(u64, AgeRow)>, StoreError> {
    let rows = journal.scan(Scan { after: Some(keys::event_age(after)), ..Scan::prefix(keys::event_ages(), limit) })?;
    let mut ages = Vec::with_capacity(rows.len());
    for stored in rows {
        if let Some(number) = keys::number_of(&stored.key) {
            ages.push((number, row::decode(&stored.value)?));
        }
    }
    Ok(ages)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).expect("a signed duration always saturates")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What version 1 wrote stays readable.
    fn check<T: serde::de::DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(stored: &[u8], expected: &T) {
        assert_eq!(row::decode::<T>(stored).as_ref(), Ok(expected));
        assert_eq!(row::encode(expected), stored);
    }

    #[test]
    fn stored_rows_are_read_as_they_were_written() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let event = Arc::new(json!({ "id": "1" }));
        check(
            b"\x01{\"at\":\"2026-01-01T00:00:00Z\",\"event\":{\"id\":\"1\"}}",
            &EventRow { at, event: event.clone(), tenant: TenantName::standard() },
        );
        let tenant = TenantName::parse("red").unwrap();
        let stored = b"\x01{\"at\":\"2026-01-01T00:00:00Z\",\"event\":{\"id\":\"1\"},\"tenant\":\"red\"}";
        check(stored, &EventRow { at, event, tenant });
        check(b"\x01{\"number\":7}", &IdentityRow { number: 7 });
        let age = AgeRow { at, identity: "ab".to_owned() };
        check(b"\x01{\"at\":\"2026-01-01T00:00:00Z\",\"identity\":\"ab\"}", &age);
    }
}
