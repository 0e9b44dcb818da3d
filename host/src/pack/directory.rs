//! A pack's files below one folder. Every access goes through a cap-std directory handle, so that no path in a pack can
//! lead out of it. It knows names, sizes and digests, not what the files mean.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};

use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// Files in a pack, at most. A pack has some dozen; the bound stops an archive from eating the disk's inodes.
pub const FILES_MAX: usize = 4_096;
/// Bytes of one file, at most. Components are 60 kB to some MiB; schemas and workflows are far smaller.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of all files together, at most.
pub const PACK_BYTES_MAX: u64 = 256 << 20;
/// Folders inside each other, at most; keeps every walk shallow.
const DEPTH_MAX: usize = 16;
/// Bytes of one path, at most; what a tar header carries without tricks, and more than people write.
const PATH_BYTES_MAX: usize = 512;

/// The manifest's place.
pub const MANIFEST: &str = "pack.yaml";

/// A path inside a pack: relative, `/` between its parts, no part empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackPath(String);

impl PackPath {
    /// Checks and takes the text.
    ///
    /// # Errors
    /// A text that is no such path; the error says why.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let refuse = |reason| Err(PathError { path: text.chars().take(200).collect(), reason });
        match text {
            "" => return refuse("it is empty"),
            _ if text.len() > PATH_BYTES_MAX => return refuse("it is longer than 512 bytes"),
            _ if text.starts_with('/') => return refuse("it is absolute; write it relative to the pack's folder"),
            _ if text.contains('\\') => return refuse("it contains `\\`; write `/` between its parts"),
            _ if text.chars().any(char::is_control) => return refuse("it contains a control character"),
            _ => {}
        }
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            parts if parts.len() > DEPTH_MAX => refuse("it is more than 16 folders deep"),
            parts if parts.contains(&"..") => refuse("it contains `..`; a pack only has what lies in its folder"),
            parts if parts.contains(&"") || parts.contains(&".") => refuse("it has an empty part or a `.`"),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder around it; absent at the top.
    pub fn folder(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(folder, _)| folder)
    }

    /// Whether it or a folder around it starts with a dot. Such entries (`.git`, `.DS_Store`) are no part of a pack.
    pub fn is_hidden(&self) -> bool {
        self.0.split('/').any(|part| part.starts_with('.'))
    }
}

impl TryFrom<String> for PackPath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl From<PackPath> for String {
    fn from(path: PackPath) -> Self {
        path.0
    }
}

