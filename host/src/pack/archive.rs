//! A pack as one file: `.tar.zst` or `.tar.gz`, told apart by content. Unpacking trusts nothing in the archive: every
//! entry's name, kind and size is checked before a byte of it is written, and decompression stops at the pack's limits.

use std::collections::BTreeSet;
use std::io::{self, Read};

use cap_std::fs::Dir;

use super::directory::{
    Budget, Directory, FILE_BYTES_MAX, FILES_MAX, FilesError, MANIFEST, PACK_BYTES_MAX, PackPath, write_file,
};

/// Compressed bytes of an archive, at most: a pack's own limit, since compression never has to grow it much.
pub const ARCHIVE_BYTES_MAX: usize = PACK_BYTES_MAX as usize;
/// Bytes of the tar stream, at most: all files and, for each, a header, a long name and padding.
const STREAM_BYTES_MAX: u64 = PACK_BYTES_MAX + FILES_MAX as u64 * 4_096;
/// Entries of every kind, at most: folders and headers count here, so that a stream of empty ones ends too.
const ENTRIES_MAX: usize = 4 * FILES_MAX;
/// The decoder's window, as a power of two: 128 MiB is what the format recommends decoders to accept; more is an attack.
const WINDOW_LOG_MAX: u32 = 27;
/// The compression of archives we write. 12 is where packs stop getting smaller quickly; still under a second.
const LEVEL: i32 = 12;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks an archive into an empty folder. Each file is synced; the folders are not.
///
/// # Errors
/// The archive is refused, or the folder cannot be written. What was written so far stays for the caller to remove.
pub fn unpack(archive: &[u8], target: &Dir) -> Result<(), FilesError> {
    let stream = Limited { inner: decoder(archive)?, left: STREAM_BYTES_MAX };
    let mut tar = tar::Archive::new(stream);
    let mut unpacking = Unpacking { target, seen: BTreeSet::new(), budget: Budget::default() };
    for (index, entry) in tar.entries().map_err(broken)?.enumerate() {
        if index >= ENTRIES_MAX {
            return Err(FilesError::refused("the archive", format!("it has more than {ENTRIES_MAX} entries")));
        }
        unpacking.entry(entry.map_err(broken)?)?;
    }
    unpacking.manifest_present()
}

/// Unpacks an archive into an empty folder of this machine and opens it as a pack.
///
/// # Errors
/// The archive is refused, or the folder cannot be written. What was written so far stays for the caller to remove.
pub fn unpack_into(archive: &[u8], folder: &std::path::Path) -> Result<Directory, FilesError> {
    let open = Dir::open_ambient_dir(folder, cap_std::ambient_authority());
    let target = open.map_err(|error| FilesError::refused("the archive", format!("its folder: {error}")))?;
    unpack(archive, &target)?;
    Directory::scan(target)
}

fn decoder(archive: &[u8]) -> Result<Box<dyn Read + '_>, FilesError> {
    if archive.len() > ARCHIVE_BYTES_MAX {
        return Err(FilesError::refused("the archive", "it is larger than 256 MiB"));
    }
    if archive.starts_with(&ZSTD_MAGIC) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(archive).map_err(broken)?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
        return Ok(Box::new(decoder));
    }
    if archive.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(flate2::bufread::GzDecoder::new(archive)));
    }
    Err(FilesError::refused(
        "the archive",
        "it is neither `.tar.zst` nor `.tar.gz`; make one with `orchctl pack archive`",
    ))
}

fn broken(error: io::Error) -> FilesError {
    FilesError::refused("the archive", format!("it cannot be read: {error}"))
}

/// A reader that fails, rather than ends, when it gave what it may: a bomb must not look like a whole archive.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("it unpacks to more than a pack may have"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

struct Unpacking<'a> {
    target: &'a Dir,
    seen: BTreeSet<PackPath>,
    budget: Budget,
}

