//! Lists of instances. Each condition that has an index gives its instances in order of time; a list is what all of them
//! have in common, found by stepping from one candidate to the next and jumping over what cannot fit. So a page costs
//! about the same however many instances there are. What has no index is looked up in the summaries.
//!
//! In what follows a *rank* is an identifier as a number that grows in the direction of the list.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::handle::InstanceError;
use super::view::{InstanceFilter, InstanceSummary, Page, Status};
use super::{Shared, index, locked, store};
use crate::journal::{Journal, Key, Scan, StoreError, keys};
use crate::model::{InstanceId, ServiceName, TenantName};

/// What one page may cost, in entries of an index: some tens of milliseconds. A page that would cost more ends early and
/// says where to go on.
const COST_MAX: usize = 40_000;

/// What a look at a summary costs.
const SUMMARY_COST: usize = 8;

/// What a jump in an index costs.
const JUMP_COST: usize = 4;

/// So many entries are read at first, and twice as many each time after that.
const ENTRIES_FIRST: usize = 64;

/// So many entries are read at a time at most.
const ENTRIES_AT_ONCE: usize = 512;

/// An identifier's time and `createdAt` differ by less: clocks are set back now and then.
const SLACK_MS: u64 = 2_000;

/// Bits below the time of a UUID of version 7.
const TIME_SHIFT: u32 = 80;

/// Bytes of a cursor that say which list it belongs to.
const LIST_BYTES: usize = 8;

