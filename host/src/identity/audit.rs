//! The audit log: who changed what, and who was refused. Each entry carries the SHA-256 over the hash before it and its own
//! content, so that nothing in between can be changed, left out or put in without being seen. The head and the place where
//! old entries were cut off are signed with the key file, so that neither end can be moved either.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp, Unit};
use ring::hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::settings::AuditSettings;
use crate::clock::Clock;
use crate::journal::{Batch, CommitError, Journal, Scan, StoreError, keys, row};
use crate::model::TenantName;

/// Characters of a text in an entry, at most: subjects, paths and identifiers come from outside.
const TEXT_CHARACTERS_MAX: usize = 512;

/// Old entries removed with each new one: more than one, so that a backlog shrinks, and few, so that writing stays quick.
const PRUNED_AT_ONCE: usize = 4;

/// Entries read at a time.
const READ_AT_ONCE: usize = 500;

/// Entries looked at for one page, so that a rare filter does not read the whole log in one request.
const LOOKED_AT_MAX: usize = 20_000;

/// The outcome of a request whose caller went away before it was answered.
pub const ABANDONED: u16 = 499;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Who asked; absent: it is not known.
    pub subject: Option<String>,
    /// The tenant it was for.
    pub tenant: Option<TenantName>,
    /// Where the request came from.
    pub address: IpAddr,
    /// The operation.
    pub action: String,
    /// The path.
    pub target: String,
    /// The status of the answer.
    pub outcome: u16,
    /// The request's identifier.
    pub request_id: String,
}

/// An entry without its hash. The hash is over the JSON of exactly these members in this order, those that are absent left
/// out; members are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// Its place in the log, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// In which tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// From where.
    pub address: IpAddr,
    /// What: the operation.
    pub action: String,
    /// At what: the path.
    pub target: String,
    /// With what outcome: the status of the answer; 499 where the caller went away before it.
    pub outcome: u16,
    /// The request's identifier.
    pub request_id: String,
}

/// An entry; the stored row (key `I`, `a`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What happened.
    #[serde(flatten)]
    pub content: Content,
    /// The hash over the one before and the content, hexadecimal.
    pub hash: String,
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this subject.
    pub subject: Option<String>,
    /// Only in this tenant.
    pub tenant: Option<TenantName>,
    /// Only this operation.
    pub action: Option<String>,
    /// Only at or after this time.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
}

/// What a look at the whole log came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Entries looked at.
    pub entries: u64,
    /// The first number that is kept; what was before was cut off in order.
    pub first: Option<u64>,
    /// The last number.
    pub last: Option<u64>,
    /// The last hash, hexadecimal. Kept elsewhere, it proves later that nothing before it was changed.
    pub head: String,
    /// What is wrong, and from which number on; absent: nothing is.
    pub fault: Option<(u64, String)>,
}

/// A signed place in the chain: the head (key `I`, `h`) or the cut (key `I`, `c`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    number: u64,
    hash: String,
    signature: String,
}

struct Chain {
    next: u64,
    hash: [u8; 32],
    /// The first entry that is kept, with its time; nothing in an empty log.
    oldest: Option<(u64, Timestamp)>,
}

/// The log.
pub struct Audit {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    key: hmac::Key,
    settings: AuditSettings,
    chain: Mutex<Chain>,
}

/// The hash of an entry.
pub fn hash(before: &[u8; 32], content: &Content) -> [u8; 32] {
    let text = serde_json::to_vec(content).expect("an entry has only text and numbers");
    Sha256::new().chain_update(before).chain_update(text).finalize().into()
}

