//! Notices that acknowledged commits are missing. sled takes the first damaged piece of its log for the end of it, as a cut
//! makes one there, and would start with what stands before. So the number of each group is stored with it, in a tree of
//! its own, and also in a file beside the store, written after the group is durable: a file that is ahead of the store tells
//! that the store has lost something, or was replaced by an older one.
//!
//! The file is not synced. After a power cut it may be behind, never ahead; a kill leaves it exact.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{OpenError, StoreError, failed};

const TREE: &str = "mark";
const KEY: &[u8] = b"number";

/// The number of the last group.
#[derive(Debug)]
pub(super) struct Mark {
    tree: sled::Tree,
    file: File,
    path: PathBuf,
}

impl Mark {
    /// Compares a store with the file beside it, and makes the file where there is none.
    pub(super) fn open(rows: &sled::Db, directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("mark");
        let tree = rows.open_tree(TREE).map_err(failed)?;
        let (stored, acknowledged) = (number(&tree)?, read(&path)?);
        if acknowledged > stored {
            return Err(OpenError::Shortened { directory: directory.to_owned(), stored, acknowledged, mark: path });
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| OpenError::File { path: path.clone(), source })?;
        let mark = Self { tree, file, path };
        mark.write(stored)?;
        Ok(mark)
    }

    /// Adds the next number to the group that is made durable next, and gives it.
    pub(super) fn next(&self) -> Result<u64, StoreError> {
        let next = number(&self.tree)? + 1;
        self.tree.insert(KEY, &next.to_be_bytes()).map_err(failed)?;
        Ok(next)
    }

    /// Says that a group is durable.
    pub(super) fn write(&self, number: u64) -> Result<(), StoreError> {
        let written = self.file.write_all_at(text(number).as_bytes(), 0);
        written.map_err(|error| StoreError(format!("write `{}`: {error}", self.path.display())))
    }
}

fn number(tree: &sled::Tree) -> Result<u64, StoreError> {
    let stored = tree.get(KEY).map_err(failed)?;
    Ok(stored.and_then(|stored| stored.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// What the file says; nothing was acknowledged where there is none, or where a cut has torn it.
fn read(path: &Path) -> Result<u64, OpenError> {
    match fs::read(path) {
        Ok(bytes) => Ok(parse(&bytes).unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(OpenError::File { path: path.to_owned(), source }),
    }
}

/// The number and its complement, so that a torn line is none: 34 bytes.
fn text(number: u64) -> String {
    format!("{number:016x} {:016x}\n", !number)
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_str_radix(std::str::from_utf8(bytes).ok()?.get(..16)?, 16).ok()?;
    (bytes == text(number).as_bytes()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_mark_is_none() {
        let check = |bytes: &[u8], expected| assert_eq!(parse(bytes), expected, "{bytes:?}");
        let whole = text(4711);
        check(whole.as_bytes(), Some(4711));
        check(&whole.as_bytes()[..20], None);
        check(format!("{}{}", &text(1)[..17], &whole[17..]).as_bytes(), None);
        check(b"", None);
        check(&[0xff; 34], None);
    }
}
