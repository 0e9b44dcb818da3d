//! `Idempotency-Key` for every `POST` whose room keeps none itself: the answer to the first request is stored, and the same
//! request under the same key gets it again. A key is one caller's, for a day. Two requests at once under one key do not
//! run beside each other.
//!
//! The answer is stored after the work: a server that dies in between runs a repeated request again. What is named is then
//! refused as existing, and what has its content as its name is found; only instances, where a second one would matter,
//! store their key in the same batch (see `coordinator::start`).

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{Context as Digest, SHA256};
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::extract::idempotency_key;
use super::front::Front;
use super::problem::{Kind, Problem};
use crate::clock::Clock;
use crate::journal::{Batch, CommitError, Journal, Scan, StoreError, Write, keys, row};

/// How long a key is known: longer than anybody repeats one request.
const HOURS: i64 = 24;

/// Keys that are known, at most; the oldest make room. Each holds one answer.
const KEYS_MAX: usize = 100_000;

/// Old keys removed with each new one.
const PRUNED_AT_ONCE: usize = 16;

/// An answer's bytes that are kept, at most; a larger one is repeated without its body.
const BODY_BYTES_MAX: usize = 256 << 10;

/// How long a repeated body may take to arrive: as long as the largest that a route takes.
const BODY_SECONDS_MAX: Duration = Duration::from_secs(300);

/// Seconds after which a request whose key is in use may come again.
const RETRY_SECONDS: u32 = 1;

/// Says that an answer is an earlier one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The answer whose member `token` is told once and kept by nobody.
const TOKENS: &str = "/v1/tokens";

type Hash = [u8; 32];

/// The answers that are kept.
pub struct Replays {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    under_way: Mutex<HashSet<Hash>>,
    known: AtomicUsize,
}

/// The stored row (key `f`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    at: Timestamp,
    /// The digest of what was asked; absent where its body was not read whole.
    request: Option<String>,
    status: u16,
    location: Option<String>,
    content_type: Option<String>,
    body: Option<String>,
}

/// A key while its request runs.
struct UnderWay {
    replays: Arc<Replays>,
    key: Hash,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.replays.under_way.lock().expect("no holder of this lock panics").remove(&self.key);
    }
}

impl Replays {
    /// The answers of a store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let known = journal.scan(Scan::prefix(keys::replay_ages(), KEYS_MAX))?.len();
        Ok(Arc::new(Self { journal, clock, under_way: Mutex::default(), known: AtomicUsize::new(known) }))
    }

    fn begin(self: &Arc<Self>, key: Hash) -> Option<UnderWay> {
        let fresh = self.under_way.lock().expect("no holder of this lock panics").insert(key);
        fresh.then(|| UnderWay { replays: self.clone(), key })
    }

    fn find(&self, key: &Hash) -> Result<Option<Kept>, StoreError> {
        let Some(stored) = self.journal.get(&keys::replay(key))? else { return Ok(None) };
        let kept: Kept = row::decode(&stored)?;
        Ok(Some(kept).filter(|kept| kept.at > self.oldest()))
    }

    async fn keep(&self, key: &Hash, kept: &Kept) -> Result<(), CommitError> {
        let mut batch = self.forget()?;
        if let Some(stored) = self.journal.get(&keys::replay(key))? {
            let old = keys::replay_age(millis(row::decode::<Kept>(&stored)?.at), key);
            batch = without(without(batch, keys::replay(key)), old.clone()).delete(old);
        }
        let is_age = |write: &Write| matches!(write, Write::Delete(row) if keys::replay_of_age(row).is_some());
        let removed = batch.writes.iter().filter(|write| is_age(write)).count();
        let age = keys::replay_age(millis(kept.at), key);
        self.journal.commit(batch.put(keys::replay(key), row::encode(kept)).put(age, row::encode(&()))).await?;
        let counted = |known: usize| Some((known + 1).saturating_sub(removed));
        let _ = self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        Ok(())
    }

    /// The removal of some keys whose time is over, or that are too many.
    fn forget(&self) -> Result<Batch, StoreError> {
        let (oldest, mut batch) = (millis(self.oldest()), Batch::default());
        let too_many = self.known.load(Ordering::Relaxed) >= KEYS_MAX;
        for aged in self.journal.scan(Scan::prefix(keys::replay_ages(), PRUNED_AT_ONCE))? {
            let Some((at, key)) = keys::replay_of_age(&aged.key) else { continue };
            if at > oldest && !too_many {
                break;
            }
            batch = batch.delete(keys::replay(&key)).delete(aged.key);
        }
        Ok(batch)
    }

    fn oldest(&self) -> Timestamp {
        self.clock.now().saturating_add(SignedDuration::from_hours(-HOURS)).unwrap_or(Timestamp::MIN)
    }
}

