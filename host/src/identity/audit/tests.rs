//! The chain holds, and shows every way in which it can be broken.

use super::*;
use crate::clock::SimClock;
use crate::journal::memory::MemoryJournal;

struct Bench {
    journal: Arc<MemoryJournal>,
    clock: SimClock,
    settings: AuditSettings,
}

impl Bench {
    fn new(entries: u64, days: u32) -> Self {
        let clock = SimClock::new(Timestamp::from_second(1_800_000_000).unwrap());
        Self {
            journal: Arc::new(MemoryJournal::new()),
            clock,
            settings: AuditSettings { enabled: true, entries, days },
        }
    }

    fn open(&self) -> Audit {
        Audit::open(self.journal.clone(), Arc::new(self.clock.clone()), &[7; 32], self.settings).unwrap()
    }

    fn stored(&self, number: u64) -> Entry {
        row::decode(&self.journal.get(&keys::audit_entry(number)).unwrap().unwrap()).unwrap()
    }

    fn store(&self, entry: &Entry) {
        let key = keys::audit_entry(entry.content.number);
        self.journal.apply(Batch::default().put(key, row::encode(entry))).unwrap();
    }
}

fn happened(subject: &str, action: &str) -> Happened {
    Happened {
        subject: Some(subject.to_owned()),
        tenant: Some(TenantName::standard()),
        address: "192.0.2.1".parse().unwrap(),
        action: action.to_owned(),
        target: "/v1/instances".to_owned(),
        outcome: 201,
        request_id: "r-1".to_owned(),
    }
}

async fn filled(bench: &Bench, count: usize) -> Audit {
    let audit = bench.open();
    for number in 0..count {
        audit.add(happened(if number % 2 == 0 { "token:a" } else { "token:b" }, "start_instance")).await.unwrap();
        bench.clock.advance(SignedDuration::from_secs(1));
    }
    audit
}

#[tokio::test]
async fn an_untouched_log_verifies_also_when_it_is_empty_and_after_a_restart() {
    let bench = Bench::new(1_000, 30);
    assert_eq!(bench.open().verify().unwrap().fault, None);
    filled(&bench, 5).await;
    let audit = bench.open();
    audit.add(happened("token:a", "delete_instance")).await.unwrap();
    let verdict = audit.verify().unwrap();
    assert_eq!((verdict.entries, verdict.first, verdict.last, verdict.fault), (6, Some(1), Some(6), None));
    assert_eq!(verdict.head, bench.stored(6).hash);
}