impl fmt::Display for PackPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a text is not a path of a pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a path inside a pack: {reason}")]
pub struct PathError {
    /// The text, cut at 200 characters.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Why a pack's files cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The pack has to be changed.
    #[error("take `{path}` into the pack: {reason}")]
    Refused {
        /// The entry, as far as it is known.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The machine failed, or the folder is not there.
    #[error("{doing} `{path}`")]
    Io {
        /// `read`, `write`, …
        doing: &'static str,
        /// The file or folder.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl From<PathError> for FilesError {
    fn from(error: PathError) -> Self {
        Self::refused(&error.path, error.reason)
    }
}

impl FilesError {
    pub(super) fn refused(path: &str, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.chars().take(200).collect(), reason: reason.into() }
    }

    pub(super) fn io(doing: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

/// One file of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// The digest of its content.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// Counts what has been taken, so that every source of files is held to the same limits.
#[derive(Debug, Default)]
pub(super) struct Budget {
    files: usize,
    bytes: u64,
}

impl Budget {
    /// Takes one file of `bytes`.
    pub(super) fn take(&mut self, path: &str, bytes: u64) -> Result<(), FilesError> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if bytes > FILE_BYTES_MAX {
            return Err(FilesError::refused(path, format!("a file has at most {} MiB", FILE_BYTES_MAX >> 20)));
        }
        if self.files > FILES_MAX {
            return Err(FilesError::refused(path, format!("a pack has at most {FILES_MAX} files")));
        }
        if self.bytes > PACK_BYTES_MAX {
            return Err(FilesError::refused(path, format!("a pack has at most {} MiB", PACK_BYTES_MAX >> 20)));
        }
        Ok(())
    }
}

/// A folder that holds a pack, with the digest of every file as it was when the folder was scanned.
#[derive(Debug)]
pub struct Directory {
    root: Dir,
    files: BTreeMap<PackPath, FileFacts>,
}

impl Directory {
    /// Opens a folder by its path on this machine and scans it.
    ///
    /// # Errors
    /// See [`Directory::scan`]; or there is no such folder.
    pub fn open(path: &std::path::Path) -> Result<Self, FilesError> {
        let root = Dir::open_ambient_dir(path, cap_std::ambient_authority())
            .map_err(FilesError::io("open the folder", path.display().to_string()))?;
        Self::scan(root)
    }

    /// Reads every file below `root` once and notes its digest.
    ///
    /// # Errors
    /// A link, device or odd name below it, too much of anything, or the folder cannot be read.
    pub fn scan(root: Dir) -> Result<Self, FilesError> {
        let mut walk = Walk { files: BTreeMap::new(), budget: Budget::default() };
        walk.folder(&root, "", 0)?;
        Ok(Self { root, files: walk.files })
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &BTreeMap<PackPath, FileFacts> {
        &self.files
    }

    /// The bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|facts| facts.bytes).sum()
    }

    /// A file's content; absent where the pack has no such file.
    ///
    /// # Errors
    /// The file cannot be read or is no longer what was scanned.
    pub fn read(&self, path: &PackPath) -> Result<Option<Vec<u8>>, FilesError> {
        let Some(facts) = self.files.get(path) else { return Ok(None) };
        let content = read_bounded(&self.root, path.as_str())?;
        if Digest::of(&content) != facts.digest {
            return Err(FilesError::refused(path.as_str(), "it was changed while the pack was read; try again"));
        }
        Ok(Some(content))
    }

    /// The pack's digest: the SHA-256 over one line `<sha256>  <path>` per file, sorted by path bytewise; what
    /// `LC_ALL=C sort` and `sha256sum` give over the same files.
    pub fn digest(&self) -> Digest {
        let lines: String =
            self.files.iter().map(|(path, facts)| format!("{}  {path}\n", facts.digest.hex())).collect();
        Digest::of(lines.as_bytes())
    }

    /// Copies every file below `target`, each synced.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn copy_to(&self, target: &Dir) -> Result<(), FilesError> {
        for path in self.files.keys() {
            let content = self.read(path)?.expect("the path comes from the list of files");
            write_file(target, path, &content)?;
        }
        Ok(())
    }
}

struct Walk {
    files: BTreeMap<PackPath, FileFacts>,
    budget: Budget,
}

impl Walk {
    fn folder(&mut self, folder: &Dir, prefix: &str, depth: usize) -> Result<(), FilesError> {
        if depth > DEPTH_MAX {
            return Err(FilesError::refused(prefix, "it is more than 16 folders deep"));
        }
        for entry in folder.entries().map_err(FilesError::io("read the folder", prefix))? {
            let entry = entry.map_err(FilesError::io("read the folder", prefix))?;
            let name = entry.file_name();
            let shown = format!("{prefix}{}", name.to_string_lossy());
            if name.as_encoded_bytes().starts_with(b".") {
                continue; // Hidden entries are no part of a pack.
            }
            if name.to_str().is_none() {
                return Err(FilesError::refused(&shown, "its name is not UTF-8"));
            }
            let kind = entry.file_type().map_err(FilesError::io("read", shown.clone()))?;
            if kind.is_dir() {
                let inner = entry.open_dir().map_err(FilesError::io("open the folder", shown.clone()))?;
                self.folder(&inner, &format!("{shown}/"), depth + 1)?;
            } else if kind.is_file() {
                self.file(folder, &name.to_string_lossy(), &shown)?;
            } else {
                return Err(FilesError::refused(&shown, "it is a link or a device; a pack has only files and folders"));
            }
        }
        Ok(())
    }

