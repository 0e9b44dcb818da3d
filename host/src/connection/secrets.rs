//! Secrets, encrypted at rest with XChaCha20-Poly1305 under a key file that only its owner can read. A secret's tenant and
//! name are authenticated with its value, so that a row cannot be moved to another tenant or name. It deliberately has no
//! way to list values.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::journal::{Batch, CommitError, Journal, Scan, StoreError, keys, row};
use crate::model::{SecretName, TenantName};

/// Longer values are refused, bytes: certificates with their keys fit, files do not belong here.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// More names of a tenant are not listed; far above what one can use.
const LISTED_MAX: usize = 100_000;

/// The secrets of all tenants; a cheap handle.
#[derive(Clone)]
pub struct SecretStore(Arc<Inner>);

/// The secrets of one tenant; a cheap handle. It reaches no other tenant's.
#[derive(Debug, Clone)]
pub struct Secrets {
    store: SecretStore,
    tenant: TenantName,
}

struct Inner {
    journal: Arc<dyn Journal>,
    cipher: XChaCha20Poly1305,
    master: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for SecretStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretStore")
    }
}

/// A stored secret.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// 24 random bytes, hexadecimal.
    nonce: String,
    /// Ciphertext and tag, hexadecimal.
    sealed: String,
    /// Another one for each value that was stored; absent in rows of before there were versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

/// What is told of a secret: never its value, nor anything made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretView {
    /// Its name.
    pub name: SecretName,
    /// Another one, by chance, for each value that was stored.
    pub version: Option<String>,
}

/// Why a secret cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file is unusable; the text says what to do.
    #[error("use the key file: {0}")]
    KeyFile(String),
    /// The value is too long.
    #[error("store a secret of {bytes} bytes: at most {SECRET_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The stored row was not written with this key, or was changed.
    #[error("decrypt secret `{0}`: it was stored under another key file or changed; store it again")]
    Undecryptable(SecretName),
    /// The store failed.
    #[error("store the secret")]
    Store(#[source] CommitError),
}

impl From<StoreError> for SecretError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl SecretStore {
    /// Opens the store; makes the key file, readable by its owner only, where there is none.
    ///
    /// # Errors
    /// The key file is accessible to others, or cannot be read or made.
    pub fn open(journal: Arc<dyn Journal>, key_file: &Path) -> Result<Self, SecretError> {
        let master = read_or_make_key(key_file)?;
        let mut at_rest = derive(&master, "secrets at rest");
        let cipher = XChaCha20Poly1305::new((&at_rest).into());
        at_rest.zeroize();
        Ok(Self(Arc::new(Inner { journal, cipher, master })))
    }

    /// The secrets of a tenant.
    pub fn of(&self, tenant: &TenantName) -> Secrets {
        Secrets { store: self.clone(), tenant: tenant.clone() }
    }

    /// A key for another purpose, derived from the key file; different purposes give unrelated keys.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        derive(&self.0.master, purpose)
    }
}

impl Secrets {
    /// Makes or replaces a secret; true where it was made. Durable on return.
    ///
    /// # Errors
    /// It is longer than [`SECRET_BYTES_MAX`], or the store failed.
    pub async fn put(&self, name: &SecretName, value: &[u8]) -> Result<bool, SecretError> {
        if value.len() > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong { bytes: value.len() });
        }
        let (mut nonce, mut version) = ([0; 24], [0; 8]);
        for bytes in [&mut nonce[..], &mut version[..]] {
            SystemRandom::new().fill(bytes).expect("the kernel's generator does not fail after start-up");
        }
        let aad = associated(&self.tenant, name);
        let sealed = self
            .inner()
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad })
            .expect("the value is far below the cipher's limit");
        let key = keys::secret(&self.tenant, name);
        let made = self.inner().journal.get(&key)?.is_none();
        let version = Some(hex::encode(version));
        let value = row::encode(&Sealed { nonce: hex::encode(nonce), sealed: hex::encode(sealed), version });
        self.inner().journal.commit(Batch::default().put(key, value)).await.map_err(SecretError::Store)?;
        Ok(made)
    }

    /// What is told of all, in order of their names.
    ///
    /// # Errors
    /// The store failed.
    pub fn list(&self) -> Result<Vec<SecretView>, SecretError> {
        let rows = self.inner().journal.scan(Scan::prefix(keys::secrets(&self.tenant), LISTED_MAX))?;
        rows.iter()
            .map(|stored| {
                let name = keys::owner_and_name(&stored.key).and_then(|(_, name)| SecretName::parse(name).ok());
                let name = name.ok_or_else(|| StoreError("read a secret's name: it is not a name".to_owned()))?;
                let Sealed { version, .. } = row::decode(&stored.value)?;
                Ok(SecretView { name, version })
            })
            .collect()
    }

    /// What is told of one.
    ///
    /// # Errors
    /// The store failed.
    pub fn get(&self, name: &SecretName) -> Result<Option<SecretView>, SecretError> {
        let Some(value) = self.inner().journal.get(&keys::secret(&self.tenant, name))? else { return Ok(None) };
        let Sealed { version, .. } = row::decode(&value)?;
        Ok(Some(SecretView { name: name.clone(), version }))
    }

    /// Removes a secret; whether there was one. Durable on return.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, name: &SecretName) -> Result<bool, SecretError> {
        let key = keys::secret(&self.tenant, name);
        if self.inner().journal.get(&key)?.is_none() {
            return Ok(false);
        }
        self.inner().journal.commit(Batch::default().delete(key)).await.map_err(SecretError::Store)?;
        Ok(true)
    }

    /// A secret's bytes, wiped from memory when dropped.
    ///
    /// # Errors
    /// The store failed, or the row was written under another key.
    pub fn reveal(&self, name: &SecretName) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
        let Some(value) = self.inner().journal.get(&keys::secret(&self.tenant, name))? else { return Ok(None) };
        let row: Sealed = row::decode(&value)?;
        self.open_row(name, &row).map(Some).ok_or_else(|| SecretError::Undecryptable(name.clone()))
    }

    fn inner(&self) -> &Inner {
        &self.store.0
    }

    fn open_row(&self, name: &SecretName, row: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let mut nonce = [0; 24];
        hex::decode_to_slice(&row.nonce, &mut nonce).ok()?;
        let sealed = hex::decode(&row.sealed).ok()?;
        let aad = associated(&self.tenant, name);
        self.inner().cipher.decrypt(&XNonce::from(nonce), Payload { msg: &sealed, aad: &aad }).ok().map(Zeroizing::new)
    }
}

