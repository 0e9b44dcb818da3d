//! Makes sled's flush durable. sled 0.34 ends every write of its log with `sync_file_range`, which neither flushes the
//! drive's cache nor the file's length, so that an acknowledged row would not survive a power cut. This module defines
//! `sync_file_range` for the whole program: the linker takes it instead of libc's, and sled's calls end here.
//! `host/decisions/0003-journal-on-sled.md` has the alternatives.
//!
//! One commit makes sled write two or more pieces of its log, each with such a call. To sync the device once per commit
//! and not once per piece, a call for a watched file may put its sync off. Two promises make that sound:
//!
//! - Who watches the file calls [`Watched::sync`] before it acknowledges anything.
//! - The last of the pieces that make up one segment of the log is always synced before the call returns, and with it
//!   all other pieces of the segment. sled reuses old space and trusts newer space by whole segments, never by less, so
//!   that everything it relies on when it overwrites something is on the device.
//!
//! A file that nobody watches is synced on every call. Whether the calls really arrive here is a matter of linking, and
//! is therefore checked whenever a store is opened ([`Watched::calls`]).

use std::{
    collections::HashMap,
    ffi::{c_int, c_uint},
    fs::File,
    io,
    mem::ManuallyDrop,
    os::{fd::FromRawFd, unix::fs::MetadataExt},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Device and inode: the same for every descriptor of a file.
type FileId = (u64, u64);

static WATCHED: Mutex<Vec<(FileId, Weak<Watched>)>> = Mutex::new(Vec::new());

/// A log file whose syncs are put off to the end of a commit.
#[derive(Debug)]
pub(super) struct Watched {
    segment_bytes: u64,
    segments: Mutex<Segments>,
    calls: AtomicU64,
    syncs: AtomicU64,
    failed: AtomicBool,
}

#[derive(Debug)]
struct Segments {
    /// Bytes written so far of each segment that is not full, by number: one or two, as sled fills one after another.
    filled: HashMap<u64, u64>,
    /// Until the first flush is over, a segment seen for the first time was filled up to where the piece starts; later,
    /// every segment starts empty.
    learning: bool,
}

impl Watched {
    /// Begins to watch a file of which nothing is being written just now.
    pub(super) fn watch(file: &File, segment_bytes: u64) -> io::Result<Arc<Self>> {
        let watched = Arc::new(Self {
            segment_bytes,
            segments: Mutex::new(Segments { filled: HashMap::new(), learning: true }),
            calls: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        });
        let id = id(file)?;
        let mut list = lock(&WATCHED);
        list.retain(|(other, watched)| *other != id && watched.strong_count() > 0);
        list.push((id, Arc::downgrade(&watched)));
        Ok(watched)
    }

    /// Ends the learning of what the tail segment holds: the first write after `watch` was flushed.
    pub(super) fn learned(&self) {
        lock(&self.segments).learning = false;
    }

    /// Makes everything written to the file durable.
    ///
    /// # Errors
    /// The device failed now or at any time before: after a failed sync nobody knows what the device holds, and the
    /// kernel reports it only once.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let result = file.sync_data();
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        match self.failed.load(Ordering::SeqCst) {
            true => result.and(Err(io::Error::other("an earlier sync failed"))),
            false => Ok(()),
        }
    }

    /// Syncs made.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Calls of `sync_file_range` that arrived here.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Takes note of a written piece; true where it has to be synced at once.
    fn note(&self, offset: u64, bytes: u64) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let number = offset / self.segment_bytes;
        let mut segments = lock(&self.segments);
        let before = if segments.learning { offset % self.segment_bytes } else { 0 };
        let filled = segments.filled.entry(number).or_insert(before);
        *filled += bytes;
        // The pieces of a segment cover it without gap or overlap, in whichever order they arrive.
        let full = *filled >= self.segment_bytes;
        if full {
            segments.filled.remove(&number);
        }
        full || segments.learning
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(file: &File) -> io::Result<FileId> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn watched(file: &File) -> io::Result<Option<Arc<Watched>>> {
    let id = id(file)?;
    Ok(lock(&WATCHED).iter().find(|(other, _)| *other == id).and_then(|(_, watched)| watched.upgrade()))
}

fn written(file: &File, offset: i64, bytes: i64) -> io::Result<()> {
    let piece = u64::try_from(offset).ok().zip(u64::try_from(bytes).ok());
    match (watched(file)?, piece) {
        (Some(watched), Some((offset, bytes))) if !watched.note(offset, bytes) => Ok(()),
        (Some(watched), _) => watched.sync(file),
        (None, _) => file.sync_data(),
    }
}

/// Stands in for libc's function of this name. The flags are of no use: what they ask for is less than what is done.
/// On failure `errno` is whatever the sync left there; sled may answer a stale `ENOSYS` with a sync of its own, which
/// is why [`Watched::sync`] remembers every failure.
#[expect(unsafe_code, reason = "the symbol must have libc's name, and the descriptor comes from sled as a number")]
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(descriptor: c_int, offset: i64, bytes: i64, _flags: c_uint) -> c_int {
    if descriptor < 0 {
        return -1;
    }
    // SAFETY: the caller keeps the descriptor open during the call, as for libc's function; `ManuallyDrop` leaves it
    // open afterwards.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
    match written(&file, offset, bytes) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each piece is (offset, bytes, synced at once), in order of arrival, after the tail was learned to end at 100.
    fn check(pieces: &[(u64, u64, bool)]) {
        let file = tempfile::tempfile().expect("a file");
        let watched = Watched::watch(&file, 1000).expect("it has an inode");
        assert!(watched.note(60, 40), "the first write tells where the tail is, and is synced");
        watched.learned();
        for (n, &(offset, bytes, at_once)) in pieces.iter().enumerate() {
            assert_eq!(watched.note(offset, bytes), at_once, "piece {n} of {pieces:?}");
        }
    }

    #[test]
    fn only_the_last_piece_of_a_segment_is_synced_at_once() {
        check(&[(100, 300, false), (400, 500, false), (900, 100, true), (1000, 10, false)]);
    }

    #[test]
    fn the_last_piece_to_arrive_counts_whichever_it_is() {
        check(&[(900, 100, false), (1000, 900, false), (100, 800, true), (1900, 100, true)]);
    }

    #[test]
    fn a_reused_segment_starts_anew() {
        check(&[(100, 900, true), (0, 500, false), (1000, 1000, true), (500, 500, true)]);
    }

    #[test]
    fn a_file_nobody_watches_any_more_is_forgotten() {
        let file = tempfile::tempfile().expect("a file");
        let first = Watched::watch(&file, 1000).expect("it has an inode");
        assert!(Arc::ptr_eq(&watched(&file).expect("it has an inode").expect("watched"), &first));
        drop(first);
        assert!(watched(&file).expect("it has an inode").is_none());
    }

    #[test]
    fn a_failed_sync_is_not_forgotten() {
        let file = tempfile::tempfile().expect("a file");
        let (pipe, _other_end) = io::pipe().expect("a pipe");
        let watched = Watched::watch(&file, 1000).expect("it has an inode");
        watched.sync(&file).expect("a file syncs");
        watched.sync(&File::from(std::os::fd::OwnedFd::from(pipe))).expect_err("a pipe does not sync");
        watched.sync(&file).expect_err("a later sync says nothing about what an earlier one lost");
        assert_eq!(watched.syncs(), 3);
    }
}