pub(super) fn instances(
    shared: &Shared,
    filter: &InstanceFilter,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<InstanceSummary>, InstanceError> {
    let list = fingerprint(filter);
    let begin = cursor.map(|cursor| read_cursor(cursor, list)).transpose()?;
    let mut walk = Walk::new(&*shared.journal, filter, begin);
    let mut items = Vec::new();
    while let Some(rank) = walk.next()? {
        walk.cost = walk.cost.saturating_add(SUMMARY_COST);
        let Some(summary) = fitting(shared, filter, walk.direction.id(rank))? else { continue };
        if items.len() == limit {
            return Ok(Page { items, next: Some(write_cursor(list, rank)) });
        }
        items.push(summary);
    }
    let next = walk.is_cut.then_some(walk.from).flatten().map(|rank| write_cursor(list, rank));
    Ok(Page { items, next })
}

/// What tells a list from every other one.
fn fingerprint(filter: &InstanceFilter) -> [u8; LIST_BYTES] {
    let filter = InstanceFilter { brief: false, ..filter.clone() };
    let text = serde_json::to_string(&filter).expect("a filter is text and times");
    let digest: [u8; 32] = Sha256::digest(text).into();
    *digest.first_chunk().expect("it is shorter than the digest")
}

fn write_cursor(list: [u8; LIST_BYTES], rank: u128) -> String {
    hex::encode([&list[..], &rank.to_be_bytes()].concat())
}

fn read_cursor(cursor: &str, list: [u8; LIST_BYTES]) -> Result<u128, InstanceError> {
    let bytes = hex::decode(cursor).map_err(|_| InstanceError::BadCursor)?;
    let rank = bytes.strip_prefix(&list).and_then(|rank| rank.try_into().ok());
    rank.map(u128::from_be_bytes).ok_or(InstanceError::BadCursor)
}

/// The instance as the list shows it, where it fits.
fn fitting(shared: &Shared, filter: &InstanceFilter, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError> {
    let live = (!filter.status.is_empty()).then(|| shared.live(id)).flatten();
    if live.is_some_and(|live| !filter.status.contains(&locked(&live.posture).status)) {
        return Ok(None);
    }
    // Of many that are looked at few may fit, so that the large members are read of those only.
    let is_looked_up = filter.brief || filter.search.is_some();
    let read = |brief: bool| match brief {
        true => store::brief(&*shared.journal, id),
        false => store::summary(&*shared.journal, id),
    };
    let Some(mut summary) = read(is_looked_up)? else { return Ok(None) };
    shared.fill(&mut summary);
    match fits(filter, &summary) {
        true if is_looked_up && !filter.brief => shared.summary(id),
        true => Ok(Some(summary)),
        false => Ok(None),
    }
}

fn fits(filter: &InstanceFilter, summary: &InstanceSummary) -> bool {
    filter.tenant == summary.tenant
        && (filter.status.is_empty() || filter.status.contains(&summary.status))
        && filter.service.as_ref().is_none_or(|service| Some(service) == summary.service.as_ref())
        && filter.services.as_ref().is_none_or(|all| summary.service.as_ref().is_some_and(|own| all.contains(own)))
        && filter.pack.as_ref().is_none_or(|pack| *pack == summary.pack)
        && filter.workflow.as_ref().is_none_or(|workflow| *workflow == summary.workflow)
        && filter.created_by.as_ref().is_none_or(|owner| Some(owner) == summary.created_by.as_ref())
        && filter.created_after.is_none_or(|after| summary.created_at >= after)
        && filter.created_before.is_none_or(|before| summary.created_at < before)
        && filter.search.as_deref().is_none_or(|text| is_found(text, summary))
}

fn is_found(text: &str, summary: &InstanceSummary) -> bool {
    let text = text.to_lowercase();
    summary.name.as_ref().is_some_and(|name| name.to_lowercase().contains(&text))
        || summary.id.to_string().starts_with(&text)
}

/// The way through a list.
struct Walk<'a> {
    direction: Direction,
    /// Each has all instances in question.
    conditions: Vec<Condition<'a>>,
    /// The next rank to look at; nothing at the end.
    from: Option<u128>,
    until: u128,
    cost: usize,
    /// It cost too much; `from` says where to go on.
    is_cut: bool,
}

impl<'a> Walk<'a> {
    fn new(journal: &'a dyn Journal, filter: &InstanceFilter, begin: Option<u128>) -> Self {
        let direction = Direction { is_reverse: !filter.oldest_first };
        let (first, until) = direction.range(filter);
        let from = Some(begin.map_or(first, |begin| begin.max(first)));
        let index = |prefix| Index::new(journal, direction, prefix);
        let conditions = conditions(filter).into_iter();
        let conditions = conditions.map(|union| Condition(union.into_iter().map(index).collect())).collect();
        Self { direction, conditions, from, until, cost: 0, is_cut: false }
    }

    /// The next rank that all conditions have.
    fn next(&mut self) -> Result<Option<u128>, StoreError> {
        let Some(mut candidate) = self.from else { return Ok(None) };
        loop {
            self.from = Some(candidate);
            if self.cost >= COST_MAX {
                self.is_cut = true;
                return Ok(None);
            }
            let before = candidate;
            for condition in &mut self.conditions {
                match condition.seek(candidate, &mut self.cost)? {
                    Some(rank) if rank <= self.until => candidate = rank,
                    _ => {
                        self.from = None;
                        return Ok(None);
                    }
                }
            }
            if candidate == before {
                self.from = candidate.checked_add(1);
                return Ok(Some(candidate));
            }
        }
    }
}

/// The indexes that narrow a list down: an instance is in one of each inner list.
fn conditions(filter: &InstanceFilter) -> Vec<Vec<Key>> {
    let having = |property, value: Option<&str>| value.map(|value| vec![keys::having(&filter.tenant, property, value)]);
    let statuses = statuses(&filter.status).into_iter().map(|status| keys::having(&filter.tenant, "status", status));
    let narrow = [
        having("owner", filter.created_by.as_deref()),
        having("service", filter.service.as_ref().map(|service| service.as_str())),
        having("workflow", filter.workflow.as_ref().map(|workflow| workflow.as_str())),
        filter.services.as_ref().map(|services| of_services(&filter.tenant, services)),
        having("pack", filter.pack.as_ref().map(|pack| pack.as_str())),
        Some(statuses.collect::<Vec<_>>()).filter(|statuses| !statuses.is_empty()),
    ];
    let narrow: Vec<_> = narrow.into_iter().flatten().collect();
    if narrow.is_empty() { vec![vec![index::all(&filter.tenant)]] } else { narrow }
}

fn of_services(tenant: &TenantName, services: &BTreeSet<ServiceName>) -> Vec<Key> {
    services.iter().map(|service| keys::having(tenant, "service", service.as_str())).collect()
}

/// The statuses in the index that stand for these; none where all do.
fn statuses(asked: &[Status]) -> Vec<&'static str> {
    let indexed = |status: &Status| if status.is_final() { status.as_str() } else { index::ACTIVE };
    let mut statuses: Vec<_> = asked.iter().map(indexed).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// Instances that are in one of some indexes.
struct Condition<'a>(Vec<Index<'a>>);

