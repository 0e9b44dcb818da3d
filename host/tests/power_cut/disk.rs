//! What a disk may hold after the power was cut. It has everything that was synced, and of the rest whatever chance
//! leaves: whole writes, single sectors, or nothing, also of writes made after others that are lost. Names (made,
//! changed, removed) survive in their order up to some point, as journaling file systems have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use rand::{Rng, rngs::StdRng};

use crate::recorder::{By, Event};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Files by path.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// Which syncs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Honour {
    /// All, as they were made.
    All,
    /// None of those that stand for `sync_file_range`, nor the writer's: sled as it is.
    SledAlone,
    /// All but those that stand for `sync_file_range`: sled, and a sync after each flush.
    SledAndWriter,
}

/// A disk, brought forward event by event.
pub struct Disk {
    honour: Honour,
    files: BTreeMap<usize, File>,
    names: BTreeMap<PathBuf, usize>,
    later_names: Vec<Name>,
    syncs: BTreeMap<usize, (usize, BTreeSet<usize>)>,
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    later: Vec<Change>,
}

struct Change {
    write: usize,
    ended: bool,
    what: What,
}

enum What {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

enum Name {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

/// How much of what was not synced a cut leaves.
#[derive(Clone, Copy)]
enum Mercy {
    Nothing,
    Everything,
    Writes(f64),
    Sectors(f64),
}

impl Disk {
    /// A disk with files, each with its number in the recording.
    pub fn new(honour: Honour, image: impl IntoIterator<Item = (PathBuf, usize, Vec<u8>)>) -> Self {
        let mut disk = Self {
            honour,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            later_names: Vec::new(),
            syncs: BTreeMap::new(),
        };
        for (path, file, durable) in image {
            disk.names.insert(path, file);
            disk.files.insert(file, File { durable, later: Vec::new() });
        }
        disk
    }

    /// Takes the next event.
    pub fn step(&mut self, event: &Event) {
        match event {
            Event::Create { file, path } => self.later_names.push(Name::Create(path.clone(), *file)),
            Event::WriteBegin { write, file, offset, bytes } => {
                self.begin(*file, *write, What::Write { offset: *offset, bytes: bytes.clone() });
            }
            Event::TruncateBegin { write, file, length } => {
                self.begin(*file, *write, What::Truncate { length: *length });
            }
            Event::WriteEnd { write } => {
                for change in self.files.values_mut().flat_map(|file| &mut file.later) {
                    change.ended |= change.write == *write;
                }
            }
            Event::SyncBegin { sync, file, by } => {
                let honoured = match self.honour {
                    Honour::All => true,
                    Honour::SledAlone => *by == By::Fsync,
                    Honour::SledAndWriter => *by != By::Sled,
                };
                if honoured {
                    let file_state = self.files.entry(*file).or_default();
                    let covered = file_state.later.iter().filter(|change| change.ended).map(|change| change.write);
                    self.syncs.insert(*sync, (*file, covered.collect()));
                }
            }
            Event::SyncEnd { sync } => {
                if let Some((file, covered)) = self.syncs.remove(sync) {
                    self.files.entry(file).or_default().make_durable(&covered);
                }
            }
            Event::Rename { from, to } => self.later_names.push(Name::Rename(from.clone(), to.clone())),
            Event::Unlink { path } => self.later_names.push(Name::Unlink(path.clone())),
            Event::SyncNames => {
                for name in std::mem::take(&mut self.later_names) {
                    name.apply(&mut self.names);
                }
            }
            Event::Acknowledged { .. } => {}
        }
    }

    /// What a cut at this moment may leave.
    pub fn cut(&self, random: &mut StdRng) -> Image {
        let mut names = self.names.clone();
        let survive = random.random_range(0..=self.later_names.len());
        for name in &self.later_names[..survive] {
            name.apply(&mut names);
        }
        let mercy = match random.random_range(0..8) {
            0 => Mercy::Nothing,
            1 => Mercy::Everything,
            2..=4 => Mercy::Writes(random.random_range(0.1..0.9)),
            _ => Mercy::Sectors(random.random_range(0.1..0.95)),
        };
        let content = |file: &usize, random: &mut StdRng| {
            self.files.get(file).map_or_else(Vec::new, |file| file.survivors(mercy, random))
        };
        names.iter().map(|(path, file)| (path.clone(), content(file, random))).collect()
    }

    fn begin(&mut self, file: usize, write: usize, what: What) {
        self.files.entry(file).or_default().later.push(Change { write, ended: false, what });
    }
}

impl File {
    fn make_durable(&mut self, covered: &BTreeSet<usize>) {
        for change in std::mem::take(&mut self.later) {
            match covered.contains(&change.write) {
                true => change.apply(&mut self.durable),
                false => self.later.push(change),
            }
        }
    }

    fn survivors(&self, mercy: Mercy, random: &mut StdRng) -> Vec<u8> {
        let mut content = self.durable.clone();
        for change in &self.later {
            match (mercy, &change.what) {
                (Mercy::Nothing, _) => {}
                (Mercy::Everything, _) => change.apply(&mut content),
                (Mercy::Sectors(share), What::Write { offset, bytes }) => {
                    for (at, sector) in sectors(*offset, bytes) {
                        if random.random_bool(share) {
                            put(&mut content, at, sector);
                        }
                    }
                }
                (Mercy::Writes(share) | Mercy::Sectors(share), _) => {
                    if random.random_bool(share) {
                        change.apply(&mut content);
                    }
                }
            }
        }
        content
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match &self.what {
            What::Write { offset, bytes } => put(content, *offset, bytes),
            What::Truncate { length } => content.resize(*length, 0),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// The pieces of a write, cut where the disk's sectors begin.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = (SECTOR - offset % SECTOR).min(bytes.len());
    let (head, tail) = bytes.split_at(first);
    let rest = tail.chunks(SECTOR).enumerate().map(move |(n, sector)| (offset + first + n * SECTOR, sector));
    std::iter::once((offset, head)).chain(rest)
}

impl Name {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename(from, to) => {
                let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in moved {
                    let file = names.remove(&path).expect("it was there a moment ago");
                    names.insert(renamed(&path, from, to), file);
                }
            }
        }
    }
}

fn renamed(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if !rest.as_os_str().is_empty() => to.join(rest),
        _ => to.to_owned(),
    }
}
