//! The layer around each route that makes answers one thing: the form the client accepts, the selection it asks for, entity
//! tags and the conditions made of them, `OPTIONS`. It works from what is documented for the route, so that a new route has
//! all of it. Answers that stream pass it untouched.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

use super::caller::Caller;
use super::extract::{self, JSON_BYTES_MAX};
use super::front::Front;
use super::negotiate::{Accepted, YAML};
use super::operations::{JSON, Operation};
use super::problem::{Kind, Problem};
use super::select::Selection;
use super::tags::{self, Tag};
use crate::definition::yaml;

/// An answer's bytes, at most, that are looked at: pages of instances with large outputs stay below it.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The layer itself.
pub async fn represent(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    if is_of_soda(request.uri().path()) {
        return next.run(request).await;
    }
    let is_options = request.method() == Method::OPTIONS;
    let Some(operation) = front.operations.find(&request) else {
        return match front.operations.allowed(&request).filter(|_| is_options) {
            Some(methods) => options(&methods),
            None => next.run(request).await,
        };
    };
    let answered = match *request.method() {
        Method::GET | Method::HEAD => shown(operation, request, next).await,
        _ => done(&front, operation, request, next).await,
    };
    answered.unwrap_or_else(Problem::into_response)
}

/// That interface has forms and rules of its own, which its clients depend on.
fn is_of_soda(path: &str) -> bool {
    path == "/" || path.starts_with("/v1beta")
}

fn options(methods: &str) -> Response {
    let allow = HeaderValue::from_str(methods).unwrap_or(HeaderValue::from_static("OPTIONS"));
    (StatusCode::NO_CONTENT, [(header::ALLOW, allow)]).into_response()
}

/// A request that changes nothing.
async fn shown(operation: &Operation, mut request: Request, next: Next) -> Result<Response, Problem> {
    let accepted = Accepted::of(request.headers());
    let known = tags::listed(request.headers(), &header::IF_NONE_MATCH);
    let selection = selected(operation, &mut request)?;
    // So that a handler need not read what nobody is shown.
    request.extensions_mut().insert(selection.clone());
    let mut response = next.run(request).await;
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let given = media_type(&response).to_owned();
    if given != JSON {
        return match accepted.quality(&given) > 0.0 || given.is_empty() {
            true => Ok(kept_by_nobody(response)),
            false => Err(not_acceptable(&given)),
        };
    }
    if !accepted.takes_data() {
        return Err(not_acceptable("application/json or application/yaml"));
    }
    let (mut head, body) = response.into_parts();
    let bytes = whole(body).await?;
    let (bytes, tag) = formed(bytes, &selection, accepted.wants_yaml())?;
    if accepted.wants_yaml() {
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(YAML));
    }
    head.headers.remove(header::CONTENT_LENGTH);
    put(&mut head.headers, header::ETAG, &tag.quoted());
    head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if known.is_some_and(|known| tag.is_known_by(&known)) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        return Ok(Response::from_parts(head, Body::empty()));
    }
    Ok(Response::from_parts(head, Body::from(bytes)))
}

/// The answer in the form that goes out, with its tag.
fn formed(bytes: Bytes, selection: &Selection, as_yaml: bool) -> Result<(Bytes, Tag), Problem> {
    let answer: Value = serde_json::from_slice(&bytes).map_err(Problem::internal)?;
    let answer = selection.of(answer)?;
    let tag = Tag::of(&answer);
    match as_yaml {
        true => Ok((yaml::to_yaml(&answer).map_err(Problem::internal)?.into(), tag.yaml())),
        false if selection.is_all() => Ok((bytes, tag)),
        false => Ok((serde_json::to_vec(&answer).map_err(Problem::internal)?.into(), tag)),
    }
}

/// Takes the selection out of the query, and refuses what a route without parameters does not know.
fn selected(operation: &Operation, request: &mut Request) -> Result<Selection, Problem> {
    let uri = request.uri().clone();
    let Some(query) = uri.query() else { return Ok(Selection::default()) };
    let is_ours = operation.gives_json && uri.path().starts_with("/v1/");
    let (selection, others) = match is_ours {
        true => Selection::take(uri.path(), query, operation.gives_whole_list)?,
        false => (Selection::default(), query.to_owned()),
    };
    operation.members.as_ref().map_or(Ok(()), |members| selection.check(members))?;
    refuse_unknown(operation, &uri, &others)?;
    if others.len() != query.len() {
        let path = match others.is_empty() {
            true => uri.path().to_owned(),
            false => format!("{}?{others}", uri.path()),
        };
        let mut parts = uri.into_parts();
        parts.path_and_query = Some(path.parse().map_err(Problem::internal)?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(Problem::internal)?;
    }
    Ok(selection)
}

/// A route that reads no parameter would otherwise overlook one that is misspelt; the others refuse by themselves.
fn refuse_unknown(operation: &Operation, uri: &Uri, others: &str) -> Result<(), Problem> {
    if others.is_empty() || !operation.query.is_empty() || !uri.path().starts_with("/v1/") {
        return Ok(());
    }
    let name = others.split(['=', '&']).next().unwrap_or_default();
    let name: String = name.chars().take(100).collect();
    Err(Problem::new(Kind::InvalidParameter, format!("this route has no parameter `{name}`; leave it out")))
}

/// A request that changes something.
async fn done(front: &Front, operation: &Operation, request: Request, next: Next) -> Result<Response, Problem> {
    let accepted = Accepted::of(request.headers());
    if operation.gives_json && !accepted.takes_data() {
        return Err(not_acceptable("application/json or application/yaml"));
    }
    if let Some(query) = request.uri().query() {
        refuse_unknown(operation, request.uri(), query)?;
    }
    let response = match changes_a_resource(&request) {
        true => changed(front, request, next).await?,
        false => next.run(request).await,
    };
    let response = kept_by_nobody(response);
    if !accepted.wants_yaml() || !response.status().is_success() || media_type(&response) != JSON {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let (bytes, _) = formed(whole(body).await?, &Selection::default(), true)?;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(YAML));
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Body::from(bytes)))
}

