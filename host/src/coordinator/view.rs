//! What the coordinator tells about instances: the shapes that the API serves.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ownership::Ownership;
use super::perform::{LogLevel, Measure};
use crate::machine::record::{Parent, Stamped};
use crate::model::{ErrorObject, InstanceId, Json, PackName, ServiceName, TenantName, WorkflowName};

/// The DSL's statuses (DSL 1.0 "Status Phases").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Created, not yet running.
    Pending,
    /// A task is under way.
    Running,
    /// Only timers or events can move it on.
    Waiting,
    /// Stopped by a person or an error that asks for one, to be resumed.
    Suspended,
    /// Ended by request.
    Cancelled,
    /// Ended by an error.
    Faulted,
    /// Ended with an output.
    Completed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Waiting, Self::Suspended, Self::Cancelled, Self::Faulted, Self::Completed];

    /// The status of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing more can happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Faulted | Self::Completed)
    }

    /// The word used in JSON, keys and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
            Self::Faulted => "faulted",
            Self::Completed => "completed",
        }
    }
}

/// An instance at a glance; also the stored summary (key `i`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSummary {
    /// Its identifier.
    #[schema(value_type = String, format = "uuid")]
    pub id: InstanceId,
    /// A name that a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The pack of its workflow.
    #[schema(value_type = String)]
    pub pack: PackName,
    /// The pack's version it is pinned to.
    #[schema(value_type = String)]
    pub pack_version: semver::Version,
    /// Its workflow.
    #[schema(value_type = String)]
    pub workflow: WorkflowName,
    /// The service it was ordered through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub service: Option<ServiceName>,
    /// The instance and task that run it as a child, `{instance, task, detached}`; or, detached, the instance that
    /// recommended it (task `follow-ups/…`) or whose cancellation it cleans up after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub parent: Option<Parent>,
    /// The tenant it belongs to.
    #[serde(default)]
    #[schema(value_type = String)]
    pub tenant: TenantName,
    /// Who started it; absent where nobody in particular did, such as a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The instance that this one runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub rerun_of: Option<InstanceId>,
    /// Where it stands.
    pub status: Status,
    /// Whether cancelling was asked for and is under way.
    #[serde(default)]
    pub cancelling: bool,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its last record was written.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Its raw input.
    #[schema(value_type = Object)]
    pub input: Json,
    /// Its output, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Json>,
    /// Its error, once faulted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<ErrorObject>,
    /// Why it is not moving, while it is not: what it waits for, in a sentence. Never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

impl InstanceSummary {
    /// Whose it is.
    pub fn whose(&self) -> Ownership {
        Ownership { tenant: self.tenant.clone(), created_by: self.created_by.clone(), service: self.service.clone() }
    }
}

/// One activation of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// The activation's number within the instance.
    pub id: u64,
    /// The activation of the task around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// The task's name.
    pub name: String,
    /// Its reference: a JSON pointer into the definition.
    pub reference: String,
    /// The iteration of the loop around it, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
    /// Where it stands.
    pub status: Status,
    /// `pack/action@version`, for a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// When it was entered.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it was left, failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Its transformed input.
    #[schema(value_type = Object)]
    pub input: Json,
    /// Its transformed output, once left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Json>,
    /// Its error, once failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<ErrorObject>,
    /// How often a `try` was tried again.
    #[serde(default)]
    pub retries: u32,
    /// When the wait it is in ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
    /// Its attempts, for a call.
    pub attempts: Vec<AttemptView>,
    /// Newest progress; lost when the server stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// One attempt at a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// From 1.
    pub attempt: u32,
    /// When its intent was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When its result was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// `running`, `succeeded`, `failed`, `interrupted`.
    pub outcome: String,
    /// The problem it failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<ErrorObject>,
}

/// Newest progress of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// How far each unit of work has come.
    pub measures: Vec<Measure>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A line that an attempt wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The task's activation.
    pub task: u64,
    /// The attempt.
    pub attempt: u32,
    /// How much it matters.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// Something that happened to an instance, as it is sent to followers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A record was made durable.
    Record {
        /// The instance.
        instance: InstanceId,
        /// The record.
        #[serde(flatten)]
        record: Stamped,
    },
    /// Progress of a running attempt; not durable.
    Progress {
        /// The instance.
        instance: InstanceId,
        /// The task's activation.
        task: u64,
        /// The task's name.
        name: String,
        /// The progress.
        #[serde(flatten)]
        progress: Progress,
    },
    /// A line of a running attempt; not durable.
    Log {
        /// The instance.
        instance: InstanceId,
        /// The line.
        #[serde(flatten)]
        line: LogLine,
    },
}

/// Which instances to list, in which order. What is `None` or empty does not matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct InstanceFilter {
    /// Only of this tenant.
    pub tenant: TenantName,
    /// Only with one of these statuses.
    pub status: Vec<Status>,
    /// Only of this service.
    pub service: Option<ServiceName>,
    /// Only of one of these services.
    pub services: Option<BTreeSet<ServiceName>>,
    /// Only of a workflow of this pack.
    pub pack: Option<PackName>,
    /// Only of the workflow of this name.
    pub workflow: Option<WorkflowName>,
    /// Only started by this subject.
    pub created_by: Option<String>,
    /// Only created at this time or later.
    pub created_after: Option<Timestamp>,
    /// Only created before this time.
    pub created_before: Option<Timestamp>,
    /// Only with this text in its name, in any case, or at the beginning of its identifier.
    pub search: Option<String>,
    /// The oldest first, and not the newest.
    pub oldest_first: bool,
    /// Without inputs and outputs, which are `null` and absent then: a page stays small and quick to read.
    pub brief: bool,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts, if there is one; opaque to clients.
    pub next: Option<String>,
}
