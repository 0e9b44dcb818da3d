//! The audit log: read, taken out whole, and verified. Nothing changes it but what is written into it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::extract::InQuery;
use super::list::{self, List};
use super::problem::{Kind, Problem};
use super::rooms::{Rooms, aside};
use crate::identity::audit::{Audit, Entry, Filter};
use crate::model::{Permission, Principal, TenantName};

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this subject.
    subject: Option<String>,
    /// Only in this tenant; all of them by default for a server admin, who alone may name another than her own.
    #[param(value_type = Option<String>)]
    tenant: Option<TenantName>,
    /// Only this operation, such as `start_instance`.
    action: Option<String>,
    /// Only at or after this time.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Items on the page, 1 to 200; by default 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its place in the log, from 1.
    number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who; absent: it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "token:ci")]
    subject: Option<String>,
    /// In which tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "default")]
    tenant: Option<String>,
    /// From where.
    #[schema(example = "192.0.2.1")]
    address: String,
    /// The operation, as this document calls it.
    #[schema(example = "start_instance")]
    action: String,
    /// The path.
    #[schema(example = "/v1/instances")]
    target: String,
    /// The status of the answer; 499 where the caller went away before it.
    #[schema(example = 201)]
    outcome: u16,
    /// The request's identifier.
    request_id: String,
    /// The SHA-256 over the hash of the entry before and this entry's JSON without `hash`, hexadecimal.
    hash: String,
}

/// What a look at the whole log came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Whether nothing was changed, left out or put in.
    valid: bool,
    /// Entries looked at.
    entries: u64,
    /// The first number that is kept; what was before was cut off for age or number, and the place is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    /// The last number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    /// The last hash. Kept elsewhere, it proves later that nothing before it was changed.
    head: String,
    /// The number from which on something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broken_at: Option<u64>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Lists entries of the audit log, newest first: every change and every refusal, with its outcome.
#[utoipa::path(get, path = "/v1/audit", tag = "people", params(Which), responses(
    (status = 200, description = "One page. It may be short, or empty, although there is a next one.", body = List<AuditEntry>),
    (status = 403, description = "`forbidden`."),
))]
pub async fn list_audit(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(which): InQuery<Which>,
) -> Result<Json<List<AuditEntry>>, Problem> {
    let limit = list::limit(which.limit)?;
    let wrong = || Problem::new(Kind::InvalidParameter, "the cursor is not one of this list; begin without it");
    let before = which.cursor.as_deref().map(|cursor| cursor.parse::<u64>().map_err(|_| wrong())).transpose()?;
    let filter = Filter {
        subject: which.subject,
        tenant: tenant(&caller, which.tenant)?,
        action: which.action,
        since: which.since,
        until: which.until,
    };
    let audit = rooms.identity.audit.clone();
    let listing = aside(move || audit.list(&filter, limit, before).map_err(Problem::store));
    let (entries, next) = listing.await?;
    let items = entries.into_iter().map(AuditEntry::from).collect();
    Ok(Json(List { items, next: next.map(|number| number.to_string()) }))
}

/// Gives the whole audit log, or that of one tenant, as JSON lines, the oldest entry first. `orchctl audit verify --file`
/// verifies a whole one without a server.
#[utoipa::path(get, path = "/v1/audit/export", tag = "people", responses(
    (status = 200, description = "One entry a line.", body = String, content_type = "application/jsonl"),
    (status = 403, description = "`forbidden`."),
))]
pub async fn export_audit(State(rooms): State<Arc<Rooms>>, Caller(caller): Caller) -> Result<Response, Problem> {
    let filter = Filter { tenant: tenant(&caller, None)?, ..Filter::default() };
    let lines = stream::unfold((rooms.identity.audit.clone(), filter, 0), |(audit, filter, after)| async move {
        let (reading, wanted) = (audit.clone(), filter.clone());
        let (lines, last) = aside(move || lines(&reading, &wanted, after)).await.ok().flatten()?;
        Some((Ok::<_, Infallible>(lines), (audit, filter, last)))
    });
    let name = "attachment; filename=\"audit.jsonl\"";
    let headers = [(header::CONTENT_TYPE, "application/jsonl"), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Verifies the audit log: each entry against the one before, the cut and the head against their signatures.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "people", responses(
    (status = 200, description = "What the look came to.", body = Verification),
    (status = 403, description = "`forbidden`."),
))]
pub async fn verify_audit(State(rooms): State<Arc<Rooms>>) -> Result<Json<Verification>, Problem> {
    let audit = rooms.identity.audit.clone();
    let verdict = aside(move || audit.verify().map_err(Problem::store)).await?;
    let (broken_at, problem) = verdict.fault.unzip();
    Ok(Json(Verification {
        valid: problem.is_none(),
        entries: verdict.entries,
        first: verdict.first,
        last: verdict.last,
        head: verdict.head,
        broken_at,
        problem,
    }))
}

/// The tenant whose entries are read; nothing for all of them.
fn tenant(caller: &Principal, asked: Option<TenantName>) -> Result<Option<TenantName>, Problem> {
    match asked {
        asked if caller.may(Permission::ManageServer) => Ok(asked),
        Some(other) if other != caller.tenant => {
            Err(Problem::new(Kind::Forbidden, "you see the entries of your own tenant only; leave `tenant` out"))
        }
        _ => Ok(Some(caller.tenant.clone())),
    }
}

/// Some lines behind a number, and the last number looked at; nothing at the end.
fn lines(audit: &Audit, filter: &Filter, after: u64) -> Result<Option<(Bytes, u64)>, Problem> {
    let entries = audit.behind(after).map_err(Problem::store)?;
    let Some(last) = entries.last().map(|entry| entry.content.number) else { return Ok(None) };
    let mut text = Vec::new();
    for entry in entries.iter().filter(|entry| filter.takes(entry)) {
        serde_json::to_writer(&mut text, entry).map_err(Problem::internal)?;
        text.push(b'\n');
    }
    Ok(Some((text.into(), last)))
}

impl From<Entry> for AuditEntry {
    fn from(Entry { content, hash }: Entry) -> Self {
        Self {
            number: content.number,
            at: content.at,
            subject: content.subject,
            tenant: content.tenant.map(Into::into),
            address: content.address.to_string(),
            action: content.action,
            target: content.target,
            outcome: content.outcome,
            request_id: content.request_id,
            hash,
        }
    }
}