/// Whether somebody else may be changing the same thing. Packs and instances have rules of their own for that.
fn changes_a_resource(request: &Request) -> bool {
    let path = request.uri().path();
    let is_apart = path == "/v1/packs" || path.starts_with("/v1/instances") || path.starts_with("/v1/events");
    let makes_one = ["/v1/services", "/v1/schedules", "/v1/tokens"].contains(&path);
    match *request.method() {
        Method::PUT | Method::PATCH | Method::DELETE => !is_apart,
        Method::POST => makes_one,
        _ => false,
    }
}

/// Holds a change to its conditions; nobody changes anything between the look and the change.
async fn changed(front: &Front, request: Request, next: Next) -> Result<Response, Problem> {
    let uri = request.uri().clone();
    let caller = request.extensions().get::<Caller>().cloned();
    let (can_be_read, method) = (front.operations.can_be_read(&request), request.method().clone());
    let conditions = Conditions::of(&request);
    let request = taken_in(request).await?;
    let (_alone, _beside);
    match conditions.is_none() {
        true => _beside = front.changing.read().await,
        false => _alone = front.changing.write().await,
    }
    if let Some(conditions) = conditions {
        if !can_be_read {
            let text = "what this route changes has no entity tag; leave `If-Match` and `If-None-Match` out";
            return Err(Problem::new(Kind::InvalidParameter, text));
        }
        conditions.hold(tag_of(front, &uri, caller.clone()).await?)?;
    }
    let mut response = next.run(request).await;
    let shows = matches!(response.status(), StatusCode::OK | StatusCode::CREATED) && method != Method::POST;
    if shows
        && can_be_read
        && let Ok(Some(tag)) = tag_of(front, &uri, caller).await
    {
        put(response.headers_mut(), header::ETAG, &tag.quoted());
    }
    Ok(response)
}

/// The request with its body read: whoever sends slowly must not hold the lock that others wait for.
async fn taken_in(request: Request) -> Result<Request, Problem> {
    let (head, body) = request.into_parts();
    let body = extract::read(body, JSON_BYTES_MAX, extract::JSON_SECONDS_MAX).await?;
    Ok(Request::from_parts(head, Body::from(body)))
}

/// The tag of what is at a path; nothing where nothing is there.
async fn tag_of(front: &Front, uri: &Uri, caller: Option<Caller>) -> Result<Option<Tag>, Problem> {
    let mut response = front.read(uri, caller).await;
    match response.status() {
        StatusCode::OK => {
            let bytes = whole(response.into_body()).await?;
            Ok(Some(formed(bytes, &Selection::default(), false)?.1))
        }
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(response.extensions_mut().remove::<Problem>().unwrap_or_else(|| Problem::of_bare(&response))),
    }
}

/// What a change depends on.
struct Conditions {
    matching: Option<Vec<String>>,
    none_matching: Option<Vec<String>>,
}

impl Conditions {
    fn of(request: &Request) -> Option<Self> {
        let matching = tags::listed(request.headers(), &header::IF_MATCH);
        let none_matching = tags::listed(request.headers(), &header::IF_NONE_MATCH);
        (matching.is_some() || none_matching.is_some()).then_some(Self { matching, none_matching })
    }

    fn hold(&self, tag: Option<Tag>) -> Result<(), Problem> {
        let failed = |text: &str| Err(Problem::new(Kind::PreconditionFailed, text));
        match (&self.matching, &tag) {
            (Some(_), None) => return failed("there is nothing at this path that `If-Match` could name"),
            (Some(given), Some(tag)) if !tag.is_matched_by(given) => {
                let text = "it was changed since; read it again and send the `ETag` of that answer as `If-Match`";
                return failed(text);
            }
            _ => {}
        }
        match (&self.none_matching, &tag) {
            (Some(given), Some(tag)) if tag.is_matched_by(given) || tag.is_known_by(given) => {
                failed("it exists as `If-None-Match` names it; leave the header out to replace it")
            }
            _ => Ok(()),
        }
    }
}

fn media_type(response: &Response) -> &str {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// Nothing between server and client may keep the answer, unless its route says otherwise.
fn kept_by_nobody(mut response: Response) -> Response {
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn put(headers: &mut axum::http::HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn not_acceptable(given: &str) -> Problem {
    Problem::new(Kind::NotAcceptable, format!("this route answers with {given}; set `Accept` to that or leave it out"))
}

/// An answer's bytes. Handlers make answers whole, so that nothing is waited for.
async fn whole(body: Body) -> Result<Bytes, Problem> {
    debug_assert!(body.size_hint().exact().is_some(), "a JSON answer is made whole");
    axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.map_err(Problem::internal)
}
