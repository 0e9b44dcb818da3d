//! The outbox: events on their way to the sinks, written in the batch of the records they tell of. Without any sink it is
//! not written. Each sink has a row that says how far it is; what every sink has is removed.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use url::Url;

use super::super::locked;
use crate::journal::{Batch, CommitError, Journal, Scan, StoreError, keys, row};
use crate::model::Json;

/// Events that wait for a sink, at most. A sink that is away for longer misses the oldest.
pub(super) const WAITING_MAX: u64 = 100_000;

/// So many rows are removed or read at once.
const ROWS_AT_ONCE: usize = 64;

/// How far a sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct SinkRow {
    /// The sink has every event up to this number, or will never have it.
    sent: u64,
}

/// The outbox of a journal.
pub(super) struct Outbox {
    /// The next number. A std mutex, held together with the inbox's while a batch is handed over.
    next: Mutex<u64>,
    /// The newest durable number.
    newest: watch::Sender<u64>,
    places: Mutex<Places>,
}

/// How far the sinks are.
struct Places {
    sent: Vec<u64>,
    /// Everything up to this number is removed.
    removed: u64,
}

impl Outbox {
    /// Reads where the outbox stands, remembers new sinks and forgets those that are none any more.
    pub(super) async fn open(journal: &Arc<dyn Journal>, sinks: &[Url]) -> Result<Self, StoreError> {
        if sinks.is_empty() {
            clear(&**journal).await?;
        }
        let number = |reverse| -> Result<Option<u64>, StoreError> {
            let rows = journal.scan(Scan { reverse, ..Scan::prefix(keys::outbox(), 1) })?;
            Ok(rows.first().and_then(|row| keys::number_of(&row.key)))
        };
        let (first, last) = (number(false)?, number(true)?.unwrap_or(0));
        let known = journal.scan(Scan::prefix(keys::sinks(), usize::MAX))?;
        let mut newest = last;
        for stored in &known {
            newest = newest.max(row::decode::<SinkRow>(&stored.value)?.sent);
        }
        let own: Vec<_> = sinks.iter().map(key).collect();
        let gone = known.iter().filter(|stored| !own.contains(&stored.key));
        let mut batch = gone.fold(Batch::default(), |batch, stored| batch.delete(stored.key.clone()));
        let mut sent = Vec::with_capacity(own.len());
        for key in own {
            let row = known.iter().find(|stored| stored.key == key).map(|stored| row::decode::<SinkRow>(&stored.value));
            if row.is_none() {
                batch = batch.put(key, row::encode(&SinkRow { sent: newest }));
            }
            sent.push(row.transpose()?.map_or(newest, |row| row.sent));
        }
        if !batch.writes.is_empty() {
            journal.commit(batch).await.map_err(failed)?;
        }
        let places = Places { sent, removed: first.unwrap_or(newest + 1) - 1 };
        Ok(Self { next: Mutex::new(newest + 1), newest: watch::Sender::new(newest), places: Mutex::new(places) })
    }

    /// Adds events to a batch; gives the number of the last. Called only while the inbox's numbers are held.
    pub(super) fn add(&self, mut batch: Batch, events: &[Arc<Json>]) -> (Batch, u64) {
        let mut next = locked(&self.next);
        if !locked(&self.places).sent.is_empty() {
            for event in events {
                batch = batch.put(keys::outgoing(*next), row::encode(event));
                *next += 1;
            }
        }
        (batch, *next - 1)
    }

    /// Tells the sinks that everything up to a number is durable.
    pub(super) fn durable(&self, number: u64) {
        self.newest.send_if_modified(|newest| {
            let more = number > *newest;
            *newest = number.max(*newest);
            more
        });
    }

    /// Told whenever there is something new.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// How far a sink is, by its place among the settings.
    pub(super) fn sent(&self, sink: usize) -> u64 {
        locked(&self.places).sent.get(sink).copied().unwrap_or(0)
    }

    /// Remembers how far a sink is, and removes what all of them have.
    pub(super) async fn advance(
        &self,
        journal: &dyn Journal,
        (sink, url): (usize, &Url),
        sent: u64,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default().put(key(url), row::encode(&SinkRow { sent }));
        {
            let mut places = locked(&self.places);
            if let Some(place) = places.sent.get_mut(sink) {
                *place = sent;
            }
            let everybody = places.sent.iter().copied().min().unwrap_or(sent);
            // Bounded; the rest goes with the next batch.
            let until = everybody.min(places.removed + 2 * ROWS_AT_ONCE as u64);
            for number in places.removed + 1..=until {
                batch = batch.delete(keys::outgoing(number));
            }
            places.removed = until.max(places.removed);
        }
        journal.commit(batch).await.map_err(failed)
    }
}

/// The events after number `after` up to `until`, with their numbers; none where there is nothing left. One that is
/// damaged has a number and no content.
pub(super) fn read(journal: &dyn Journal, after: u64, until: u64) -> Result<Vec<(u64, Option<Json>)>, StoreError> {
    let rows =
        journal.scan(Scan { after: Some(keys::outgoing(after)), ..Scan::prefix(keys::outbox(), ROWS_AT_ONCE) })?;
    let mut events = Vec::with_capacity(rows.len());
    for stored in rows {
        match keys::number_of(&stored.key) {
            Some(number) if number <= until => events.push((number, row::decode(&stored.value).ok())),
            _ => break,
        }
    }
    Ok(events)
}

/// Removes everything: nobody is left to send it to.
async fn clear(journal: &dyn Journal) -> Result<(), StoreError> {
    loop {
        let mut rows = journal.scan(Scan::prefix(keys::outbox(), ROWS_AT_ONCE))?;
        rows.extend(journal.scan(Scan::prefix(keys::sinks(), ROWS_AT_ONCE))?);
        if rows.is_empty() {
            return Ok(());
        }
        let batch = rows.into_iter().fold(Batch::default(), |batch, row| batch.delete(row.key));
        journal.commit(batch).await.map_err(failed)?;
    }
}

fn key(url: &Url) -> crate::journal::Key {
    keys::sink(&Sha256::digest(url.as_str()).into())
}

fn failed(error: CommitError) -> StoreError {
    match error {
        CommitError::Unavailable(error) => error,
        error @ CommitError::Conflict(_) => StoreError(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_row_is_read_as_it_was_written() {
        assert_eq!(row::decode::<SinkRow>(b"\x01{\"sent\":7}"), Ok(SinkRow { sent: 7 }));
        assert_eq!(&row::encode(&SinkRow { sent: 7 })[..], b"\x01{\"sent\":7}");
    }
}
