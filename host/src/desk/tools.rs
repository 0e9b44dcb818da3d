//! The sandbox and the evaluator of expressions for work without a server. Machine code is kept below the user's cache,
//! so that only the first run compiles; the key that vouches for it lies beside it, for this user alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::connection::secrets::SecretStore;
use crate::definition::evaluate::Evaluate;
use crate::journal::memory::MemoryJournal;
use crate::sandbox::expression::Expressions;
use crate::sandbox::{Sandbox, SandboxConfig};

/// So many attempts run at once on a desk; each reserves address space.
const ATTEMPTS_MAX: u32 = 32;

/// What checks and runs share.
pub struct Tools {
    /// Where guests run.
    pub sandbox: Arc<Sandbox>,
    /// Who computes expressions.
    pub evaluator: Arc<dyn Evaluate>,
    /// Kept as long as its files are used.
    _temporary: Option<tempfile::TempDir>,
}

impl Tools {
    /// Sets them up with a cache in a folder; where that cannot be, with one that is gone afterwards. Takes seconds the
    /// first time.
    ///
    /// # Errors
    /// The machine does not allow a sandbox; the text says why.
    pub fn open(cache: Option<&Path>) -> Result<Self, String> {
        let kept = cache.and_then(|folder| kept(folder).ok());
        let (cache_dir, cache_key, temporary) = match kept {
            Some((folder, key)) => (folder, key, None),
            None => {
                let folder = tempfile::tempdir().map_err(|error| format!("make a temporary folder: {error}"))?;
                (folder.path().to_owned(), rand::random(), Some(folder))
            }
        };
        let memory_bytes_max = SandboxConfig::MEMORY_BYTES_MAX;
        let config = SandboxConfig { cache_dir, cache_key, memory_bytes_max, attempts_max: ATTEMPTS_MAX };
        let sandbox = Sandbox::new(config).map_err(|error| error.to_string())?;
        let evaluator = Expressions::new(&sandbox).map_err(|error| error.to_string())?;
        Ok(Self { sandbox, evaluator, _temporary: temporary })
    }
}

/// The cache's folder and its key, made where they are not there.
fn kept(folder: &Path) -> Result<(PathBuf, [u8; 32]), String> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| error.to_string())?;
    let keys = SecretStore::open(Arc::new(MemoryJournal::new()), &folder.join("key"));
    let key = keys.map_err(|error| error.to_string())?.derive("component cache");
    Ok((folder.join("components"), key))
}