impl Unpacking<'_> {
    fn entry<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Result<(), FilesError> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(()); // `git archive` writes one with its commit; it describes no file.
        }
        let Some(path) = path_of(&entry.path_bytes())? else { return Ok(()) };
        if !kind.is_dir() && !kind.is_file() {
            return Err(FilesError::refused(
                path.as_str(),
                "it is a link or a device; a pack has only files and folders",
            ));
        }
        if path.is_hidden() || kind.is_dir() {
            return Ok(()); // Folders are made as their files need them.
        }
        self.file(path, &mut entry)
    }

    fn file<R: Read>(&mut self, path: PackPath, entry: &mut tar::Entry<'_, R>) -> Result<(), FilesError> {
        self.budget.take(path.as_str(), entry.size())?;
        if !self.seen.insert(path.clone()) {
            return Err(FilesError::refused(path.as_str(), "it is in the archive twice"));
        }
        let size = entry.size();
        let mut content = Vec::new();
        entry.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(broken)?;
        if content.len() as u64 != size {
            return Err(FilesError::refused(path.as_str(), "the archive ends within it"));
        }
        if self.clashes(&path) {
            return Err(FilesError::refused(path.as_str(), "it is a file and a folder at once"));
        }
        write_file(self.target, &path, &content)
    }

    /// Whether a folder of this path is a file of the archive, or the other way round.
    fn clashes(&self, path: &PackPath) -> bool {
        let text = path.as_str();
        let above = text.match_indices('/').any(|(at, _)| self.seen.iter().any(|seen| seen.as_str() == &text[..at]));
        above || self.target.is_dir(text)
    }

    fn manifest_present(&self) -> Result<(), FilesError> {
        if self.seen.iter().any(|path| path.as_str() == MANIFEST) {
            return Ok(());
        }
        let nested = self.seen.iter().find(|path| path.as_str().ends_with("/pack.yaml"));
        let reason = match nested {
            Some(path) => {
                format!("it must stand at the archive's top, and it is at `{path}`: archive the folder's contents")
            }
            None => "it is not in the archive".to_owned(),
        };
        Err(FilesError::refused(MANIFEST, reason))
    }
}

/// The entry's path; nothing for the top folder itself. `tar` writes `./a` for `a`.
fn path_of(bytes: &[u8]) -> Result<Option<PackPath>, FilesError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| FilesError::refused(&String::from_utf8_lossy(bytes), "its name is not UTF-8"))?;
    let text = text.strip_prefix("./").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    match text {
        "" | "." => Ok(None),
        text => Ok(Some(PackPath::parse(text)?)),
    }
}

