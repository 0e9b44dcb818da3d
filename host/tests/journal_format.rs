//! Stores written by earlier versions of the program are read. `fixtures/journal-<format>.tar.gz` was written by the
//! program that introduced the format and never changes; `JOURNAL_FIXTURE_WRITE=<file>` writes such a file for a new one.

use std::{fs::File, path::Path};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use orchestrator_host::journal::{Batch, Journal, Row, Scan, row, sled::SledJournal};
use tempfile::TempDir;

fn rows() -> Vec<Row> {
    let encoded = row::encode(&serde_json::json!({"name": "an instance", "tasks": [1, 2, 3]}));
    let mut rows: Vec<Row> =
        (0..40).map(|n| Row { key: format!("i/{n:02}").into_bytes(), value: encoded.clone() }).collect();
    rows.push(Row { key: b"j/empty".to_vec(), value: Bytes::new() });
    // Kept in pieces; of one byte, so that the fixture stays small.
    rows.push(Row { key: b"j/large".to_vec(), value: Bytes::from(vec![7; 150_000]) });
    rows
}

async fn write(directory: &Path) {
    let journal = SledJournal::open(directory).expect("opened");
    for Row { key, value } in rows() {
        journal.commit(Batch::default().put(key, value)).await.expect("committed");
    }
    journal.commit(Batch::default().put(b"gone".to_vec(), Bytes::from_static(b"1"))).await.expect("committed");
    journal.commit(Batch::default().delete(b"gone".to_vec())).await.expect("committed");
}

fn check(directory: &Path) {
    let journal = SledJournal::open(directory).expect("opened");
    let rows_of = |prefix: &[u8]| journal.scan(Scan::prefix(prefix.to_vec(), usize::MAX)).expect("the store reads");
    let mut read = rows_of(b"i/");
    read.extend(rows_of(b"j/"));
    assert!(read == rows(), "the rows are not those that were written");
    assert!(rows_of(b"gone").is_empty());
}

#[tokio::test]
async fn the_store_of_format_1_is_read() {
    let directory = TempDir::new().expect("a directory");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-1.tar.gz");
    let file = File::open(fixture).expect("the fixture");
    tar::Archive::new(GzDecoder::new(file)).unpack(directory.path()).expect("unpacked");
    check(directory.path());
}

#[tokio::test]
async fn the_store_of_today_is_read() {
    let directory = TempDir::new().expect("a directory");
    write(directory.path()).await;
    if let Some(path) = std::env::var_os("JOURNAL_FIXTURE_WRITE") {
        let file = File::create(path).expect("made");
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::best()));
        archive.append_dir_all(".", directory.path()).expect("packed");
        archive.into_inner().and_then(GzEncoder::finish).expect("written");
    }
    check(directory.path());
}