impl Condition<'_> {
    /// The first of them at this rank or behind it.
    fn seek(&mut self, rank: u128, cost: &mut usize) -> Result<Option<u128>, StoreError> {
        let mut first: Option<u128> = None;
        for index in &mut self.0 {
            let found = index.seek(rank, cost)?;
            first = first.into_iter().chain(found).min();
        }
        Ok(first)
    }
}

/// The entries of one index, read ahead.
struct Index<'a> {
    journal: &'a dyn Journal,
    direction: Direction,
    prefix: Key,
    ahead: VecDeque<u128>,
    /// Nothing is behind what was read.
    is_over: bool,
    at_once: usize,
}

impl<'a> Index<'a> {
    fn new(journal: &'a dyn Journal, direction: Direction, prefix: Key) -> Self {
        Self { journal, direction, prefix, ahead: VecDeque::new(), is_over: false, at_once: ENTRIES_FIRST }
    }

    fn seek(&mut self, rank: u128, cost: &mut usize) -> Result<Option<u128>, StoreError> {
        while self.ahead.front().is_some_and(|first| *first < rank) {
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() && !self.is_over {
            self.read(rank)?;
            *cost = cost.saturating_add(JUMP_COST + self.ahead.len());
        }
        Ok(self.ahead.front().copied())
    }

    fn read(&mut self, rank: u128) -> Result<(), StoreError> {
        let after = rank.checked_sub(1).map(|before| keys::entry(&self.prefix, self.direction.id(before)));
        let (reverse, limit) = (self.direction.is_reverse, self.at_once);
        let entries = self.journal.scan(Scan { prefix: self.prefix.clone(), after, reverse, limit })?;
        self.is_over = entries.len() < limit;
        self.at_once = (2 * limit).min(ENTRIES_AT_ONCE);
        let ids = entries.iter().filter_map(|entry| keys::instance_of(&entry.key));
        self.ahead.extend(ids.map(|id| self.direction.rank(id)));
        Ok(())
    }
}

/// Which way a list goes.
#[derive(Debug, Clone, Copy)]
struct Direction {
    is_reverse: bool,
}

impl Direction {
    fn rank(self, id: InstanceId) -> u128 {
        if self.is_reverse { !id.0.as_u128() } else { id.0.as_u128() }
    }

    fn id(self, rank: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(if self.is_reverse { !rank } else { rank }))
    }

    /// The first and the last rank that can be created in the filter's time.
    fn range(self, filter: &InstanceFilter) -> (u128, u128) {
        let millis = |at: Timestamp| u64::try_from(at.as_millisecond()).unwrap_or(0);
        let oldest = filter.created_after.map_or(0, |at| millis(at).saturating_sub(SLACK_MS));
        let oldest = u128::from(oldest) << TIME_SHIFT;
        let newest = filter.created_before.map_or(u128::MAX, |at| {
            let behind = u128::from(millis(at)) + u128::from(SLACK_MS);
            (behind << TIME_SHIFT) - 1
        });
        let [oldest, newest] = [oldest, newest].map(|id| self.rank(InstanceId(Uuid::from_u128(id))));
        (oldest.min(newest), oldest.max(newest))
    }
}

#[cfg(test)]
mod tests;
