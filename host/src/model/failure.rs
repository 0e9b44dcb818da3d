//! What goes wrong in a workflow, as data: it is written to the journal and read after a crash.

use serde::{Deserialize, Serialize};

use super::Json;

/// The DSL's error object (DSL 1.0 "Error", after RFC 7807), with `instance` as a JSON pointer into the definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// A URI that names the kind of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// An HTTP status code.
    pub status: u16,
    /// A short text, the same for each error of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What happened this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The task at which it was raised, as a JSON pointer into the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// The DSL's standard error types: the last segment of their URI and their status.
pub mod standard {
    use super::ErrorObject;

    /// The base that the engine writes; the other known bases are accepted when matching.
    pub const BASE: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/";

    /// A wrong or missing setting.
    pub const CONFIGURATION: (&str, u16) = ("configuration", 400);
    /// Data that its schema refuses.
    pub const VALIDATION: (&str, u16) = ("validation", 400);
    /// An expression that fails or gives no single JSON value.
    pub const EXPRESSION: (&str, u16) = ("expression", 400);
    /// Not authenticated.
    pub const AUTHENTICATION: (&str, u16) = ("authentication", 401);
    /// Not granted.
    pub const AUTHORIZATION: (&str, u16) = ("authorization", 403);
    /// Time ran out.
    pub const TIMEOUT: (&str, u16) = ("timeout", 408);
    /// The outside answered with an error or not at all.
    pub const COMMUNICATION: (&str, u16) = ("communication", 500);
    /// Everything else, traps and unknown outcomes included.
    pub const RUNTIME: (&str, u16) = ("runtime", 500);

    /// An error of a standard type, not yet placed at a task.
    pub fn error((segment, status): (&str, u16), title: &str, detail: impl Into<String>) -> ErrorObject {
        ErrorObject {
            kind: format!("{BASE}{segment}"),
            status,
            title: Some(title.to_owned()),
            detail: Some(detail.into()),
            instance: None,
        }
    }
}

/// What a person reads when an action fails (WIT `orchestrator:action/types.problem`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable URI; empty means the standard type `runtime`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// An HTTP status code.
    pub status: u16,
    /// A short text, the same for each problem of this type.
    pub title: String,
    /// What happened this time and what to do about it.
    #[serde(default)]
    pub detail: String,
}

/// Why an attempt at an action did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the engine does about it.
    pub reaction: Reaction,
    /// What a person reads.
    pub problem: Problem,
}

/// What the engine does about a failure (WIT `orchestrator:action/types.failure`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reaction {
    /// Another attempt may succeed, not before `retry_after_ms` from the failure.
    Transient {
        /// The earliest useful moment, in milliseconds from the failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Another attempt would fail the same way.
    Permanent,
    /// It may have taken effect: probe before anything else.
    Unknown,
}

impl Failure {
    /// The DSL error that a `catch` sees.
    pub fn error(&self) -> ErrorObject {
        let kind = match self.problem.kind.as_str() {
            "" => format!("{}{}", standard::BASE, standard::RUNTIME.0),
            kind => kind.to_owned(),
        };
        ErrorObject {
            kind,
            status: self.problem.status,
            title: (!self.problem.title.is_empty()).then(|| self.problem.title.clone()),
            detail: (!self.problem.detail.is_empty()).then(|| self.problem.detail.clone()),
            instance: None,
        }
    }
}

impl ErrorObject {
    /// The object that expressions see as `$error`.
    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("an error object has only text and a number")
    }
}
