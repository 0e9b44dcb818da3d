//! The services of the bucket-migration pack between two real S3 servers: what changes is copied, what is wrong is found
//! and mended, what is too much is deleted, what is refused is told; and its test files.

use std::time::{Duration, Instant};

use bytes::Bytes;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::migration::{DESTINATION, Mix, SERVICE, SOURCE, SYNC, Scene, compare, content, fill};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;
const WITHIN: Duration = Duration::from_secs(120);

/// What the server may need more than before while it moves a bucket of any size, unoptimised as it is here: the guest's
/// memory, and the bodies that are on their way.
const GROWTH_MAX: u64 = 64 * MIB as u64;

async fn scene() -> (tempfile::TempDir, Scene) {
    let binaries = Binaries::built().expect("the programs build");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let scene = Scene::start(&binaries, directory.path()).await.expect("the scene");
    (directory, scene)
}

async fn run(scene: &Scene, service: &str, more: Value, key: &str) -> Value {
    let mut input = json!({ "sourceBucket": SOURCE, "destinationBucket": DESTINATION });
    more.as_object().expect("an object").iter().for_each(|(name, value)| input[name] = value.clone());
    let ordered = scene.rest().order(service, input, key).await.expect("ordered");
    let id = ordered["id"].as_str().expect("an id").to_owned();
    scene.rest().ended(&id, WITHIN).await.expect("it ends")
}

async fn completed(scene: &Scene, service: &str, more: Value, key: &str) -> Value {
    let summary = run(scene, service, more, key).await;
    assert_eq!(summary["status"], "completed", "{key}: {summary}");
    summary["output"].clone()
}

