//! What all calls of Move2Kube share: the connection, paths, and the meaning of its errors.

use orchestrator_sdk::http::{self, Response};
use orchestrator_sdk::{Error, Reaction, standard};
use serde::Deserialize;

/// The connection's name in `pack.yaml`.
pub(crate) const MOVE2KUBE: &str = "move2kube";

/// Which project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectId {
    /// The workspace's identifier.
    pub workspace_id: String,
    /// The project's identifier.
    pub project_id: String,
}

/// The body of its errors, where they have one.
#[derive(Deserialize)]
struct Fault {
    error: FaultText,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FaultText {
    Text(String),
    Described { description: String },
}

impl ProjectId {
    /// The path of the project.
    pub(crate) fn path(&self) -> String {
        let segment = http::encode_path_segment;
        format!("/workspaces/{}/projects/{}", segment(&self.workspace_id), segment(&self.project_id))
    }

    /// There is no such project.
    pub(crate) fn missing(&self) -> Error {
        let Self { workspace_id, project_id } = self;
        let detail = format!(
            "Move2Kube has no project `{project_id}` in workspace `{workspace_id}`, or nothing was planned in it: make \
             workspace and project in Move2Kube first, and correct `workspaceId` and `projectId`"
        );
        Error::new(Reaction::Permanent, standard::COMMUNICATION, 404, "Not found in Move2Kube", detail)
    }
}

/// The error of an unsuccessful response: Move2Kube's own words, what was being done, and what to do about it.
pub(crate) fn refused(response: &Response, doing: &str, cure: &str) -> Error {
    let mut error = response.error();
    let status = response.status();
    if matches!(status, 401 | 403) {
        return error.context(doing);
    }
    if let Ok(Fault { error: FaultText::Text(said) | FaultText::Described { description: said } }) = response.parse() {
        error.problem.detail = format!("{doing}: Move2Kube answered {status}: {said}; {cure}");
    } else {
        error = error.context(doing).cure(cure);
    }
    match status {
        400 => error.with_type(standard::VALIDATION, 400, "Refused by Move2Kube"),
        _ => error,
    }
}
