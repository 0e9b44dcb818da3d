//! Why an action did not succeed, sorted by what the engine does next: try again, give up, or find out first.

use std::fmt;
use std::time::Duration;

/// The standard problem types of the workflow language: a stable URI and the status that goes with it.
pub mod standard {
    /// A wrong or missing setting.
    pub const CONFIGURATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/configuration";
    /// Data that its schema refuses.
    pub const VALIDATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/validation";
    /// The outside does not know who is asking.
    pub const AUTHENTICATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/authentication";
    /// Known but not allowed, or not granted.
    pub const AUTHORIZATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/authorization";
    /// Time ran out.
    pub const TIMEOUT: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/timeout";
    /// The outside answered with an error or not at all.
    pub const COMMUNICATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/communication";
    /// Everything else.
    pub const RUNTIME: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/runtime";
}

/// What the engine does about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Another attempt may succeed, and this one had no effect outside.
    Transient {
        /// The earliest useful moment, counted from now.
        retry_after: Option<Duration>,
    },
    /// Another attempt would fail the same way.
    Permanent,
    /// It may have taken effect: the engine probes, or repeats an idempotent action with the same key.
    Unknown,
}

/// What a person reads, and what a workflow's `catch` filters on (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable URI, one of [`standard`] or the pack's own.
    pub kind: String,
    /// An HTTP status code, 400 to 599.
    pub status: u16,
    /// A short text, the same for each problem of this type.
    pub title: String,
    /// What happened this time and what to do about it.
    pub detail: String,
}

/// Why an action did not succeed.
///
/// ```
/// use orchestrator_sdk::{Error, Reaction};
/// use std::time::Duration;
///
/// let full = Error::permanent("the pool has 3 GB left: order a smaller volume or extend the pool")
///     .with_type("https://example.org/problems/pool-full", 409, "Pool full");
/// assert_eq!(full.reaction, Reaction::Permanent);
///
/// let busy = Error::transient("the array is rebalancing").retry_after(Duration::from_secs(30));
/// assert_eq!(busy.reaction, Reaction::Transient { retry_after: Some(Duration::from_secs(30)) });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the engine does about it.
    pub reaction: Reaction,
    /// What a person reads.
    pub problem: Problem,
}

impl Error {
    /// Another attempt may succeed and nothing was done: type `communication`, status 503.
    pub fn transient(detail: impl Into<String>) -> Self {
        let reaction = Reaction::Transient { retry_after: None };
        Self::new(reaction, standard::COMMUNICATION, 503, "Outside unavailable", detail)
    }

    /// Another attempt would fail the same way: type `runtime`, status 500, unless `with_type` says better.
    pub fn permanent(detail: impl Into<String>) -> Self {
        Self::new(Reaction::Permanent, standard::RUNTIME, 500, "Action failed", detail)
    }

    /// It may have taken effect: type `communication`, status 504.
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self::new(Reaction::Unknown, standard::COMMUNICATION, 504, "Outcome unknown", detail)
    }

    /// The input is wrong: permanent, type `validation`, status 400.
    pub fn validation(detail: impl Into<String>) -> Self {
        Self::new(Reaction::Permanent, standard::VALIDATION, 400, "Invalid data", detail)
    }

    /// An error with every part given; the status is brought into 400 to 599.
    pub fn new(reaction: Reaction, kind: &str, status: u16, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: kind.to_owned(),
            status: status.clamp(400, 599),
            title: title.to_owned(),
            detail: detail.into(),
        };
        Self { reaction, problem }
    }

    /// The same error with a problem type of the pack's own. `title` is the same for every error of the type.
    #[must_use]
    pub fn with_type(mut self, kind: &str, status: u16, title: &str) -> Self {
        self.problem =
            Problem { kind: kind.to_owned(), status: status.clamp(400, 599), title: title.to_owned(), ..self.problem };
        self
    }

    /// The same error with another status, brought into 400 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.problem.status = status.clamp(400, 599);
        self
    }

    /// The same error, its detail introduced by what was being done: `attach the volume: …`.
    #[must_use]
    pub fn context(mut self, doing: &str) -> Self {
        self.problem.detail = format!("{doing}: {}", self.problem.detail);
        self
    }

    /// The same error with the cure added to its detail.
    #[must_use]
    pub fn cure(mut self, cure: &str) -> Self {
        self.problem.detail = format!("{}; {cure}", self.problem.detail);
        self
    }

    /// A transient error that says when another attempt is worth it; other reactions stay as they are.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        if let Reaction::Transient { retry_after } = &mut self.reaction {
            *retry_after = Some(after);
        }
        self
    }

    /// The same problem, but possibly with an effect outside.
    #[must_use]
    pub fn into_unknown(mut self) -> Self {
        self.reaction = Reaction::Unknown;
        self
    }

    /// The same problem, but not worth another attempt.
    #[must_use]
    pub fn into_permanent(mut self) -> Self {
        self.reaction = Reaction::Permanent;
        self
    }

    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self.reaction, Reaction::Transient { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.problem.title, self.problem.status, self.problem.detail)
    }
}

impl std::error::Error for Error {}

/// Data that does not have the expected form is a validation error.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::validation(error.to_string())
    }
}