impl Audit {
    pub(super) fn open(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        key: &[u8; 32],
        settings: AuditSettings,
    ) -> Result<Self, StoreError> {
        let head: Option<Mark> = read(&*journal, &keys::audit_head())?;
        let cut: Option<Mark> = read(&*journal, &keys::audit_cut())?;
        let newest = Scan { prefix: keys::audit_entries(), after: None, reverse: true, limit: 1 };
        let newest = entries(&*journal, newest)?.pop().map(|entry| (entry.content.number, entry.hash));
        let oldest = entries(&*journal, Scan::prefix(keys::audit_entries(), 1))?.pop();
        // The furthest that anything tells of: an end that somebody cut off stays a gap that is seen.
        let marks = [head, cut].into_iter().flatten().map(|mark| (mark.number, mark.hash));
        let (number, hash) = marks.chain(newest).max_by_key(|(number, _)| *number).unwrap_or_default();
        let chain = Chain {
            next: number + 1,
            hash: digest_of(&hash),
            oldest: oldest.map(|entry| (entry.content.number, entry.content.at)),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Ok(Self { journal, clock, key, settings, chain: Mutex::new(chain) })
    }

    /// Adds an entry. It has its place in the chain when this returns, and is durable when the future ends; dropping the
    /// future takes nothing back. Entries share the store's flushes with everything else.
    pub fn add(&self, happened: Happened) -> BoxFuture<'static, Result<(), CommitError>> {
        let mut chain = self.chain();
        let content = Content {
            number: chain.next,
            at: self.clock.now().round(Unit::Millisecond).unwrap_or_default(),
            subject: happened.subject.map(cut),
            tenant: happened.tenant,
            address: happened.address,
            action: cut(happened.action),
            target: cut(happened.target),
            outcome: happened.outcome,
            request_id: cut(happened.request_id),
        };
        let hash = hash(&chain.hash, &content);
        let (number, at) = (content.number, content.at);
        let entry = Entry { content, hash: hex::encode(hash) };
        let batch = Batch::default()
            .put(keys::audit_entry(number), row::encode(&entry))
            .put(keys::audit_head(), row::encode(&self.mark("head", number, &hash)));
        let batch = match self.prune(batch, &mut chain, number, at) {
            Ok(batch) => batch,
            Err(error) => return std::future::ready(Err(error.into())).boxed(),
        };
        (chain.next, chain.hash) = (number + 1, hash);
        chain.oldest.get_or_insert((number, at));
        // Still under the lock: the store takes batches in the order of the calls.
        self.journal.commit(batch)
    }

    /// Adds the removal of what is too old or too much, with the signed place of the cut.
    fn prune(&self, mut batch: Batch, chain: &mut Chain, newest: u64, now: Timestamp) -> Result<Batch, StoreError> {
        let kept_since = now.saturating_sub(SignedDuration::from_hours(24 * i64::from(self.settings.days)));
        let kept_since = kept_since.unwrap_or(Timestamp::MIN);
        let mut last = None;
        for _ in 0..PRUNED_AT_ONCE {
            let Some((oldest, at)) = chain.oldest else { break };
            if newest - oldest < self.settings.entries && at >= kept_since {
                break;
            }
            let (gone, next) = (self.at(oldest)?, self.at(oldest + 1)?);
            let (Some(gone), Some(next)) = (gone, next) else { break };
            batch = batch.delete(keys::audit_entry(oldest));
            chain.oldest = Some((next.content.number, next.content.at));
            last = Some(gone);
        }
        Ok(match last {
            Some(gone) => {
                let mark = self.mark("cut", gone.content.number, &digest_of(&gone.hash));
                batch.put(keys::audit_cut(), row::encode(&mark))
            }
            None => batch,
        })
    }

    fn at(&self, number: u64) -> Result<Option<Entry>, StoreError> {
        read(&*self.journal, &keys::audit_entry(number))
    }

