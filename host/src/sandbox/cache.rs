//! Compiled components on disk, one file each. A file is named by the component's digest and the engine's version and
//! configuration, and starts with an HMAC over both and its content. A file that does not verify is never loaded: it is
//! compiled again and replaced. It deliberately knows no eviction: files are as few as installed packs have components.

use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use ring::hmac;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::{SandboxError, precompiled};
use crate::model::Digest;

/// What every file starts with; the number changes with the layout.
const MAGIC: &[u8; 8] = b"orchcw\x01\n";

/// Length of an HMAC-SHA-256, bytes.
const TAG_BYTES: usize = 32;

/// Larger files are not read, bytes; the largest components seen compile to some tens of MiB.
const FILE_BYTES_MAX: u64 = 512 << 20;

pub(super) struct Cache {
    directory: PathBuf,
    key: hmac::Key,
    engine_hash: Digest,
}

/// Machine code whose HMAC was checked. Only this file can make one.
pub(super) struct Verified(Vec<u8>);

impl Verified {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0[MAGIC.len() + TAG_BYTES..]
    }
}

impl Cache {
    pub(super) fn open(directory: PathBuf, key: &[u8; 32], engine: &Engine) -> Result<Self, SandboxError> {
        std::fs::create_dir_all(&directory)
            .map_err(|error| SandboxError::Engine(format!("make the cache `{}`: {error}", directory.display())))?;
        let mut hasher = Bytes(format!("wasmtime 48 {}", env!("CARGO_PKG_VERSION")).into_bytes());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Ok(Self { directory, key, engine_hash: Digest::of(&hasher.0) })
    }

    /// Takes a component from the cache, or compiles it and puts it there. Takes time: not for an async thread.
    pub(super) fn get(&self, engine: &Engine, digest: Digest, bytes: &[u8]) -> Result<Component, SandboxError> {
        let path = self.path(digest);
        if let Some(component) = self.read(&path, digest).and_then(|code| self.load(engine, &path, &code)) {
            return Ok(component);
        }
        let component = Component::from_binary(engine, bytes)
            .map_err(|error| SandboxError::Component { digest, reason: format!("{error:#}") })?;
        match component.serialize().map_err(|error| error.to_string()).and_then(|code| self.write(&path, digest, &code))
        {
            Ok(()) => {}
            // The component runs all the same; it is compiled again at the next start.
            Err(error) => tracing::warn!(path = %path.display(), error, "a compiled component could not be kept"),
        }
        Ok(component)
    }

    fn load(&self, engine: &Engine, path: &Path, code: &Verified) -> Option<Component> {
        let loaded = precompiled::load(engine, code);
        loaded.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "compiling a component again")).ok()
    }

    fn read(&self, path: &Path, digest: Digest) -> Option<Verified> {
        let length = std::fs::metadata(path).ok()?.len();
        // Read before it is verified: what is verified is what is loaded, whatever happens to the file meanwhile.
        let bytes = (length <= FILE_BYTES_MAX).then(|| std::fs::read(path).ok())??;
        let rest = bytes.strip_prefix(MAGIC.as_slice())?;
        let (tag, code) = rest.split_at_checked(TAG_BYTES)?;
        match hmac::verify(&self.key_for(digest), code, tag) {
            Ok(()) => Some(Verified(bytes)),
            Err(_) => {
                tracing::warn!(path = %path.display(), "a compiled component was changed or is another host's; compiling it again");
                None
            }
        }
    }

    fn write(&self, path: &Path, digest: Digest, code: &[u8]) -> Result<(), String> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(MAGIC)?;
            file.write_all(hmac::sign(&self.key_for(digest), code).as_ref())?;
            file.write_all(code)?;
            // No sync: a file that a power cut tears does not verify.
            file.persist(path).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| error.to_string())
    }

    /// A key of its own for each component and engine: a file that is moved to another name does not verify.
    fn key_for(&self, digest: Digest) -> hmac::Key {
        let context = format!("component {digest} engine {}", self.engine_hash);
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.key, context.as_bytes()).as_ref())
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(format!("{}-{}.cwasm", digest.hex(), &self.engine_hash.hex()[..16]))
    }
}

/// Collects what is hashed: the standard library's hashers may change between its versions, a SHA-256 does not.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Fixture {
        directory: tempfile::TempDir,
        engine: Engine,
    }

    impl Fixture {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap(), engine: Engine::default() }
        }

        fn cache(&self, key: u8) -> Cache {
            Cache::open(self.directory.path().to_owned(), &[key; 32], &self.engine).unwrap()
        }

        fn is_cached(&self, key: u8) -> bool {
            let cache = self.cache(key);
            let digest = Digest::of(EMPTY);
            let path = cache.path(digest);
            cache.read(&path, digest).and_then(|code| cache.load(&self.engine, &path, &code)).is_some()
        }

        fn get(&self, key: u8) {
            self.cache(key).get(&self.engine, Digest::of(EMPTY), EMPTY).unwrap();
        }

        fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
            let path = self.cache(1).path(Digest::of(EMPTY));
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    }

    #[test]
    fn a_component_is_compiled_once() {
        let fixture = Fixture::new();
        assert!(!fixture.is_cached(1));
        fixture.get(1);
        assert!(fixture.is_cached(1));
    }

    #[test]
    fn a_changed_file_is_compiled_again_and_replaced() {
        type Change = fn(&mut Vec<u8>);
        let changes: [(&str, Change); 7] = [
            ("its last byte", |bytes| *bytes.last_mut().unwrap() ^= 1),
            ("the middle", |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }),
            ("its tag", |bytes| bytes[MAGIC.len()] ^= 1),
            ("its magic", |bytes| bytes[0] ^= 1),
            ("cut", |bytes| bytes.truncate(100)),
            ("empty", |bytes| bytes.clear()),
            ("longer", |bytes| bytes.push(0)),
        ];
        for (what, change) in changes {
            let fixture = Fixture::new();
            fixture.get(1);
            fixture.change(change);
            assert!(!fixture.is_cached(1), "{what}");
            fixture.get(1);
            assert!(fixture.is_cached(1), "{what}");
        }
    }

    #[test]
    fn a_file_of_another_key_or_another_component_is_not_loaded() {
        let fixture = Fixture::new();
        fixture.get(1);
        assert!(!fixture.is_cached(2));
        let cache = fixture.cache(1);
        let other = Digest::of(b"other");
        std::fs::copy(cache.path(Digest::of(EMPTY)), cache.path(other)).unwrap();
        assert!(cache.read(&cache.path(other), other).is_none());
    }

    #[test]
    fn bytes_that_are_no_component_are_an_error_and_leave_nothing() {
        let fixture = Fixture::new();
        let error = fixture.cache(1).get(&fixture.engine, Digest::of(b"x"), b"x");
        assert!(matches!(error, Err(SandboxError::Component { .. })));
        assert_eq!(std::fs::read_dir(fixture.directory.path()).unwrap().count(), 0);
    }
}
