//! The contract of `Journal`, as tests that run against every implementation. An implementation's test module calls
//! `suite!` with an expression that makes a fresh, empty store and gives a function that opens it; the store is opened
//! again after every handle to it was dropped.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{Batch, CommitError, Expectation, Journal, Key, Row, Scan, Write, keys};

/// Makes one test of each function of the contract.
macro_rules! suite {
    ($new:expr) => {
        crate::journal::contract::suite!(@each $new,
            a_batch_is_applied_whole
            a_batch_whose_expectation_fails_leaves_nothing
            every_kind_of_expectation_is_held_to
            the_first_broken_expectation_is_named
            batches_take_effect_in_the_order_of_the_calls
            a_commit_whose_future_is_dropped_still_happens
            expectations_see_the_batches_before_them
            of_many_who_want_one_row_one_gets_it
            many_committers_all_get_through
            a_scan_gives_what_it_should
            values_of_every_size_come_back
            a_large_value_is_replaced_and_deleted_whole
            rows_survive_reopening
            commits_are_counted
            a_random_history_reads_like_a_map
        );
    };
    (@each $new:expr, $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::journal::contract::$name(($new)()).await;
            }
        )*
    };
}
pub(super) use suite;

/// Opens the store under test.
pub(super) trait Open: Fn() -> Arc<dyn Journal> {}
impl<F: Fn() -> Arc<dyn Journal>> Open for F {}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Batch {
    Batch::default().put(key.into(), bytes(value))
}

/// The rows that a scan gives, but for the settings that a store keeps about itself.
fn scan(journal: &dyn Journal, scan: Scan) -> Vec<Row> {
    let mut rows = journal.scan(scan).expect("the store reads");
    rows.retain(|row| !row.key.starts_with(&keys::setting("")));
    rows
}

fn all(journal: &dyn Journal) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let rows = scan(journal, Scan::prefix(Key::new(), usize::MAX));
    rows.into_iter().map(|Row { key, value }| (text(&key), text(&value))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) async fn a_batch_is_applied_whole(open: impl Open) {
    let journal = open();
    journal.commit(put("a", "1").put("b".into(), bytes("2"))).await.expect("committed");
    journal.commit(put("c", "3").delete("a".into()).put("b".into(), bytes("4"))).await.expect("committed");
    assert_eq!(all(&*journal), pairs(&[("b", "4"), ("c", "3")]));
    assert_eq!(journal.get(b"b"), Ok(Some(bytes("4"))));
    assert_eq!(journal.get(b"a"), Ok(None));
    journal.commit(Batch::default()).await.expect("an empty batch is a batch");
}

pub(super) async fn a_batch_whose_expectation_fails_leaves_nothing(open: impl Open) {
    let journal = open();
    journal.commit(put("a", "1")).await.expect("committed");
    let refused = put("a", "2").put("b".into(), bytes("2")).expect(Expectation::Absent("a".into()));
    assert_eq!(journal.commit(refused).await, Err(CommitError::Conflict("a".into())));
    assert_eq!(all(&*journal), pairs(&[("a", "1")]));
    journal.commit(put("c", "3")).await.expect("a conflict is no fault of the store");
}

pub(super) async fn every_kind_of_expectation_is_held_to(open: impl Open) {
    let journal = open();
    journal.commit(put("there", "1").put("empty".into(), Bytes::new())).await.expect("committed");
    let cases = [
        (Expectation::Absent("there".into()), false),
        (Expectation::Absent("away".into()), true),
        (Expectation::Absent("empty".into()), false),
        (Expectation::Present("there".into()), true),
        (Expectation::Present("empty".into()), true),
        (Expectation::Present("away".into()), false),
        (Expectation::Equals("there".into(), bytes("1")), true),
        (Expectation::Equals("there".into(), bytes("12")), false),
        (Expectation::Equals("empty".into(), Bytes::new()), true),
        (Expectation::Equals("away".into(), Bytes::new()), false),
    ];
    for (expectation, holds) in cases {
        let answer = journal.commit(Batch::default().expect(expectation.clone())).await;
        assert_eq!(answer.is_ok(), holds, "{expectation:?}");
    }
}

pub(super) async fn the_first_broken_expectation_is_named(open: impl Open) {
    let journal = open();
    let batch = Batch::default()
        .expect(Expectation::Absent("a".into()))
        .expect(Expectation::Present("b".into()))
        .expect(Expectation::Present("c".into()));
    assert_eq!(journal.commit(batch).await, Err(CommitError::Conflict("b".into())));
}

pub(super) async fn batches_take_effect_in_the_order_of_the_calls(open: impl Open) {
    let journal = open();
    let commits: Vec<_> = (0..500).map(|n| journal.commit(put("a", &n.to_string()))).collect();
    // Awaited from the last to the first: the order of the calls counts, not the order of the polls.
    for commit in commits.into_iter().rev() {
        commit.await.expect("committed");
    }
    assert_eq!(all(&*journal), pairs(&[("a", "499")]));
}

