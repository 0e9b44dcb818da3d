//! What a file of `tests/` says: cases of one workflow, each with what the outside answers and what is expected of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::desk::Status;
use crate::model::WorkflowName;

/// A test file of a pack.
#[derive(Debug)]
pub struct TestFile {
    /// Its path in the pack, `tests/provision-volume.yaml`.
    pub path: String,
    /// The workflow that its cases run.
    pub workflow: WorkflowName,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// A sentence that says what holds.
    pub name: String,
    /// The line it starts in.
    pub line: u32,
    /// The order.
    pub input: Json,
    /// Replies to requests.
    pub outside: Vec<Entry>,
    /// Answers to whole calls.
    pub actions: Vec<Answer>,
    /// Events, one each time everything waits.
    pub events: Vec<Json>,
    /// Somebody cancels as soon as this task is entered.
    pub cancel: Option<String>,
    /// Whether it is run again with a crash in the middle, where that is asked for; `true` by default. Replies that tell
    /// two readings of one thing apart by their order alone do not fit a process that reads it once more.
    pub crash: bool,
    /// What has to come of it.
    pub expect: Expect,
}

/// How often an entry answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// So often, and neither less nor more.
    Exactly(u32),
    /// Any number of times, also none.
    Always,
}

/// A reply to a request.
#[derive(Debug)]
pub struct Entry {
    /// The line it stands in.
    pub line: u32,
    /// Where the request goes to.
    pub way: Way,
    /// Its method.
    pub method: String,
    /// Its path below the connection's base URL, or the host's.
    pub path: String,
    /// What its query has.
    pub query: BTreeMap<String, String>,
    /// What its headers have, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// What its body has.
    pub body: Option<Json>,
    /// What it gets.
    pub reply: Reply,
    /// How often.
    pub times: Times,
}

/// Where a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A connection of the pack, by its name there.
    Connection(String),
    /// An absolute URL: `https://api.example`, with its port where it is not the scheme's own.
    Host(String),
}

impl std::fmt::Display for Way {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(name) => write!(formatter, "connection `{name}`"),
            Self::Host(host) => write!(formatter, "host `{host}`"),
        }
    }
}

/// What a request gets.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A response.
    Response {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: Body,
    },
    /// Time ran out after something may have been sent.
    Timeout,
    /// The connection broke after something may have been sent.
    Interrupted,
    /// Nothing was sent.
    Unavailable,
    /// The mail server refuses for good; mail only.
    Refused,
    /// The connection's filter keeps the message back, with this reason; mail only.
    Filtered(String),
}

/// A response's body.
#[derive(Debug, Clone)]
pub enum Body {
    /// None.
    Empty,
    /// JSON.
    Json(Json),
    /// Text.
    Text(String),
}

/// An answer to a whole call of an action.
#[derive(Debug)]
pub struct Answer {
    /// The line it stands in.
    pub line: u32,
    /// Which action.
    pub action: ActionLabel,
    /// What the call gives.
    pub result: Answered,
    /// How often.
    pub times: Times,
}

/// An action as a test file names it: `plan-copy`, or `notify:1.0.0@notification` of another pack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionLabel {
    /// The action.
    pub action: String,
    /// Its pack and version, where it is another one's.
    pub other: Option<(String, String)>,
}

impl ActionLabel {
    /// Reads the text.
    pub fn read(text: &str) -> Self {
        let other = text.split_once('@').and_then(|(left, pack)| {
            let (action, version) = left.split_once(':')?;
            Some((action.to_owned(), (pack.to_owned(), version.to_owned())))
        });
        match other {
            Some((action, other)) => Self { action, other: Some(other) },
            None => Self { action: text.to_owned(), other: None },
        }
    }
}

impl std::fmt::Display for ActionLabel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.other {
            Some((pack, version)) => write!(formatter, "{}:{version}@{pack}", self.action),
            None => formatter.write_str(&self.action),
        }
    }
}

/// What a call gives.
#[derive(Debug, Clone)]
pub enum Answered {
    /// It succeeds.
    Output(Json),
    /// It fails, and another attempt may succeed.
    Transient(Told),
    /// It fails, and another attempt would fail the same way.
    Permanent(Told),
}

/// What a failure says.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its type; where it is absent, a failed communication with the outside.
    pub kind: Option<String>,
    /// Its status.
    pub status: u16,
    /// Its title.
    pub title: Option<String>,
    /// What happened.
    pub detail: String,
}

/// What has to come of a case. What it does not name may be anything.
#[derive(Debug)]
pub struct Expect {
    /// Where the instance has to stand at the end.
    pub status: Status,
    /// What its output has.
    pub output: Option<Json>,
    /// What its error has.
    pub error: Option<Json>,
    /// How often tasks are entered.
    pub tasks: BTreeMap<String, u64>,
    /// What the last call of an action is passed.
    pub arguments: BTreeMap<ActionLabel, Json>,
}

/// What came of a case.
#[derive(Debug)]
pub struct Verdict {
    /// The file's path in the pack.
    pub path: String,
    /// The line of the case.
    pub line: u32,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The case's name.
    pub name: String,
    /// What is not as expected; nothing: it passed.
    pub faults: Vec<Fault>,
    /// The requests and calls that came, in order.
    pub came: Vec<String>,
    /// What the guests logged.
    pub log: Vec<String>,
    /// How often it was run again with a crash in the middle.
    pub crashes: usize,
    /// How long it took.
    pub took: Duration,
}

impl Verdict {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What it is about: `status`, `output /volumeId`, `a request without an entry`.
    pub what: String,
    /// What was expected, as it is shown.
    pub expected: Option<String>,
    /// What there was instead, as it is shown.
    pub got: Option<String>,
    /// What to do about it.
    pub cure: Option<String>,
}

impl Fault {
    /// Something expected that is otherwise.
    pub fn differs(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        let (expected, got) = (Some(expected.to_string()), Some(got.to_string()));
        Self { what: what.into(), expected, got, cure: None }
    }

    /// Something that is wrong in itself.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self { what: what.into(), expected: None, got: None, cure: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}
