//! The journal's directory: `lock`, held while a process has the journal open, `store`, sled's own files, and `mark`, which
//! says how far they reach.
//!
//! A store is made under another name, synced whole and renamed, so that `store` is always a complete one: sled does
//! not sync the files it starts with. Everything sled does while it opens is synced before the first commit.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    OpenError, Tuning, Watched, failed,
    layout::{Changes, Layout},
    mark::Mark,
};
use crate::journal::{StoreError, keys, row};

/// The format that this program writes, and the highest it reads.
const FORMAT: u32 = 1;

/// How long to wait for threads of a store closed by this process to let go of it. They end by themselves within
/// milliseconds; the bound is there so that a bug shows as an error.
const LET_GO_TIME_MAX: Duration = Duration::from_secs(10);

/// The lock on the directory; another process can open it when this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    _lock: File,
}

/// A store, ready for commits.
pub(super) struct Opened {
    pub(super) rows: sled::Db,
    pub(super) log: File,
    pub(super) watched: Arc<Watched>,
    pub(super) mark: Mark,
}

/// The value of the row `format`.
#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

impl Directory {
    /// Locks a directory and opens its store; makes what is not there.
    pub(super) fn open(path: &Path, tuning: Tuning) -> Result<(Self, Opened), OpenError> {
        fs::create_dir_all(path).map_err(at(path))?;
        let directory = Self { _lock: lock(path)? };
        let store = path.join("store");
        if !store.try_exists().map_err(at(&store))? {
            make(path, &store, tuning)?;
        }
        let opened = open(path, &store, tuning)?;
        Ok((directory, opened))
    }
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path, source }),
    }
}

/// Makes an empty store under another name and renames it when it is whole and durable.
fn make(directory: &Path, store: &Path, tuning: Tuning) -> Result<(), OpenError> {
    let new = directory.join("store.new");
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&new)(error)),
        _ => {}
    }
    let rows = open_sled(&new, tuning)?;
    write_format(&rows, tuning)?;
    drop(rows);
    let log = new.join("db");
    wait_until_let_go(&log)?;
    sync_all_in(&new)?;
    fs::rename(&new, store).map_err(at(store))?;
    sync(directory)
}

fn open(directory: &Path, store: &Path, tuning: Tuning) -> Result<Opened, OpenError> {
    remove_unfinished_snapshots(store)?;
    let path = store.join("db");
    let log = File::options().read(true).write(true).open(&path).map_err(at(&path))?;
    // After a kill, the log may hold what was written and never synced. sled takes what it reads for durable and says
    // so in a snapshot, which must not outlive the log it describes.
    log.sync_all().map_err(at(&path))?;
    let rows = open_sled(store, tuning)?;
    // Before anything is written, and before a store without a format is called something else.
    let mark = Mark::open(&rows, directory)?;
    check_format(&rows, tuning)?;
    rows.flush().map_err(failed)?;
    sync_all_in(store)?;
    let watched = Watched::watch(&log, tuning.segment_bytes as u64).map_err(at(&path))?;
    // Any write would do: it shows that sled's writes end in our sync, and where the end of the log is.
    write_format(&rows, tuning)?;
    watched.learned();
    match watched.calls() {
        0 => Err(OpenError::NotDurable),
        _ => Ok(Opened { rows, log, watched, mark }),
    }
}

/// A kill in the middle of sled's opening leaves an unfinished snapshot, which sled would take for a damaged one.
fn remove_unfinished_snapshots(store: &Path) -> Result<(), OpenError> {
    for entry in fs::read_dir(store).map_err(at(store))? {
        let path = entry.map_err(at(store))?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn open_sled(path: &Path, tuning: Tuning) -> Result<sled::Db, OpenError> {
    let config = sled::Config::new()
        .path(path)
        .segment_size(tuning.segment_bytes)
        .cache_capacity(tuning.cache_bytes)
        // The writer flushes; an idle journal writes nothing.
        .flush_every_ms(None);
    let log = path.join("db");
    if log.exists() {
        wait_until_let_go(&log)?;
    }
    Ok(config.open().map_err(failed)?)
}

/// Waits until sled's threads have dropped their handles on a store that was closed a moment ago. No other process has
/// it, because we hold the directory's lock.
fn wait_until_let_go(log: &Path) -> Result<(), OpenError> {
    let begin = Instant::now();
    loop {
        let file = File::options().read(true).write(true).open(log).map_err(at(log))?;
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begin.elapsed() < LET_GO_TIME_MAX => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(at(log)(error.into())),
        }
    }
}

fn write_format(rows: &sled::Db, tuning: Tuning) -> Result<(), OpenError> {
    let mut changes = Changes::new();
    let value = row::encode(&Format { format: FORMAT });
    Layout::new(tuning.segment_bytes).change(rows, &mut changes, &keys::setting("format"), Some(&value))?;
    let mut batch = sled::Batch::default();
    changes.into_iter().for_each(|(key, value)| batch.insert(key, value.unwrap_or_default()));
    // A batch and not an insert, which writes nothing where the row is as it should be.
    rows.apply_batch(batch).map_err(failed)?;
    rows.flush().map_err(failed)?;
    Ok(())
}

fn check_format(rows: &sled::Db, tuning: Tuning) -> Result<(), OpenError> {
    let value = Layout::new(tuning.segment_bytes).get(rows, &keys::setting("format"))?;
    let value = value.ok_or_else(|| {
        StoreError("it does not say which format it has; restore the data directory from a backup".to_owned())
    })?;
    match row::decode::<Format>(&value)?.format {
        found if found > FORMAT => Err(OpenError::Newer { found, known: FORMAT }),
        _ => Ok(()),
    }
}

/// Makes all files beneath a directory durable, and their names.
fn sync_all_in(directory: &Path) -> Result<(), OpenError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        match path.is_dir() {
            true => sync_all_in(&path)?,
            false => sync(&path)?,
        }
    }
    sync(directory)
}

fn sync(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path: PathBuf = path.to_owned();
    |source| OpenError::File { path, source }
}
