//! Snapshots: taking up a long history without reading it, and without trusting a snapshot that cannot be read.

use super::*;
use crate::journal::{Batch, Scan, keys};

/// A loop of set tasks, long enough for a snapshot, and then a call.
fn long() -> Json {
    json!({ "do": [
        { "loop": { "for": { "in": "${ .items }" }, "do": [{ "wait": { "wait": { "milliseconds": 1 } } }] } },
        { "call": { "call": "last", "with": { "n": 7 } } },
    ] })
}

fn input() -> Json {
    json!({ "items": (0..400).collect::<Vec<u32>>() })
}

/// A server that stops while the last call is out; the instance it leaves.
async fn leave_behind(kit: &Kit) -> InstanceId {
    let handle = kit.start().await;
    let id = handle.start(order(input())).await.unwrap().summary.id;
    kit.world.called(1).await;
    handle.shutdown().await;
    id
}

fn kit(journal: Arc<dyn Journal>, world: Arc<World>) -> Kit {
    Kit { journal, clock: Arc::new(JumpClock::default()), ..Kit::new(long(), world) }
}

/// The end of an instance, without reading its history.
async fn finished(handle: &Handle, id: InstanceId) -> InstanceSummary {
    loop {
        match handle.instance(id).unwrap() {
            summary if summary.status.is_final() => return summary,
            _ => tokio::task::yield_now().await,
        }
    }
}

async fn delete(journal: &dyn Journal, keys: Vec<crate::journal::Key>) {
    let batch = keys.into_iter().fold(Batch::default(), |batch, key| batch.delete(key));
    journal.commit(batch).await.unwrap();
}

#[tokio::test]
async fn a_long_history_is_taken_up_from_its_snapshot() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let id = leave_behind(&kit(journal.clone(), World::new(|_, _| hangs()))).await;
    assert!(journal.get(&keys::snapshot(id)).unwrap().is_some());

    // Rows of the middle are gone: only who reads them all would notice.
    let rows = journal.scan(Scan::prefix(keys::history(id), 1000)).unwrap();
    delete(&*journal, rows[1..50].iter().map(|row| row.key.clone()).collect()).await;
    let kit = kit(journal.clone(), World::echo());
    let handle = kit.start().await;
    let summary = finished(&handle, id).await;
    assert_eq!((summary.status, summary.output), (Status::Completed, Some(json!({ "n": 7 }))));
    assert_eq!(journal.get(&keys::snapshot(id)).unwrap(), None, "an ended instance needs none");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_as_good_as_none() {
    for damage in [&b"{}"[..], b"no json", br#"{"form": 99, "engine": "0", "state": {}}"#] {
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let id = leave_behind(&kit(journal.clone(), World::new(|_, _| hangs()))).await;
        journal.commit(Batch::default().put(keys::snapshot(id), damage.into())).await.unwrap();
        let kit = kit(journal.clone(), World::echo());
        let handle = kit.start().await;
        let summary = finished(&handle, id).await;
        assert_eq!(summary.output, Some(json!({ "n": 7 })));
    }
}