/// What is authenticated with a value; for the tenant `default` what it was before there were tenants.
fn associated(tenant: &TenantName, name: &SecretName) -> Vec<u8> {
    let whose = if tenant.is_standard() { String::new() } else { format!("{tenant}\0") };
    [b"orchestrator secret 1\0", whose.as_bytes(), name.as_str().as_bytes()].concat()
}

fn derive(master: &[u8; 32], purpose: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, master);
    let tag = hmac::sign(&key, &[b"orchestrator key 1\0", purpose.as_bytes()].concat());
    tag.as_ref().try_into().expect("an HMAC-SHA-256 has 32 bytes")
}

fn read_or_make_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let failed = |error: io::Error| SecretError::KeyFile(format!("`{}`: {error}", path.display()));
    match File::open(path) {
        Ok(file) => read_key(file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_key(path).map_err(failed)?;
            read_key(File::open(path).map_err(failed)?, path)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Makes the key under another name first and links it into place: nobody ever sees half a key, and of two starters
/// the second finds the first one's key.
fn make_key(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut key = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(key.as_mut()).map_err(|_| io::Error::other("no random bytes"))?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let text = Zeroizing::new(format!("{}\n", hex::encode(key.as_ref())));
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&new, path);
    std::fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(directory)?.sync_all(),
    }
}

