//! `call: openapi`: finds the operation in its document (OpenAPI 3.0 and 3.1, Swagger 2.0), places the parameters where
//! the document says, and sends the request as `call: http` does.

mod document;
mod parameters;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::Method;
use ::http::header::{ACCEPT, HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::output::Output;
use super::request::{Spec, encoded, endpoint, present};
use super::{Session, http};
use crate::connection::call::failure;
use crate::model::{Failure, Json};
use document::Document;
use parameters::Placed;

/// A document is asked for again after this time: the other side may have changed it.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(5);

/// So many documents are kept; one has at most 8 MiB, most have some 100 KiB.
const DOCUMENTS_MAX: usize = 32;

/// The documents that are kept, by who asked for them and how.
#[derive(Default)]
pub(super) struct Documents(Mutex<BTreeMap<[u8; 32], Kept>>);

/// A document, and until when it is kept.
type Kept = (Timestamp, Arc<Json>);

impl Documents {
    fn get(&self, key: &[u8; 32], now: Timestamp) -> Option<Arc<Json>> {
        let documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, document) = documents.get(key)?;
        (*until > now).then(|| document.clone())
    }

    fn put(&self, key: [u8; 32], document: Arc<Json>, now: Timestamp) {
        let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        documents.retain(|_, (until, _)| *until > now);
        if documents.len() >= DOCUMENTS_MAX {
            documents.pop_first();
        }
        if let Ok(until) = now.checked_add(KEPT_FOR) {
            documents.insert(key, (until, document));
        }
    }
}

/// Makes the call.
pub(super) async fn call(session: &Session<'_>, arguments: &Json) -> Result<Json, Failure> {
    let (place, own) = endpoint(&arguments["document"]["endpoint"])?;
    let place = session.opener.text(place)?;
    let authentication = present(&arguments["document"]["authentication"]).or(own);
    let root = fetched(session, &place, authentication).await?;
    let Some(operation_id) = arguments["operationId"].as_str() else {
        return Err(failure::configuration("write `operationId` as text"));
    };
    let document = Document::new(&root, &place)?;
    let operation = document.operation(operation_id)?;
    let given = session.opener.json(&arguments["parameters"])?;
    let placed = parameters::place(&document, &operation, &given)?;
    let spec = Spec {
        method: operation.method.clone(),
        endpoint: format!("{}{}", document.server(&operation)?, placed.path),
        query: placed.query.clone(),
        headers: headers(session, &document, &operation, &placed)?,
        body: None,
        output: Output::read(&arguments["output"])?,
        redirect: arguments["redirect"] == true,
        authentication: present(&arguments["authentication"]).cloned(),
    };
    http::perform(session, with_body(spec, placed)?).await
}

/// The document, from memory or from its place.
async fn fetched(session: &Session<'_>, place: &str, authentication: Option<&Json>) -> Result<Arc<Json>, Failure> {
    let allowed = session.opener.allowed();
    // Before a kept one is looked at: the grant may have been taken back.
    super::way::Way::of(place, "", allowed)?;
    let asked = json!([allowed.tenant, allowed.pack, place, authentication]);
    let key: [u8; 32] = Sha256::digest(asked.to_string()).into();
    let now = session.inner.clock.now();
    if let Some(document) = session.inner.documents.get(&key, now) {
        return Ok(document);
    }
    let accept = HeaderValue::from_static("application/json, application/yaml, */*;q=0.8");
    let spec = Spec {
        method: Method::GET,
        endpoint: place.to_owned(),
        query: String::new(),
        headers: HeaderMap::from_iter([(ACCEPT, accept)]),
        body: None,
        output: Output::Content,
        redirect: true,
        authentication: authentication.cloned(),
    };
    let (wire, reply) = http::exchange(session, spec).await?;
    let document = match serde_json::from_slice(&reply.body) {
        Ok(document) => document,
        Err(_) => {
            let text = String::from_utf8_lossy(&reply.body);
            let read = (session.inner.read_yaml)(&text);
            read.map_err(|why| failure::configuration(format!("the document at {} cannot be read: {why}", wire.way)))?
        }
    };
    let document = Arc::new(document);
    session.inner.documents.put(key, document.clone(), now);
    Ok(document)
}

fn headers(
    session: &Session<'_>,
    document: &Document<'_>,
    operation: &document::Operation<'_>,
    placed: &Placed,
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &placed.headers {
        super::request::put(&mut headers, name, value, session.opener.is_in(value.as_bytes()))?;
    }
    if !placed.cookies.is_empty() {
        super::request::put(&mut headers, "cookie", &placed.cookies.join("; "), true)?;
    }
    if !headers.contains_key(ACCEPT) {
        super::request::put(&mut headers, "accept", &document.accepted(operation), false)?;
    }
    Ok(headers)
}

fn with_body(mut spec: Spec, placed: Placed) -> Result<Spec, Failure> {
    if let Some((kind, body)) = placed.body {
        if !spec.headers.contains_key("content-type") {
            super::request::put(&mut spec.headers, "content-type", &kind, false)?;
        }
        spec.body = Some(encoded(&body, &mut spec.headers)?);
    }
    Ok(spec)
}
