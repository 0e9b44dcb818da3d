//! Records what a program does to the files beneath one directory. The program is this test itself: it defines the
//! functions of libc through which Rust's standard library writes, so that every write of every thread passes here.
//! Each function does what libc's does, but for the syncs: nothing needs to be durable in a test, so they only note
//! that they were asked.

use std::{
    collections::HashMap,
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::io::Errno;

/// One step of what happened, in order. Writes and syncs take time, so that they have a begin and an end.
#[derive(Debug)]
pub enum Event {
    /// A file was met for the first time.
    Create { file: usize, path: PathBuf },
    /// Bytes are on their way to a file.
    WriteBegin { write: usize, file: usize, offset: usize, bytes: Vec<u8> },
    /// A file is being cut or lengthened.
    TruncateBegin { write: usize, file: usize, length: usize },
    /// The write or truncation was done, as far as the program can tell.
    WriteEnd { write: usize },
    /// What ended before this is being made durable.
    SyncBegin { sync: usize, file: usize, by: By },
    /// It is durable.
    SyncEnd { sync: usize },
    /// A file or directory got another name.
    Rename { from: PathBuf, to: PathBuf },
    /// A name is gone.
    Unlink { path: PathBuf },
    /// The names changed before this are durable.
    SyncNames,
    /// The program was told that so many batches are durable.
    Acknowledged { batches: usize },
}

/// Who asked for a sync, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `fsync`: sled's recovery, and the opening of the journal.
    Fsync,
    /// `fdatasync` by the journal's writer, after it flushed sled.
    Writer,
    /// `fdatasync` by a thread of sled, in the place of `sync_file_range`.
    Sled,
}

#[derive(Default)]
struct Recording {
    root: PathBuf,
    files: HashMap<PathBuf, usize>,
    events: Vec<Event>,
    next: usize,
}

static RECORDING: Mutex<Option<Recording>> = Mutex::new(None);

/// Begins to record what happens beneath `root`.
pub fn start(root: &Path) {
    *recording() = Some(Recording { root: root.to_owned(), ..Recording::default() });
}

/// Ends the recording and gives it. `files` are those that were there before, numbered as in [`known`].
pub fn stop() -> Vec<Event> {
    recording().take().expect("a recording was started").events
}

/// Makes a file known that was there before the recording.
pub fn known(path: &Path) -> usize {
    let mut recording = recording();
    let recording = recording.as_mut().expect("a recording was started");
    let file = recording.number();
    recording.files.insert(path.to_owned(), file);
    file
}

/// Notes an acknowledgement.
pub fn acknowledged(batches: usize) {
    record(|recording| recording.events.push(Event::Acknowledged { batches }));
}

fn recording() -> MutexGuard<'static, Option<Recording>> {
    RECORDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record<T>(note: impl FnOnce(&mut Recording) -> T) -> Option<T> {
    recording().as_mut().map(note)
}

impl Recording {
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// The file's number, where it is one that is recorded.
    fn file(&mut self, path: &Path) -> Option<usize> {
        if !path.starts_with(&self.root) {
            return None;
        }
        if let Some(file) = self.files.get(path) {
            return Some(*file);
        }
        let file = self.number();
        self.files.insert(path.to_owned(), file);
        self.events.push(Event::Create { file, path: path.to_owned() });
        Some(file)
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf) {
        if !from.starts_with(&self.root) {
            return;
        }
        let moved: Vec<PathBuf> = self.files.keys().filter(|path| path.starts_with(&from)).cloned().collect();
        for path in moved {
            let file = self.files.remove(&path).expect("it was there a moment ago");
            let rest = path.strip_prefix(&from).expect("it starts so");
            let path = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
            self.files.insert(path, file);
        }
        self.events.push(Event::Rename { from, to });
    }

    fn unlink(&mut self, path: PathBuf) {
        if path.starts_with(&self.root) {
            self.files.remove(&path);
            self.events.push(Event::Unlink { path });
        }
    }
}

fn path_of(descriptor: c_int) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()
}

/// Notes the begin and the end of a write around `act`.
fn write_with<T>(descriptor: c_int, event: impl FnOnce(usize, usize) -> Event, act: impl FnOnce() -> T) -> T {
    let write = path_of(descriptor).and_then(|path| {
        record(|recording| {
            let file = recording.file(&path)?;
            let write = recording.number();
            recording.events.push(event(write, file));
            Some(write)
        })
        .flatten()
    });
    let result = act();
    if let Some(write) = write {
        record(|recording| recording.events.push(Event::WriteEnd { write }));
    }
    result
}