/// Writes a pack as `.tar.zst`. The same files give the same bytes: sorted, no times, no owners, fixed modes.
///
/// # Errors
/// A file cannot be read.
pub fn write(directory: &Directory) -> Result<Vec<u8>, FilesError> {
    let encoder =
        zstd::stream::write::Encoder::new(Vec::new(), LEVEL).map_err(FilesError::io("compress", "the pack"))?;
    let mut tar = tar::Builder::new(encoder);
    for (path, facts) in directory.files() {
        let content = directory.read(path)?.expect("the path comes from the list of files");
        let mut header = tar::Header::new_gnu();
        header.set_size(facts.bytes);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, path.as_str(), content.as_slice())
            .map_err(FilesError::io("archive", path.as_str()))?;
    }
    let encoder = tar.into_inner().map_err(FilesError::io("archive", "the pack"))?;
    encoder.finish().map_err(FilesError::io("compress", "the pack"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// One tar entry, written with whatever name and kind, as an attacker would.
    fn raw(tar: &mut Vec<u8>, name: &[u8], kind: tar::EntryType, size: u64, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_entry_type(kind);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }

    fn gzip(tar: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(tar).unwrap();
        encoder.finish().unwrap()
    }

    fn target() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        (folder, dir)
    }

    fn refusal(tar: &[u8]) -> String {
        let (_folder, dir) = target();
        unpack(&gzip(tar), &dir).unwrap_err().to_string()
    }

    #[test]
    fn hostile_entries_are_refused() {
        use tar::EntryType as Kind;
        let cases: &[(&[u8], Kind, &str)] = &[
            (b"../x", Kind::Regular, "`..`"),
            (b"a/../../x", Kind::Regular, "`..`"),
            (b"/etc/passwd", Kind::Regular, "absolute"),
            (b"link", Kind::Symlink, "link or a device"),
            (b"link", Kind::Link, "link or a device"),
            (b"null", Kind::Char, "link or a device"),
            (b"disk", Kind::Block, "link or a device"),
            (b"pipe", Kind::Fifo, "link or a device"),
            (b"pack.yaml", Kind::Regular, "twice"),
            (b"pack.yaml/x", Kind::Regular, "at once"),
            (b"\xff", Kind::Regular, "UTF-8"),
        ];
        for (name, kind, expected) in cases {
            let mut tar = Vec::new();
            raw(&mut tar, b"pack.yaml", Kind::Regular, 1, b"x");
            raw(&mut tar, name, *kind, 0, b"");
            let refusal = refusal(&tar);
            assert!(refusal.contains(expected), "{refusal} should contain {expected}");
        }
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("in")).unwrap();
        let dir = Dir::open_ambient_dir(outer.path().join("in"), cap_std::ambient_authority()).unwrap();
        let mut tar = Vec::new();
        raw(&mut tar, b"../evil", tar::EntryType::Regular, 1, b"x");
        assert!(unpack(&gzip(&tar), &dir).is_err());
        assert!(!outer.path().join("evil").exists());
    }

    #[test]
    fn an_archive_is_held_to_the_limits_of_a_pack() {
        let mut tar = Vec::new();
        raw(&mut tar, b"pack.yaml", tar::EntryType::Regular, FILE_BYTES_MAX + 1, b"");
        assert!(refusal(&tar).contains("at most 64 MiB"));
        let mut budget = Budget::default();
        for number in 0..FILES_MAX {
            budget.take(&number.to_string(), 0).unwrap();
        }
        assert!(budget.take("one more", 0).unwrap_err().to_string().contains("at most 4096 files"));
        let mut budget = Budget::default();
        let refused = (0..5).find_map(|_| budget.take("large", FILE_BYTES_MAX).err()).unwrap();
        assert!(refused.to_string().contains("at most 256 MiB"));
        let mut tar = Vec::new();
        for number in 0..=ENTRIES_MAX {
            raw(&mut tar, format!("{number}/").as_bytes(), tar::EntryType::Directory, 0, b"");
        }
        assert!(refusal(&tar).contains("entries"));
    }

    #[test]
    fn a_bomb_is_stopped_by_the_stream_s_limit() {
        let mut limited = Limited { inner: io::repeat(0), left: 1_000 };
        let error = io::copy(&mut limited, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("more than a pack may have"));
    }

    #[test]
    fn what_is_no_archive_is_refused_with_the_cure() {
        let (_folder, dir) = target();
        let cases: &[(&[u8], &str)] = &[
            (b"", "neither"),
            (b"PK\x03\x04", "neither"),
            (b"\x28\xb5\x2f\xfdgarbage", "cannot be read"),
            (b"\x1f\x8bgarbage", "cannot be read"),
        ];
        for (bytes, expected) in cases {
            let error = unpack(bytes, &dir).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut tar = Vec::new();
        raw(&mut tar, b"storage/pack.yaml", tar::EntryType::Regular, 1, b"x");
        assert!(refusal(&tar).contains("`storage/pack.yaml`"));
        assert!(refusal(&[0; 1_024]).contains("not in the archive"));
        let mut tar = Vec::new();
        raw(&mut tar, b"pack.yaml", tar::EntryType::Regular, 2_000, b"cut");
        assert!(refusal(&tar).contains("ends within") || refusal(&tar).contains("cannot be read"));
    }

    #[test]
    fn an_archive_gives_back_the_files_it_was_made_of_and_is_reproducible() {
        let source = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        for path in ["pack.yaml", "workflows/a.yaml", long.as_str(), ".hidden"] {
            let path = source.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, path.to_string_lossy().rsplit('/').next().unwrap()).unwrap();
        }
        let directory = Directory::open(source.path()).unwrap();
        let archive = write(&directory).unwrap();
        assert_eq!(archive, write(&Directory::open(source.path()).unwrap()).unwrap());
        let (_folder, dir) = target();
        unpack(&archive, &dir).unwrap();
        let unpacked = Directory::scan(dir).unwrap();
        assert_eq!(unpacked.digest(), directory.digest());
        assert_eq!(unpacked.files().len(), 3);
    }
}
