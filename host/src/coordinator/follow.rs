//! Following instances. The broadcast is quick and may lose events for a slow follower; the journal loses nothing. So
//! records come from the journal whenever the broadcast leaves a gap.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::view::Event;
use super::{Common, Owned, Shared, Told, store};
use crate::journal::StoreError;
use crate::machine::record::{Record, Stamped};
use crate::model::{InstanceId, Principal};

/// So many records are read ahead of a follower, at most.
const READ_AHEAD: usize = 256;

/// No more are read ahead once what was read is so large, bytes: a follower that reads slowly holds no more than this and
/// one record.
const READ_AHEAD_BYTES: usize = 256 << 10;

pub(super) fn subscribe(shared: &Arc<Shared>, who: Arc<Principal>) -> impl Stream<Item = Told<Event>> + Send + use<> {
    let events = shared.events.subscribe();
    let stop = shared.stop.clone();
    stream::unfold((events, stop, who), |(mut events, stop, who)| async move {
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Ok(event) if event.whose.is_seen_by(&who) => {
                        return Some((Told::Event(event.told.clone()), (events, stop, who)));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some((Told::Missed, (events, stop, who))),
                    Err(RecvError::Closed) => return None,
                },
                () = stop.cancelled() => return None,
            }
        }
    })
}

pub(super) fn follow(
    shared: &Arc<Shared>,
    id: InstanceId,
    after: u64,
) -> impl Stream<Item = Arc<Common<Event>>> + Send + use<> {
    // Subscribed before the journal is read, so that nothing falls in between.
    let events = shared.events.subscribe();
    let follower =
        Follower { shared: shared.clone(), id, events, told: after, ahead: VecDeque::new(), behind: true, over: false };
    stream::unfold(follower, |mut follower| async move { Some((follower.next().await?, follower)) })
}

struct Follower {
    shared: Arc<Shared>,
    id: InstanceId,
    events: Receiver<Arc<Owned<Arc<Common<Event>>>>>,
    /// The last record told.
    told: u64,
    /// Read from the journal and not yet told.
    ahead: VecDeque<Arc<Common<Event>>>,
    /// Whether the journal may have more than was told.
    behind: bool,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Arc<Common<Event>>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(event) = self.ahead.pop_front() {
                return Some(self.tell(event));
            }
            if self.behind {
                self.read().ok()?;
                continue;
            }
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                () = self.shared.stop.cancelled() => return None,
            };
            match event {
                Ok(event) if instance_of(&event.told) != self.id => {}
                Ok(event) => match seq_of(&event.told) {
                    None => return Some(event.told.clone()),
                    Some(seq) if seq == self.told + 1 => return Some(self.tell(event.told.clone())),
                    Some(seq) => self.behind = seq > self.told,
                },
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn tell(&mut self, event: Arc<Common<Event>>) -> Arc<Common<Event>> {
        if let Event::Record { record, .. } = &**event {
            self.told = record.seq;
            // It may have been reopened: then there is more to come, from the journal or from its new owner.
            let reopened = !self.ahead.is_empty() || self.behind || self.shared.live(self.id).is_some();
            self.over = matches!(record.record, Record::Ended { .. }) && !reopened;
        }
        event
    }

    fn read(&mut self) -> Result<(), StoreError> {
        // Asked before the journal: whatever the last owner wrote is then in what is read.
        let owned = self.shared.live(self.id).is_some();
        let (instance, ahead) = (self.id, &mut self.ahead);
        let (mut bytes, mut is_full) = (0, false);
        store::records(&*self.shared.journal, instance, self.told, |record| -> Result<bool, StoreError> {
            bytes += size_of(&record)?;
            ahead.push_back(Common::new(Event::Record { instance, record }));
            is_full = ahead.len() >= READ_AHEAD || bytes >= READ_AHEAD_BYTES;
            Ok(!is_full)
        })?;
        self.behind = is_full;
        self.over = !owned && self.ahead.is_empty();
        Ok(())
    }
}

/// How large a record is when it is written.
fn size_of(record: &Stamped) -> Result<usize, StoreError> {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, record).map_err(|error| StoreError(format!("measure a record: {error}")))?;
    Ok(counted.0)
}

/// Counts what is written to it.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn instance_of(event: &Event) -> InstanceId {
    match event {
        Event::Record { instance, .. } | Event::Progress { instance, .. } | Event::Log { instance, .. } => *instance,
    }
}

fn seq_of(event: &Event) -> Option<u64> {
    match event {
        Event::Record { record, .. } => Some(record.seq),
        Event::Progress { .. } | Event::Log { .. } => None,
    }
}