async fn check_equal(scene: &Scene) {
    let (source, destination) = (scene.source.client(), scene.destination.client());
    let found = compare((&source, SOURCE), (&destination, DESTINATION)).await.expect("compared");
    assert_eq!(found.differences, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pack_s_own_tests_pass() {
    let binaries = Binaries::built().expect("the programs build");
    let folder = binaries.pack("bucket-migration").expect("the pack builds");
    let said = binaries.run(&["pack", "test", &folder.to_string_lossy()]).expect("the tests pass");
    println!("{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_kept_like_another() {
    let (_directory, scene) = scene().await;
    let (source, destination) = (scene.source.client(), scene.destination.client());
    fill(&source, SOURCE, Mix { small: 60, large: 2, first: 0, seed: 7 }).await.expect("filled");
    let tags = [("x-amz-tagging", "team=ops&cost%20centre=7")];
    source.put(SOURCE, "tagged/small", &tags, content(900, 1)).await.expect("stored");
    source.put(SOURCE, "tagged/large", &tags, content(3 * MIB, 2)).await.expect("stored");
    source.put_in_parts(SOURCE, "parts of six", &[], content(7 * MIB, 3), 6 * MIB).await.expect("stored");

    let plan = completed(&scene, SYNC, json!({ "dryRun": true }), "dry").await;
    assert_eq!((&plan["toCopy"], &plan["objects"], &plan["dryRun"]), (&json!(65), &json!(65), &json!(true)), "{plan}");
    assert!(destination.list(DESTINATION, "").await.expect("listed").is_empty());

    let first = completed(&scene, SYNC, json!({ "reportKey": "~report.csv", "exclude": ["~*"] }), "first").await;
    assert_eq!((&first["copied"], &first["verified"], &first["repaired"]), (&json!(65), &json!(true), &json!(false)));
    let report = destination.get(DESTINATION, "~report.csv").await.expect("a report");
    let report = String::from_utf8(report.to_vec()).expect("text");
    assert_eq!(report.matches(",copied\r\n").count(), 65, "{report}");
    destination.delete(DESTINATION, "~report.csv").await.expect("deleted");
    check_equal(&scene).await;
    for key in ["tagged/small", "tagged/large"] {
        assert_eq!(scene.destination.store.tags(DESTINATION, key).as_deref(), Some(tags[0].1), "{key}");
    }

    let second = completed(&scene, SYNC, json!({}), "second").await;
    assert_eq!((&second["copied"], &second["alreadyRight"]), (&json!(0), &json!(65)), "{second}");

    // Overwritten, lost, and too much.
    let listed = source.list(SOURCE, "").await.expect("listed");
    let spoiled = listed.iter().find(|object| object.size > 1000).expect("an object");
    let other = Bytes::from(vec![7; usize::try_from(spoiled.size).expect("small")]);
    destination.put(DESTINATION, &spoiled.key, &[], other).await.expect("stored");
    destination.delete(DESTINATION, "tagged/small").await.expect("deleted");
    destination.put(DESTINATION, "extra", &[], content(10, 1)).await.expect("stored");
    let guarded = run(&scene, SYNC, json!({ "deleteExtra": true, "maxDelete": 0 }), "guarded").await;
    assert_eq!((&guarded["status"], &guarded["error"]["status"]), (&json!("faulted"), &json!(409)), "{guarded}");
    assert!(destination.get(DESTINATION, "extra").await.is_ok(), "the guard deletes nothing");
    spoil_silently(&scene, "large files");
    let third = completed(&scene, SYNC, json!({ "deleteExtra": true, "compare": "content" }), "third").await;
    assert_eq!((&third["copied"], &third["deleted"]), (&json!(1), &json!(1)), "{third}");
    check_equal(&scene).await;
}

/// Changes a byte of a stored copy behind the server's back, so that no entity tag tells.
fn spoil_silently(scene: &Scene, folder: &str) {
    let folder = scene.destination.store.path(DESTINATION, folder);
    let file = std::fs::read_dir(folder).expect("a folder").next().expect("a file").expect("a file").path();
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[12_345] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_refused_are_told_and_the_others_arrive() {
    let (_directory, scene) = scene().await;
    fill(&scene.source.client(), SOURCE, Mix { small: 20, large: 1, first: 0, seed: 8 }).await.expect("filled");
    let refused = scene.source.client().list(SOURCE, "large").await.expect("listed")[0].key.clone();
    scene.destination.store.refuse_writes(&refused, true);
    let summary = run(&scene, SERVICE, json!({ "remainSource": false }), "refused").await;
    let kind = summary["error"]["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("objects-failed"), "{summary}");
    assert!(summary["error"]["detail"].as_str().is_some_and(|detail| detail.contains(&refused)), "{summary}");
    assert_eq!(scene.source.client().list(SOURCE, "").await.expect("listed").len(), 21, "nothing was removed");
    assert_eq!(scene.destination.client().list(DESTINATION, "").await.expect("listed").len(), 20);
    scene.destination.store.refuse_writes(&refused, false);
    let output = completed(&scene, SERVICE, json!({ "remainSource": false }), "again").await;
    assert_eq!((&output["copied"], &output["sourceRemains"]), (&json!(1), &json!(false)), "{output}");
    assert!(scene.source.client().list(SOURCE, "").await.expect("listed").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_copies_by_itself_and_a_limited_pace_is_kept() {
    let (_directory, scene) = scene().await;
    let source = scene.source.client();
    source.create_bucket("other-home").await.expect("a bucket");
    source.put(SOURCE, "whole", &[("x-amz-tagging", "a=b")], content(3 * MIB, 1)).await.expect("stored");
    source.put_in_parts(SOURCE, "parts", &[], content(11 * MIB, 2), 5 * MIB).await.expect("stored");
    let paced = json!({ "bytesPerSecond": 2 * MIB, "include": ["whole"], "serverSide": "never" });
    let start = Instant::now();
    completed(&scene, SERVICE, paced, "paced").await;
    // The bytes are worth a second and a half.
    assert!(start.elapsed() > Duration::from_millis(1_000), "it took {:?}", start.elapsed());

    let grants = json!({ "connections": { "source": "old-s3", "destination": "old-s3" } });
    scene.rest().put("/v1/packs/bucket-migration/grants", grants).await.expect("granted");
    let output = completed(&scene, SERVICE, json!({ "destinationBucket": "other-home" }), "one-service").await;
    assert_eq!((&output["copied"], &output["serverSide"]), (&json!(2), &json!(2)), "{output}");
    let writes = scene.source.store.writes("other-home");
    assert_eq!((writes["whole"].copies, writes["whole"].puts), (1, 0));
    assert_eq!((writes["parts"].copied_parts, writes["parts"].parts), (3, 0));
    assert_eq!(scene.source.store.tags("other-home", "whole").as_deref(), Some("a=b"));
    let found = compare((&source, SOURCE), (&source, "other-home")).await.expect("compared");
    assert_eq!(found.differences, Vec::<String>::new());

    let same = run(&scene, SERVICE, json!({ "destinationBucket": SOURCE, "remainSource": false }), "itself").await;
    assert_eq!((&same["status"], &same["error"]["status"]), (&json!("faulted"), &json!(409)), "{same}");
    assert_eq!(source.list(SOURCE, "").await.expect("listed").len(), 2, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_bucket_needs_no_more_memory_than_a_small_one() {
    let (_directory, scene) = scene().await;
    let source = scene.source.client();
    source.put(SOURCE, "a/first", &[], content(2 * MIB, 1)).await.expect("stored");
    completed(&scene, SERVICE, json!({}), "warm").await;
    scene.server.forget_memory_peak().expect("a running process");
    let before = scene.server.memory_peak().expect("a running process");
    scene.source.store.plant_many(SOURCE, "many/", 2_000, 512).await.expect("planted");
    scene.source.store.plant_zeros(SOURCE, "huge", 300 * MIB as u64, 8 * MIB as u64).await.expect("planted");
    let output = completed(&scene, SERVICE, json!({}), "large").await;
    assert_eq!((&output["copied"], &output["objects"]), (&json!(2_001), &json!(2_002)), "{output}");
    let after = scene.server.memory_peak().expect("a running process");
    println!("peak memory: {} MiB before, {} MiB after", before / MIB as u64, after / MIB as u64);
    assert!(after - before < GROWTH_MAX, "from {before} to {after} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_leaves_no_upload_in_parts() {
    let (_directory, scene) = scene().await;
    let source = scene.source.client();
    source.put_in_parts(SOURCE, "large", &[], content(24 * MIB, 5), 6 * MIB).await.expect("stored");
    let input = json!({ "sourceBucket": SOURCE, "destinationBucket": DESTINATION, "bytesPerSecond": 1_048_576 });
    let ordered = scene.rest().order(SERVICE, input, "cancelled").await.expect("ordered");
    let id = ordered["id"].as_str().expect("an id");
    let until = async |dangling: bool| {
        let start = Instant::now();
        while scene.destination.store.dangling_uploads().is_empty() == dangling {
            assert!(start.elapsed() < WITHIN, "dangling uploads: {dangling}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(true).await;
    // The upload's identifier is noted before anything is written to it.
    while scene
        .rest()
        .get(&format!("/v1/instances/{id}/history?limit=200"))
        .await
        .is_ok_and(|history| !history.to_string().contains("uploads"))
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let path = format!("/v1/instances/{id}/cancel");
    let answer = scene.rest().send(reqwest::Method::POST, &path, &[], None).await.expect("answered");
    assert_eq!(answer.status, 202, "{answer:?}");
    until(false).await;
}
