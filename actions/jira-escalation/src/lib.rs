//! Tickets in Jira (Cloud by API v3, Server and Data Center by v2) and namespaces in Kubernetes or OpenShift: open, look,
//! comment, move, link, find, assign; make, look, delete. Each action does one exchange's worth of work, is safe to
//! repeat, and returns the state it saw; waiting is the workflow's, so that it survives restarts and shows in the history.
//!
//! The connections `jira` and `cluster` carry base URL and credentials. Nothing here knows either.

mod api;
mod comments;
mod issues;
mod links;
mod namespaces;
mod search;
mod text;
mod transitions;

pub use api::Api;
pub use comments::{CommentIssue, Commented, comment_issue};
pub use issues::{
    AssignIssue, Assigned, CreateIssue, GetIssue, Issue, Opened, Resolution, assign_issue, create_issue, get_issue,
};
pub use links::{LinkIssues, Linked, link_issues};
pub use namespaces::{
    CreateNamespace, DeleteNamespace, GetNamespace, Kind, Namespace, create_namespace, delete_namespace, get_namespace,
};
pub use search::{FindIssues, Found, find_issues};
pub use transitions::{Moved, TransitionIssue, transition_issue};

orchestrator_sdk::export_actions! {
    "create-issue" => create_issue,
    "get-issue" => get_issue,
    "find-issues" => find_issues,
    "comment-issue" => comment_issue,
    "transition-issue" => transition_issue,
    "link-issues" => link_issues,
    "assign-issue" => assign_issue,
    "create-namespace" => create_namespace,
    "get-namespace" => get_namespace,
    "delete-namespace" => delete_namespace,
}