pub(super) async fn a_commit_whose_future_is_dropped_still_happens(open: impl Open) {
    let journal = open();
    drop(journal.commit(put("a", "1")));
    journal.commit(put("b", "2")).await.expect("committed");
    assert_eq!(all(&*journal), pairs(&[("a", "1"), ("b", "2")]));
}

pub(super) async fn expectations_see_the_batches_before_them(open: impl Open) {
    let journal = open();
    let take = |value: &str| put("a", value).expect(Expectation::Absent("a".into()));
    // All are under way before the first is awaited, so that a store that groups has them in one group.
    let answers = [
        journal.commit(take("1")),
        journal.commit(take("2")),
        journal.commit(put("a", "3").expect(Expectation::Equals("a".into(), bytes("1")))),
        journal.commit(Batch::default().delete("a".into())),
        journal.commit(take("5")),
        journal.commit(put("b", "6").expect(Expectation::Equals("a".into(), bytes("3")))),
    ];
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.is_ok());
    }
    assert_eq!(outcomes, [true, false, true, true, true, false]);
    assert_eq!(all(&*journal), pairs(&[("a", "5")]));
}

pub(super) async fn of_many_who_want_one_row_one_gets_it(open: impl Open) {
    let journal = open();
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                journal.commit(put("one", &n.to_string()).expect(Expectation::Absent("one".into()))).await.is_ok()
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        winners += usize::from(task.await.expect("no panic"));
    }
    assert_eq!(winners, 1);
}

pub(super) async fn many_committers_all_get_through(open: impl Open) {
    const COMMITTERS: usize = 32;
    const COMMITS: usize = 40;
    let journal = open();
    let tasks: Vec<_> = (0..COMMITTERS)
        .map(|committer| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                for n in 0..COMMITS {
                    let key = format!("{committer:02}/{n:03}");
                    journal.commit(put(&key, &key)).await.expect("committed");
                    let read = journal.get(key.as_bytes()).expect("the store reads");
                    assert_eq!(read, Some(bytes(&key)), "a commit is seen by who made it");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let keys: HashSet<String> = all(&*journal).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), COMMITTERS * COMMITS);
}

pub(super) async fn a_scan_gives_what_it_should(open: impl Open) {
    let journal = open();
    let keys: [&[u8]; 9] = [b"a", b"b", b"b\x00", b"b\x001", b"b2", b"b\xff", b"b\xff\xff", b"c", b"\xff\xff"];
    let batch = keys.iter().fold(Batch::default(), |batch, key| batch.put(key.to_vec(), Bytes::copy_from_slice(key)));
    journal.commit(batch).await.expect("committed");
    let check = |prefix: &[u8], after: Option<&[u8]>, reverse: bool, limit: usize, expected: &[&[u8]]| {
        let asked = Scan { prefix: prefix.to_vec(), after: after.map(<[u8]>::to_vec), reverse, limit };
        let rows = scan(&*journal, asked.clone());
        assert!(rows.iter().all(|row| row.key == row.value), "{asked:?}: a value belongs to another key");
        let got: Vec<&[u8]> = rows.iter().map(|row| &*row.key).collect();
        assert_eq!(got, expected, "{asked:?}");
    };
    let b: [&[u8]; 6] = [b"b", b"b\x00", b"b\x001", b"b2", b"b\xff", b"b\xff\xff"];
    let backwards: Vec<&[u8]> = b.iter().rev().copied().collect();
    check(b"b", None, false, usize::MAX, &b);
    check(b"b", None, true, usize::MAX, &backwards);
    check(b"b", None, false, 2, &b[..2]);
    check(b"b", None, true, 2, &backwards[..2]);
    check(b"b", None, false, 0, &[]);
    check(b"b", Some(b"b"), false, usize::MAX, &b[1..]);
    check(b"b", Some(b"b2"), false, 1, &b[4..5]);
    check(b"b", Some(b"b1 is not there"), false, usize::MAX, &b[3..]);
    check(b"b", Some(b"b2"), true, usize::MAX, &backwards[3..]);
    check(b"b", Some(b"b2"), true, 1, &backwards[3..4]);
    check(b"b", Some(b"b"), true, usize::MAX, &[]);
    // A mark outside the prefix leaves all of it or nothing, depending on the side.
    check(b"b", Some(b"a"), false, usize::MAX, &b);
    check(b"b", Some(b"c"), false, usize::MAX, &[]);
    check(b"b", Some(b"c"), true, usize::MAX, &backwards);
    check(b"b", Some(b"a"), true, usize::MAX, &[]);
    check(b"b\xff", None, false, usize::MAX, &b[4..]);
    check(b"\xff", None, false, usize::MAX, &[b"\xff\xff"]);
    check(b"\xff", Some(b"\xff\xff"), false, usize::MAX, &[]);
    check(b"nothing", None, false, usize::MAX, &[]);
    check(b"", None, false, usize::MAX, &keys);
    check(b"", Some(b"b\xff\xff"), false, usize::MAX, &keys[7..]);
    check(b"", None, true, 1, &[b"\xff\xff"]);
}