#[tokio::test]
async fn whatever_is_changed_left_out_or_cut_off_is_seen() {
    type Harm = fn(&Bench);
    let harms: [(&str, Harm); 8] = [
        ("another subject", |bench| {
            let mut entry = bench.stored(3);
            entry.content.subject = Some("token:somebody-else".to_owned());
            bench.store(&entry);
        }),
        ("another subject with a hash that fits", |bench| {
            let mut entry = bench.stored(3);
            entry.content.subject = None;
            entry.hash = hex::encode(hash(&digest_of(&bench.stored(2).hash), &entry.content));
            bench.store(&entry);
        }),
        ("one left out", |bench| bench.journal.apply(Batch::default().delete(keys::audit_entry(3))).unwrap()),
        ("the first left out", |bench| bench.journal.apply(Batch::default().delete(keys::audit_entry(1))).unwrap()),
        ("the last left out", |bench| bench.journal.apply(Batch::default().delete(keys::audit_entry(5))).unwrap()),
        ("the last changed with a hash that fits", |bench| {
            let mut entry = bench.stored(5);
            entry.content.outcome = 403;
            entry.hash = hex::encode(hash(&digest_of(&bench.stored(4).hash), &entry.content));
            bench.store(&entry);
        }),
        ("the head gone", |bench| bench.journal.apply(Batch::default().delete(keys::audit_head())).unwrap()),
        ("a cut that nobody signed", |bench| {
            let mark = Mark { number: 2, hash: bench.stored(2).hash, signature: "00".to_owned() };
            let batch = Batch::default().delete(keys::audit_entry(1)).delete(keys::audit_entry(2));
            bench.journal.apply(batch.put(keys::audit_cut(), row::encode(&mark))).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let bench = Bench::new(1_000, 30);
        let audit = filled(&bench, 5).await;
        assert_eq!(audit.verify().unwrap().fault, None);
        harm(&bench);
        assert!(audit.verify().unwrap().fault.is_some(), "{name}");
        assert!(bench.open().verify().unwrap().fault.is_some(), "{name}, after a restart");
    }
}

#[tokio::test]
async fn an_end_that_was_cut_off_stays_seen_when_the_log_goes_on() {
    let bench = Bench::new(1_000, 30);
    filled(&bench, 5).await;
    bench.journal.apply(Batch::default().delete(keys::audit_entry(5))).unwrap();
    let audit = bench.open();
    audit.add(happened("token:a", "start_instance")).await.unwrap();
    assert_eq!(audit.verify().unwrap().fault, Some((5, "entry 5 is missing".to_owned())));
}

#[tokio::test]
async fn old_entries_go_in_order_and_the_rest_still_verifies() {
    let bench = Bench::new(10, 30);
    let audit = filled(&bench, 50).await;
    let verdict = audit.verify().unwrap();
    assert_eq!((verdict.entries, verdict.first, verdict.last, verdict.fault), (10, Some(41), Some(50), None));
    bench.clock.advance(SignedDuration::from_hours(24 * 31));
    for _ in 0..3 {
        audit.add(happened("token:a", "start_instance")).await.unwrap();
    }
    let verdict = bench.open().verify().unwrap();
    assert_eq!((verdict.first, verdict.last, verdict.fault), (Some(51), Some(53), None));
}

#[tokio::test]
async fn entries_are_found_by_who_what_and_when_and_paged() {
    let bench = Bench::new(1_000, 30);
    let begin = bench.clock.now();
    let audit = filled(&bench, 10).await;
    audit.add(Happened { tenant: None, subject: None, ..happened("", "get_instance") }).await.unwrap();
    let numbers = |filter: &Filter, limit, before| {
        let (found, next) = audit.list(filter, limit, before).unwrap();
        (found.iter().map(|entry| entry.content.number).collect::<Vec<_>>(), next)
    };
    let all = Filter::default();
    assert_eq!(numbers(&all, 4, None), (vec![11, 10, 9, 8], Some(8)));
    assert_eq!(numbers(&all, 20, Some(3)), (vec![2, 1], None));
    let of = Filter { subject: Some("token:b".to_owned()), ..Filter::default() };
    assert_eq!(numbers(&of, 3, None), (vec![10, 8, 6], Some(6)));
    let action = Filter { action: Some("get_instance".to_owned()), ..Filter::default() };
    assert_eq!(numbers(&action, 9, None).0, [11]);
    let tenant = Filter { tenant: Some(TenantName::standard()), ..Filter::default() };
    assert_eq!(numbers(&tenant, 20, None).0.len(), 10);
    let second = |second| Some(begin + SignedDuration::from_secs(second));
    let time = Filter { since: second(2), until: second(4), ..Filter::default() };
    assert_eq!(numbers(&time, 9, None).0, [4, 3]);
}

#[tokio::test]
async fn what_comes_from_outside_is_cut() {
    let bench = Bench::new(1_000, 30);
    let audit = bench.open();
    audit.add(Happened { target: "ü".repeat(5_000), ..happened("a", "b") }).await.unwrap();
    assert_eq!(bench.stored(1).content.target.chars().count(), TEXT_CHARACTERS_MAX);
    assert_eq!(audit.verify().unwrap().fault, None);
}

#[test]
fn a_stored_entry_is_still_read_and_its_hash_is_what_it_was() {
    let stored =
        br#"{"number":1,"at":"2026-11-21T22:00:00Z","subject":"token:ci","tenant":"default","address":"192.0.2.1",
        "action":"start_instance","target":"/v1/instances","outcome":201,"requestId":"r-1",
        "hash":"5545c9afbeabd31509e56e01057a1fde69abe6f4edbc6e83ee5aa26bb73f0d51"}"#;
    let entry: Entry = row::decode(&[&[1][..], stored].concat()).unwrap();
    // Computed by another program: SHA-256 over 32 zero bytes and the JSON in one line without `hash`.
    let content = r#"{"number":1,"at":"2026-11-21T22:00:00Z","subject":"token:ci","tenant":"default","address":"192.0.2.1","action":"start_instance","target":"/v1/instances","outcome":201,"requestId":"r-1"}"#;
    assert_eq!(serde_json::to_string(&entry.content).unwrap(), content);
    assert_eq!(hex::encode(hash(&[0; 32], &entry.content)), entry.hash);
}
