//! What the catalog finds, changes and refuses.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::journal::memory::MemoryJournal;
use crate::journal::{keys, row};
use crate::pack::archive;
use crate::pack::directory::Directory;
use crate::pack::install::tests::AnyExpression;
use crate::sandbox::SandboxConfig;

struct Bench {
    folder: tempfile::TempDir,
    journal: Arc<MemoryJournal>,
    sandbox: Arc<Sandbox>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache_dir = folder.path().join("cache");
        let config = SandboxConfig { cache_dir, cache_key: [7; 32], memory_bytes_max: 16 << 20, attempts_max: 1 };
        Self { folder, journal: Arc::new(MemoryJournal::new()), sandbox: Sandbox::new(config).unwrap() }
    }

    fn open(&self) -> Arc<Catalog> {
        let packs = self.folder.path().join("packs");
        Catalog::open(self.journal.clone(), &packs, self.sandbox.clone(), Arc::new(AnyExpression)).unwrap()
    }

    /// What lies in the packs' folder.
    fn left(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path().join("packs")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// A pack without components, whose workflow sets `note`.
fn pack(name: &str, version: &str, service: &str, note: &str) -> Bytes {
    let manifest = format!(
        "format: 1\nname: {name}\nversion: {version}\nworld: orchestrator:pack/action@0.1\nworkflows: [w.yaml]\n\
         services:\n  - {{ name: {service}, group: g, workflow: w }}\n"
    );
    let workflow = format!(
        "document: {{ dsl: '1.0.0', namespace: n, name: w, version: '1.0.0' }}\ndo:\n  - note: {{ set: {{ note: {note} }} }}\n"
    );
    archive_of(&[("pack.yaml", manifest.as_bytes()), ("w.yaml", workflow.as_bytes())])
}

fn archive_of(files: &[(&str, &[u8])]) -> Bytes {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        std::fs::write(folder.path().join(path), content).unwrap();
    }
    archive::write(&Directory::open(folder.path()).unwrap()).unwrap().into()
}

fn name(text: &str) -> PackName {
    PackName::parse(text).unwrap()
}

fn version(text: &str) -> semver::Version {
    text.parse().unwrap()
}

#[tokio::test]
async fn several_versions_stand_side_by_side_and_the_latest_release_is_meant() {
    let bench = Bench::new();
    let catalog = bench.open();
    for installed in ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"] {
        assert!(catalog.install_archive(pack("a", installed, "order a", "x")).await.unwrap().created);
    }
    for catalog in [catalog, bench.open()] {
        assert_eq!(catalog.versions(&name("a")).len(), 4);
        assert_eq!(catalog.latest(&name("a")).unwrap().manifest.version, version("1.10.0"));
        let services = catalog.services();
        assert_eq!((services.len(), &services[0].version), (1, &version("1.10.0")));
        let workflow = WorkflowName::parse("w").unwrap();
        assert_eq!(catalog.workflow(&name("a"), None, &workflow).unwrap().version, version("1.10.0"));
        assert!(catalog.program_by(&name("a"), &version("1.0.0"), &workflow).is_ok());
        assert!(matches!(catalog.program_by(&name("a"), &version("3.0.0"), &workflow), Err(CatalogError::NotFound(_))));
    }
}

