//! Plans: what Move2Kube would do with a repository. A project has one plan at a time.

use orchestrator_sdk::{Context, Error, http, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, MOVE2KUBE, ProjectId};
use crate::source::{Transport, remote_source};

/// What `start-plan` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartPlan {
    /// The project.
    #[serde(flatten)]
    pub project: ProjectId,
    /// The address of the repository.
    pub repository_url: String,
    /// The branch to plan.
    pub branch: String,
    /// How Move2Kube reads it.
    pub transport: Option<Transport>,
}

/// What `start-plan` started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedPlan {
    /// The repository's address as Move2Kube uses it.
    pub repository: String,
    /// Whether a planning was under way already.
    pub was_under_way: bool,
}

/// How far a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanStatus {
    /// Move2Kube is at it.
    Planning,
    /// It is there.
    Ready,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How far it is.
    pub status: PlanStatus,
    /// Its bytes; it stays in Move2Kube.
    pub bytes: usize,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    plan: Option<String>,
}

/// Starts the planning of a repository. While one is under way in the project, it is left to go on.
///
/// # Errors
/// Those of Move2Kube; `validation` 400 for an address that is none.
pub fn start_plan(_: &Context, input: StartPlan) -> Result<StartedPlan, Error> {
    let transport = input.transport.unwrap_or_default();
    let (source, repository) = remote_source(&input.repository_url, &input.branch, transport)?;
    let path = format!("{}/plan", input.project.path());
    let response = http::post(MOVE2KUBE, &path).query("remote-source", source).send()?;
    match response.status() {
        // Which of the two depends on the release.
        409 => {}
        403 if is_under_way(&input.project)? => {}
        404 => return Err(input.project.missing()),
        _ if response.is_success() => return Ok(StartedPlan { repository, was_under_way: false }),
        _ => return Err(api::refused(&response, "start planning", "check repository, branch and Move2Kube's key")),
    }
    log::info!("a planning is under way in the project already");
    Ok(StartedPlan { repository, was_under_way: true })
}

/// Reads how far the project's plan is.
///
/// # Errors
/// Those of Move2Kube; `communication` 404 when nothing was planned.
pub fn get_plan(_: &Context, input: ProjectId) -> Result<Plan, Error> {
    let plan = read(&input)?.unwrap_or_default();
    let status = if plan.is_empty() { PlanStatus::Planning } else { PlanStatus::Ready };
    Ok(Plan { status, bytes: plan.len() })
}

/// The plan's text; nothing while Move2Kube is at it.
pub(crate) fn read(project: &ProjectId) -> Result<Option<String>, Error> {
    let response = http::get(MOVE2KUBE, &format!("{}/plan", project.path())).send()?;
    match response.status() {
        // 202 comes with the progress, in newer releases.
        202 | 204 => Ok(None),
        404 => Err(project.missing()),
        _ if response.is_success() => Ok(response.parse::<Body>()?.plan.filter(|plan| !plan.is_empty())),
        _ => Err(api::refused(&response, "read the plan", "look at the project in Move2Kube")),
    }
}

fn is_under_way(project: &ProjectId) -> Result<bool, Error> {
    let response = http::get(MOVE2KUBE, &format!("{}/plan", project.path())).send()?;
    Ok(matches!(response.status(), 202 | 204))
}

#[cfg(test)]
mod tests {
    use orchestrator_sdk::testing::{Outside, Reply};
    use orchestrator_sdk::{Reaction, json};

    use super::*;

    const PLAN: &str = "/workspaces/w/projects/p/plan";
    const START: &str = "/workspaces/w/projects/p/plan?remote-source=git%2Bssh%3A%2F%2Fgit.example%2Forg%2Fshop%40main";

    fn input() -> StartPlan {
        serde_json::from_value(json!({"workspaceId": "w", "projectId": "p", "branch": "main",
            "repositoryUrl": "http://git.example/org/shop", "transport": null}))
        .unwrap()
    }

    #[test]
    fn planning_starts_with_the_address_that_move2kube_wants() {
        let outside = Outside::new();
        outside.expect("POST", START, Reply::status(202));
        let started = start_plan(&outside.context(), input()).unwrap();
        assert_eq!(started, StartedPlan { repository: "ssh://git.example/org/shop".into(), was_under_way: false });
    }

    #[test]
    fn a_planning_that_is_under_way_goes_on() {
        let outside = Outside::new();
        outside.expect("POST", START, Reply::status(409));
        assert!(start_plan(&outside.context(), input()).unwrap().was_under_way);
        outside.expect("POST", START, Reply::status(403));
        outside.expect("GET", PLAN, Reply::status(204));
        assert!(start_plan(&outside.context(), input()).unwrap().was_under_way);
        outside.expect("POST", START, Reply::status(403));
        outside.expect("GET", PLAN, Reply::status(403));
        assert_eq!(start_plan(&outside.context(), input()).unwrap_err().problem.status, 403);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let invalid = json!({"error": {"description": "invalid remote source"}});
        for (reply, reaction, status, word) in [
            (Reply::json(400, invalid), Reaction::Permanent, 400, "invalid remote source"),
            (Reply::status(404), Reaction::Permanent, 404, "correct `workspaceId`"),
            (Reply::status(500), Reaction::Unknown, 500, "check repository"),
            (Reply::unavailable(), Reaction::Transient { retry_after: None }, 503, "refused"),
        ] {
            let outside = Outside::new();
            outside.expect("POST", START, reply);
            let error = start_plan(&outside.context(), input()).unwrap_err();
            assert_eq!((error.reaction, error.problem.status), (reaction, status));
            assert!(error.problem.detail.contains(word), "{error}");
        }
    }

    #[test]
    fn a_plan_is_ready_when_it_has_a_text() {
        for (reply, expected) in [
            (Reply::status(204), PlanStatus::Planning),
            (Reply::json(202, json!({"files": 3})), PlanStatus::Planning),
            (Reply::json(200, json!({"plan": ""})), PlanStatus::Planning),
            (Reply::json(200, json!({"plan": "kind: Plan"})), PlanStatus::Ready),
        ] {
            let outside = Outside::new();
            outside.expect("GET", PLAN, reply);
            assert_eq!(get_plan(&outside.context(), input().project).unwrap().status, expected);
        }
        let outside = Outside::new();
        outside.expect("GET", PLAN, Reply::status(404));
        assert_eq!(get_plan(&outside.context(), input().project).unwrap_err().problem.status, 404);
    }
}
