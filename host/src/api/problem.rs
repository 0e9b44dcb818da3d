//! Errors as RFC 9457 problem documents. Here alone an error of a room becomes a status, a stable type and
//! a text; the rooms know nothing of HTTP. `problems.md` describes each type and is served at `/problems/{name}`.
//! A [`Problem`] becomes a body only in `edge.rs`, which knows the request's path and identifier.

mod causes;

pub(super) use causes::commit;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{ConnectionName, SecretName, ServiceName};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Errors in one document, at most: enough to work through, and a hostile body can't make a large answer.
pub const FAULTS_MAX: usize = 100;

/// How callers prove who they are (RFC 6750, section 3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"orchestrator\"");

/// The kinds of problems. Each has a stable name, one status and one title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The body is not JSON.
    MalformedJson,
    /// The body is not YAML.
    MalformedYaml,
    /// The body ended early.
    BrokenBody,
    /// A path, query or header parameter is not valid.
    InvalidParameter,
    /// The body is JSON of the wrong shape.
    InvalidBody,
    /// The input does not fit the workflow's or service's schema.
    InvalidInput,
    /// The pack is not valid.
    InvalidPack,
    /// The grants do not fit what the pack requests.
    InvalidGrants,
    /// An `Idempotency-Key` came back with another request.
    IdempotencyKeyReused,
    /// A webhook came without signature and token.
    WebhookUnproved,
    /// A webhook's signature or token is wrong.
    WebhookRefused,
    /// A page of another site sent the request.
    CrossOrigin,
    /// No such route.
    UnknownRoute,
    /// No such problem type.
    UnknownProblem,
    /// No such pack or version.
    UnknownPack,
    /// No such service.
    UnknownService,
    /// No such workflow.
    UnknownWorkflow,
    /// No such instance.
    UnknownInstance,
    /// No such connection.
    UnknownConnection,
    /// No such secret.
    UnknownSecret,
    /// No such notification.
    UnknownNotification,
    /// No such schedule.
    UnknownSchedule,
    /// The route exists, but not with this method.
    MethodNotAllowed,
    /// The route does not answer in a form that the client accepts.
    NotAcceptable,
    /// The body came too slowly.
    RequestTimeout,
    /// This version is installed with other content, or a service of its name is another pack's.
    PackConflict,
    /// Instances run on this pack.
    PackInUse,
    /// A service of this name is there.
    ServiceExists,
    /// A pack brings the service.
    ServiceOfPack,
    /// The service is switched off.
    ServiceDisabled,
    /// A schedule of this name is there.
    ScheduleExists,
    /// A pack brings the schedule.
    ScheduleOfPack,
    /// There are as many as there may be.
    LimitReached,
    /// The instance has not ended.
    InstanceNotEnded,
    /// The instance cannot go on from a task that failed.
    InstanceNotRetried,
    /// The instance has ended.
    InstanceEnded,
    /// The instance cannot be taken up.
    InstanceSuspended,
    /// The workflow is installed and cannot be used, or not installed any more.
    WorkflowNotAtHand,
    /// A request with the same `Idempotency-Key` is under way.
    IdempotencyKeyInUse,
    /// The answer to the first request with the same `Idempotency-Key` was lost.
    IdempotencyAnswerLost,
    /// Somebody changed the same thing at the same time.
    Conflict,
    /// What `If-Match` or `If-None-Match` says does not hold.
    PreconditionFailed,
    /// The body is too large.
    BodyTooLarge,
    /// The body is of a type the route does not take.
    UnsupportedMediaType,
    /// The request was meant for another host.
    MisdirectedRequest,
    /// The caller sends too many requests.
    RateLimited,
    /// The request does not prove who sends it.
    Unauthenticated,
    /// Who sends it may not do this.
    Forbidden,
    /// The address has failed to prove who it is too often.
    TooManyAttempts,
    /// Who would know the caller cannot be asked.
    AuthenticationUnavailable,
    /// No such tenant.
    UnknownTenant,
    /// No such token.
    UnknownToken,
    /// There is a token of this name.
    TokenExists,
    /// Something still belongs to the tenant.
    TenantHeld,
    /// Our fault.
    Internal,
    /// Too much is under way.
    Busy,
    /// The server is stopping.
    Stopping,
    /// The store failed.
    StoreUnavailable,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 58] = [
        Self::MalformedJson,
        Self::MalformedYaml,
        Self::BrokenBody,
        Self::InvalidParameter,
        Self::InvalidBody,
        Self::InvalidInput,
        Self::InvalidPack,
        Self::InvalidGrants,
        Self::IdempotencyKeyReused,
        Self::WebhookUnproved,
        Self::WebhookRefused,
        Self::CrossOrigin,
        Self::UnknownRoute,
        Self::UnknownProblem,
        Self::UnknownPack,
        Self::UnknownService,
        Self::UnknownWorkflow,
        Self::UnknownInstance,
        Self::UnknownConnection,
        Self::UnknownSecret,
        Self::UnknownNotification,
        Self::UnknownSchedule,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::PackConflict,
        Self::PackInUse,
        Self::ServiceExists,
        Self::ServiceOfPack,
        Self::ServiceDisabled,
        Self::ScheduleExists,
        Self::ScheduleOfPack,
        Self::LimitReached,
        Self::InstanceNotEnded,
        Self::InstanceNotRetried,
        Self::InstanceEnded,
        Self::InstanceSuspended,
        Self::WorkflowNotAtHand,
        Self::IdempotencyKeyInUse,
        Self::IdempotencyAnswerLost,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::MisdirectedRequest,
        Self::RateLimited,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TooManyAttempts,
        Self::AuthenticationUnavailable,
        Self::UnknownTenant,
        Self::UnknownToken,
        Self::TokenExists,
        Self::TenantHeld,
        Self::Internal,
        Self::Busy,
        Self::Stopping,
        Self::StoreUnavailable,
    ];

    /// The last segment of the type's URI.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The status, the same for each problem of this kind.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("the table below has valid statuses, as a test shows")
    }

    /// The title, the same for each problem of this kind.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::MalformedJson => ("malformed-json", 400, "The body is not JSON"),
            Self::MalformedYaml => ("malformed-yaml", 400, "The body is not YAML"),
            Self::BrokenBody => ("broken-body", 400, "The body ended early"),
            Self::InvalidParameter => ("invalid-parameter", 400, "A parameter is not valid"),
            Self::InvalidBody => ("invalid-body", 422, "The body does not have the expected shape"),
            Self::InvalidInput => ("invalid-input", 422, "The input does not fit its schema"),
            Self::InvalidPack => ("invalid-pack", 422, "The pack is not valid"),
            Self::InvalidGrants => ("invalid-grants", 422, "The grants do not fit the pack"),
            Self::IdempotencyKeyReused => {
                ("idempotency-key-reused", 422, "The idempotency key belongs to another request")
            }
            Self::WebhookUnproved => ("webhook-unproved", 401, "The webhook does not prove who sent it"),
            Self::WebhookRefused => ("webhook-refused", 403, "The webhook's signature or token is wrong"),
            Self::CrossOrigin => ("cross-origin", 403, "Requests from other sites are refused"),
            Self::UnknownRoute => ("unknown-route", 404, "There is no such route"),
            Self::UnknownProblem => ("unknown-problem", 404, "There is no such problem type"),
            Self::UnknownPack => ("unknown-pack", 404, "There is no such pack"),
            Self::UnknownService => ("unknown-service", 404, "There is no such service"),
            Self::UnknownWorkflow => ("unknown-workflow", 404, "There is no such workflow"),
            Self::UnknownInstance => ("unknown-instance", 404, "There is no such instance"),
            Self::UnknownConnection => ("unknown-connection", 404, "There is no such connection"),
            Self::UnknownSecret => ("unknown-secret", 404, "There is no such secret"),
            Self::UnknownNotification => ("unknown-notification", 404, "There is no such notification"),
            Self::UnknownSchedule => ("unknown-schedule", 404, "There is no such schedule"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The route does not take this method"),
            Self::NotAcceptable => ("not-acceptable", 406, "The route does not answer in an accepted form"),
            Self::RequestTimeout => ("request-timeout", 408, "The request came too slowly"),
            Self::PackConflict => ("pack-conflict", 409, "The pack conflicts with an installed one"),
            Self::PackInUse => ("pack-in-use", 409, "The pack is in use"),
            Self::ServiceExists => ("service-exists", 409, "The service exists"),
            Self::ServiceOfPack => ("service-of-pack", 409, "The service belongs to a pack"),
            Self::ServiceDisabled => ("service-disabled", 409, "The service is switched off"),
            Self::ScheduleExists => ("schedule-exists", 409, "The schedule exists"),
            Self::ScheduleOfPack => ("schedule-of-pack", 409, "The schedule belongs to a pack"),
            Self::LimitReached => ("limit-reached", 409, "There are as many as there may be"),
            Self::InstanceNotEnded => ("instance-not-ended", 409, "The instance has not ended"),
            Self::InstanceNotRetried => ("instance-not-retried", 409, "The instance cannot be tried again"),
            Self::InstanceEnded => ("instance-ended", 409, "The instance has ended"),
            Self::InstanceSuspended => ("instance-suspended", 409, "The instance is suspended"),
            Self::WorkflowNotAtHand => ("workflow-not-at-hand", 409, "The workflow is not at hand"),
            Self::IdempotencyKeyInUse => {
                ("idempotency-key-in-use", 409, "A request with this idempotency key is under way")
            }
            Self::IdempotencyAnswerLost => {
                ("idempotency-answer-lost", 409, "The answer under this idempotency key was lost")
            }
            Self::Conflict => ("conflict", 409, "It was changed at the same time"),
            Self::PreconditionFailed => ("precondition-failed", 412, "It is not in the state that the request names"),
            Self::BodyTooLarge => ("body-too-large", 413, "The body is too large"),
            Self::UnsupportedMediaType => ("unsupported-media-type", 415, "The body's media type is not supported"),
            Self::MisdirectedRequest => ("misdirected-request", 421, "The request is for another host"),
            Self::RateLimited => ("rate-limited", 429, "Too many requests"),
            Self::Unauthenticated => ("unauthenticated", 401, "The request does not prove who sends it"),
            Self::Forbidden => ("forbidden", 403, "You may not do this"),
            Self::TooManyAttempts => ("too-many-attempts", 429, "Too many failed attempts"),
            Self::AuthenticationUnavailable => {
                ("authentication-unavailable", 503, "Who you are cannot be found out at the moment")
            }
            Self::UnknownTenant => ("unknown-tenant", 404, "There is no such tenant"),
            Self::UnknownToken => ("unknown-token", 404, "There is no such token"),
            Self::TokenExists => ("token-exists", 409, "There is a token of this name"),
            Self::TenantHeld => ("tenant-held", 409, "Something still belongs to the tenant"),
            Self::Internal => ("internal", 500, "Something went wrong in the server"),
            Self::Busy => ("busy", 503, "Too much is under way"),
            Self::Stopping => ("stopping", 503, "The server is stopping"),
            Self::StoreUnavailable => ("store-unavailable", 503, "The store is not available"),
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub kind: Kind,
    /// What happened this time, with the cure.
    pub detail: String,
    /// The single errors behind it, where there are several or they have a place.
    pub errors: Vec<Fault>,
    /// For the log alone: the full chain behind a fault of ours.
    pub cause: Option<String>,
    /// Seconds after which another attempt may succeed.
    pub retry_after: Option<u32>,
    /// The methods a route takes, for `method-not-allowed`.
    allow: Option<String>,
}

