//! Issues: open, look, assign.
//!
//! Jira knows no idempotency key, so an issue carries one as a label, `orchestrator-key=<key>`. Opening looks for it
//! first. The search may be seconds behind, so after an answer that was lost it does not post again: it ends with
//! `urn:orchestrator:jira-escalation:outcome-unknown`, and whoever called waits until the index has caught up before the
//! next call. A checkpoint before the request makes that hold across a crash too.

use orchestrator_sdk::http::{self, Response};
use orchestrator_sdk::{Context, Error, Json, Reaction, json, log, standard};
use serde::{Deserialize, Serialize};

use crate::api::{self, Api, JIRA, Site};
use crate::{search, text};

/// The problem of a request whose answer was lost: the issue may be there, and the search cannot tell yet.
const OUTCOME_UNKNOWN: &str = "urn:orchestrator:jira-escalation:outcome-unknown";

/// An issue as Jira shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RawIssue {
    pub(crate) id: String,
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) fields: Fields,
}

/// The fields that are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Fields {
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    #[serde(default)]
    pub(crate) status: Option<Status>,
    #[serde(default)]
    resolution: Option<Resolution>,
    #[serde(default)]
    assignee: Option<User>,
}

impl Fields {
    /// Their names, as a request asks for them.
    pub(crate) const NAMES: &str = "summary,labels,status,resolution,assignee";
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status_category: StatusCategory,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct StatusCategory {
    pub(crate) key: String,
}

/// Why an issue counts as done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Its identifier, the same in every language.
    pub id: String,
    /// Its name, in the language of the connection's user.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// An issue as the actions show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// Its identifier.
    pub id: String,
    /// Its key, `OPS-7`; another one after it was moved to another project.
    pub key: String,
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The status for people, in the language of the connection's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `new`, `indeterminate`, `done`, or `undefined`.
    pub status_category: String,
    /// Why it counts as done.
    #[serde(default)]
    pub resolution: Option<Resolution>,
    /// Who works on it: the account's identifier on Cloud, the user's name elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Where a person reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browse_url: Option<String>,
}

impl RawIssue {
    /// As the actions show it.
    pub(crate) fn shown(self, site: &Site) -> Issue {
        let Fields { summary, labels, status, resolution, assignee } = self.fields;
        let (status, category) = match status {
            Some(status) => (Some(status.name), status.status_category.key),
            None => (None, "undefined".to_owned()),
        };
        Issue {
            browse_url: site.browse_url(&self.key),
            id: self.id,
            key: self.key,
            summary,
            labels,
            status,
            status_category: category,
            resolution,
            assignee: assignee.and_then(|user| user.account_id.or(user.name)),
        }
    }
}

/// What `create-issue` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateIssue {
    /// The project's key.
    pub project: String,
    /// The issue type's name, or its identifier.
    pub issue_type: String,
    /// One line.
    pub summary: String,
    /// Plain text; empty lines separate paragraphs.
    pub description: Option<String>,
    /// Labels beside the request's key.
    pub labels: Option<Vec<String>>,
    /// Who works on it: the account's identifier on Cloud, the user's name elsewhere.
    pub assignee: Option<String>,
    /// The priority's name, or its identifier.
    pub priority: Option<String>,
    /// What makes repeats harmless beyond this task; the task's idempotency key when absent.
    pub request_key: Option<String>,
    /// Which interface the site has.
    pub api: Option<Api>,
}

/// What `create-issue` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// Its identifier.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Where a person reads it.
    pub browse_url: String,
    /// The interface that the site has; given to further calls, they need not ask again.
    pub api: Api,
    /// Whether this call made it; false where an earlier one had.
    pub created: bool,
}

/// What `get-issue` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetIssue {
    /// Key or identifier.
    pub issue: String,
    /// Whether `browseUrl` is wanted, which takes a request more; wanted when absent.
    pub browse: Option<bool>,
    /// Which interface the site has.
    pub api: Option<Api>,
}

/// What `assign-issue` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignIssue {
    /// Key or identifier.
    pub issue: String,
    /// The account's identifier on Cloud, the user's name elsewhere; nobody when absent.
    pub assignee: Option<String>,
    /// Which interface the site has.
    pub api: Option<Api>,
}

/// What `assign-issue` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Key or identifier, as it was given.
    pub issue: String,
    /// Who works on it now.
    pub assignee: Option<String>,
}

/// A request was sent, and no answer is known.
#[derive(Serialize, Deserialize)]
struct Sent {
    key: String,
}

/// What Jira answers to a new issue.
#[derive(Deserialize)]
struct Made {
    id: String,
    key: String,
}

/// Opens an issue, or finds the one that an earlier try with the same key opened.
///
/// # Errors
/// Those of Jira; `outcome-unknown` 504 when the issue may have been opened and cannot be found yet.
pub fn create_issue(ctx: &Context, input: CreateIssue) -> Result<Opened, Error> {
    let site = Site::with_address(input.api)?;
    let key = input.request_key.as_deref().unwrap_or(ctx.idempotency_key());
    if let Some(issue) = find_by_key(&site, &input.project, key)? {
        log::info!("issue `{}` of request `{key}` is already there", issue.key);
        return opened(ctx, &site, Made { id: issue.id, key: issue.key }, false);
    }
    if ctx.checkpoint::<Sent>()?.is_some_and(|sent| sent.key == key) {
        return Err(unknown("an earlier attempt ended while it opened the issue"));
    }
    ctx.save_checkpoint(&Sent { key: key.to_owned() })?;
    let response = http::post(JIRA, &site.path("issue")).json(&input.body(&site, key)).send();
    let response = response.map_err(|error| lost(error.into()))?;
    if !response.is_success() {
        return Err(not_opened(&response, &input));
    }
    let made = response.parse().map_err(lost)?;
    opened(ctx, &site, made, true)
}

