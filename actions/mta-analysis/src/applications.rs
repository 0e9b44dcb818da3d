//! Applications of the hub's inventory.
//!
//! The hub knows no idempotency key and refuses a second application of the same name. An application that was made here
//! carries `[orchestrator:<key>]` in its comments, so that a repeat finds it and still knows that it is ours to remove.

use std::collections::BTreeMap;

use orchestrator_sdk::{Context, Error, Finding, Json, http, json, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, HUB, Ref};
use crate::repository::canonical;

/// Applications below the connection's base URL.
const APPLICATIONS: &str = "/applications";

/// What `ensure-application` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnsureApplication {
    /// The address of its repository.
    pub repository_url: String,
    /// Its name; host and path of the repository when absent.
    pub name: Option<String>,
    /// The branch to analyse; the repository's default when absent.
    pub branch: Option<String>,
    /// The folder inside of the repository.
    pub path: Option<String>,
    /// What makes repeats harmless beyond this task; the task's own key when absent.
    pub request_key: Option<String>,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Its identifier.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The address of its repository, as the hub has it.
    pub repository_url: String,
    /// Whether this request made it.
    pub created: bool,
}

/// Which application.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationId {
    /// Its identifier.
    pub application_id: u64,
}

/// Whose application.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnApplication {
    /// The key that it was made under.
    pub request_key: String,
}

/// What became of an application that was made under a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnRemoved {
    /// Its identifier; nothing where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<u64>,
    /// Why it was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// An application as the hub shows it.
#[derive(Debug, Clone, Deserialize)]
struct Seen {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    comments: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
    /// What people and other programs hang on it.
    #[serde(flatten)]
    others: BTreeMap<String, Json>,
}

/// Members of an application that only somebody else sets, and the words for them.
const OF_OTHERS: [(&str, &str); 7] = [
    ("owner", "an owner"),
    ("contributors", "contributors"),
    ("businessService", "a business service"),
    ("archetypes", "an archetype"),
    ("assessments", "an assessment"),
    ("review", "a review"),
    ("migrationWave", "a migration wave"),
];

/// What belongs to an application: a task, the member of a task group, or a ticket.
#[derive(Debug, Clone, Deserialize)]
struct Belonging {
    #[serde(default)]
    name: String,
    /// The hub starts tasks of the kinds `…-discovery` itself for every application.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    application: Option<Ref>,
}

#[derive(Debug, Clone, Deserialize)]
struct Group {
    #[serde(default)]
    tasks: Option<Vec<Belonging>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Repository {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    branch: Option<String>,
    #[serde(default)]
    path: Option<String>,
}

/// Finds the application of a repository, by name where one is given, or makes it.
///
/// # Errors
/// Those of the hub; `validation` 409 when the name belongs to another repository, branch or folder.
pub fn ensure_application(ctx: &Context, input: EnsureApplication) -> Result<Application, Error> {
    if let Some(found) = input.find(ctx)? {
        log::info!("application {} `{}` is already there", found.id, found.name);
        return Ok(found);
    }
    let response = api::asking(http::post(HUB, APPLICATIONS)).json(&input.body(ctx)).send()?;
    if response.status() == 409 {
        // Somebody was faster.
        return input.find(ctx)?.ok_or_else(|| input.refused(&response));
    }
    if !response.is_success() {
        return Err(input.refused(&response));
    }
    let made: Seen = response.parse()?;
    ctx.created("application", &made.id.to_string());
    Ok(made.told(&input, ctx))
}

/// Tells whether an earlier run made or found its application.
///
/// # Errors
/// Those of the hub.
pub fn probe_ensure_application(ctx: &Context, input: EnsureApplication) -> Result<Finding<Application>, Error> {
    Ok(input.find(ctx)?.map_or(Finding::NotDone, Finding::Done))
}

/// Deletes an application with everything the hub knows of it; one that is gone is a success.
///
/// # Errors
/// Those of the hub.
pub fn remove_application(ctx: &Context, input: ApplicationId) -> Result<Json, Error> {
    api::delete(&format!("{APPLICATIONS}/{}", input.application_id))?;
    ctx.deleted("application", &input.application_id.to_string());
    Ok(json!({ "applicationId": input.application_id, "status": "deleted" }))
}

/// Deletes the application that was made under a key, unless somebody else uses it by now: an analysis, a ticket or
/// anything that people hang on an application. One that was found and not made is never touched.
///
/// # Errors
/// Those of the hub.
pub fn remove_own_application(ctx: &Context, input: OwnApplication) -> Result<OwnRemoved, Error> {
    let all: Vec<Seen> = api::list(APPLICATIONS)?;
    let marker = marker(&input.request_key);
    let mine = |seen: &Seen| seen.comments.as_ref().is_some_and(|comments| comments.contains(&marker));
    let Some(seen) = all.into_iter().find(mine) else { return Ok(OwnRemoved::default()) };
    let kept = seen.used()?;
    if let Some(why) = &kept {
        log::info!("application {} stays: it has {why}", seen.id);
    } else {
        remove_application(ctx, ApplicationId { application_id: seen.id })?;
    }
    Ok(OwnRemoved { application_id: Some(seen.id), kept: kept.map(|why| format!("it has {why}")) })
}

fn marker(key: &str) -> String {
    format!("[orchestrator:{key}]")
}

impl EnsureApplication {
    fn marker(&self, ctx: &Context) -> String {
        marker(self.request_key.as_deref().unwrap_or(ctx.idempotency_key()))
    }

    fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| canonical(&self.repository_url))
    }

    fn find(&self, ctx: &Context) -> Result<Option<Application>, Error> {
        let all: Vec<Seen> = api::list(APPLICATIONS)?;
        let name = self.name();
        if let Some(named) = all.iter().find(|seen| seen.name == name) {
            return match self.fits(named) {
                true => Ok(Some(named.clone().told(self, ctx))),
                false => Err(self.other(named)),
            };
        }
        let found = match self.name {
            // Who gives a name means the application of this name.
            Some(_) => None,
            None => all.into_iter().filter(|seen| self.fits(seen)).min_by_key(|seen| seen.id),
        };
        Ok(found.map(|seen| seen.told(self, ctx)))
    }

    fn fits(&self, seen: &Seen) -> bool {
        let at = seen.repository.clone().unwrap_or_default();
        let is = |have: &Option<String>, want: &Option<String>| {
            have.as_deref().unwrap_or_default() == want.as_deref().unwrap_or_default()
        };
        let same = at.url.as_deref().is_some_and(|url| canonical(url) == canonical(&self.repository_url));
        same && is(&at.branch, &self.branch) && is(&at.path, &self.path)
    }

    fn other(&self, seen: &Seen) -> Error {
        let at = seen.repository.clone().unwrap_or_default();
        let url = at.url.as_deref().unwrap_or("none");
        api::conflict(format!(
            "application {} `{}` is of repository {url}, branch `{}`, path `{}`: order it under another \
             `applicationName`, or correct the application in the hub",
            seen.id,
            seen.name,
            at.branch.as_deref().unwrap_or_default(),
            at.path.as_deref().unwrap_or_default(),
        ))
    }

    fn body(&self, ctx: &Context) -> Json {
        let mut repository = json!({ "kind": "git", "url": self.repository_url });
        for (member, value) in [("branch", &self.branch), ("path", &self.path)] {
            if let Some(value) = value {
                repository[member] = json!(value);
            }
        }
        json!({ "name": self.name(), "comments": self.marker(ctx), "repository": repository })
    }

    fn refused(&self, response: &http::Response) -> Error {
        let doing = format!("create application `{}`", self.name());
        api::refused(response, &doing, "check name and repository")
    }
}

impl Seen {
    /// By what somebody else uses it, if somebody does.
    fn used(&self) -> Result<Option<String>, Error> {
        let is_set = |value: &Json| match value {
            Json::Null => false,
            Json::Array(list) => !list.is_empty(),
            _ => true,
        };
        let set = OF_OTHERS.iter().find(|(member, _)| self.others.get(*member).is_some_and(is_set));
        if let Some((_, word)) = set {
            return Ok(Some((*word).to_owned()));
        }
        let groups: Vec<Group> = api::list("/taskgroups")?;
        let mut tasks: Vec<Belonging> = api::list("/tasks")?;
        tasks.extend(groups.into_iter().flat_map(|group| group.tasks.unwrap_or_default()));
        if let Some(task) = tasks.iter().find(|task| task.is_of(self.id) && !task.is_the_hubs()) {
            return Ok(Some(format!("the analysis `{}`", task.name)));
        }
        let tickets: Vec<Belonging> = api::list("/tickets")?;
        Ok(tickets.iter().any(|ticket| ticket.is_of(self.id)).then(|| "a ticket".to_owned()))
    }

    fn told(self, input: &EnsureApplication, ctx: &Context) -> Application {
        let marker = input.marker(ctx);
        Application {
            id: self.id,
            created: self.comments.is_some_and(|comments| comments.contains(&marker)),
            repository_url: self
                .repository
                .and_then(|repository| repository.url)
                .unwrap_or_else(|| input.repository_url.clone()),
            name: if self.name.is_empty() { input.name() } else { self.name },
        }
    }
}

impl Belonging {
    fn is_of(&self, application: u64) -> bool {
        self.application.as_ref().is_some_and(|of| of.id == application)
    }

    fn is_the_hubs(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind.ends_with("-discovery"))
    }
}

#[cfg(test)]
#[path = "applications_tests.rs"]
mod tests;