fn read_key(file: File, path: &Path) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let refuse = |reason: String| Err(SecretError::KeyFile(format!("`{}`: {reason}", path.display())));
    // The open file is looked at, not its name, so that nothing can be put in between.
    let mode = match file.metadata() {
        Ok(metadata) => metadata.mode() & 0o777,
        Err(error) => return refuse(error.to_string()),
    };
    if mode & 0o077 != 0 {
        return refuse(format!("others may access it (mode {mode:03o}); run `chmod 600 {}`", path.display()));
    }
    let mut text = Zeroizing::new(String::with_capacity(128));
    if let Err(error) = file.take(128).read_to_string(&mut text) {
        return refuse(error.to_string());
    }
    let mut key = Zeroizing::new([0; 32]);
    match hex::decode_to_slice(text.trim_end(), key.as_mut()) {
        Ok(()) => Ok(key),
        Err(_) => refuse("it does not hold 64 hexadecimal digits; restore it from a backup".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::memory::MemoryJournal;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).unwrap()
    }

    fn whole(directory: &tempfile::TempDir, journal: &Arc<MemoryJournal>) -> SecretStore {
        SecretStore::open(journal.clone(), &directory.path().join("key")).unwrap()
    }

    fn store(directory: &tempfile::TempDir, journal: &Arc<MemoryJournal>) -> Secrets {
        whole(directory, journal).of(&TenantName::standard())
    }

    fn names(secrets: &Secrets) -> Vec<SecretName> {
        secrets.list().unwrap().into_iter().map(|secret| secret.name).collect()
    }

    #[tokio::test]
    async fn each_value_that_is_stored_has_a_version_that_tells_nothing_of_it() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let store = store(&directory, &journal);
        let mut versions = Vec::new();
        for _ in 0..3 {
            store.put(&name("jira"), b"the same value").await.unwrap();
            let shown = store.get(&name("jira")).unwrap().unwrap();
            assert_eq!(store.list().unwrap(), std::slice::from_ref(&shown));
            versions.push(shown.version.unwrap());
            store.delete(&name("jira")).await.unwrap();
        }
        versions.dedup();
        assert_eq!(versions.len(), 3, "the same value stored again has another version: {versions:?}");
        assert_eq!(store.get(&name("jira")).unwrap(), None);
    }

    #[test]
    fn a_secret_of_before_there_were_versions_is_still_read() {
        let stored: Sealed = row::decode(&[&[1][..], br#"{"nonce":"00","sealed":"ff"}"#].concat()).unwrap();
        assert_eq!((stored.nonce.as_str(), stored.version), ("00", None));
    }

    #[tokio::test]
    async fn a_secret_comes_back_after_a_restart_and_is_not_in_the_journal() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        assert!(store(&directory, &journal).put(&name("jira"), b"hunter2hunter2").await.unwrap());
        let store = store(&directory, &journal);
        assert!(!store.put(&name("jira"), b"hunter2hunter2").await.unwrap());
        assert_eq!(store.reveal(&name("jira")).unwrap().unwrap().as_slice(), b"hunter2hunter2");
        let stored = journal.get(&keys::secret(&TenantName::standard(), &name("jira"))).unwrap().unwrap();
        let text = String::from_utf8(stored.to_vec()).unwrap();
        assert!(!text.contains("hunter2") && !text.contains(&hex::encode(b"hunter2")));
        assert_eq!(names(&store), [name("jira")]);
        assert!(store.delete(&name("jira")).await.unwrap());
        assert!(!store.delete(&name("jira")).await.unwrap());
        assert!(store.reveal(&name("jira")).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_row_does_not_open_under_another_name_or_another_key() {
        let (directory, other, journal) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let first = store(&directory, &journal);
        first.put(&name("a"), b"value").await.unwrap();
        let stored = journal.get(&keys::secret(&TenantName::standard(), &name("a"))).unwrap().unwrap();
        journal.apply(Batch::default().put(keys::secret(&TenantName::standard(), &name("b")), stored)).unwrap();
        assert!(matches!(first.reveal(&name("b")), Err(SecretError::Undecryptable(_))));
        assert!(matches!(store(&other, &journal).reveal(&name("a")), Err(SecretError::Undecryptable(_))));
    }

    #[tokio::test]
    async fn secrets_of_two_tenants_do_not_meet_and_cannot_be_moved_from_one_to_the_other() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let whole = whole(&directory, &journal);
        let of = |tenant: &str| whole.of(&TenantName::parse(tenant).unwrap());
        let (default, red, blue) = (of("default"), of("red"), of("blue"));
        for (secrets, value) in [(&default, b"1"), (&red, b"2")] {
            assert!(secrets.put(&name("a"), value).await.unwrap(), "it is new in this tenant");
        }
        red.put(&name("b"), b"3").await.unwrap();
        assert_eq!((names(&default), names(&red)), (vec![name("a")], vec![name("a"), name("b")]));
        assert!(blue.list().unwrap().is_empty() && blue.reveal(&name("a")).unwrap().is_none());
        assert_eq!(default.reveal(&name("a")).unwrap().unwrap().as_slice(), b"1");
        assert!(!blue.delete(&name("a")).await.unwrap() && !default.delete(&name("b")).await.unwrap());
        let key = |tenant: &str| keys::secret(&TenantName::parse(tenant).unwrap(), &name("a"));
        for (from, to, receiver) in [("red", "blue", &blue), ("red", "default", &default), ("default", "red", &red)] {
            let stored = journal.get(&key(from)).unwrap().unwrap();
            let kept = journal.copy();
            journal.apply(Batch::default().put(key(to), stored)).unwrap();
            assert!(matches!(receiver.reveal(&name("a")), Err(SecretError::Undecryptable(_))), "{from} to {to}");
            if let Some(stored) = kept.get(&key(to)).unwrap() {
                journal.apply(Batch::default().put(key(to), stored)).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_value_that_is_too_long_is_refused() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let long = vec![0; SECRET_BYTES_MAX + 1];
        let error = store(&directory, &journal).put(&name("a"), &long).await.unwrap_err();
        assert!(matches!(error, SecretError::TooLong { .. }));
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_with_its_cure() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let path = directory.path().join("key");
        drop(store(&directory, &journal));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = SecretStore::open(journal, &path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_key_file_is_never_replaced() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let path = directory.path().join("key");
        std::fs::write(&path, "abc").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(SecretStore::open(journal, &path), Err(SecretError::KeyFile(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn keys_for_different_purposes_differ() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let store = whole(&directory, &journal);
        assert_eq!(store.derive("a"), store.derive("a"));
        assert_ne!(store.derive("a"), store.derive("b"));
    }
}
