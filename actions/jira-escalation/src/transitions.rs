//! Moving an issue to another status. Where to is said by the category of the status, which is the same in every language
//! and workflow, or by a status's name, or by a transition's identifier. An issue that is there already is a success.

use std::collections::BTreeMap;

use orchestrator_sdk::http;
use orchestrator_sdk::{Context, Error, Json, Reaction, json};
use serde::{Deserialize, Serialize};

use crate::api::{self, Api, JIRA, Site};
use crate::issues::{self, RawIssue, Status};

/// The field that says why an issue counts as done.
const RESOLUTION: &str = "resolution";

/// The problem of an issue that has no such way.
const NO_TRANSITION: &str = "urn:orchestrator:jira-escalation:no-transition";

/// The problem of a way that asks for more.
const FIELDS_MISSING: &str = "urn:orchestrator:jira-escalation:fields-missing";

/// What `transition-issue` is given. Exactly one of `statusCategory`, `status` and `transition` says where to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransitionIssue {
    /// Key or identifier.
    pub issue: String,
    /// The category to reach: `new`, `indeterminate` or `done`.
    pub status_category: Option<String>,
    /// The name of the status to reach, in the language of the connection's user.
    pub status: Option<String>,
    /// The identifier of the transition to make.
    pub transition: Option<String>,
    /// The resolution's name or identifier; set where the way asks for one.
    pub resolution: Option<String>,
    /// Other fields that the way asks for, as Jira takes them.
    pub fields: Option<BTreeMap<String, Json>>,
    /// Which interface the site has.
    pub api: Option<Api>,
}

/// What `transition-issue` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// The issue's key.
    pub key: String,
    /// The category that it has now.
    pub status_category: String,
    /// Its status for people.
    pub status: String,
    /// Whether this call moved it; false where it was there already.
    pub moved: bool,
}

#[derive(Debug, Deserialize)]
struct Transitions {
    #[serde(default)]
    transitions: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
struct Transition {
    id: String,
    name: String,
    to: Status,
    #[serde(default)]
    fields: BTreeMap<String, Field>,
}

/// A field on the screen of a transition.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    #[serde(default)]
    required: bool,
    #[serde(default)]
    has_default_value: bool,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    allowed_values: Vec<Json>,
}

/// Moves an issue to another status.
///
/// # Errors
/// Those of Jira; `no-transition` 409 when there is no such way from its status, `fields-missing` 400 when the way asks
/// for fields that were not given, both with what there is.
pub fn transition_issue(_: &Context, input: TransitionIssue) -> Result<Moved, Error> {
    let given = [&input.status_category, &input.status, &input.transition].into_iter().flatten().count();
    if given != 1 {
        return Err(api::invalid("give exactly one of `statusCategory`, `status` and `transition`".to_owned()));
    }
    let site = Site::of(input.api)?;
    let issue = issues::read(&site, &input.issue)?;
    if let Some(status) = issue.fields.status.as_ref().filter(|status| input.is_reached(status)) {
        return Ok(moved(&issue, status, false));
    }
    let offered = offered(&site, &input.issue)?;
    let way = match offered.iter().find(|way| input.takes(way)) {
        Some(way) => way,
        None => return Err(no_way(&input, &issue, &offered)),
    };
    if issue.fields.status.as_ref().is_some_and(|status| input.transition.is_some() && status.id == way.to.id) {
        return Ok(moved(&issue, &way.to, false));
    }
    input.go(&site, &issue, way)?;
    Ok(moved(&issue, &way.to, true))
}

fn moved(issue: &RawIssue, status: &Status, moved: bool) -> Moved {
    let category = status.status_category.key.clone();
    Moved { key: issue.key.clone(), status_category: category, status: status.name.clone(), moved }
}

fn offered(site: &Site, issue: &str) -> Result<Vec<Transition>, Error> {
    let path = site.issue(issue, "/transitions");
    let response = http::get(JIRA, &path).query("expand", "transitions.fields").send()?;
    if !response.is_success() {
        let doing = format!("list the transitions of issue `{issue}`");
        return Err(api::refused(&response, &doing, "it was deleted, or the connection's user may not see it"));
    }
    Ok(response.parse::<Transitions>()?.transitions)
}

