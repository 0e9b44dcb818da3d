//! The export to an issue tracker: the hub makes a ticket in Jira for an application that is in a migration wave.
//!
//! The hub knows no idempotency key. A wave is found by its name, a ticket by application and tracker.

use orchestrator_sdk::{Context, Error, Finding, Json, http, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::{self, HUB, Ref};

const TRACKERS: &str = "/trackers";
const WAVES: &str = "/migrationwaves";
const TICKETS: &str = "/tickets";

/// What `find-tracker` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindTracker {
    /// The tracker's name; the only connected one when absent.
    pub tracker: Option<String>,
    /// The project's name or key in the tracker; the only one when absent.
    pub project: Option<String>,
    /// The name of the type of issue; the first one when absent.
    pub issue_type: Option<String>,
}

/// A tracker with a project and a type of issue in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracker {
    /// The tracker.
    pub tracker: Ref,
    /// The project.
    pub project: Choice,
    /// The type of issue.
    pub issue_type: Choice,
}

/// Something of the tracker, whose identifiers are texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Its identifier.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// What `ensure-wave` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnsureWave {
    /// Its name.
    pub name: String,
    /// When it begins, RFC 3339.
    pub start_date: String,
    /// When it ends, RFC 3339.
    pub end_date: String,
    /// The application that is in it.
    pub application_id: u64,
    /// Its name.
    pub application_name: String,
}

/// A migration wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Its identifier.
    pub id: u64,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// What `ensure-ticket` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnsureTicket {
    /// The tracker.
    pub tracker: Ref,
    /// The identifier of the project.
    pub project_id: String,
    /// The identifier of the type of issue.
    pub issue_type_id: String,
    /// The application.
    pub application_id: u64,
    /// Its name.
    pub application_name: String,
}

