//! The journal on sled keeps the contract, and what is its own: the lock, the format, large values, the syncs.

use tempfile::TempDir;

use super::*;
use crate::journal::{contract, keys, row};

crate::journal::contract::suite!(|| {
    let directory = TempDir::new().expect("a directory");
    move || SledJournal::open(directory.path()).expect("opened") as Arc<dyn Journal>
});

fn put(key: &str, value: &str) -> Batch {
    Batch::default().put(key.into(), Bytes::copy_from_slice(value.as_bytes()))
}

async fn opened() -> (TempDir, Arc<SledJournal>) {
    let directory = TempDir::new().expect("a directory");
    let journal = SledJournal::open(directory.path()).expect("opened");
    (directory, journal)
}

fn refusal(directory: &Path) -> String {
    match SledJournal::open(directory) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_second_orchestrator_is_told_about_the_first() {
    let (directory, journal) = opened().await;
    assert!(refusal(directory.path()).contains("another orchestrator uses this data directory"));
    drop(journal);
    SledJournal::open(directory.path()).expect("the first has ended");
}

#[tokio::test]
async fn a_store_of_a_later_program_is_left_alone() {
    let (directory, journal) = opened().await;
    let later = row::encode(&serde_json::json!({"format": 2, "since": "a later version"}));
    journal.commit(Batch::default().put(keys::setting("format"), later)).await.expect("committed");
    drop(journal);
    let refusal = refusal(directory.path());
    assert!(refusal.contains("format 2") && refusal.contains("start a newer one"), "{refusal}");
}

#[tokio::test]
async fn a_store_that_was_being_made_is_made_again() {
    let directory = TempDir::new().expect("a directory");
    let unfinished = directory.path().join("store.new");
    std::fs::create_dir_all(&unfinished).expect("made");
    std::fs::write(unfinished.join("db"), b"half").expect("written");
    SledJournal::open(directory.path()).expect("opened");
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_snapshot_that_was_being_written_is_no_damage() {
    let (directory, journal) = opened().await;
    journal.commit(put("a", "1")).await.expect("committed");
    drop(journal);
    let unfinished = directory.path().join("store/snap.FFFFFFFFFFFFFFFF.generating");
    std::fs::write(unfinished, b"half").expect("written");
    let journal = SledJournal::open(directory.path()).expect("opened");
    assert_eq!(journal.get(b"a"), Ok(Some(Bytes::from_static(b"1"))));
}

/// Bit rot, or a hand, anywhere in the log: what stands behind it must not be given up in silence.
#[tokio::test]
async fn a_store_that_lost_acknowledged_commits_is_not_opened() {
    let (directory, journal) = opened().await;
    for n in 0..200 {
        journal.commit(put(&format!("key-{n}"), &"x".repeat(400))).await.expect("committed");
    }
    drop(journal);
    let log = directory.path().join("store/db");
    let whole = std::fs::read(&log).expect("the log");
    let last = whole.iter().rposition(|byte| *byte != 0).expect("the log holds something");
    for share in 1..8 {
        let mut damaged = whole.clone();
        damaged[last * share / 8] ^= 0x40;
        std::fs::write(&log, damaged).expect("written");
        for snapshot in std::fs::read_dir(directory.path().join("store")).expect("a directory") {
            let path = snapshot.expect("an entry").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")) {
                std::fs::remove_file(path).expect("removed");
            }
        }
        let refusal = refusal(directory.path());
        assert!(refusal.contains("and commit 200 was acknowledged"), "{share}: {refusal}");
    }
    std::fs::write(&log, whole).expect("written");
    let journal = SledJournal::open(directory.path()).expect("it is whole again");
    assert!(journal.get(b"key-199").expect("read").is_some());
}

#[tokio::test]
async fn an_older_store_is_told_from_the_one_that_was_acknowledged() {
    let (directory, journal) = opened().await;
    journal.commit(put("a", "1")).await.expect("committed");
    drop(journal);
    let older = TempDir::new().expect("a directory");
    copy(&directory.path().join("store"), older.path());
    let journal = SledJournal::open(directory.path()).expect("opened");
    journal.commit(put("b", "2")).await.expect("committed");
    drop(journal);
    std::fs::remove_dir_all(directory.path().join("store")).expect("removed");
    copy(older.path(), &directory.path().join("store"));
    let refusal = refusal(directory.path());
    assert!(refusal.contains("ends at commit 1, and commit 2 was acknowledged"), "{refusal}");
    std::fs::remove_file(directory.path().join("mark")).expect("removed");
    let journal = SledJournal::open(directory.path()).expect("the admin wants what is left");
    assert_eq!(journal.get(b"a"), Ok(Some(Bytes::from_static(b"1"))));
    assert_eq!(journal.get(b"b"), Ok(None));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let (from, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).expect("copied")),
        }
    }
}

#[tokio::test]
async fn a_commit_alone_costs_one_sync_and_a_crowd_shares_them() {
    let (_directory, journal) = opened().await;
    let before = journal.counters();
    for n in 0..50 {
        journal.commit(put("a", &n.to_string())).await.expect("committed");
    }
    let alone = journal.counters();
    assert_eq!(alone.commits - before.commits, 50);
    // One each, and one more where a segment of the log became full.
    assert!((50..=52).contains(&(alone.syncs - before.syncs)), "{before:?} {alone:?}");
    let crowd: Vec<_> = (0..500).map(|n| journal.commit(put("a", &n.to_string()))).collect();
    for commit in crowd {
        commit.await.expect("committed");
    }
    let together = journal.counters();
    assert_eq!(together.commits - alone.commits, 500);
    assert!(together.syncs - alone.syncs < 250, "{alone:?} {together:?}");
}

#[tokio::test]
async fn what_refuses_or_changes_nothing_needs_no_sync() {
    let (_directory, journal) = opened().await;
    let before = journal.counters().syncs;
    journal.commit(Batch::default()).await.expect("an empty batch");
    journal.commit(Batch::default().expect(super::super::Expectation::Present("a".into()))).await.expect_err("refused");
    assert_eq!(journal.counters().syncs, before);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_harms_nothing() {
    let (_directory, journal) = opened().await;
    let large = Batch::default().put("a".into(), vec![0; VALUE_BYTES_MAX + 1].into());
    let long = Batch::default().delete(vec![0; KEY_BYTES_MAX + 1]);
    for batch in [large, long] {
        let answer = journal.commit(batch).await;
        assert!(matches!(answer, Err(CommitError::Unavailable(_))), "{answer:?}");
    }
    journal.commit(put("a", "1")).await.expect("committed");
}

/// Pages of sled that are too large for its log go into files that it never syncs: there must not be any.
#[tokio::test]
async fn no_page_leaves_the_log() {
    let (directory, journal) = opened().await;
    let piece = Tuning::default().segment_bytes / 128;
    for round in 0..6 {
        let mut batch = Batch::default();
        for n in 0..60 {
            let mut key = vec![n; KEY_BYTES_MAX];
            key[KEY_BYTES_MAX - 1] = round % 3;
            batch = batch.put(key, contract::noise(piece, u64::from(n)));
        }
        batch = batch.put(b"large".to_vec(), contract::noise(3_000_000, u64::from(round)));
        journal.commit(batch).await.expect("committed");
        for n in 0..30 {
            let key = vec![n; KEY_BYTES_MAX];
            journal.commit(Batch::default().put(key, contract::noise(piece, 1))).await.expect("committed");
        }
    }
    let blobs = std::fs::read_dir(directory.path().join("store/blobs")).expect("sled's directory");
    assert_eq!(blobs.count(), 0);
}
