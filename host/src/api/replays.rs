//! `Idempotency-Key` for every `POST` whose room keeps none itself: the answer to the first request is stored, and the same
//! request under the same key gets it again. A key is one caller's, for a day. Two requests at once under one key do not
//! run beside each other.
//!
//! The key rides with the first batch that its request commits, so that it is in the store exactly where something was
//! changed; the answer is stored after it. Where the server died in between, the answer is made anew from what there is,
//! or the client is told where to look ([`Lost`]). Nothing is done twice. Instances and notifications keep their keys in
//! rows of their own, in the batch that makes them.

mod kept;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use ring::digest::{Context as Digest, SHA256};
use serde::Deserialize;

use self::kept::{Hash, Kept, UnderWay};
use self::watched::{Watch, watched};
use super::caller::Caller;
use super::extract::{self, JSON_BYTES_MAX, JSON_SECONDS_MAX, idempotency_key};
use super::front::Front;
use super::problem::{Kind, Problem};
use super::template;
use crate::journal::Batch;
use crate::journal::riding::Rider;

pub use self::kept::Replays;

/// An answer's bytes that are kept, at most; a larger one is repeated without its body.
const BODY_BYTES_MAX: usize = 256 << 10;

/// How long a repeated body may take to arrive: as long as the largest that a route takes.
const BODY_SECONDS_MAX: Duration = Duration::from_secs(300);

/// Seconds after which a request whose key is in use may come again.
const RETRY_SECONDS: u32 = 1;

/// Says that an answer is an earlier one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What a repeated request gets whose first answer was lost with the server that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// It is done again: what it brings is its own name, or is the same however often it is said.
    Again,
    /// What was made has the name that the body says, and is shown as it is now.
    Named,
    /// What was changed is named by the path before the verb, and is shown as it is now.
    Subject,
    /// It is refused, with a word on where to look.
    Told,
}

impl Lost {
    /// By the name of an operation in the document; whatever is new here is refused until somebody has thought about it.
    fn of(operation: &str) -> Self {
        match operation {
            "install_pack" | "post_events" | "mark_notifications" => Self::Again,
            "cancel_instance" | "suspend_instance" | "resume_instance" => Self::Again,
            "create_service" | "create_schedule" => Self::Named,
            "retry_instance" => Self::Subject,
            _ => Self::Told,
        }
    }
}

