//! Lists over rows that were written without running anything: every condition, both directions, and what they cost.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::coordinator::tests::{Kit, World, new_year};
use crate::coordinator::{Handle, store};
use crate::journal::memory::MemoryJournal;
use crate::journal::{Batch, Counters, Row, row};
use crate::model::{PackName, ServiceName, TenantName, WorkflowName};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

/// The identifier of the instance that was created so many seconds after the new year.
fn id(second: u32) -> InstanceId {
    let at = new_year() + SignedDuration::from_secs(i64::from(second));
    let millis = u128::from(at.as_millisecond().unsigned_abs());
    InstanceId(Uuid::from_u128((millis << TIME_SHIFT) | (7 << 76) | (2 << 62) | u128::from(second)))
}

/// An instance with changing properties: the owner is `u0`…`u9`, each seventh faulted, each third was ordered through the
/// service `s`, each hundredth has a name of its own.
fn instance(owner: &TenantName, second: u32) -> InstanceSummary {
    let at = new_year() + SignedDuration::from_secs(i64::from(second));
    InstanceSummary {
        id: id(second),
        name: (second % 100 == 50).then(|| format!("Special {second}")),
        pack: PackName::parse("test").unwrap(),
        pack_version: semver::Version::new(1, 0, 0),
        workflow: WorkflowName::parse(if second.is_multiple_of(2) { "even" } else { "odd" }).unwrap(),
        service: (second.is_multiple_of(3)).then(|| ServiceName::parse("s").unwrap()),
        parent: None,
        rerun_of: None,
        tenant: owner.clone(),
        created_by: Some(format!("u{}", second % 10)),
        status: if second.is_multiple_of(7) { Status::Faulted } else { Status::Completed },
        cancelling: false,
        created_at: at,
        updated_at: at,
        ended_at: Some(at),
        input: json!({ "n": second }),
        output: Some(json!("out")),
        error: None,
        waiting_for: None,
    }
}

fn fill(journal: &MemoryJournal, instances: impl IntoIterator<Item = InstanceSummary>) {
    for summary in instances {
        let batch = index::moved(Batch::default(), &[], &summary);
        journal.apply(batch.put(keys::instance(summary.id), row::encode(&summary))).unwrap();
    }
}

async fn open(journal: Arc<dyn Journal>) -> Handle {
    Kit { journal, ..Kit::new(json!({ "do": [] }), World::echo()) }.start().await
}

/// The seconds of all pages, and how many pages there were.
fn walk(handle: &Handle, filter: &InstanceFilter, limit: usize) -> (Vec<u32>, usize) {
    let (mut seconds, mut pages, mut cursor) = (Vec::new(), 0, None::<String>);
    loop {
        let page = handle.instances(filter, limit, cursor.as_deref()).unwrap();
        assert!(page.items.len() <= limit);
        seconds.extend(page.items.iter().map(|summary| summary.id.0.as_u128() as u32));
        pages += 1;
        match page.next {
            Some(next) => cursor = Some(next),
            None => return (seconds, pages),
        }
    }
}