fn no_way(input: &TransitionIssue, issue: &RawIssue, offered: &[Transition]) -> Error {
    let now = issue.fields.status.as_ref().map_or("an unknown status", |status| status.name.as_str());
    let ways: Vec<String> = offered
        .iter()
        .map(|way| format!("{} `{}` to `{}` ({})", way.id, way.name, way.to.name, way.to.status_category.key))
        .collect();
    let ways = if ways.is_empty() { "none".to_owned() } else { ways.join(", ") };
    let detail = format!(
        "issue `{}` is in `{now}`, and no transition from there leads to {}; there are: {ways}; give the connection's \
         user the permission `Transition Issues`, or choose one of these",
        issue.key,
        input.goal()
    );
    Error::new(Reaction::Permanent, NO_TRANSITION, 409, "No such transition", detail)
}

impl TransitionIssue {
    fn goal(&self) -> String {
        match (&self.status_category, &self.status, &self.transition) {
            (Some(category), _, _) => format!("the category `{category}`"),
            (_, Some(status), _) => format!("the status `{status}`"),
            (_, _, transition) => format!("`{}` by identifier", transition.as_deref().unwrap_or_default()),
        }
    }

    fn is_reached(&self, status: &Status) -> bool {
        self.status_category.as_ref().is_some_and(|key| *key == status.status_category.key)
            || self.status.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&status.name) || *name == status.id)
    }

    fn takes(&self, way: &Transition) -> bool {
        self.is_reached(&way.to) || self.transition.as_ref().is_some_and(|id| *id == way.id)
    }

    fn go(&self, site: &Site, issue: &RawIssue, way: &Transition) -> Result<(), Error> {
        let fields = self.fields_for(way)?;
        let mut body = json!({ "transition": { "id": way.id } });
        if !fields.is_empty() {
            body["fields"] = json!(fields);
        }
        let response = http::post(JIRA, &site.issue(&issue.key, "/transitions")).json(&body).send()?;
        if response.is_success() {
            return Ok(());
        }
        let doing = format!("move issue `{}` by `{}`", issue.key, way.name);
        let error = api::refused(&response, &doing, "check the fields that the transition asks for");
        // Somebody else may have moved it in between; a repeat looks again.
        Err(if response.status() == 409 { Error::transient(error.problem.detail) } else { error })
    }

    /// The fields to send, or what is missing.
    fn fields_for(&self, way: &Transition) -> Result<BTreeMap<String, Json>, Error> {
        let mut fields = self.fields.clone().unwrap_or_default();
        if let (Some(resolution), Some(field)) = (&self.resolution, way.fields.get(RESOLUTION)) {
            fields.insert(RESOLUTION.to_owned(), resolution_of(resolution, field, way)?);
        }
        let missing: Vec<String> = way
            .fields
            .iter()
            .filter(|(name, field)| field.required && !field.has_default_value && !fields.contains_key(*name))
            .map(|(name, field)| field.told(name))
            .collect();
        if missing.is_empty() {
            return Ok(fields);
        }
        let detail = format!("the transition `{}` asks for {}; give them", way.name, missing.join(", "));
        Err(Error::new(Reaction::Permanent, FIELDS_MISSING, 400, "Fields are missing", detail))
    }
}

/// The resolution by name or identifier; told where the way does not offer it.
fn resolution_of(wanted: &str, field: &Field, way: &Transition) -> Result<Json, Error> {
    let is_it = |value: &&Json| {
        value["id"] == wanted || value["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
    };
    if field.allowed_values.is_empty() {
        return Ok(api::reference(wanted));
    }
    let Some(value) = field.allowed_values.iter().find(is_it) else {
        let detail =
            format!("the transition `{}` takes no resolution `{wanted}`: {}", way.name, field.told(RESOLUTION));
        return Err(Error::new(Reaction::Permanent, FIELDS_MISSING, 400, "Fields are missing", detail));
    };
    Ok(json!({ "id": value["id"] }))
}

impl Field {
    /// Its name, and what it may be.
    fn told(&self, name: &str) -> String {
        let values: Vec<&str> = self.allowed_values.iter().filter_map(|value| value["name"].as_str()).collect();
        let title = self.name.as_deref().filter(|title| *title != name);
        let title = title.map(|title| format!(" ({title})")).unwrap_or_default();
        let values = if values.is_empty() { String::new() } else { format!(", one of {}", values.join(", ")) };
        format!("`{name}`{title}{values}")
    }
}

#[cfg(test)]
#[path = "transitions_tests.rs"]
mod tests;