/// Bytes that no store can shorten and that differ by `seed`.
pub(super) fn noise(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect::<Vec<u8>>().into()
}

pub(super) async fn values_of_every_size_come_back(open: impl Open) {
    const KIB: usize = 1024;
    let sizes = [
        0,
        1,
        100,
        1000,
        2 * KIB - 1,
        2 * KIB,
        2 * KIB + 1,
        4 * KIB - 1,
        4 * KIB,
        4 * KIB + 1,
        16 * KIB,
        64 * KIB,
        128 * KIB - 1,
        128 * KIB,
        128 * KIB + 1,
        512 * KIB,
        1024 * KIB + 7,
        5 * 1024 * KIB,
    ];
    let journal = open();
    for (seed, size) in sizes.into_iter().enumerate() {
        let batch = Batch::default()
            .put(format!("size/{size:08}").into(), noise(size, seed as u64))
            .put(format!("beside/{size:08}").into(), bytes("small"));
        journal.commit(batch).await.expect("committed");
    }
    let check = |journal: &dyn Journal| {
        let rows = journal.scan(Scan::prefix("size/".into(), usize::MAX)).expect("the store reads");
        assert_eq!(rows.len(), sizes.len());
        for (seed, (size, row)) in sizes.into_iter().zip(rows).enumerate() {
            let expected = noise(size, seed as u64);
            assert!(row.value == expected, "a value of {size} bytes came back otherwise in a scan");
            let got = journal.get(&row.key).expect("the store reads");
            assert!(got == Some(expected), "a value of {size} bytes came back otherwise");
        }
    };
    check(&*journal);
    drop(journal);
    check(&*open());
}

pub(super) async fn a_large_value_is_replaced_and_deleted_whole(open: impl Open) {
    let journal = open();
    let sizes = [3_000_000, 10, 700_000, 2_000_000, 0, 100_000];
    for (seed, size) in sizes.into_iter().enumerate() {
        let value = noise(size, seed as u64);
        journal.commit(Batch::default().put("a".into(), value.clone())).await.expect("committed");
        assert!(journal.get(b"a") == Ok(Some(value.clone())), "{size} bytes");
        let same = Batch::default().expect(Expectation::Equals("a".into(), value));
        journal.commit(same).await.expect("the row has the value it was given");
    }
    journal.commit(put("b", "2").delete("a".into())).await.expect("committed");
    assert_eq!(all(&*journal), pairs(&[("b", "2")]), "no piece of the large value is left");
    drop(journal);
    assert_eq!(all(&*open()), pairs(&[("b", "2")]));
}

pub(super) async fn rows_survive_reopening(open: impl Open) {
    for round in 0..4 {
        let journal = open();
        assert_eq!(all(&*journal).len(), round * 50);
        for n in 0..50 {
            journal.commit(put(&format!("{round}/{n:02}"), "kept")).await.expect("committed");
        }
    }
    assert_eq!(all(&*open()).len(), 200);
}

pub(super) async fn commits_are_counted(open: impl Open) {
    let journal = open();
    let before = journal.counters().commits;
    for _ in 0..5 {
        journal.commit(put("a", "1")).await.expect("committed");
    }
    journal.commit(Batch::default().expect(Expectation::Absent("a".into()))).await.expect_err("the row is there");
    assert_eq!(journal.counters().commits - before, 5, "a refused batch is no commit");
}

pub(super) async fn a_random_history_reads_like_a_map(open: impl Open) {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    let mut map = BTreeMap::<Key, Bytes>::new();
    for _ in 0..3 {
        let journal = open();
        for _ in 0..300 {
            let mut batch = Batch::default();
            let keys: HashSet<u16> = (0..random.random_range(1..6)).map(|_| random.random_range(0..400)).collect();
            for key in keys {
                let key = format!("{key:03}").into_bytes();
                batch = match random.random_bool(0.3) {
                    true => batch.delete(key),
                    false => {
                        let size = if random.random_bool(0.05) { 40_000 } else { random.random_range(0..600) };
                        batch.put(key, noise(size, random.random()))
                    }
                };
            }
            for write in &batch.writes {
                match write {
                    Write::Put(key, value) => drop(map.insert(key.clone(), value.clone())),
                    Write::Delete(key) => drop(map.remove(key)),
                }
            }
            journal.commit(batch).await.expect("committed");
        }
        let rows = scan(&*journal, Scan::prefix(Key::new(), usize::MAX));
        let rows: BTreeMap<Key, Bytes> = rows.into_iter().map(|row| (row.key, row.value)).collect();
        assert!(rows == map, "the store and the map differ");
    }
}
