//! The folder of the installed packs: one folder per pack, named by its digest, and folders under way, named with a
//! leading dot. Everything goes through one cap-std handle.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::Dir;

use super::CatalogError;
use crate::model::{Digest, Json};
use crate::pack::directory::{FILE_BYTES_MAX, FilesError, PackPath, sync_folder, sync_folders};

/// What the names of folders under way start with.
const INCOMING: &str = ".incoming-";

/// The folder.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    root: Dir,
    /// Numbers the folders under way.
    next: AtomicU64,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, FilesError> {
        let shown = path.display().to_string();
        let authority = cap_std::ambient_authority();
        Dir::create_ambient_dir_all(path, authority).map_err(FilesError::io("make the folder", shown.clone()))?;
        let root = Dir::open_ambient_dir(path, authority).map_err(FilesError::io("open the folder", shown))?;
        Ok(Self { path: path.to_owned(), root, next: AtomicU64::new(0) })
    }

    /// Removes what is neither a pack in `keep` nor ours to judge.
    pub(super) fn sweep(&self, keep: &BTreeSet<Digest>) -> Result<(), FilesError> {
        let kept: BTreeSet<String> = keep.iter().map(Digest::hex).collect();
        let shown = || self.path.display().to_string();
        for entry in self.root.entries().map_err(FilesError::io("read the folder", shown()))? {
            let name = entry.map_err(FilesError::io("read the folder", shown()))?.file_name();
            let Some(name) = name.to_str() else { continue };
            let ours = name.starts_with(INCOMING) || name.parse_digest();
            if ours && !kept.contains(name) {
                tracing::info!(folder = name, "remove what an unfinished installation left over");
                self.root.remove_dir_all(name).map_err(FilesError::io("remove the folder", name))?;
            }
        }
        Ok(())
    }

    /// A new folder for an installation; removed with what is in it when dropped.
    pub(super) fn incoming(&self) -> Result<Incoming, FilesError> {
        let name = format!("{INCOMING}{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.root.create_dir(&name).map_err(FilesError::io("make the folder", name.clone()))?;
        let root = self.root.try_clone().map_err(FilesError::io("open the folder", name.clone()))?;
        Ok(Incoming { root, name })
    }

    pub(super) fn folder(&self, digest: Digest) -> PathBuf {
        self.path.join(digest.hex())
    }

    pub(super) fn remove(&self, digest: Digest) -> Result<(), FilesError> {
        self.root.remove_dir_all(digest.hex()).map_err(FilesError::io("remove the folder", digest.hex()))
    }

    pub(super) fn read(&self, pack: Digest, path: &PackPath) -> Result<Vec<u8>, FilesError> {
        let shown = format!("{}/{path}", pack.hex());
        let size = self.root.metadata(&shown).map_err(FilesError::io("read", shown.clone()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(FilesError::refused(&shown, "it grew after it was installed"));
        }
        self.root.read(&shown).map_err(FilesError::io("read", shown))
    }

    pub(super) fn text(&self, pack: Digest, path: &PackPath) -> Result<String, CatalogError> {
        let damaged = |_| CatalogError::Unusable(format!("`{path}` of an installed pack is not text any more"));
        String::from_utf8(self.read(pack, path)?).map_err(damaged)
    }

    pub(super) fn schema(&self, pack: Digest, path: &PackPath) -> Result<Json, CatalogError> {
        let damaged =
            |error| CatalogError::Unusable(format!("`{path}` of an installed pack is not JSON any more: {error}"));
        serde_json::from_slice(&self.read(pack, path)?).map_err(damaged)
    }

    /// A component's bytes, which must still be those that were installed.
    pub(super) async fn component(
        &self,
        pack: Digest,
        path: PackPath,
        expected: Digest,
    ) -> Result<Vec<u8>, CatalogError> {
        let root = self.root.try_clone().map_err(FilesError::io("open the folder", pack.hex()))?;
        let store = Self { path: self.path.clone(), root, next: AtomicU64::new(0) };
        let read = tokio::task::spawn_blocking(move || {
            let bytes = store.read(pack, &path)?;
            match Digest::of(&bytes) == expected {
                true => Ok(bytes),
                false => Err(CatalogError::Unusable(format!("`{path}` was changed after its pack was installed"))),
            }
        });
        read.await.map_err(|error| CatalogError::Unusable(error.to_string()))?
    }
}

trait PackFolderName {
    fn parse_digest(&self) -> bool;
}

impl PackFolderName for str {
    fn parse_digest(&self) -> bool {
        format!("sha256:{self}").parse::<Digest>().is_ok()
    }
}

/// A folder under way.
#[derive(Debug)]
pub(super) struct Incoming {
    root: Dir,
    name: String,
}

impl Incoming {
    /// A handle to it.
    pub(super) fn open(&self) -> Result<Dir, FilesError> {
        self.root.open_dir(&self.name).map_err(FilesError::io("open the folder", self.name.clone()))
    }

    /// Puts it in its place for good: synced, renamed, and the name synced. A folder of that name has no row, since
    /// the caller looked, and is what a crash left over.
    pub(super) fn place(self, digest: Digest) -> Result<(), FilesError> {
        let target = digest.hex();
        let place = || {
            sync_folders(&self.root.open_dir(&self.name)?)?;
            if self.root.is_dir(&target) {
                self.root.remove_dir_all(&target)?;
            }
            self.root.rename(&self.name, &self.root, &target)?;
            sync_folder(&self.root)
        };
        place().map_err(FilesError::io("place the pack's folder", target.clone()))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Once placed, there is nothing of this name any more; anything else is swept at the next opening.
        let _ = self.root.remove_dir_all(&self.name);
    }
}