    fn file(&mut self, folder: &Dir, name: &str, shown: &str) -> Result<(), FilesError> {
        let path = PackPath::parse(shown)?;
        let metadata = folder.symlink_metadata(name).map_err(FilesError::io("read", shown))?;
        self.budget.take(shown, metadata.len())?; // Before reading, so that nothing large is read in vain.
        let content = read_bounded(folder, name)?;
        let facts = FileFacts { digest: Digest::of(&content), bytes: content.len() as u64 };
        self.files.insert(path, facts);
        Ok(())
    }
}

fn read_bounded(folder: &Dir, name: &str) -> Result<Vec<u8>, FilesError> {
    let file = folder.open(name).map_err(FilesError::io("open", name))?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(FilesError::io("read", name))?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(FilesError::refused(name, format!("a file has at most {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok(content)
}

/// Writes a new file and its folders below `target`, and syncs the file.
pub(super) fn write_file(target: &Dir, path: &PackPath, content: &[u8]) -> Result<(), FilesError> {
    if let Some(folder) = path.folder() {
        target.create_dir_all(folder).map_err(FilesError::io("make the folder", folder))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let write = || -> io::Result<()> {
        let mut file = target.open_with(path.as_str(), &options)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(FilesError::io("write", path.as_str()))
}

/// Syncs a folder and every folder below it, so that the names of new files survive a power cut.
pub(super) fn sync_folders(folder: &Dir) -> io::Result<()> {
    for entry in folder.entries()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.open_dir()?)?;
        }
    }
    sync_folder(folder)
}

/// Syncs one folder. The handle itself may be path-only, which cannot be synced; `.` opened for reading can.
pub(super) fn sync_folder(folder: &Dir) -> io::Result<()> {
    folder.open(".")?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn a_path_never_leaves_the_pack() {
        for good in ["pack.yaml", "a/b c.json", "ü/x"] {
            assert!(PackPath::parse(good).is_ok(), "{good}");
        }
        let deep = "a/".repeat(16) + "b";
        for bad in ["", "/etc/passwd", "../x", "a/../x", "a//b", "./a", "a/", "a\\b", "a\nb", &"x".repeat(513), &deep] {
            assert!(PackPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_digest_depends_on_names_and_content_only() {
        let files: &[(&str, &[u8])] = &[("pack.yaml", b"x"), ("a/b", b"y")];
        let hidden: &[(&str, &[u8])] = &[("a/b", b"y"), ("pack.yaml", b"x"), (".git/config", b"z"), ("a/.x", b"")];
        let digest = |files| Directory::open(folder(files).path()).unwrap().digest();
        assert_eq!(digest(files), digest(hidden));
        assert_ne!(digest(files), digest(&[("pack.yaml", b"x"), ("a/c", b"y")]));
        assert_ne!(digest(files), digest(&[("pack.yaml", b"x"), ("a/b", b"z")]));
        let lines = format!("{}  a/b\n{}  pack.yaml\n", Digest::of(b"y").hex(), Digest::of(b"x").hex());
        assert_eq!(digest(files), Digest::of(lines.as_bytes()));
    }

    #[test]
    fn links_are_refused_wherever_they_lead() {
        for target in ["/etc/passwd", "pack.yaml", "nowhere"] {
            let folder = folder(&[("pack.yaml", b"x")]);
            std::os::unix::fs::symlink(target, folder.path().join("link")).unwrap();
            let error = Directory::open(folder.path()).unwrap_err();
            assert!(matches!(error, FilesError::Refused { ref path, .. } if path == "link"), "{error}");
        }
    }

    #[test]
    fn too_large_a_file_is_refused_before_it_is_read() {
        let folder = folder(&[("pack.yaml", b"x")]);
        std::fs::File::create(folder.path().join("big")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let error = Directory::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("at most 64 MiB"), "{error}");
    }

    #[test]
    fn a_file_that_changes_after_the_scan_is_noticed() {
        let folder = folder(&[("pack.yaml", b"x")]);
        let directory = Directory::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("pack.yaml"), b"other").unwrap();
        assert!(directory.read(&PackPath::parse("pack.yaml").unwrap()).is_err());
    }
}