fn not_opened(response: &Response, input: &CreateIssue) -> Error {
    let doing = format!("open an issue in project `{}`", input.project);
    let cure = "check issue type, priority, assignee, and which fields the project requires";
    let error = api::refused(response, &doing, cure);
    match response.status() {
        429 => error,
        // A gateway may answer 503 for a Jira that goes on working.
        408 | 500.. => lost(error.into_unknown()),
        _ => error,
    }
}

fn lost(error: Error) -> Error {
    match error.reaction {
        Reaction::Unknown => unknown(&error.problem.detail),
        _ => error,
    }
}

fn unknown(why: &str) -> Error {
    let detail = format!("{why}; the issue may have been opened: look for it once Jira's search has caught up");
    Error::unknown(detail).with_type(OUTCOME_UNKNOWN, 504, "The issue may have been opened")
}

fn opened(ctx: &Context, site: &Site, made: Made, created: bool) -> Result<Opened, Error> {
    ctx.created("issue", &made.key);
    let browse_url = site.browse_url(&made.key).unwrap_or_default();
    Ok(Opened { browse_url, id: made.id, key: made.key, api: site.api, created })
}

/// The oldest issue of a request: a copy that a person makes carries its labels too.
fn find_by_key(site: &Site, project: &str, key: &str) -> Result<Option<RawIssue>, Error> {
    let label = label(key);
    let (project, wanted) = (search::quoted(project), search::quoted(&label));
    let jql = format!("project = {project} AND labels = {wanted} ORDER BY created ASC");
    let (issues, _) = search::find(site, &jql, 10)?;
    // Labels are compared without case by the search.
    let mut own: Vec<_> = issues.into_iter().filter(|issue| issue.fields.labels.contains(&label)).collect();
    if own.len() > 1 {
        log::warn!("{} issues carry the request key `{key}`; the oldest is taken", own.len());
    }
    Ok((!own.is_empty()).then(|| own.swap_remove(0)))
}

fn label(key: &str) -> String {
    format!("orchestrator-key={key}")
}

impl CreateIssue {
    fn body(&self, site: &Site, key: &str) -> Json {
        let mut labels = self.labels.clone().unwrap_or_default();
        labels.push(label(key));
        let mut fields = json!({
            "project": { "key": self.project },
            "issuetype": api::reference(&self.issue_type),
            "summary": self.summary,
            "labels": labels,
        });
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(description) = given(&self.description) {
            fields["description"] = text::body(site, &description);
        }
        if let Some(assignee) = given(&self.assignee) {
            fields["assignee"] = user(site, &assignee);
        }
        if let Some(priority) = given(&self.priority) {
            fields["priority"] = api::reference(&priority);
        }
        json!({ "fields": fields })
    }
}

fn user(site: &Site, assignee: &str) -> Json {
    if site.is_cloud() { json!({ "accountId": assignee }) } else { json!({ "name": assignee }) }
}

/// Reads an issue.
///
/// # Errors
/// Those of Jira; `communication` 404 when there is none that the connection's user may see.
pub fn get_issue(_: &Context, input: GetIssue) -> Result<Issue, Error> {
    let browse = input.browse.unwrap_or(true);
    let site = if browse { Site::with_address(input.api)? } else { Site::of(input.api)? };
    read(&site, &input.issue).map(|issue| issue.shown(&site))
}

/// Reads an issue from the database, not from the index.
///
/// # Errors
/// Those of Jira.
pub(crate) fn read(site: &Site, issue: &str) -> Result<RawIssue, Error> {
    let response = http::get(JIRA, &site.issue(issue, "")).query("fields", Fields::NAMES).send()?;
    if response.is_success() {
        return response.parse();
    }
    let cure = "it was deleted, or the connection's user may not see it";
    Err(api::refused(&response, &format!("read issue `{issue}`"), cure))
}

/// Assigns an issue to somebody, or to nobody. Safe to repeat.
///
/// # Errors
/// Those of Jira; `validation` 400 for somebody who cannot be assigned.
pub fn assign_issue(_: &Context, input: AssignIssue) -> Result<Assigned, Error> {
    let site = Site::of(input.api)?;
    let body = match (&input.assignee, site.is_cloud()) {
        (Some(assignee), _) => user(&site, assignee),
        (None, true) => json!({ "accountId": null }),
        (None, false) => json!({ "name": null }),
    };
    let response = http::put(JIRA, &site.issue(&input.issue, "/assignee")).json(&body).send()?;
    if !response.is_success() {
        let cure =
            "on Cloud give the account's identifier, elsewhere the user's name; the user needs `Assignable User`";
        let mut error = api::refused(&response, &format!("assign issue `{}`", input.issue), cure);
        if response.status() == 404 {
            error = error.with_type(standard::COMMUNICATION, 404, "Not found in Jira");
        }
        return Err(error);
    }
    Ok(Assigned { issue: input.issue, assignee: input.assignee })
}

#[cfg(test)]
#[path = "issues_tests.rs"]
mod tests;