    fn chain(&self) -> MutexGuard<'_, Chain> {
        // A panic elsewhere cannot leave half a chain: number and hash change together.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, what: &str, number: u64, hash: &[u8; 32]) -> Mark {
        let signature = hmac::sign(&self.key, &signed(what, number, hash));
        Mark { number, hash: hex::encode(hash), signature: hex::encode(signature) }
    }

    fn is_signed(&self, what: &str, mark: &Mark) -> bool {
        let signature = hex::decode(&mark.signature).unwrap_or_default();
        hmac::verify(&self.key, &signed(what, mark.number, &digest_of(&mark.hash)), &signature).is_ok()
    }

    /// Entries, newest first, from before the number `before`; and the number to go on from, where there may be more.
    ///
    /// # Errors
    /// The store failed.
    pub fn list(
        &self,
        filter: &Filter,
        limit: usize,
        before: Option<u64>,
    ) -> Result<(Vec<Entry>, Option<u64>), StoreError> {
        let (mut found, mut before) = (Vec::new(), before);
        for _ in 0..LOOKED_AT_MAX / READ_AT_ONCE {
            let after = before.map(keys::audit_entry);
            let scan = Scan { prefix: keys::audit_entries(), after, reverse: true, limit: READ_AT_ONCE };
            let some = entries(&*self.journal, scan)?;
            let is_last = some.len() < READ_AT_ONCE;
            for entry in some {
                if filter.since.is_some_and(|since| entry.content.at < since) {
                    return Ok((found, None));
                }
                if found.len() == limit {
                    return Ok((found, before));
                }
                before = Some(entry.content.number);
                found.extend(filter.takes(&entry).then_some(entry));
            }
            if is_last {
                return Ok((found, None));
            }
        }
        Ok((found, before))
    }

    /// The entries behind a number, the oldest first; nothing behind the last.
    ///
    /// # Errors
    /// The store failed.
    pub fn behind(&self, number: u64) -> Result<Vec<Entry>, StoreError> {
        let after = Some(keys::audit_entry(number));
        entries(&*self.journal, Scan { prefix: keys::audit_entries(), after, reverse: false, limit: READ_AT_ONCE })
    }

    /// Looks at the whole log, from the cut to the head.
    ///
    /// # Errors
    /// The store failed.
    pub fn verify(&self) -> Result<Verdict, StoreError> {
        // What is cut off while this looks is cut off in order: begin again at the new place then.
        for _ in 0..3 {
            let cut: Option<Mark> = read(&*self.journal, &keys::audit_cut())?;
            let verdict = self.verify_from(cut.as_ref())?;
            let after: Option<Mark> = read(&*self.journal, &keys::audit_cut())?;
            if verdict.fault.is_none() || cut == after {
                return Ok(verdict);
            }
        }
        let cut: Option<Mark> = read(&*self.journal, &keys::audit_cut())?;
        self.verify_from(cut.as_ref())
    }

    fn verify_from(&self, cut: Option<&Mark>) -> Result<Verdict, StoreError> {
        let head: Option<Mark> = read(&*self.journal, &keys::audit_head())?;
        let mut verdict = Verdict { entries: 0, first: None, last: None, head: String::new(), fault: None };
        let (mut number, mut before) = cut.map_or((0, [0; 32]), |cut| (cut.number, digest_of(&cut.hash)));
        if cut.is_some_and(|cut| !self.is_signed("cut", cut)) {
            verdict.fault = Some((number, "the place of the cut is not signed by this server".to_owned()));
            return Ok(verdict);
        }
        let end = head.as_ref().map_or(number, |head| head.number);
        'log: loop {
            let some = self.behind(number)?;
            let is_last = some.len() < READ_AT_ONCE;
            for entry in some {
                if entry.content.number > end && head.is_some() {
                    break 'log; // Written while this looks.
                }
                if let Some(fault) = link(number, &before, &entry) {
                    verdict.fault = Some((number + 1, fault));
                    return Ok(verdict);
                }
                (number, before) = (entry.content.number, digest_of(&entry.hash));
                verdict.entries += 1;
                verdict.first.get_or_insert(number);
                verdict.last = Some(number);
            }
            if is_last {
                break;
            }
        }
        verdict.head = hex::encode(before);
        verdict.fault = self.fault_of_head(head.as_ref(), number, &before);
        Ok(verdict)
    }

    fn fault_of_head(&self, head: Option<&Mark>, number: u64, hash: &[u8; 32]) -> Option<(u64, String)> {
        let fault = match head {
            None if number == 0 => return None,
            None => "the signed head is missing",
            Some(head) if !self.is_signed("head", head) => "the head is not signed by this server",
            Some(head) if head.number != number => "entries at the end are missing",
            Some(head) if digest_of(&head.hash) != *hash => "the last entry is not the one that was signed",
            Some(_) => return None,
        };
        Some((number, fault.to_owned()))
    }
}

impl Filter {
    /// Whether an entry is wanted.
    pub fn takes(&self, entry: &Entry) -> bool {
        let Content { at, subject, tenant, action, .. } = &entry.content;
        self.subject.as_ref().is_none_or(|wanted| Some(wanted) == subject.as_ref())
            && self.tenant.as_ref().is_none_or(|wanted| Some(wanted) == tenant.as_ref())
            && self.action.as_ref().is_none_or(|wanted| wanted == action)
            && self.since.is_none_or(|since| *at >= since)
            && self.until.is_none_or(|until| *at < until)
    }
}

/// What is wrong with an entry that follows this number and hash; nothing where all is right.
pub fn link(number: u64, before: &[u8; 32], entry: &Entry) -> Option<String> {
    if entry.content.number != number + 1 {
        return Some(format!("entry {} is missing", number + 1));
    }
    let right = hex::encode(hash(before, &entry.content)) == entry.hash;
    (!right).then(|| format!("entry {} was changed, or one before it", entry.content.number))
}

/// The bytes of a hash in hexadecimal; zeros for none, which is what the first entry follows.
pub fn digest_of(text: &str) -> [u8; 32] {
    let mut digest = [0; 32];
    match hex::decode_to_slice(text, &mut digest) {
        Ok(()) => digest,
        Err(_) => [0; 32],
    }
}

fn signed(what: &str, number: u64, hash: &[u8; 32]) -> Vec<u8> {
    [b"orchestrator audit 1\0", what.as_bytes(), &[0], &number.to_be_bytes(), hash].concat()
}

fn cut(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

fn read<T: serde::de::DeserializeOwned>(journal: &dyn Journal, key: &[u8]) -> Result<Option<T>, StoreError> {
    journal.get(key)?.map(|stored| row::decode(&stored)).transpose()
}

fn entries(journal: &dyn Journal, scan: Scan) -> Result<Vec<Entry>, StoreError> {
    journal.scan(scan)?.iter().map(|row| row::decode(&row.value)).collect()
}

#[cfg(test)]
mod tests;
