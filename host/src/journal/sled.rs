//! The journal on sled: ordered rows in one tree, changed by one thread in grouped batches, durable through
//! `durable_sync.rs`. `sled/directory.rs` makes and opens the files, `sled/layout.rs` says which sled rows make up a
//! row, `writer.rs` groups. This file and those beneath it are the only ones that know sled.
//!
//! A batch can be read a moment before it is durable; `commit` answers when it is.

mod directory;
mod layout;
mod mark;
mod redo;

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt};

use super::{
    Batch, CommitError, Counters, Journal, Key, Row, Scan, StoreError, Write,
    durable_sync::Watched,
    writer::{Answers, Writer},
};
use directory::Directory;
use layout::{Change, Changes, Layout};
use mark::Mark;

/// Longest key in bytes. With it, a page of sled's tree always fits into its log (see `layout.rs`).
pub const KEY_BYTES_MAX: usize = 384;

/// Largest value in bytes, 64 MiB.
pub const VALUE_BYTES_MAX: usize = 64 << 20;

/// How the store uses the machine. Only tests choose other values than the default.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Bytes of one segment of sled's log, a power of two of 64 KiB or more. A store keeps the size it was made with.
    pub segment_bytes: usize,
    /// Bytes of memory for pages read or written lately.
    pub cache_bytes: u64,
}

impl Default for Tuning {
    /// Segments of 512 KiB; a cache of 32 MiB, so that the program stays small with a large journal.
    fn default() -> Self {
        Self { segment_bytes: 512 << 10, cache_bytes: 32 << 20 }
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "open the journal in `{}`: another orchestrator uses this data directory; stop it or choose another one",
        .0.display()
    )]
    InUse(PathBuf),
    /// A later program wrote it.
    #[error("open the journal: it has format {found}, and this program knows formats up to {known}; start a newer one")]
    Newer {
        /// The format of the store.
        found: u32,
        /// The highest format that this program knows.
        known: u32,
    },
    /// What was written would not survive a power cut, because sled's writes do not end in our sync.
    #[error(
        "open the journal: this build of the program cannot make writes durable; report it with the target it was built for"
    )]
    NotDurable,
    /// Acknowledged commits are missing.
    #[error(
        "open the journal in `{}`: it ends at commit {stored}, and commit {acknowledged} was acknowledged: its files were \
         damaged, or replaced by older ones; restore the whole data directory from a backup, or remove `{}` to go on with \
         what is left",
        directory.display(), mark.display()
    )]
    Shortened {
        /// The journal's directory.
        directory: PathBuf,
        /// The number of the last commit that is there.
        stored: u64,
        /// The number of the last commit that was acknowledged.
        acknowledged: u64,
        /// The file that says so.
        mark: PathBuf,
    },
    /// A file or directory cannot be used.
    #[error("open the journal: use `{}`", path.display())]
    File {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store's content cannot be used.
    #[error("open the journal")]
    Store(#[from] StoreError),
}

/// The durable journal.
pub struct SledJournal {
    // Dropped first: it answers what waits while the store is still there.
    writer: Writer,
    store: Arc<Store>,
}

/// The rows, and what makes them durable.
struct Store {
    rows: sled::Db,
    layout: Layout,
    /// Bytes changed in one step of sled, about: so few that with all that sled rewrites because of them they stay
    /// below a segment (see `sled/redo.rs`).
    step_bytes: usize,
    log: File,
    watched: Arc<Watched>,
    mark: Mark,
    /// Held to write while a group is applied, so that a reader sees whole batches and whole values.
    visible: RwLock<()>,
    // Dropped last: it lets another process in.
    _directory: Directory,
}

impl SledJournal {
    /// Opens the journal in a directory, which is made if there is none.
    ///
    /// # Errors
    /// Another process has it open, a later program wrote it, or its files cannot be used.
    pub fn open(directory: impl AsRef<Path>) -> Result<Arc<Self>, OpenError> {
        Self::open_tuned(directory, Tuning::default())
    }

    /// As [`SledJournal::open`], with another use of the machine.
    ///
    /// # Errors
    /// As [`SledJournal::open`].
    #[doc(hidden)]
    pub fn open_tuned(directory: impl AsRef<Path>, tuning: Tuning) -> Result<Arc<Self>, OpenError> {
        let (directory, opened) = Directory::open(directory.as_ref(), tuning)?;
        let store = Arc::new(Store {
            rows: opened.rows,
            layout: Layout::new(tuning.segment_bytes),
            step_bytes: tuning.segment_bytes / 8,
            log: opened.log,
            watched: opened.watched,
            mark: opened.mark,
            visible: RwLock::new(()),
            _directory: directory,
        });
        redo::recover(&store.rows, store.step_bytes, &|some| store.step(some))?;
        let writing = Arc::clone(&store);
        let writer = Writer::start(store.step_bytes, move |group| writing.commit(group))
            .map_err(|error| StoreError(format!("start its thread: {error}")))?;
        Ok(Arc::new(Self { writer, store }))
    }
}

impl Journal for SledJournal {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        if let Err(error) = check_sizes(&batch) {
            return future::ready(Err(error.into())).boxed();
        }
        let answer = self.writer.submit(batch);
        // The writer answers everything it was given, unless it is torn down with the process.
        let closed = || Err(CommitError::Unavailable(StoreError("it is closed".to_owned())));
        async move { answer.await.unwrap_or_else(|_| closed()) }.boxed()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(key)
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        self.store.scan(&scan)
    }

    fn counters(&self) -> Counters {
        Counters { commits: self.writer.commits(), syncs: self.store.watched.syncs() }
    }
}

