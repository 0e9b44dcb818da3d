//! What the catalog finds, changes and refuses.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::journal::memory::MemoryJournal;
use crate::journal::{keys, row};
use crate::model::TenantName;
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
async fn a_pack_of_a_time_before_schedules_is_scheduled_after_the_next_start() {
    let bench = Bench::new();
    let manifest =
        "format: 1\nname: a\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\nworkflows: [w.yaml, v.yaml]\n";
    let text = |name: &str, more: &str| {
        format!(
            "document: {{ dsl: '1.0.0', namespace: n, name: {name}, version: '1.0.0' }}\n{more}do:\n  - a: {{ set: {{ schedule: 1 }} }}\n"
        )
    };
    let (timed, plain) = (text("w", "schedule: { every: PT1M }\n"), text("v", ""));
    let files = [("pack.yaml", manifest.as_bytes()), ("w.yaml", timed.as_bytes()), ("v.yaml", plain.as_bytes())];
    bench.open().install_archive(archive_of(&files)).await.unwrap();
    let key = keys::pack(&name("a"), &version("1.0.0"));
    let mut stored: Json = row::decode(&bench.journal.get(&key).unwrap().unwrap()).unwrap();
    assert_eq!(stored["workflows"]["w"].as_object_mut().unwrap().remove("scheduled"), Some(Json::Bool(true)));
    bench.journal.apply(crate::journal::Batch::default().put(key, row::encode(&stored))).unwrap();
    let found = bench.open().workflows();
    let scheduled: Vec<_> = found.iter().filter(|view| view.entry.scheduled).map(|view| view.name.as_str()).collect();
    assert_eq!(scheduled, ["w"]);
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
    let (own, grants) = (TenantName::standard(), |text: &str| serde_json::from_str::<Grants>(text).unwrap());
    let wrong =
        catalog.put_grants(&own, &name("a"), grants(r#"{"connections": {"backnd": "x"}, "hosts": ["h"]}"#)).await;
    match wrong {
        Err(GrantError::Invalid(wrong)) => {
            assert_eq!(wrong.len(), 2);
            assert!(wrong[0].reason.contains("did you mean `backend`?"), "{wrong:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(catalog.put_grants(&own, &name("b"), Grants::default()).await, Err(GrantError::NotFound(_))));
    let right = grants(r#"{"connections": {"backend": "production"}}"#);
    catalog.put_grants(&own, &name("a"), right.clone()).await.unwrap();
    assert_eq!(bench.open().grants(&own, &name("a")), right);
}

#[tokio::test]
async fn mail_goes_by_connections_for_mail_and_requests_by_others() {
    use crate::connection::Connections;
    use crate::connection::secrets::SecretStore;
    use crate::model::TenantName;
    use crate::pack::grants::Grants;
    let bench = Bench::new();
    let catalog = bench.open();
    let manifest = "format: 1\nname: a\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\n\
        connections: { post: { kind: smtp }, web: {} }\n";
    catalog.install_archive(archive_of(&[("pack.yaml", manifest.as_bytes())])).await.unwrap();
    let journal = Arc::new(crate::journal::memory::MemoryJournal::new());
    let secrets = SecretStore::open(journal.clone(), &bench.folder.path().join("kinds-key")).unwrap();
    let connections = Connections::open(journal, secrets).unwrap();
    let mail = serde_json::json!({"baseUrl": "smtp://mail.example", "mail": {"from": "a@mail.example"}});
    for (name, declaration) in [("mailer", mail), ("api", serde_json::json!({"baseUrl": "https://api.example"}))] {
        let name = crate::model::ConnectionName::parse(name).unwrap();
        connections.put(&TenantName::standard(), &name, serde_json::from_value(declaration).unwrap()).await.unwrap();
    }
    let check = |post: &str, web: &str, expected: &[&str]| {
        let grants = serde_json::json!({"connections": {"post": post, "web": web}});
        let grants: Grants = serde_json::from_value(grants).unwrap();
        let wrong = catalog.wrong_kinds(&TenantName::standard(), &name("a"), &grants, &connections);
        let told: Vec<_> = wrong.iter().map(|wrong| wrong.reason.as_str()).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert!(told.iter().zip(expected).all(|(told, expected)| told.contains(expected)), "{told:?}");
    };
    check("mailer", "api", &[]);
    check("nothing-yet", "nothing-yet", &[]);
    check("api", "api", &["grant one that was declared with `mail`"]);
    check("mailer", "mailer", &["grant one that was declared without `mail`"]);
}

#[tokio::test]
async fn calls_of_workflows_reach_what_the_manifest_asks_for_and_the_admin_granted() {
    use crate::connection::Connections;
    use crate::connection::secrets::SecretStore;
    let bench = Bench::new();
    let catalog = bench.open();
    let manifest = "format: 1\nname: a\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\nconnections: { backend: {} }\n\
                    secrets: { key: {}, other: {} }\nuses: { connections: [backend], secrets: [key, other], hosts: [one.example, \
                    '*.two.example'] }\n";
    catalog.install_archive(archive_of(&[("pack.yaml", manifest.as_bytes())])).await.unwrap();
    let secrets = SecretStore::open(bench.journal.clone(), &bench.folder.path().join("key")).unwrap();
    let connections = Connections::open(bench.journal.clone(), secrets.clone()).unwrap();
    let (own, other) = (TenantName::standard(), TenantName::parse("red").unwrap());
    let of = |tenant| catalog.granted_workflow(tenant, &name("a"), &version("1.0.0"), &connections, &secrets);
    let allowed = || of(&own);
    let reaches = |url: &str| (allowed().unwrap().hosts)(&url.parse().unwrap()).is_some();
    assert!(!reaches("https://one.example/x") && allowed().unwrap().secrets.is_empty());

    let backend = serde_json::from_str(r#"{"baseUrl": "https://b.example/"}"#).unwrap();
    connections.put(&own, &"production".parse().unwrap(), backend).await.unwrap();
    let grants =
        r#"{"connections": {"backend": "production"}, "secrets": {"key": "stored"}, "hosts": ["*.two.example"]}"#;
    catalog.put_grants(&own, &name("a"), serde_json::from_str::<Grants>(grants).unwrap()).await.unwrap();
    assert!(reaches("https://x.two.example/y") && !reaches("https://one.example/x"));
    let granted = allowed().unwrap();
    assert_eq!(granted.secrets, BTreeMap::from([("key".parse().unwrap(), "stored".parse().unwrap())]));
    assert_eq!(granted.connections.keys().map(ToString::to_string).collect::<Vec<_>>(), ["backend"]);
    assert!(catalog.granted_workflow(&own, &name("a"), &version("2.0.0"), &connections, &secrets).is_err());
    let unasked =
        catalog.put_grants(&own, &name("a"), serde_json::from_str(r#"{"hosts": ["three.example"]}"#).unwrap()).await;
    assert!(unasked.unwrap_err().to_string().contains("it asks for one.example, *.two.example"));

    let nothing = of(&other).unwrap();
    assert!(nothing.connections.is_empty() && nothing.secrets.is_empty(), "another tenant has granted nothing");
    assert!((nothing.hosts)(&"https://x.two.example/y".parse().unwrap()).is_none());
    catalog.put_grants(&other, &name("a"), serde_json::from_str::<Grants>(grants).unwrap()).await.unwrap();
    assert!(of(&other).unwrap().connections.is_empty(), "the connection of that name is not this tenant's");
    let opened = bench.open();
    assert_eq!(opened.grants(&other, &name("a")), catalog.grants(&own, &name("a")), "both are stored");
    opened.forget_grants(&other).await.unwrap();
    assert_eq!((opened.count_grants(&other), opened.count_grants(&own)), (0, 1));
    assert_eq!(bench.open().grants(&other, &name("a")), Grants::default());
}

#[tokio::test]
async fn a_workflow_is_found_by_the_names_of_its_document() {
    let bench = Bench::new();
    let catalog = bench.open();
    // Each has the workflow `w` of the namespace `n`, in the document's version 1.0.0.
    for (pack_name, number) in [("a", "1.0.0"), ("a", "2.0.0"), ("b", "1.0.0"), ("b", "3.0.0")] {
        let service = format!("order {pack_name}");
        catalog.install_archive(pack(pack_name, number, &service, "x")).await.unwrap();
    }
    let check = |own: (&str, &str), namespace: &str, exact: Option<&str>, expected: Option<(&str, &str)>| {
        let (own, exact) = ((name(own.0), version(own.1)), exact.map(version));
        let workflow = WorkflowName::parse("w").unwrap();
        let found = catalog.workflow_named((&own.0, &own.1), namespace, &workflow, exact.as_ref());
        let found = found.ok().map(|found| (found.pack.to_string(), found.version.to_string()));
        assert_eq!(found, expected.map(|(pack, version)| (pack.to_owned(), version.to_owned())), "{own:?} {namespace}");
    };
    check(("a", "1.0.0"), "n", None, Some(("a", "1.0.0"))); // Its own version, not a later one.
    check(("a", "1.0.0"), "b", None, Some(("b", "3.0.0"))); // A pack's name comes first.
    check(("a", "1.0.0"), "a", Some("1.0.0"), Some(("a", "1.0.0")));
    check(("c", "1.0.0"), "b", None, Some(("b", "3.0.0")));
    check(("c", "1.0.0"), "n", None, Some(("b", "3.0.0")));
    check(("a", "1.0.0"), "n", Some("9.0.0"), None);
    check(("a", "1.0.0"), "m", None, None);
}

#[test]
fn a_stored_sample_of_a_pack_s_row_is_read() {
    let sample = include_bytes!("../../../tests/fixtures/pack-row-1.bin");
    let pack: Pack = row::decode(sample).unwrap();
    assert_eq!(keys::pack(&pack.manifest.name, &pack.manifest.version), b"pstorage\x001.0.0");
    assert_eq!(pack.workflows.len(), 1);
    assert_eq!(row::decode::<Pack>(&row::encode(&pack)).unwrap(), pack);
}