/// The batch without a write of this row: a key occurs at most once.
fn without(mut batch: Batch, key: Vec<u8>) -> Batch {
    batch.writes.retain(|write| !matches!(write, Write::Put(other, _) | Write::Delete(other) if *other == key));
    batch
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

/// The layer itself.
pub async fn once(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let takes_key = front.operations.find(&request).filter(|operation| operation.is_keyed_here(&request)).is_some();
    if !takes_key {
        return beside(request, next).await;
    }
    match replayed_or_run(&front.replays, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// A request whose room keeps keys itself: an instance that was there already was started under the same key.
async fn beside(request: Request, next: Next) -> Response {
    let is_keyed = request.headers().contains_key("idempotency-key") && request.method() == Method::POST;
    let is_instance = request.uri().path().starts_with("/v1/instances");
    let mut response = next.run(request).await;
    if is_keyed && is_instance && response.status() == StatusCode::OK {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

async fn replayed_or_run(replays: &Arc<Replays>, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = idempotency_key(request.headers())? else { return Ok(next.run(request).await) };
    let key = key_of(&request, &key);
    let Some(under_way) = replays.begin(key) else {
        let text = "a request with this `Idempotency-Key` is under way; repeat it to get its answer";
        return Err(Problem::new(Kind::IdempotencyKeyInUse, text).after(RETRY_SECONDS));
    };
    if let Some(kept) = replays.find(&key).map_err(Problem::store)? {
        return kept.again(request).await;
    }
    // Aside from the connection: a client that goes away does not keep the answer from being stored.
    let running = tokio::spawn(run(under_way, request, next));
    running.await.map_err(|error| Problem::internal(format!("a handler under a key: {error}")))?
}

async fn run(under_way: UnderWay, request: Request, next: Next) -> Result<Response, Problem> {
    let is_secret = request.uri().path() == TOKENS;
    let (request, digest) = watched(request);
    let response = next.run(request).await;
    if !response.status().is_success() || response.body().size_hint().exact().is_none() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(Problem::internal)?;
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let kept = Kept {
        at: under_way.replays.clock.now(),
        request: digest.finished(),
        status: head.status.as_u16(),
        location: text(header::LOCATION),
        content_type: text(header::CONTENT_TYPE),
        body: kept_body(&body, is_secret),
    };
    under_way.replays.keep(&under_way.key, &kept).await.map_err(Problem::store)?;
    Ok(Response::from_parts(head, Body::from(body)))
}

fn kept_body(body: &Bytes, is_secret: bool) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= BODY_BYTES_MAX)?;
    if !is_secret {
        return Some(text.to_owned());
    }
    let mut answer: serde_json::Value = serde_json::from_str(text).ok()?;
    answer.as_object_mut()?.remove("token");
    Some(answer.to_string())
}

impl Kept {
    async fn again(self, request: Request) -> Result<Response, Problem> {
        let (request, digest) = watched(request);
        let drained = drain(request.into_body());
        if tokio::time::timeout(BODY_SECONDS_MAX, drained).await.is_err() {
            return Err(Problem::new(Kind::RequestTimeout, "send the whole body faster"));
        }
        if self.request.is_some() && self.request != digest.finished() {
            let text = "this `Idempotency-Key` was used for another request; use a new key";
            return Err(Problem::new(Kind::IdempotencyKeyReused, text));
        }
        let mut headers = HeaderMap::new();
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        for (name, text) in [(header::LOCATION, self.location), (header::CONTENT_TYPE, self.content_type)] {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(name, value);
            }
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        Ok((status, headers, self.body.unwrap_or_default()).into_response())
    }
}

async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Who used which key.
fn key_of(request: &Request, key: &str) -> Hash {
    let caller = request.extensions().get::<Caller>().map(|caller| &caller.0);
    let mut digest = Digest::new(&SHA256);
    for part in [caller.map_or("", |who| who.tenant.as_str()), caller.map_or("", |who| &who.subject), key] {
        digest.update(part.as_bytes());
        digest.update(&[0]);
    }
    hash(digest)
}

fn hash(digest: Digest) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.finish().as_ref());
    hash
}

/// The digest of a request while its body is read.
#[derive(Clone)]
struct Watch(Arc<Mutex<(Digest, bool)>>);

impl Watch {
    /// The digest, where the body was read to its end.
    fn finished(&self) -> Option<String> {
        let (digest, ended) = &*self.0.lock().expect("no holder of this lock panics");
        ended.then(|| hex::encode(digest.clone().finish()))
    }
}

struct Watched {
    body: Body,
    watch: Watch,
}

/// The request, and the digest of its target and body as they will have been read.
fn watched(request: Request) -> (Request, Watch) {
    let mut digest = Digest::new(&SHA256);
    digest.update(request.uri().path_and_query().map_or("", |target| target.as_str()).as_bytes());
    digest.update(&[0]);
    let (head, body) = request.into_parts();
    let watch = Watch(Arc::new(Mutex::new((digest, body.is_end_stream()))));
    (Request::from_parts(head, Body::new(Watched { body, watch: watch.clone() })), watch)
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let mut watch = self.watch.0.lock().expect("no holder of this lock panics");
        match &frame {
            Some(Ok(frame)) => watch.0.update(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(_)) => {}
            None => watch.1 = true,
        }
        drop(watch);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::journal::memory::MemoryJournal;

    fn kept(at: Timestamp) -> Kept {
        Kept { at, request: None, status: 201, location: None, content_type: None, body: Some("{}".into()) }
    }

    #[tokio::test]
    async fn a_key_is_known_for_a_day_and_then_forgotten() {
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let replays = Replays::open(journal.clone(), Arc::new(clock.clone())).unwrap();
        replays.keep(&[1; 32], &kept(clock.now())).await.unwrap();
        clock.advance(SignedDuration::from_hours(23));
        assert!(replays.find(&[1; 32]).unwrap().is_some());
        clock.advance(SignedDuration::from_hours(2));
        assert!(replays.find(&[1; 32]).unwrap().is_none());
        replays.keep(&[1; 32], &kept(clock.now())).await.unwrap();
        replays.keep(&[2; 32], &kept(clock.now())).await.unwrap();
        let rows = |prefix| journal.scan(Scan::prefix(prefix, 10)).unwrap().len();
        assert_eq!(rows(keys::replay_ages()), 2, "the old age of the first key is gone");
        assert!(replays.find(&[1; 32]).unwrap().is_some());
        assert_eq!(replays.known.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_kept_row_reads_what_an_earlier_version_wrote() {
        let text = r#"{"at":"2026-01-01T00:00:00Z","request":"ab","status":201,"location":"/v1/services/a","contentType":"application/json","body":"{}"}"#;
        let kept: Kept = serde_json::from_str(text).unwrap();
        assert_eq!((kept.status, kept.body.as_deref()), (201, Some("{}")));
    }

    #[test]
    fn a_token_is_not_kept() {
        let body = Bytes::from_static(br#"{"name":"ci","token":"orc_1"}"#);
        assert_eq!(kept_body(&body, true).as_deref(), Some(r#"{"name":"ci"}"#));
        assert!(kept_body(&body, false).unwrap().contains("orc_1"));
    }
}