fn sync(descriptor: c_int, by: By) -> c_int {
    let Some(path) = path_of(descriptor) else { return 0 };
    record(|recording| {
        if path.is_dir() {
            recording.events.push(Event::SyncNames);
        } else if let Some(file) = recording.file(&path) {
            let sync = recording.number();
            recording.events.push(Event::SyncBegin { sync, file, by });
            // Nothing is waited for, so that it ends at once; that makes what it covers no larger.
            recording.events.push(Event::SyncEnd { sync });
        }
    });
    0
}

#[expect(unsafe_code, reason = "the functions take libc's place")]
mod libc {
    use super::*;

    unsafe extern "C" {
        fn __errno_location() -> *mut c_int;
    }

    fn answer<T: TryInto<i64>>(result: Result<T, Errno>) -> i64 {
        match result {
            Ok(value) => value.try_into().unwrap_or(i64::MAX),
            Err(errno) => {
                // SAFETY: libc gives the address of this thread's errno.
                unsafe { *__errno_location() = errno.raw_os_error() };
                -1
            }
        }
    }

    fn done(result: Result<(), Errno>) -> c_int {
        answer(result.map(|()| 0_u8)) as c_int
    }

    unsafe fn descriptor<'a>(descriptor: c_int) -> BorrowedFd<'a> {
        // SAFETY: the caller's descriptor is open during the call.
        unsafe { BorrowedFd::borrow_raw(descriptor) }
    }

    unsafe fn path(path: *const c_char) -> PathBuf {
        // SAFETY: the caller's path ends with a NUL.
        PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn pwrite64(fd: c_int, from: *const c_void, length: usize, offset: i64) -> isize {
        // SAFETY: the caller gives `length` readable bytes and an open descriptor.
        let (bytes, file) = unsafe { (std::slice::from_raw_parts(from.cast::<u8>(), length), descriptor(fd)) };
        let event = |write, file| Event::WriteBegin { write, file, offset: offset as usize, bytes: bytes.to_vec() };
        answer(write_with(fd, event, || rustix::io::pwrite(file, bytes, offset as u64))) as isize
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn write(fd: c_int, from: *const c_void, length: usize) -> isize {
        // SAFETY: as above.
        let (bytes, file) = unsafe { (std::slice::from_raw_parts(from.cast::<u8>(), length), descriptor(fd)) };
        // What has no position, such as a terminal, is not beneath the recorded directory.
        let offset = rustix::fs::tell(file).unwrap_or(0) as usize;
        let event = |write, file| Event::WriteBegin { write, file, offset, bytes: bytes.to_vec() };
        answer(write_with(fd, event, || rustix::io::write(file, bytes))) as isize
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn ftruncate64(fd: c_int, length: i64) -> c_int {
        // SAFETY: as above.
        let file = unsafe { descriptor(fd) };
        let event = |write, file| Event::TruncateBegin { write, file, length: length as usize };
        done(write_with(fd, event, || rustix::fs::ftruncate(file, length as u64)))
    }

    #[unsafe(no_mangle)]
    extern "C" fn fsync(fd: c_int) -> c_int {
        sync(fd, By::Fsync)
    }

    #[unsafe(no_mangle)]
    extern "C" fn fdatasync(fd: c_int) -> c_int {
        let writer = thread::current().name() == Some("journal-writer");
        sync(fd, if writer { By::Writer } else { By::Sled })
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
        // SAFETY: the caller's paths end with a NUL.
        let (from, to) = unsafe { (path(from), path(to)) };
        let result = rustix::fs::rename(&from, &to);
        if result.is_ok() {
            record(|recording| recording.rename(from, to));
        }
        done(result)
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
        // SAFETY: the caller's path ends with a NUL.
        let name = unsafe { path(name) };
        let result = rustix::fs::unlink(&name);
        if result.is_ok() {
            record(|recording| recording.unlink(name));
        }
        done(result)
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn unlinkat(fd: c_int, name: *const c_char, flags: c_int) -> c_int {
        // SAFETY: the caller's path ends with a NUL, and its descriptor is open or stands for the working directory.
        let (name, directory) = unsafe { (path(name), (fd >= 0).then(|| descriptor(fd))) };
        let directory = directory.unwrap_or(rustix::fs::CWD);
        let flags = rustix::fs::AtFlags::from_bits_retain(flags as u32);
        let result = rustix::fs::unlinkat(directory, &name, flags);
        if result.is_ok() {
            let name = path_of(fd).map_or(name.clone(), |directory| directory.join(name));
            record(|recording| recording.unlink(name));
        }
        done(result)
    }
}