/// One error with its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Where in the body it stands: a JSON pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/input/size")]
    pub pointer: Option<String>,
    /// The file in the pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column in that line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// A stable code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is wrong.
    #[schema(example = "-1 is less than the minimum of 1")]
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// A problem document (RFC 9457), as every error is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct Document {
    /// A stable URI that names the kind of problem; `GET` it to read what it means and what to do.
    #[serde(rename = "type")]
    #[schema(example = "/problems/unknown-instance")]
    pub kind: String,
    /// A short text, the same for each problem of this type.
    #[schema(example = "There is no such instance")]
    pub title: String,
    /// The response's status.
    #[schema(example = 404)]
    pub status: u16,
    /// What happened this time and what to do about it.
    pub detail: String,
    /// The path of the request.
    #[schema(example = "/v1/instances/0199c1f0-0000-7000-8000-000000000000")]
    pub instance: String,
    /// The single errors, where there are several or they have a place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// With a status of 500 or more: the identifier under which the server's log tells more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), cause: None, retry_after: None, allow: None }
    }

    /// A fault of ours: the client reads that it happened, the log why.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::hidden(Kind::Internal, "try again; if it stays, look for the request's id in the server's log", cause)
    }

    /// The store failed: the client reads that it did, the log why.
    pub fn store(cause: impl std::fmt::Display) -> Self {
        let detail = "the server cannot read or write its data; an admin finds the reason in the server's log";
        Self::hidden(Kind::StoreUnavailable, detail, cause)
    }

    /// The server is stopping.
    pub fn stopping() -> Self {
        Self::new(Kind::Stopping, "the server is being stopped; try again once it is back").after(5)
    }

    /// Too much is under way.
    pub fn busy(what: impl std::fmt::Display, seconds: u32) -> Self {
        Self::new(Kind::Busy, format!("{what}, as many as there may be; try again in {seconds} seconds")).after(seconds)
    }

    /// There is no such pack, or not in this version.
    pub fn unknown_pack(name: impl std::fmt::Display) -> Self {
        Self::new(Kind::UnknownPack, format!("pack `{name}` is not installed; GET /v1/packs lists what is"))
    }

    /// There is no such service.
    pub fn unknown_service(name: &ServiceName) -> Self {
        Self::new(Kind::UnknownService, format!("there is no service `{name}`; GET /v1/services lists them"))
    }

    /// There is no such connection.
    pub fn unknown_connection(name: &ConnectionName) -> Self {
        Self::new(Kind::UnknownConnection, format!("there is no connection `{name}`; GET /v1/connections lists them"))
    }

    /// There is no such secret.
    pub fn unknown_secret(name: &SecretName) -> Self {
        Self::new(Kind::UnknownSecret, format!("there is no secret `{name}`; GET /v1/secrets lists their names"))
    }

    fn hidden(kind: Kind, detail: &str, cause: impl std::fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(kind, detail) }
    }

    /// Adds the single errors.
    pub fn with(mut self, errors: impl IntoIterator<Item = Fault>) -> Self {
        self.errors.extend(errors.into_iter().take(FAULTS_MAX));
        self
    }

    /// Says when another attempt may succeed, in seconds.
    pub fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The problem that stands for a response that is an error without a document, as the router makes for a known route
    /// and another method.
    pub fn of_bare(response: &Response) -> Self {
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                let allow = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
                let detail = match allow {
                    Some(allow) => format!("use {allow}"),
                    None => "use one of the methods that the header `Allow` names".to_owned(),
                };
                Self { allow: allow.map(str::to_owned), ..Self::new(Kind::MethodNotAllowed, detail) }
            }
            StatusCode::NOT_FOUND => unknown_route(),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(Kind::BodyTooLarge, "send less"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(Kind::UnsupportedMediaType, "send another type"),
            status if status.is_client_error() => Self::new(Kind::InvalidParameter, "the request is not valid"),
            status => Self::internal(format!("a bare response with status {status}")),
        }
    }

    /// The response, complete with the request's path and identifier.
    pub fn render(self, path: &str, request_id: &str) -> Response {
        let status = self.kind.status();
        let document = self.document(path, request_id);
        let body = serde_json::to_vec(&document).expect("a problem document has only text and numbers");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        response.headers_mut().extend(self.headers());
        response
    }

    /// The headers that go with it, in whichever form it is told.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        headers
    }

    fn document(&self, path: &str, request_id: &str) -> Document {
        Document {
            kind: format!("/problems/{}", self.kind.name()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            instance: path.to_owned(),
            errors: self.errors.clone(),
            request_id: self.kind.status().is_server_error().then(|| request_id.to_owned()),
        }
    }
}