/// The layer itself.
pub async fn once(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let operation = front.operations.find(&request).filter(|operation| operation.is_keyed_here(&request));
    let Some(lost) = operation.map(|operation| Lost::of(&operation.id)) else {
        return beside(request, next).await;
    };
    match replayed_or_run(&front, lost, request, next).await {
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

async fn replayed_or_run(front: &Arc<Front>, lost: Lost, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = idempotency_key(request.headers())? else { return Ok(next.run(request).await) };
    let key = key_of(&request, &key);
    let Some(under_way) = front.replays.begin(key) else {
        let text = "a request with this `Idempotency-Key` is under way; repeat it to get its answer";
        return Err(Problem::new(Kind::IdempotencyKeyInUse, text).after(RETRY_SECONDS));
    };
    match front.replays.find(&key).map_err(Problem::store)? {
        Some(kept) if kept.status.is_some() => return kept.again(request).await,
        Some(kept) if lost != Lost::Again => return made_anew(front, lost, under_way, kept, request).await,
        _ => {}
    }
    // Aside from the connection: a client that goes away does not keep the answer from being stored.
    let running = tokio::spawn(run(under_way, lost, request, next));
    running.await.map_err(|error| Problem::internal(format!("a handler under a key: {error}")))?
}

async fn run(under_way: UnderWay, lost: Lost, request: Request, next: Next) -> Result<Response, Problem> {
    let (request, watch) = watched(request);
    let rider = claim(&under_way, watch.clone());
    let response = match lost {
        Lost::Again => next.run(request).await,
        _ => rider.accompany(next.run(request)).await,
    };
    let is_final = response.status().is_success() || rider.is_aboard();
    if !is_final || response.body().size_hint().exact().is_none() {
        return Ok(response);
    }
    stored(&under_way, watch.finished(), response).await
}

/// Puts the key into the first batch of its request.
fn claim(under_way: &UnderWay, watch: Watch) -> Arc<Rider> {
    let (replays, key, at) = (under_way.replays.clone(), under_way.key, under_way.since);
    Rider::new(move || {
        let claimed = Kept { at, request: watch.finished(), ..Kept::default() };
        // A store that cannot be read takes no batch either.
        replays.rows(&key, &claimed).unwrap_or_else(|_| Batch::default())
    })
}

async fn stored(under_way: &UnderWay, request: Option<String>, response: Response) -> Result<Response, Problem> {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(Problem::internal)?;
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let kept = Kept {
        at: under_way.since,
        request,
        status: Some(head.status.as_u16()),
        location: text(header::LOCATION),
        content_type: text(header::CONTENT_TYPE),
        body: std::str::from_utf8(&body).ok().filter(|text| text.len() <= BODY_BYTES_MAX).map(str::to_owned),
    };
    under_way.replays.keep(&under_way.key, &kept).await.map_err(Problem::store)?;
    Ok(Response::from_parts(head, Body::from(body)))
}

/// The answer to a request that was carried out and whose answer was lost.
async fn made_anew(
    front: &Front,
    lost: Lost,
    mut under_way: UnderWay,
    claimed: Kept,
    request: Request,
) -> Result<Response, Problem> {
    let (uri, caller) = (request.uri().clone(), request.extensions().get::<Caller>().cloned());
    let (request, watch) = watched(request);
    let (head, body) = request.into_parts();
    let body = extract::read(body, JSON_BYTES_MAX, JSON_SECONDS_MAX).await?;
    claimed.check(&watch)?;
    let place = match lost {
        Lost::Named => template::any::<Called>(&head.headers, &body).ok().and_then(|called| below(&uri, &called.name)),
        Lost::Subject => uri.path().rsplit_once('/').and_then(|(subject, _)| subject.parse().ok()),
        Lost::Told | Lost::Again => None,
    };
    let shown = match &place {
        Some(place) => front.read(place, caller).await,
        None => StatusCode::NOT_FOUND.into_response(),
    };
    if shown.status() != StatusCode::OK {
        return Err(answer_lost(&uri));
    }
    let mut answer = shown;
    *answer.status_mut() = if lost == Lost::Named { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    if let Some(place) = place.filter(|_| lost == Lost::Named) {
        answer.headers_mut().extend(HeaderValue::from_str(place.path()).ok().map(|path| (header::LOCATION, path)));
    }
    under_way.since = claimed.at;
    let mut answer = stored(&under_way, claimed.request, answer).await?;
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(answer)
}

/// What of a body says which resource it makes.
#[derive(Deserialize)]
struct Called {
    name: String,
}

fn below(collection: &Uri, name: &str) -> Option<Uri> {
    let place = super::services::path_of(collection.path().rsplit('/').next()?, name).ok()?;
    place.to_str().ok()?.parse().ok()
}

fn answer_lost(uri: &Uri) -> Problem {
    let path = uri.path();
    let text = format!(
        "the server ended after it had begun what the first request under this key asked for, and before it answered; \
         it is not done again: look with `GET` at `{path}` or what is above it, and use a new key for what is missing"
    );
    Problem::new(Kind::IdempotencyAnswerLost, text)
}

impl Kept {
    /// Refuses another request under the same key.
    fn check(&self, watch: &Watch) -> Result<(), Problem> {
        if self.request.is_some() && self.request != watch.finished() {
            let text = "this `Idempotency-Key` was used for another request; use a new key";
            return Err(Problem::new(Kind::IdempotencyKeyReused, text));
        }
        Ok(())
    }

    async fn again(self, request: Request) -> Result<Response, Problem> {
        let (request, watch) = watched(request);
        let drained = drain(request.into_body());
        if tokio::time::timeout(BODY_SECONDS_MAX, drained).await.is_err() {
            return Err(Problem::new(Kind::RequestTimeout, "send the whole body faster"));
        }
        self.check(&watch)?;
        let mut headers = HeaderMap::new();
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        for (name, text) in [(header::LOCATION, self.location), (header::CONTENT_TYPE, self.content_type)] {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(name, value);
            }
        }
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
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
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openapi;

    #[test]
    fn each_operation_that_is_thought_about_exists() {
        let document = serde_json::to_string(&openapi::as_written()).unwrap();
        let thought_about = [
            "install_pack",
            "post_events",
            "mark_notifications",
            "cancel_instance",
            "suspend_instance",
            "resume_instance",
            "create_service",
            "create_schedule",
            "retry_instance",
        ];
        for id in thought_about {
            assert_ne!(Lost::of(id), Lost::Told);
            assert!(document.contains(&format!("\"operationId\":\"{id}\"")), "{id}");
        }
        assert_eq!(Lost::of("something_new"), Lost::Told);
    }
}