#[tokio::test]
async fn every_condition_and_all_of_them_together_give_what_a_look_at_everything_gives() {
    let (journal, red, blue) = (Arc::new(MemoryJournal::new()), tenant("red"), tenant("blue"));
    let all: Vec<_> = (0..900).map(|second| instance(if second % 5 == 4 { &blue } else { &red }, second)).collect();
    fill(&journal, all.iter().cloned());
    let handle = open(journal).await;
    let at = |second: u32| Some(instance(&red, second).created_at);
    let service = Some(ServiceName::parse("s").unwrap());
    let base = || InstanceFilter { tenant: red.clone(), ..InstanceFilter::default() };
    let filters = [
        base(),
        InstanceFilter { tenant: blue.clone(), ..base() },
        InstanceFilter { tenant: tenant("green"), ..base() },
        InstanceFilter { status: vec![Status::Faulted], ..base() },
        InstanceFilter { status: vec![Status::Faulted, Status::Running], ..base() },
        InstanceFilter { status: vec![Status::Faulted, Status::Completed], ..base() },
        InstanceFilter { status: vec![Status::Waiting], ..base() },
        InstanceFilter { service: service.clone(), ..base() },
        InstanceFilter { services: Some(service.clone().into_iter().collect()), ..base() },
        InstanceFilter { services: Some(BTreeSet::new()), ..base() },
        InstanceFilter { workflow: Some(WorkflowName::parse("odd").unwrap()), ..base() },
        InstanceFilter { pack: Some(PackName::parse("test").unwrap()), ..base() },
        InstanceFilter { pack: Some(PackName::parse("other").unwrap()), ..base() },
        InstanceFilter { created_by: Some("u3".to_owned()), ..base() },
        InstanceFilter { created_by: Some("u4".to_owned()), ..base() },
        InstanceFilter { created_after: at(700), created_before: at(720), ..base() },
        InstanceFilter { created_after: at(890), ..base() },
        InstanceFilter { created_before: at(5), ..base() },
        InstanceFilter { created_after: at(20), created_before: at(10), ..base() },
        InstanceFilter { search: Some("sPECial 4".to_owned()), ..base() },
        InstanceFilter { search: Some(id(77).to_string()), ..base() },
        InstanceFilter {
            status: vec![Status::Faulted],
            service,
            created_by: Some("u0".to_owned()),
            workflow: Some(WorkflowName::parse("even").unwrap()),
            created_after: at(100),
            ..base()
        },
    ];
    for filter in filters {
        for (oldest_first, limit) in [(false, 7), (true, 7), (false, 200), (true, 1)] {
            let filter = InstanceFilter { oldest_first, ..filter.clone() };
            let mut expected: Vec<_> =
                (0..).zip(&all).filter(|(_, summary)| fits(&filter, summary)).map(|(second, _)| second).collect();
            if !oldest_first {
                expected.reverse();
            }
            let (found, pages) = walk(&handle, &filter, limit);
            assert_eq!(found, expected, "{filter:?}");
            assert_eq!(pages, expected.len().div_ceil(limit).max(1), "{filter:?}: the last page says that it is");
        }
    }
}

#[tokio::test]
async fn a_brief_list_leaves_out_inputs_and_outputs() {
    let journal = Arc::new(MemoryJournal::new());
    fill(&journal, [instance(&TenantName::standard(), 1)]);
    let whole = store::summary(&*journal, id(1)).unwrap().unwrap();
    let brief = store::brief(&*journal, id(1)).unwrap().unwrap();
    assert_eq!((&brief.input, &brief.output), (&crate::model::Json::Null, &None));
    assert_eq!(InstanceSummary { input: whole.input.clone(), output: whole.output.clone(), ..brief }, whole);
    let handle = open(journal).await;
    for (brief, expected) in [(true, None), (false, Some(json!("out")))] {
        let filter = InstanceFilter { brief, ..InstanceFilter::default() };
        assert_eq!(handle.instances(&filter, 1, None).unwrap().items[0].output, expected);
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_one_list() {
    let journal = Arc::new(MemoryJournal::new());
    fill(&journal, (0..9).map(|second| instance(&tenant("red"), second)));
    let handle = open(journal).await;
    let list = InstanceFilter { tenant: tenant("red"), ..InstanceFilter::default() };
    let cursor = handle.instances(&list, 2, None).unwrap().next.unwrap();
    assert!(handle.instances(&list, 5, Some(&cursor)).is_ok(), "the size of the page may change");
    for other in [
        InstanceFilter { tenant: tenant("blue"), ..list.clone() },
        InstanceFilter { oldest_first: true, ..list.clone() },
        InstanceFilter { status: vec![Status::Completed], ..list.clone() },
    ] {
        assert_eq!(handle.instances(&other, 2, Some(&cursor)), Err(InstanceError::BadCursor));
    }
    for bad in ["", "zz", &cursor[2..], &format!("{cursor}00")] {
        assert_eq!(handle.instances(&list, 2, Some(bad)), Err(InstanceError::BadCursor), "{bad}");
    }
}

/// Counts the rows that are read.
struct Counting {
    journal: MemoryJournal,
    rows: AtomicUsize,
}

impl Journal for Counting {
    fn commit(
        &self,
        batch: Batch,
    ) -> futures_util::future::BoxFuture<'static, Result<(), crate::journal::CommitError>> {
        self.journal.commit(batch)
    }

    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.journal.get(key)
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        let rows = self.journal.scan(scan)?;
        self.rows.fetch_add(rows.len(), Ordering::Relaxed);
        Ok(rows)
    }

    fn counters(&self) -> Counters {
        self.journal.counters()
    }
}