impl Store {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let _whole = self.visible.read().unwrap_or_else(PoisonError::into_inner);
        self.layout.get(&self.rows, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        let Some((low, high)) = scan.range() else { return Ok(Vec::new()) };
        let _whole = self.visible.read().unwrap_or_else(PoisonError::into_inner);
        let rows = self.rows.range(self.layout.range(low, high));
        let row = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = pair.map_err(failed)?;
            self.layout.row(&self.rows, &key, &value)
        };
        match scan.reverse {
            false => rows.take(scan.limit).map(row).collect(),
            true => rows.rev().take(scan.limit).map(row).collect(),
        }
    }

    /// Makes changes atomic and durable in one step of sled.
    fn step(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.change_at_once(changes)?;
        self.make_durable()
    }

    fn change_at_once(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&key[..], &value[..]),
                None => batch.remove(&key[..]),
            }
        }
        self.rows.apply_batch(batch).map_err(failed)
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        self.rows.flush().map_err(failed)?;
        self.watched.sync(&self.log).map_err(|error| StoreError(format!("make writes durable: {error}")))
    }

    /// Checks and applies the batches of a group in their order, and makes them durable with one sync.
    fn commit(&self, group: Vec<Batch>) -> Result<Answers, StoreError> {
        let mut changes: HashMap<Key, Option<Bytes>> = HashMap::new();
        let mut answers = Answers::with_capacity(group.len());
        for batch in group {
            let checked = batch.check(|key| match changes.get(key) {
                Some(value) => Ok(value.clone()),
                None => self.get(key),
            });
            match checked {
                Ok(()) => changes.extend(batch.writes.into_iter().map(|write| match write {
                    Write::Put(key, value) => (key, Some(value)),
                    Write::Delete(key) => (key, None),
                })),
                Err(CommitError::Unavailable(error)) => return Err(error),
                Err(CommitError::Conflict(_)) => {}
            }
            answers.push(checked);
        }
        if !changes.is_empty() {
            self.apply(&changes)?;
        }
        Ok(answers)
    }

    fn apply(&self, changes: &HashMap<Key, Option<Bytes>>) -> Result<(), StoreError> {
        let mut writes = Changes::new();
        for (key, value) in changes {
            self.layout.change(&self.rows, &mut writes, key, value.as_ref())?;
        }
        let bytes: usize = writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let number = self.mark.next()?;
        let whole = self.visible.write().unwrap_or_else(PoisonError::into_inner);
        if bytes > 2 * self.step_bytes {
            redo::carry_out(&writes, self.step_bytes, self.layout.piece_bytes(), &|some| self.step(some))?;
        } else {
            self.change_at_once(&writes)?;
            // Nobody who reads waits for the device.
            drop(whole);
            self.make_durable()?;
        }
        self.mark.write(number)
    }
}

fn check_sizes(batch: &Batch) -> Result<(), StoreError> {
    for write in &batch.writes {
        let (key, bytes) = match write {
            Write::Put(key, value) => (key, value.len()),
            Write::Delete(key) => (key, 0),
        };
        if key.len() > KEY_BYTES_MAX {
            return Err(StoreError(format!("a key of {} bytes is longer than {KEY_BYTES_MAX}", key.len())));
        }
        if bytes > VALUE_BYTES_MAX {
            return Err(StoreError(format!("a value of {bytes} bytes is larger than {VALUE_BYTES_MAX}; store less")));
        }
    }
    Ok(())
}

fn failed(error: sled::Error) -> StoreError {
    StoreError(error.to_string())
}

#[cfg(test)]
mod tests;
