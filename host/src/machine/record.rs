//! The facts of an instance, as they stand in its journal. This is a storage format: a member is only ever added, with a
//! default; a changed meaning is a new variant. `fixtures/` keeps a sample of each version that was ever written.
//!
//! Each value stands in the journal once: what the fold already holds (a task's raw input, an output that nothing
//! transformed) is absent from the record.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use crate::definition::graph::{ActionRef, Flow, NodeId};
use crate::model::{Digest, ErrorObject, Failure, Json, PackName, ServiceName, Success, TenantName, WorkflowName};

/// Reads a member that is there: `null` is a value like any other, and not the member's absence.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Json>>, D::Error> {
    Json::deserialize(deserializer).map(|value| Some(Arc::new(value)))
}

/// One activation of a node: the node entered once, on one iteration and one try. Numbered from 1 per instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActivationId(pub u64);

/// One record with its place and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Counts from 1 without gaps within an instance.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The fact.
    #[serde(flatten)]
    pub record: Record,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The instance exists. Always the first.
    Created(Box<Created>),
    /// The workflow's own frame was entered; its first node is next.
    Started {
        /// The workflow's transformed input, where `input.from` made another.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        input: Option<Arc<Json>>,
        /// When the workflow's `timeout` ends it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
    },
    /// A node was entered.
    Entered(Entered),
    /// A node's `if` did not hold: its raw input passes on to the next node of its list.
    Skipped {
        /// The node.
        node: NodeId,
        /// The activation whose scope it belongs to; absent in the root.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<ActivationId>,
        /// See [`Entered::lane`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lane: Option<u64>,
    },
    /// A call goes out. Durable before it does.
    Intent {
        /// Which activation calls.
        activation: ActivationId,
        /// From 1; grows when an attempt is repeated after a crash.
        attempt: u32,
        /// A pure function of instance and activation: the same for every attempt.
        key: String,
        /// What is passed, valid for the action's input schema.
        arguments: Arc<Json>,
    },
    /// The engine asks the action whether an attempt of unknown outcome took effect.
    ProbeIntent {
        /// Which activation.
        activation: ActivationId,
        /// The attempt whose outcome is unknown.
        attempt: u32,
        /// The failure that left it unknown; absent when the server stopped during the attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// A call, or the probe of one, has ended.
    Result {
        /// Which activation called.
        activation: ActivationId,
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
    },
    /// The action stored a checkpoint.
    Checkpoint {
        /// Which activation.
        activation: ActivationId,
        /// Which attempt.
        attempt: u32,
        /// What the next attempt receives.
        value: Arc<Json>,
    },
    /// The action read a secret's bytes.
    SecretRevealed {
        /// Which activation.
        activation: ActivationId,
        /// Which attempt.
        attempt: u32,
        /// Which secret; never its value.
        secret: String,
    },
    /// A `wait` has begun.
    TimerSet {
        /// Which activation waits.
        activation: ActivationId,
        /// When it ends.
        due: Timestamp,
    },
    /// A `wait`, or the delay before a retry, has ended.
    TimerFired {
        /// Which activation waited.
        activation: ActivationId,
    },
    /// A `listen` has begun: from here on events are consumed.
    Armed {
        /// The listening activation.
        activation: ActivationId,
        /// What correlations expect, by key.
        #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
        expects: std::collections::BTreeMap<String, Json>,
    },
    /// A listening activation consumed an event. No activation of the instance sees the event again.
    Matched {
        /// The listening activation.
        activation: ActivationId,
        /// The event's number in the inbox.
        number: u64,
        /// The filter that it fits.
        filter: u32,
        /// It fits a filter of `until`: not part of the output.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        until: bool,
        /// Nothing more is listened for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ends: bool,
        /// The event as a CloudEvent in JSON.
        event: Arc<Json>,
        /// What correlations expect from now on, by key; only what is new.
        #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
        expects: std::collections::BTreeMap<String, Json>,
    },
    /// A `listen` with `foreach` is done with its next event.
    Handled {
        /// The listening activation.
        activation: ActivationId,
        /// What the event became.
        output: Arc<Json>,
        /// The new context, where `foreach.export` made one.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        context: Option<Arc<Json>>,
    },
    /// An `emit` published an event. It is in the inbox by the same write.
    Emitted {
        /// The emitting activation.
        activation: ActivationId,
        /// The event as a CloudEvent in JSON.
        event: Arc<Json>,
    },
    /// A loop starts its next iteration, or a `listen` handles its next event.
    Iterated {
        /// The loop's activation.
        activation: ActivationId,
        /// The iteration, from 0.
        index: u64,
    },
    /// A loop's collection was evaluated.
    Collected {
        /// The loop's activation.
        activation: ActivationId,
        /// The items.
        items: Arc<Vec<Json>>,
    },
    /// A node is done; control goes on.
    Left {
        /// Which activation.
        activation: ActivationId,
        /// The transformed output; absent where it is the raw output as it was.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        output: Option<Arc<Json>>,
        /// The new context, where `export` made one.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        context: Option<Arc<Json>>,
        /// Where control goes.
        to: Target,
    },
    /// An error arose at, or passed through, a node: the node is over, its children are cancelled.
    Failed {
        /// Which activation.
        activation: ActivationId,
        /// The error, placed.
        error: ErrorObject,
    },
    /// A `try` tries again, at once or after a delay; its children are gone.
    Retried {
        /// The try's activation.
        activation: ActivationId,
        /// Which retry, from 1.
        retry: u32,
        /// The error that made it.
        error: ErrorObject,
        /// When the delay ends, jitter included; absent: at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
    /// A `try` caught an error and enters its handler (or, without one, is about to leave).
    Caught {
        /// The try's activation.
        activation: ActivationId,
        /// The error, bound for the handler.
        error: ErrorObject,
    },
    /// Somebody suspended the instance: what is out ends and is kept, nothing new begins.
    Suspended {
        /// Who, as far as it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Somebody let a suspended instance go on.
    Resumed {
        /// Who, as far as it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Somebody asked to cancel the instance.
    CancelAsked {
        /// Who, as far as it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Somebody let a faulted instance go on from the task that failed.
    Reopened {
        /// Who, as far as it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The instance is over. The last, unless it is reopened.
    Ended {
        /// How.
        #[serde(flatten)]
        end: End,
    },
}

/// The birth of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The pack the workflow comes from.
    pub pack: PackName,
    /// The pack's version.
    pub pack_version: semver::Version,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The digest of its definition.
    pub definition: Digest,
    /// The actions it may call, pinned to their components.
    pub actions: Vec<ActionRef>,
    /// The service it was ordered through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// A name that a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The raw input.
    pub input: Arc<Json>,
    /// The SHA-256 of the caller's idempotency key, hexadecimal, so that the key's row goes when the instance goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_key: Option<String>,
    /// The instance and task that run it as a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The tenant it belongs to.
    #[serde(default, skip_serializing_if = "TenantName::is_standard")]
    pub tenant: TenantName,
    /// Who started it, as [`crate::model::Principal::subject`]; absent: nobody in particular, such as a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The instance that this one runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<crate::model::InstanceId>,
}

/// Who runs a child instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The instance.
    pub instance: crate::model::InstanceId,
    /// The task's reference.
    pub task: String,
    /// Nobody waits for its end, and cancelling the parent does not cancel it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

/// A node entered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entered {
    /// This activation.
    pub activation: ActivationId,
    /// The activation whose scope it belongs to; absent in the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ActivationId>,
    /// Which of the parent's bodies it belongs to, where several run side by side: the number of the branch or of the
    /// iteration, from 0. Only set on the direct children of a `fork` or of a parallel loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<u64>,
    /// The node.
    pub node: NodeId,
    /// Its transformed input, where `input.from` made another.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub input: Option<Arc<Json>>,
    /// When its `timeout` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Of a `try` whose limits are expressions: what they gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TryLimits>,
}

/// How long a `try` may take, where its retry policy limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryLimits {
    /// Each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<SignedDuration>,
    /// All attempts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<SignedDuration>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It succeeded.
    Ok(Success),
    /// It failed.
    Failed(Failure),
    /// The server stopped during the attempt, and calling again is safe by the action's effect (or a probe said that
    /// nothing was done): the next attempt follows.
    Interrupted,
}

/// Where control goes after a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// To a node of the same scope.
    Node(NodeId),
    /// Out of the scope.
    Exit,
    /// To the end of the workflow.
    End,
}

impl From<Flow> for Target {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::To(node) => Self::Node(node),
            Flow::Exit => Self::Exit,
            Flow::End => Self::End,
        }
    }
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum End {
    /// With this output.
    Completed {
        /// The workflow's transformed output.
        output: Arc<Json>,
    },
    /// With this error.
    Faulted {
        /// The error, placed.
        error: ErrorObject,
    },
    /// Because somebody asked for it.
    Cancelled,
}