impl IntoResponse for Problem {
    /// An empty response that carries the problem; `edge.rs` gives it its body.
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Fault {
    /// An error at a place in the body.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), message: message.into(), ..Self::default() }
    }
}

/// The problem of a path that no route has.
pub fn unknown_route() -> Problem {
    Problem::new(Kind::UnknownRoute, "the routes are listed in /v1/openapi.json")
}

/// The description of a problem type out of `problems.md`.
pub fn description(name: &str) -> Option<&'static str> {
    sections().find(|section| section.lines().next() == Some(name))
}

fn sections() -> impl Iterator<Item = &'static str> {
    include_str!("problems.md").split("\n## ").skip(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_described_with_its_status_and_title_and_nothing_else_is() {
        for kind in Kind::ALL {
            let section = description(kind.name()).unwrap_or_else(|| panic!("{} has no section", kind.name()));
            let head = format!("{}\n{} · {}.\n", kind.name(), kind.status().as_u16(), kind.title());
            assert!(section.starts_with(&head), "{section}");
        }
        assert_eq!(sections().count(), Kind::ALL.len());
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn a_fault_of_ours_hides_its_cause_and_names_the_request() {
        let document = Problem::internal("disk on fire").document("/v1/packs", "r-1");
        let text = serde_json::to_string(&document).unwrap();
        assert!(!text.contains("fire"), "{text}");
        assert_eq!(document.request_id.as_deref(), Some("r-1"));
        let theirs = Problem::new(Kind::UnknownPack, "x").document("/v1/packs/a", "r-1");
        assert_eq!(theirs.request_id, None);
    }

    #[test]
    fn a_document_names_at_most_a_hundred_errors() {
        let faults = (0..1000).map(|number| Fault::at(format!("/{number}"), "wrong"));
        assert_eq!(Problem::new(Kind::InvalidBody, "x").with(faults).errors.len(), FAULTS_MAX);
    }
}
