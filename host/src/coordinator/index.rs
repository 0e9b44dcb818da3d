//! The index of instances: for each property that lists are narrowed by, an entry (key `j`) in order of time. An instance's
//! entries are written with its summary, so that the two never differ.
//!
//! A store of a time before this index gets it when it is opened, the newest instance first: that the oldest one has its
//! entries says that all have.

use bytes::Bytes;

use super::store::Brief;
use super::view::InstanceSummary;
use crate::journal::{Batch, CommitError, Journal, Key, Row, Scan, StoreError, keys, row};
use crate::model::{InstanceId, TenantName};

/// Grows whenever there is another property; a store whose entries are of an older form gets them anew.
const FORM: &str = "1";

/// The status of every instance that has not ended, as far as the index goes: only memory knows more.
pub(super) const ACTIVE: &str = "active";

/// So many instances are indexed in one batch of an old store.
const INDEXED_AT_ONCE: usize = 128;

/// So many entries are counted at a time.
const COUNTED_AT_ONCE: usize = 1_000;

/// All instances of a tenant.
pub(super) fn all(tenant: &TenantName) -> Key {
    keys::having(tenant, "all", FORM)
}

/// The entries of an instance, as its summary is stored.
pub fn index_of(summary: &InstanceSummary) -> Vec<Key> {
    let InstanceSummary { id, tenant, status, .. } = summary;
    let ended = if status.is_final() { status.as_str() } else { ACTIVE };
    let properties = [
        Some(("status", ended)),
        Some(("pack", summary.pack.as_str())),
        Some(("workflow", summary.workflow.as_str())),
        summary.service.as_ref().map(|service| ("service", service.as_str())),
        summary.created_by.as_deref().map(|owner| ("owner", owner)),
    ];
    let having = properties.into_iter().flatten().map(|(property, value)| keys::having(tenant, property, value));
    std::iter::once(all(tenant)).chain(having).map(|having| keys::entry(&having, *id)).collect()
}

/// Adds what changes in the index where an instance had the entries `before` and its summary is this one from now on.
pub(super) fn moved(batch: Batch, before: &[Key], summary: &InstanceSummary) -> Batch {
    let now = index_of(summary);
    let gone = before.iter().filter(|key| !now.contains(key)).cloned();
    let batch = gone.fold(batch, Batch::delete);
    let new = now.iter().filter(|key| !before.contains(key)).cloned();
    new.fold(batch, |batch, key| batch.put(key, Bytes::new()))
}

/// How many instances a tenant has, `max` where there are more.
pub(super) fn count(journal: &dyn Journal, tenant: &TenantName, max: usize) -> Result<usize, StoreError> {
    let mut scan = Scan::prefix(all(tenant), COUNTED_AT_ONCE);
    let mut count = 0;
    loop {
        let entries = journal.scan(scan.clone())?;
        count += entries.len();
        match entries.into_iter().next_back() {
            Some(last) if count < max => scan.after = Some(last.key),
            _ => return Ok(count.min(max)),
        }
    }
}

/// Indexes the instances of a store that has no such index yet. It may break down at any place and is repeated then.
pub(super) async fn bring_up(journal: &dyn Journal) -> Result<(), StoreError> {
    if is_whole(journal)? {
        return Ok(());
    }
    tracing::info!("the instances of an older version are indexed; this is done once");
    let mut scan = Scan { reverse: true, ..Scan::prefix(keys::instances(), INDEXED_AT_ONCE) };
    let mut indexed = 0;
    loop {
        let rows = journal.scan(scan.clone())?;
        let Some(last) = rows.last() else { break };
        scan.after = Some(last.key.clone());
        indexed += rows.len();
        let batch =
            rows.iter().filter_map(readable).fold(Batch::default(), |batch, summary| indexed_too(batch, &summary));
        journal.commit(batch).await.map_err(failed)?;
    }
    tracing::info!(indexed, "the instances are indexed");
    Ok(())
}

/// Whether the oldest instance that can be read has its entries.
fn is_whole(journal: &dyn Journal) -> Result<bool, StoreError> {
    let oldest = journal.scan(Scan::prefix(keys::instances(), INDEXED_AT_ONCE))?;
    match oldest.iter().find_map(readable) {
        Some(summary) => Ok(journal.get(&keys::entry(&all(&summary.tenant), summary.id))?.is_some()),
        None => Ok(true),
    }
}

/// The entries of an instance in the place of those it had in a former index.
fn indexed_too(mut batch: Batch, summary: &InstanceSummary) -> Batch {
    if let Some(service) = &summary.service {
        batch = batch.delete(keys::former_by_service(service, summary.id));
    }
    if summary.status.is_final() {
        batch = batch.delete(keys::former_by_end(summary.status.as_str(), summary.id));
    }
    moved(batch, &[], summary)
}

/// A summary without input and output; nothing where the row is damaged, which must not keep the server from starting.
fn readable(stored: &Row) -> Option<InstanceSummary> {
    let read: Result<Brief, _> = row::decode(&stored.value);
    let instance: Option<InstanceId> = keys::instance_of(&stored.key);
    read.inspect_err(|error| tracing::error!(?instance, %error, "the summary of an instance cannot be read"))
        .ok()
        .map(|Brief(summary)| summary)
}

