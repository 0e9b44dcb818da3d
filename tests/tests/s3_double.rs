//! The S3 server of the harness behaves like the real thing where the migration depends on it.

use bytes::Bytes;
use orchestrator_tests::migration::content;
use orchestrator_tests::s3::S3Server;
use s3s::crypto::{Checksum as _, Md5};

async fn server() -> (tempfile::TempDir, S3Server) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = S3Server::start(dir.path(), "access", "secret").await.expect("the server starts");
    server.client().create_bucket("bucket").await.expect("a bucket");
    (dir, server)
}

#[tokio::test]
async fn listings_come_in_pages_in_key_order_with_names_intact() {
    let (_dir, server) = server().await;
    let client = server.client();
    let names = ["a b", "a+b", "a%2Bb", "dir/ü ø.txt", "z&<x>'\"", "日本/語"];
    for name in names {
        client.put("bucket", name, &[], Bytes::from(name.to_owned())).await.expect("stored");
    }
    server.store.page_max(2);
    let listed = client.list("bucket", "").await.expect("listed");
    let mut wanted: Vec<&str> = names.to_vec();
    wanted.sort_unstable();
    assert_eq!(listed.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), wanted);
    assert!(listed.iter().all(|object| object.etag.len() == 32 && object.size == object.key.len() as u64));
    assert_eq!(client.list("bucket", "dir/").await.expect("listed").len(), 1);
}

#[tokio::test]
async fn a_multipart_upload_keeps_bytes_and_metadata_and_leaves_no_parts() {
    let (dir, server) = server().await;
    let client = server.client();
    let body = Bytes::from((0..6 * 1024 * 1024_u32).map(|n| (n / 7) as u8).collect::<Vec<_>>());
    let headers = [("content-type", "image/x"), ("x-amz-meta-colour", "red")];
    client.put_in_parts("bucket", "big", &headers, body.clone(), 5 * 1024 * 1024).await.expect("stored");
    assert!(client.get("bucket", "big").await.expect("read") == body);
    let head = client.head("bucket", "big").await.expect("a head");
    assert_eq!(head["content-type"], "image/x");
    assert_eq!(head["x-amz-meta-colour"], "red");
    assert!(head["etag"].to_str().expect("text").ends_with("-2\""));
    assert!(server.store.dangling_uploads().is_empty());
    let writes = server.store.writes("bucket")["big"];
    assert_eq!((writes.puts, writes.completes, writes.parts, writes.late), (0, 1, 2, 0));
    // A server started again over the same files knows the same objects.
    let again = S3Server::start(dir.path(), "access", "secret").await.expect("starts again");
    assert_eq!(
        again.client().list("bucket", "").await.expect("listed"),
        client.list("bucket", "").await.expect("listed")
    );
}

/// The entity tag that the protocol gives to an upload in these parts.
fn etag_of(parts: &[&[u8]]) -> String {
    let digests: Vec<u8> = parts.iter().flat_map(|part| Md5::checksum(part)).collect();
    format!("\"{}-{}\"", hex::encode(Md5::checksum(&digests)), parts.len())
}

#[tokio::test]
async fn parts_of_any_lengths_in_any_order_make_the_same_object() {
    const MIB: usize = 1024 * 1024;
    let (dir, server) = server().await;
    let client = server.client();
    let full = content(17 * MIB, 3);
    let cut = |from: usize, to: usize| full.slice(from * MIB..to * MIB);
    let zeros = Bytes::from(vec![0; 6 * MIB]);
    /// What is sent by number, and what the object is made of.
    type Story = (&'static str, Vec<(u32, Bytes)>, Vec<Bytes>);
    let stories: [Story; 5] = [
        ("in order", vec![(1, cut(0, 6)), (2, cut(6, 12)), (3, cut(12, 14))], vec![cut(0, 6), cut(6, 12), cut(12, 14)]),
        (
            "the last first",
            vec![(3, cut(12, 14)), (1, cut(0, 6)), (2, cut(6, 12))],
            vec![cut(0, 6), cut(6, 12), cut(12, 14)],
        ),
        ("unlike", vec![(1, cut(0, 5)), (2, cut(5, 13)), (3, cut(13, 17))], vec![cut(0, 5), cut(5, 13), cut(13, 17)]),
        (
            "with a gap",
            vec![(2, cut(0, 6)), (7, cut(6, 12)), (9, cut(12, 13))],
            vec![cut(0, 6), cut(6, 12), cut(12, 13)],
        ),
        ("a part again", vec![(1, cut(0, 6)), (2, cut(6, 8)), (1, zeros.clone())], vec![zeros.clone(), cut(6, 8)]),
    ];
    for (story, sent, expected) in stories {
        client.put_these_parts("bucket", story, &[], sent).await.expect(story);
        assert!(client.get("bucket", story).await.expect(story) == expected.concat(), "{story}");
        let parts: Vec<&[u8]> = expected.iter().map(|part| &part[..]).collect();
        assert_eq!(client.head("bucket", story).await.expect(story)["etag"].to_str().expect("text"), etag_of(&parts));
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a folder").flatten().collect();
    let left = left.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with(".upload"));
    assert_eq!(left.count(), 0, "no file of an upload is left");
}

#[tokio::test]
async fn an_object_of_zeros_costs_no_disk_and_is_read_as_any_other() {
    let (_dir, server) = server().await;
    server.store.plant_zeros("bucket", "zeros", 20_000_000, 8 * 1024 * 1024).await.expect("planted");
    let listed = server.client().list("bucket", "").await.expect("listed");
    assert_eq!((listed[0].size, listed[0].etag.ends_with("-3")), (20_000_000, true));
    assert!(server.client().get("bucket", "zeros").await.expect("read").iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_wrong_secret_and_a_requested_fault_are_refused() {
    let (_dir, server) = server().await;
    let stranger = orchestrator_tests::s3::S3Client::new(&server.url, "access", "wrong");
    let refused = stranger.list("bucket", "").await.expect_err("a wrong signature");
    assert!(refused.to_string().contains("403"), "{refused}");
    server.store.fail_next(&["SlowDown"]);
    let slow = server.client().list("bucket", "").await.expect_err("told to slow down");
    assert!(slow.to_string().contains("503"), "{slow}");
    server.client().list("bucket", "").await.expect("only once");
}