/// Which ticket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketId {
    /// Its identifier in the hub.
    pub ticket_id: u64,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its identifier in the hub.
    pub id: u64,
    /// Its address in the tracker, once the hub has made it there.
    #[serde(default)]
    pub link: String,
    /// Its key in the tracker.
    #[serde(default)]
    pub reference: String,
    /// `New`, `In Progress`, `Done`, `Unknown`, or empty.
    #[serde(default)]
    pub status: String,
    /// Whether the tracker refused it.
    #[serde(default)]
    pub error: bool,
    /// Why.
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, Clone, Deserialize)]
struct TrackerSeen {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    connected: bool,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct TicketSeen {
    #[serde(flatten)]
    ticket: Ticket,
    application: Ref,
    tracker: Ref,
}

#[derive(Debug, Clone, Deserialize)]
struct WaveSeen {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    applications: Option<Vec<Ref>>,
}

/// Finds the tracker, project and type of issue that an export goes to.
///
/// # Errors
/// Those of the hub; `configuration` 400 when there is none of a name, none at all, or no telling which.
pub fn find_tracker(_: &Context, input: FindTracker) -> Result<Tracker, Error> {
    let tracker = input.tracker()?;
    let path = format!("{TRACKERS}/{}/projects", tracker.id);
    let project = chosen(of_tracker(&path)?, input.project.as_deref(), "project", &tracker.name, "trackerProject")?;
    let path = format!("{path}/{}/issuetypes", http::encode_path_segment(&project.id));
    let types: Vec<Choice> = of_tracker(&path)?;
    let issue_type = match &input.issue_type {
        // Jira lists its own default first.
        None => types.into_iter().next().ok_or_else(|| none("issue type", &project.name))?,
        Some(_) => chosen(types, input.issue_type.as_deref(), "issue type", &project.name, "issueType")?,
    };
    Ok(Tracker { tracker, project, issue_type })
}

/// Makes a migration wave with the application in it, or finds it by its name.
///
/// # Errors
/// Those of the hub; `validation` 409 when the wave of this name has other applications.
pub fn ensure_wave(ctx: &Context, input: EnsureWave) -> Result<Wave, Error> {
    if let Some(found) = input.find()? {
        return Ok(found);
    }
    let response = api::asking(http::post(HUB, WAVES)).json(&input.body()).send()?;
    if response.status() == 409
        && let Some(found) = input.find()?
    {
        return Ok(found);
    }
    if !response.is_success() {
        let cure = "check the dates: an application is in one wave at a time, and a wave ends after it begins";
        return Err(api::refused(&response, &format!("create migration wave `{}`", input.name), cure));
    }
    let made: WaveSeen = response.parse()?;
    ctx.created("migration wave", &made.id.to_string());
    Ok(Wave { id: made.id, name: input.name })
}

/// Tells whether an earlier run made its wave.
///
/// # Errors
/// Those of the hub.
pub fn probe_ensure_wave(_: &Context, input: EnsureWave) -> Result<Finding<Wave>, Error> {
    Ok(input.find()?.map_or(Finding::NotDone, Finding::Done))
}

/// Makes the ticket of an application, or finds the one that it has in this tracker. The hub makes it in the tracker a
/// while later; see `get-ticket`.
///
/// # Errors
/// Those of the hub.
pub fn ensure_ticket(ctx: &Context, input: EnsureTicket) -> Result<Ticket, Error> {
    if let Some(found) = input.find()? {
        return Ok(found);
    }
    let response = api::asking(http::post(HUB, TICKETS)).json(&input.body()).send()?;
    if !response.is_success() {
        let doing = format!("create a ticket for `{}`", input.application_name);
        return Err(api::refused(&response, &doing, "check project and issue type"));
    }
    let made: Ticket = response.parse()?;
    ctx.created("ticket", &made.id.to_string());
    Ok(made)
}

/// Tells whether an earlier run made its ticket.
///
/// # Errors
/// Those of the hub.
pub fn probe_ensure_ticket(_: &Context, input: EnsureTicket) -> Result<Finding<Ticket>, Error> {
    Ok(input.find()?.map_or(Finding::NotDone, Finding::Done))
}

/// Reads a ticket.
///
/// # Errors
/// Those of the hub; `communication` 404 when there is none.
pub fn get_ticket(_: &Context, input: TicketId) -> Result<Ticket, Error> {
    let path = format!("{TICKETS}/{}", input.ticket_id);
    api::read(&path)?.ok_or_else(|| api::missing("ticket", input.ticket_id))
}

/// A list that the hub asks the tracker for.
fn of_tracker<T: DeserializeOwned>(path: &str) -> Result<Vec<T>, Error> {
    api::list(path).map_err(|error| match error.problem.status {
        // The hub answers so when it cannot reach the tracker.
        503 => error.cure("check in MTA (Administration, Issue management) whether the tracker is connected"),
        _ => error,
    })
}

fn none(kind: &str, of: &str) -> Error {
    api::unprepared(format!("`{of}` has no {kind}: add one in the tracker, or order without `exportToIssueTracker`"))
}

/// The entry of the name or identifier, or the only one.
fn chosen(entries: Vec<Choice>, asked: Option<&str>, kind: &str, of: &str, member: &str) -> Result<Choice, Error> {
    let names = entries.iter().map(|entry| entry.name.as_str()).take(20).collect::<Vec<_>>().join(", ");
    match asked {
        Some(asked) => {
            let found = entries.into_iter().find(|entry| entry.name == asked || entry.id == asked);
            found.ok_or_else(|| api::unprepared(format!("`{of}` has no {kind} `{asked}`; it has {names}")))
        }
        None => match <[Choice; 1]>::try_from(entries) {
            Ok([only]) => Ok(only),
            Err(entries) if entries.is_empty() => Err(none(kind, of)),
            Err(_) => Err(api::unprepared(format!("`{of}` has several of the kind {kind}: {names}; set `{member}`"))),
        },
    }
}

impl FindTracker {
    fn tracker(&self) -> Result<Ref, Error> {
        let all: Vec<TrackerSeen> = api::list(TRACKERS)?;
        if all.is_empty() {
            return Err(api::unprepared(
                "there are no trackers in the hub: add one in MTA (Administration, Issue management), or order without \
                 `exportToIssueTracker`"
                    .to_owned(),
            ));
        }
        let names = all.iter().map(|tracker| tracker.name.as_str()).collect::<Vec<_>>().join(", ");
        let fitting: Vec<_> = match &self.tracker {
            Some(name) => all.into_iter().filter(|tracker| tracker.name == *name).collect(),
            None => all.into_iter().filter(|tracker| tracker.connected).collect(),
        };
        match fitting.as_slice() {
            [one] if one.connected => Ok(Ref { id: one.id, name: one.name.clone() }),
            [one] => Err(api::unprepared(format!(
                "tracker `{}` is not connected: {}; check its credentials in MTA",
                one.name,
                one.message.as_deref().unwrap_or("no reason is given")
            ))),
            [] if self.tracker.is_some() => {
                Err(api::unprepared(format!("there is no such tracker; the hub has {names}: correct `tracker`")))
            }
            [] => Err(api::unprepared(format!("none of the trackers {names} is connected: check them in MTA"))),
            _ => Err(api::unprepared(format!("there are several trackers, {names}: set `tracker`"))),
        }
    }
}

impl EnsureWave {
    fn find(&self) -> Result<Option<Wave>, Error> {
        let all: Vec<WaveSeen> = api::list(WAVES)?;
        let Some(found) = all.into_iter().find(|wave| wave.name == self.name) else { return Ok(None) };
        let has = found.applications.iter().flatten().any(|application| application.id == self.application_id);
        match has {
            true => Ok(Some(Wave { id: found.id, name: found.name })),
            false => Err(api::conflict(format!(
                "migration wave {} `{}` does not have application {}: add it in MTA, or remove the wave",
                found.id, found.name, self.application_id
            ))),
        }
    }

    fn body(&self) -> Json {
        json!({
            "name": self.name, "startDate": self.start_date, "endDate": self.end_date,
            "applications": [{ "id": self.application_id, "name": self.application_name }],
        })
    }
}

impl EnsureTicket {
    fn find(&self) -> Result<Option<Ticket>, Error> {
        let all: Vec<TicketSeen> = api::list(TICKETS)?;
        let mine = |seen: &TicketSeen| seen.application.id == self.application_id && seen.tracker.id == self.tracker.id;
        Ok(all.into_iter().find(mine).map(|seen| seen.ticket))
    }

    fn body(&self) -> Json {
        json!({
            "tracker": self.tracker, "parent": self.project_id, "kind": self.issue_type_id,
            "application": { "id": self.application_id, "name": self.application_name },
        })
    }
}

#[cfg(test)]
#[path = "waves_tests.rs"]
mod tests;