fn failed(error: CommitError) -> StoreError {
    match error {
        CommitError::Unavailable(error) => error,
        error @ CommitError::Conflict(_) => StoreError(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::coordinator::tests::{Kit, World, order};
    use crate::coordinator::view::{InstanceFilter, Status};
    use crate::coordinator::{Handle, Start};
    use crate::journal::memory::MemoryJournal;
    use crate::model::ServiceName;

    /// What a version without tenants and without this index wrote of an ended instance: its summary and the entries of
    /// its two indexes.
    fn former(number: u8) -> (InstanceId, Batch) {
        let id = InstanceId(uuid::Uuid::from_u128((0x0199_c1f0_0000_7000_8000 << 48) | u128::from(number)));
        let service = ServiceName::parse("volume provision").unwrap();
        let stored = format!(
            "\u{1}{{\"id\":\"{id}\",\"pack\":\"storage\",\"packVersion\":\"1.0.0\",\"workflow\":\"provision-volume\",\
             \"service\":\"volume provision\",\"status\":\"completed\",\"cancelling\":false,\
             \"createdAt\":\"2025-10-08T08:32:15.616Z\",\"updatedAt\":\"2025-10-08T08:32:15.616Z\",\
             \"endedAt\":\"2025-10-08T08:32:15.616Z\",\"input\":{{\"size\":1}},\"output\":{{}}}}"
        );
        let batch = Batch::default()
            .put(keys::instance(id), stored.into())
            .put(keys::former_by_service(&service, id), Bytes::new())
            .put(keys::former_by_end("completed", id), Bytes::new());
        (id, batch)
    }

    fn listed(handle: &Handle, filter: &InstanceFilter) -> Vec<InstanceId> {
        handle.instances(filter, 200, None).unwrap().items.into_iter().map(|summary| summary.id).collect()
    }

    async fn open(journal: Arc<dyn Journal>) -> Handle {
        Kit { journal, ..Kit::new(json!({ "do": [] }), World::echo()) }.start().await
    }

    #[tokio::test]
    async fn a_store_of_a_time_before_the_index_gets_it_once() {
        let journal = Arc::new(MemoryJournal::new());
        let mut ids: Vec<_> =
            (0..200).map(former).map(|(id, batch)| journal.apply(batch).map(|()| id).unwrap()).collect();
        ids.reverse();
        journal
            .apply(Batch::default().put(keys::instance(InstanceId(uuid::Uuid::nil())), Bytes::from_static(b"\x01?")))
            .unwrap();
        for _ in 0..2 {
            let handle = open(journal.clone()).await;
            let all = InstanceFilter::default();
            assert_eq!(listed(&handle, &all), ids, "they belong to the tenant `default`");
            let service = Some(ServiceName::parse("volume provision").unwrap());
            assert_eq!(listed(&handle, &InstanceFilter { service, status: vec![Status::Completed], ..all }), ids);
            for former in [b"x", b"e"] {
                assert!(journal.scan(Scan::prefix(former.to_vec(), 9)).unwrap().is_empty());
            }
        }
        let commits = journal.counters().commits;
        bring_up(&*journal).await.unwrap();
        assert_eq!(journal.counters().commits, commits, "nothing is written again");
    }

    #[tokio::test]
    async fn an_indexing_that_broke_down_is_repeated() {
        let journal = Arc::new(MemoryJournal::new());
        let ids: Vec<_> = (0..9).map(former).map(|(id, batch)| journal.apply(batch).map(|()| id).unwrap()).collect();
        // What a first batch leaves behind: the newest ones are done.
        for id in &ids[4..] {
            let summary = readable(&journal.scan(Scan::prefix(keys::instance(*id), 1)).unwrap()[0]).unwrap();
            journal.apply(indexed_too(Batch::default(), &summary)).unwrap();
        }
        assert_eq!(listed(&open(journal).await, &InstanceFilter::default()).len(), ids.len());
    }

    #[tokio::test]
    async fn the_index_follows_an_instance_from_its_start_to_its_deletion() {
        let journal = Arc::new(MemoryJournal::new());
        let flow = json!({ "do": [{ "a": { "if": ".call", "call": "a" } }] });
        let world = World::new(|_, _| crate::coordinator::tests::hangs());
        let kit = Kit { journal: journal.clone(), ..Kit::new(flow, world) };
        let handle = kit.start().await;
        let before = handle.count(&TenantName::standard(), 9).unwrap();
        let owned = || Start { created_by: Some("token:a".to_owned()), ..order(json!({ "call": true })) };
        let id = handle.start(owned()).await.unwrap().summary.id;
        let found = |status: Status| {
            let (tenant, created_by) = (TenantName::standard(), Some("token:a".to_owned()));
            listed(&handle, &InstanceFilter { tenant, created_by, status: vec![status], ..InstanceFilter::default() })
        };
        assert_eq!((found(Status::Running), found(Status::Cancelled)), (vec![id], vec![]));
        handle.cancel(id, None).await.unwrap();
        handle.wait(id, jiff::SignedDuration::from_secs(60)).await.unwrap();
        assert_eq!((found(Status::Running), found(Status::Cancelled)), (vec![], vec![id]));
        assert_eq!((before, handle.count(&TenantName::standard(), 9).unwrap()), (0, 1));
        handle.delete(id).await.unwrap();
        assert_eq!(handle.count(&TenantName::standard(), 9).unwrap(), 0);
        assert!(journal.scan(Scan::prefix(b"j".to_vec(), 9)).unwrap().is_empty(), "no entry is left");
    }

    #[tokio::test]
    async fn many_instances_are_counted_up_to_a_limit() {
        let journal = Arc::new(MemoryJournal::new());
        for number in 0..=u8::MAX {
            journal.apply(former(number).1).unwrap();
        }
        let handle = open(journal).await;
        for (max, expected) in [(0, 0), (10, 10), (256, 256), (1_000, 256)] {
            assert_eq!(handle.count(&TenantName::standard(), max).unwrap(), expected);
        }
        assert_eq!(handle.count(&TenantName::parse("red").unwrap(), 9).unwrap(), 0);
    }
}