#[tokio::test]
async fn a_page_reads_as_many_rows_of_many_instances_as_of_few() {
    let red = tenant("red");
    let filters = |middle: u32| {
        let base = || InstanceFilter { tenant: red.clone(), ..InstanceFilter::default() };
        let at = |second: u32| Some(instance(&red, second).created_at);
        [
            base(),
            InstanceFilter { oldest_first: true, ..base() },
            InstanceFilter { status: vec![Status::Faulted], ..base() },
            InstanceFilter { service: Some(ServiceName::parse("s").unwrap()), ..base() },
            InstanceFilter { workflow: Some(WorkflowName::parse("odd").unwrap()), ..base() },
            InstanceFilter { created_by: Some("u3".to_owned()), ..base() },
            InstanceFilter { created_by: Some("u3".to_owned()), status: vec![Status::Faulted], ..base() },
            InstanceFilter { created_after: at(middle), created_before: at(middle + 40), ..base() },
        ]
    };
    let mut costs = Vec::new();
    for count in [2_000, 20_000] {
        let journal = MemoryJournal::new();
        fill(&journal, (0..count).map(|second| instance(&red, second)));
        let journal = Arc::new(Counting { journal, rows: AtomicUsize::new(0) });
        let handle = open(journal.clone()).await;
        let cost = |filter: &InstanceFilter| {
            let before = journal.rows.load(Ordering::Relaxed);
            handle.instances(filter, 10, None).unwrap();
            journal.rows.load(Ordering::Relaxed) - before
        };
        costs.push(filters(count / 2).each_ref().map(cost));
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[1].iter().all(|rows| *rows < 700), "{costs:?}");
}

#[tokio::test]
async fn a_search_that_finds_little_ends_early_and_says_where_to_go_on() {
    let journal = Arc::new(MemoryJournal::new());
    let count = 2 * (COST_MAX / SUMMARY_COST) as u32;
    fill(
        &journal,
        (0..count).map(|second| InstanceSummary { name: None, ..instance(&TenantName::standard(), second) }),
    );
    fill(&journal, [InstanceSummary { name: Some("needle".to_owned()), ..instance(&TenantName::standard(), 3) }]);
    let handle = open(journal).await;
    let filter = InstanceFilter { search: Some("Needle".to_owned()), ..InstanceFilter::default() };
    let first = handle.instances(&filter, 10, None).unwrap();
    assert!(first.items.is_empty() && first.next.is_some());
    let (found, pages) = walk(&handle, &filter, 10);
    assert_eq!(found, [3]);
    assert!((2..=4).contains(&pages), "{pages}");
}

#[tokio::test]
async fn two_conditions_that_hardly_meet_cost_a_bounded_page() {
    let journal = Arc::new(MemoryJournal::new());
    let count = 60_000_u32;
    let flat = |second: u32| {
        let (workflow, pack) = (instance(&TenantName::standard(), second).workflow, PackName::parse("p").unwrap());
        let pack = if second % 2 == 1 { pack } else { PackName::parse("test").unwrap() };
        InstanceSummary { workflow, pack, ..instance(&TenantName::standard(), second) }
    };
    fill(&journal, (0..count).map(flat));
    let handle = open(journal).await;
    let even = Some(WorkflowName::parse("even").unwrap());
    let filter = InstanceFilter { workflow: even, pack: PackName::parse("p").ok(), ..InstanceFilter::default() };
    let page = handle.instances(&filter, 10, None).unwrap();
    assert!(page.items.is_empty() && page.next.is_some(), "it ends early");
    assert_eq!(walk(&handle, &filter, 10).0, Vec::<u32>::new());
}
