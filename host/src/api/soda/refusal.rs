//! How SODA's surface says no: the bare JSON texts, `{}` and `faultstring`s that its clients know, and for everything
//! else its `{code, message}`. `edge.rs` asks here how a problem is told on a path of this surface.

use axum::Json as Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::problem::{Kind, Problem};
use crate::coordinator::InstanceError;
use crate::model::Json;

/// Where this surface begins.
const ROOT: &str = "/v1beta";

/// What a start without a token is told.
pub const TOKEN_MISSING: &str = "Bad Request. Authentication Token is missing";

/// An error of this surface, where SODA's clients know no text of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorSpec {
    /// The response's status.
    #[schema(example = 404)]
    pub code: u16,
    /// What happened and what to do about it.
    #[schema(example = "there is no such route")]
    pub message: String,
}

/// Any error of this surface: a text, `{}`, or an object with `code` and `message`.
pub struct Refused;

impl PartialSchema for Refused {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        object.description(Some("A JSON text, `{}`, or `{code, message}` with more members.")).into()
    }
}

impl ToSchema for Refused {}

/// A no.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// A bare JSON text.
    Text(StatusCode, String),
    /// `{}` with 404: there is no such thing.
    Nothing,
    /// An object.
    Object(StatusCode, Map<String, Json>),
    /// Anything else.
    Problem(Problem),
}

impl Refusal {
    /// A text with 400.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(StatusCode::BAD_REQUEST, text.into())
    }

    /// `{code, message}` with the status of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::Problem(Problem::new(kind, message))
    }

    /// `{code, message}` for somebody who may not do this.
    pub fn forbidden(message: &str) -> Self {
        let status = StatusCode::FORBIDDEN;
        match json!({ "code": status.as_u16(), "message": message }) {
            Json::Object(object) => Self::Object(status, object),
            _ => Self::Nothing,
        }
    }

    /// What StackStorm says of a run that it does not start, which its callers pass on.
    pub fn fault(text: &str, faults: Vec<Json>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let object = json!({ "faultstring": text, "code": status.as_u16(), "message": text, "errors": faults });
        match object {
            Json::Object(object) => Self::Object(status, object),
            _ => Self::text(text),
        }
    }

    /// What is said of an execution that is not there. It does not tell which, so that all answers of this kind are equal.
    pub fn no_execution() -> Self {
        let object = json!({ "response": { "faultstring": "there is no such execution" } });
        match object {
            Json::Object(object) => Self::Object(StatusCode::NOT_FOUND, object),
            _ => Self::Nothing,
        }
    }

    /// What is said of something that cannot be removed because it is not there.
    pub fn failed() -> Self {
        Self::Text(StatusCode::NOT_FOUND, "Failed".to_owned())
    }
}

impl<P: Into<Problem>> From<P> for Refusal {
    fn from(error: P) -> Self {
        Self::Problem(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Text(status, text) => (status, Body(text)).into_response(),
            Self::Nothing => (StatusCode::NOT_FOUND, Body(json!({}))).into_response(),
            Self::Object(status, object) => (status, Body(object)).into_response(),
            Self::Problem(problem) => problem.into_response(),
        }
    }
}

/// Whether an instance is not there, and not something else went wrong with it.
pub fn is_absent(error: &InstanceError) -> bool {
    matches!(error, InstanceError::NotFound(_))
}

/// A request to this surface, as far as its refusals depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    starts_without_token: bool,
    absent: Absent,
}

/// How an instance that is not there is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Nothing,
    Failed,
    Execution,
}

impl Asked {
    /// What is asked of this surface; nothing where it is another one's.
    pub fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let rest = path.strip_prefix(ROOT)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let starts =
            request.method() == Method::POST && path.trim_end_matches('/').ends_with("/orchestration/instances");
        let absent = match *request.method() {
            _ if path.contains("/orchestration/tasks/") => Absent::Execution,
            Method::DELETE => Absent::Failed,
            _ => Absent::Nothing,
        };
        Some(Self { starts_without_token: starts && !has_token(request.headers()), absent })
    }

    /// How a problem is told here.
    pub fn tell(self, problem: Problem) -> Response {
        if self.starts_without_token && problem.kind.status() == StatusCode::UNAUTHORIZED {
            return Refusal::text(TOKEN_MISSING).into_response();
        }
        if problem.kind == Kind::UnknownInstance {
            // Whoever guards the route says so of others' instances; handlers say the same of those that are not there.
            return self.absent().into_response();
        }
        let status = match problem.kind.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        let headers = problem.headers();
        let mut response = (status, Body(ErrorSpec { code: status.as_u16(), message: problem.detail })).into_response();
        response.headers_mut().extend(headers);
        response
    }
}

impl Asked {
    fn absent(self) -> Refusal {
        match self.absent {
            Absent::Nothing => Refusal::Nothing,
            Absent::Failed => Refusal::failed(),
            Absent::Execution => Refusal::no_execution(),
        }
    }
}

/// Whether a request brings any token; whether it is right is found out elsewhere.
pub fn has_token(headers: &HeaderMap) -> bool {
    let given = |value: &HeaderValue| !value.as_bytes().trim_ascii().is_empty();
    headers.get("x-auth-token").is_some_and(given) || headers.get(header::AUTHORIZATION).is_some_and(given)
}

#[cfg(test)]
mod tests {
    use axum::http::Request as Head;

    use super::*;

    fn asked(method: &str, path: &str, token: &str) -> Option<Asked> {
        let head = Head::builder().method(method).uri(path).header("x-auth-token", token);
        Asked::of(&head.body(axum::body::Body::empty()).unwrap())
    }

    #[test]
    fn only_its_own_paths_are_told_its_way() {
        for own in ["/v1beta", "/v1beta/", "/v1beta/t/orchestration/services", "/v1beta/what/ever"] {
            assert!(asked("GET", own, "").is_some(), "{own}");
        }
        for other in ["/", "/v1", "/v1beta2", "/v1/instances"] {
            assert_eq!(asked("GET", other, ""), None, "{other}");
        }
    }

    #[test]
    fn a_start_without_a_token_is_told_so_and_a_wrong_token_is_not() {
        let told = |method, path, token| asked(method, path, token).unwrap().starts_without_token;
        assert!(told("POST", "/v1beta/t/orchestration/instances", ""));
        assert!(told("POST", "/v1beta/t/orchestration/instances/", " "));
        assert!(!told("POST", "/v1beta/t/orchestration/instances", "abc"));
        assert!(!told("GET", "/v1beta/t/orchestration/instances", ""));
        assert!(!told("POST", "/v1beta/t/orchestration/services", ""));
    }

    #[test]
    fn others_instances_look_as_those_that_are_not_there() {
        let absent = |method, path| asked(method, path, "").unwrap().absent();
        assert_eq!(absent("GET", "/v1beta/t/orchestration/instances/1"), Refusal::Nothing);
        assert_eq!(absent("DELETE", "/v1beta/t/orchestration/instances/1"), Refusal::failed());
        assert_eq!(absent("GET", "/v1beta/t/orchestration/tasks/1"), Refusal::no_execution());
    }
}