#[tokio::test]
async fn the_same_content_is_no_error_and_other_content_is_a_conflict() {
    let bench = Bench::new();
    let catalog = bench.open();
    catalog.install_archive(pack("a", "1.0.0", "order a", "x")).await.unwrap();
    let left = bench.left();
    assert!(!catalog.install_archive(pack("a", "1.0.0", "order a", "x")).await.unwrap().created);
    let conflict = catalog.install_archive(pack("a", "1.0.0", "order a", "y")).await;
    assert!(matches!(conflict, Err(InstallError::Conflict { .. })), "{conflict:?}");
    let taken = catalog.install_archive(pack("b", "1.0.0", "order a", "x")).await;
    assert!(matches!(taken, Err(InstallError::ServiceTaken { .. })), "{taken:?}");
    assert_eq!(bench.left(), left);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let bench = Bench::new();
    let catalog = bench.open();
    let empty_component = b"\0asm\x0d\0\x01\0";
    let manifest = "format: 1\nname: a\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\n\
                    components: { main: main.wasm }\nactions: { go: { component: main } }\n";
    let cases: &[Bytes] = &[
        Bytes::from_static(b"no archive"),
        archive_of(&[("pack.yaml", b"format: 7\n")]),
        archive_of(&[("other.yaml", b"x")]),
        archive_of(&[("pack.yaml", manifest.as_bytes())]),
        archive_of(&[("pack.yaml", manifest.as_bytes()), ("main.wasm", b"\0asm\x01\0\0\0")]),
        // A component that exports no handler.
        archive_of(&[("pack.yaml", manifest.as_bytes()), ("main.wasm", empty_component)]),
    ];
    for (index, archive) in cases.iter().enumerate() {
        let refused = catalog.install_archive(archive.clone()).await;
        assert!(matches!(refused, Err(InstallError::Findings(_) | InstallError::Refused(_))), "{index}: {refused:?}");
        assert_eq!(bench.left(), BTreeSet::new(), "{index}");
        assert!(catalog.list().is_empty(), "{index}");
    }
}

#[tokio::test]
async fn a_pack_in_use_is_removed_only_by_force() {
    let bench = Bench::new();
    let catalog = bench.open();
    catalog.install_archive(pack("a", "1.0.0", "order a", "x")).await.unwrap();
    let (a, one) = (name("a"), version("1.0.0"));
    assert!(matches!(catalog.remove(&a, &version("2.0.0"), false, |_, _| false).await, Err(RemoveError::NotFound(_))));
    assert!(matches!(catalog.remove(&a, &one, false, |_, _| true).await, Err(RemoveError::InUse(_))));
    catalog.remove(&a, &one, true, |_, _| true).await.unwrap();
    assert!(bench.left().is_empty() && bench.open().list().is_empty() && catalog.services().is_empty());
    // Its service's name is free again.
    assert!(catalog.install_archive(pack("b", "1.0.0", "order a", "x")).await.unwrap().created);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_swept_and_nothing_else() {
    let bench = Bench::new();
    let installed = bench.open().install_archive(pack("a", "1.0.0", "order a", "x")).await.unwrap();
    let packs = bench.folder.path().join("packs");
    for leftover in [".incoming-3", &Digest::of(b"never committed").hex(), "notes"] {
        std::fs::create_dir(packs.join(leftover)).unwrap();
    }
    bench.open();
    assert_eq!(bench.left(), BTreeSet::from([installed.pack.digest.hex(), "notes".to_owned()]));
}

#[tokio::test]
async fn grants_must_fit_what_the_pack_asks_for_and_outlive_the_server() {
    use crate::pack::grants::{GrantError, Grants};
    let bench = Bench::new();
    let catalog = bench.open();
    let manifest =
        "format: 1\nname: a\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\nconnections: { backend: {} }\n";
    catalog.install_archive(archive_of(&[("pack.yaml", manifest.as_bytes())])).await.unwrap();
    let grants = |text: &str| serde_json::from_str::<Grants>(text).unwrap();
    let wrong = catalog.put_grants(&name("a"), grants(r#"{"connections": {"backnd": "x"}, "hosts": ["h"]}"#)).await;
    match wrong {
        Err(GrantError::Invalid(wrong)) => {
            assert_eq!(wrong.len(), 2);
            assert!(wrong[0].reason.contains("did you mean `backend`?"), "{wrong:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(catalog.put_grants(&name("b"), Grants::default()).await, Err(GrantError::NotFound(_))));
    let right = grants(r#"{"connections": {"backend": "production"}}"#);
    catalog.put_grants(&name("a"), right.clone()).await.unwrap();
    assert_eq!(bench.open().grants(&name("a")), right);
}

#[test]
fn a_stored_sample_of_a_pack_s_row_is_read() {
    let sample = include_bytes!("../../../tests/fixtures/pack-row-1.bin");
    let pack: Pack = row::decode(sample).unwrap();
    assert_eq!(keys::pack(&pack.manifest.name, &pack.manifest.version), b"pstorage\x001.0.0");
    assert_eq!(pack.workflows.len(), 1);
    assert_eq!(row::decode::<Pack>(&row::encode(&pack)).unwrap(), pack);
}
