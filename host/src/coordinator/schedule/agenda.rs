//! What memory knows of schedules: which of those that people made are due when, and which workflows' own schedules are
//! switched off. Both follow from rows and are read when the server starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{Place, made};
use crate::coordinator::{Shared, locked};
use crate::journal::{Journal, Key, Scan, StoreError, keys};

/// See the module.
#[derive(Default)]
pub(in crate::coordinator) struct Agenda {
    dues: Mutex<Dues>,
    changed: Notify,
    off: Mutex<BTreeSet<Place>>,
    switched: watch::Sender<u64>,
}

#[derive(Default)]
struct Dues {
    by_time: BTreeSet<(Timestamp, Key)>,
    by_key: BTreeMap<Key, Timestamp>,
}

impl Dues {
    fn set(&mut self, key: &Key, due: Option<Timestamp>) {
        if let Some(before) = self.by_key.remove(key) {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(due) = due {
            self.by_time.insert((due, key.clone()));
            self.by_key.insert(key.clone(), due);
        }
    }
}

impl Agenda {
    /// Takes over what a row says now. Whoever wrote the row calls this after it; the last one has seen the last row.
    pub(super) fn refresh(&self, shared: &Shared, key: &Key) -> Result<(), StoreError> {
        let mut dues = locked(&self.dues);
        let row = made::read(shared, key)?;
        dues.set(key, row.filter(|row| row.declared.is_on()).and_then(|row| row.due));
        drop(dues);
        self.changed.notify_one();
        Ok(())
    }

    /// What is due, of those that may fire.
    pub(super) fn until(&self, now: Timestamp, may_fire: impl Fn(&Key) -> bool) -> Vec<(Timestamp, Key)> {
        let dues = locked(&self.dues);
        let due = dues.by_time.iter().take_while(|(due, _)| *due <= now);
        due.filter(|(_, key)| may_fire(key)).cloned().collect()
    }

    /// When one of those that may fire is due next.
    pub(super) fn next(&self, may_fire: impl Fn(&Key) -> bool) -> Option<Timestamp> {
        locked(&self.dues).by_time.iter().find(|(_, key)| may_fire(key)).map(|(due, _)| *due)
    }

    /// Ends when something became due at another time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reads which workflows' own schedules are switched off.
    pub(in crate::coordinator) fn load_switches(&self, journal: &dyn Journal) -> Result<(), StoreError> {
        let rows = journal.scan(Scan::prefix(keys::schedules_off(), usize::MAX))?;
        locked(&self.off).extend(rows.iter().filter_map(|row| keys::place_of(row.key.get(2..)?)));
        Ok(())
    }

    /// Whether a workflow's own schedule is switched off.
    pub(super) fn is_off(&self, place: &Place) -> bool {
        locked(&self.off).contains(place)
    }

    /// Switches a workflow's own schedule on or off; its row is written already.
    pub(super) fn switch(&self, place: Place, on: bool) {
        let mut off = locked(&self.off);
        if on {
            off.remove(&place)
        } else {
            off.insert(place)
        };
        drop(off);
        self.switched.send_modify(|times| *times += 1);
    }

    /// Told whenever one was switched.
    pub(super) fn switches(&self) -> watch::Receiver<u64> {
        self.switched.subscribe()
    }
}
