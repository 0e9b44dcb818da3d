//! Analyses: a task group of one member, or a task by itself, by the addon `analyzer` (MTA 7) or `windup` (MTA 6.2).
//!
//! The hub knows no idempotency key, so an analysis is named by one: `orchestrator.<key>`. Making looks for the name
//! first, and so does the probe. Submitting a task group twice would start a second member, so submitting looks at the
//! state first. What this cannot see is a request that the hub takes in only after the repeat has looked;
//! `find-analyses` lists every analysis of a key, so that cleaning up finds that one too.

use orchestrator_sdk::{Context, Error, Finding, Json, http, json, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, HUB, Ref};

/// Errors of a task that are told, at most; the first ones say why.
const ERRORS_MAX: usize = 10;

/// Characters of one error or remark that are told, at most: a stack trace is in the hub.
const TEXT_CHARACTERS_MAX: usize = 500;

/// What of the hub runs the analysis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A task group with one member, as MTA's own pages use it.
    #[default]
    Group,
    /// A task by itself.
    Task,
}

/// How far an analysis is, over the states of all releases of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Made, not submitted.
    Created,
    /// Submitted and not begun: `Ready`, `Pending`, `Postponed`, `QuotaBlocked`, and states not known here.
    Queued,
    /// At work.
    Running,
    /// Done.
    Succeeded,
    /// Ended by an error.
    Failed,
    /// Ended by somebody in the hub.
    Cancelled,
    /// Not there, or not any more.
    Missing,
}

/// What `create-analysis` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateAnalysis {
    /// The application.
    pub application_id: u64,
    /// Its name, as it stands in the name of the task.
    pub application_name: String,
    /// Task group or task.
    pub unit: Option<Unit>,
    /// `analyzer` by default; `windup` for MTA 6.2.
    pub addon: Option<String>,
    /// What the application is to run on; `cloud-readiness` by default.
    pub targets: Option<Vec<String>>,
    /// What it runs on now.
    pub sources: Option<Vec<String>>,
    /// Rule sets by name and identifier; for MTA 6.2.
    pub rulesets: Option<Vec<Ref>>,
    /// Whether its dependencies are analysed too.
    pub with_dependencies: Option<bool>,
    /// Whether known open source libraries are analysed too.
    pub with_known_libraries: Option<bool>,
    /// What makes repeats harmless beyond this task; the task's own key when absent.
    pub request_key: Option<String>,
}

/// Which analysis.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisId {
    /// Its identifier.
    pub analysis_id: u64,
    /// Task group or task.
    #[serde(default)]
    pub unit: Option<Unit>,
}

/// What `submit-analysis` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmitAnalysis {
    /// Its identifier.
    pub analysis_id: u64,
    /// Task group or task.
    #[serde(default)]
    pub unit: Option<Unit>,
    /// The application.
    pub application_id: u64,
    /// Its name.
    pub application_name: String,
}

/// What `find-analyses` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindAnalyses {
    /// The key they were made under.
    pub request_key: String,
    /// Task groups or tasks.
    #[serde(default)]
    pub unit: Option<Unit>,
}

/// What `find-analyses` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analyses {
    /// The oldest first.
    pub analyses: Vec<Analysis>,
}

/// An analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// The identifier of the task group or task.
    pub id: u64,
    /// Task group or task.
    pub unit: Unit,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How far it is.
    pub phase: Phase,
    /// The hub's own word for it.
    pub state: String,
    /// The pod that the task ran in, for looking at its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// What the task reported as errors.
    pub errors: Vec<String>,
    /// The last remark of the task, such as why it does not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// A task group as the hub shows it.
#[derive(Debug, Clone, Deserialize)]
struct Group {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    tasks: Option<Vec<Task>>,
}

/// A task as the hub shows it.
#[derive(Debug, Clone, Deserialize)]
struct Task {
    #[serde(default)]
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    pod: Option<String>,
    #[serde(default)]
    errors: Option<Vec<TaskError>>,
    /// Lines of text; kept as they come, since releases differ.
    #[serde(default)]
    activity: Option<Vec<Json>>,
}

#[derive(Debug, Clone, Deserialize)]
struct TaskError {
    #[serde(default)]
    severity: String,
    #[serde(default)]
    description: String,
}

/// Makes an analysis, or finds the one that an earlier try with the same key made. It is not submitted yet.
///
/// # Errors
/// Those of the hub; unknown when it may have been made.
pub fn create_analysis(ctx: &Context, input: CreateAnalysis) -> Result<Analysis, Error> {
    let (key, unit) = (input.key(ctx), input.unit.unwrap_or_default());
    if let Some(found) = unit.find(key)?.into_iter().next() {
        log::info!("analysis {} of request `{key}` is already there, {}", found.id, found.state);
        return Ok(found.noted(ctx));
    }
    let response = api::asking(http::post(HUB, unit.collection())).json(&input.body(key)).send()?;
    if !response.is_success() {
        let cure = "check the addon: `analyzer` in MTA 7, `windup` in MTA 6.2 (`mtaVersion`)";
        let doing = format!("create an analysis of `{}`", input.application_name);
        return Err(api::refused(&response, &doing, cure));
    }
    Ok(unit.parse(&response)?.noted(ctx))
}

/// Tells whether an earlier run made its analysis.
///
/// # Errors
/// Those of the hub.
pub fn probe_create_analysis(ctx: &Context, input: CreateAnalysis) -> Result<Finding<Analysis>, Error> {
    let found = input.unit.unwrap_or_default().find(input.key(ctx))?.into_iter().next();
    Ok(found.map_or(Finding::NotDone, |analysis| Finding::Done(analysis.noted(ctx))))
}

/// Submits an analysis that is not submitted yet, and returns what it is then.
///
/// # Errors
/// Those of the hub; `communication` 404 when it is gone.
pub fn submit_analysis(_: &Context, input: SubmitAnalysis) -> Result<Analysis, Error> {
    let (id, unit) = (input.analysis_id, input.unit.unwrap_or_default());
    let seen = unit.read(id)?.ok_or_else(|| api::missing("analysis", id))?;
    if seen.phase != Phase::Created {
        log::info!("analysis {id} is already submitted, {}", seen.state);
        return Ok(seen);
    }
    let request = http::put(HUB, &format!("{}/{id}/submit", unit.collection()));
    let response = match unit {
        Unit::Group => request.json(&input.body()?).send()?,
        Unit::Task => request.send()?,
    };
    let after = unit.read(id)?.ok_or_else(|| api::missing("analysis", id))?;
    match response.is_success() || after.phase != Phase::Created {
        true => Ok(after),
        false => Err(api::refused(&response, &format!("submit analysis {id}"), "check the application in the hub")),
    }
}

/// Reads how far an analysis is; one that is not there is `missing`.
///
/// # Errors
/// Those of the hub.
pub fn get_analysis(_: &Context, input: AnalysisId) -> Result<Analysis, Error> {
    let unit = input.unit.unwrap_or_default();
    Ok(unit.read(input.analysis_id)?.unwrap_or_else(|| Analysis::missing(input.analysis_id, unit)))
}

/// Lists the analyses that were made under a key: usually one.
///
/// # Errors
/// Those of the hub.
pub fn find_analyses(_: &Context, input: FindAnalyses) -> Result<Analyses, Error> {
    Ok(Analyses { analyses: input.unit.unwrap_or_default().find(&input.request_key)? })
}

/// Cancels what runs of an analysis and deletes it; one that is gone is a success. The result is `missing` once the hub
/// has deleted it, which it does a moment later.
///
/// # Errors
/// Those of the hub.
pub fn remove_analysis(ctx: &Context, input: AnalysisId) -> Result<Analysis, Error> {
    let (id, unit) = (input.analysis_id, input.unit.unwrap_or_default());
    unit.tasks(id)?.iter().filter(|task| task.phase().is_open()).try_for_each(Task::cancel)?;
    api::delete(&unit.path(id))?;
    let after = unit.read(id)?.unwrap_or_else(|| Analysis::missing(id, unit));
    if after.phase == Phase::Missing {
        ctx.deleted("analysis", &id.to_string());
    }
    Ok(after)
}

impl Unit {
    fn collection(self) -> &'static str {
        match self {
            Self::Group => "/taskgroups",
            Self::Task => "/tasks",
        }
    }

    fn path(self, id: u64) -> String {
        format!("{}/{id}", self.collection())
    }

    fn read(self, id: u64) -> Result<Option<Analysis>, Error> {
        let path = self.path(id);
        Ok(match self {
            Self::Group => api::read::<Group>(&path)?.map(Group::told),
            Self::Task => api::read::<Task>(&path)?.map(Task::told),
        })
    }

    fn parse(self, response: &http::Response) -> Result<Analysis, Error> {
        Ok(match self {
            Self::Group => response.parse::<Group>()?.told(),
            Self::Task => response.parse::<Task>()?.told(),
        })
    }

    /// The tasks behind an analysis; none when it is gone.
    fn tasks(self, id: u64) -> Result<Vec<Task>, Error> {
        let path = self.path(id);
        Ok(match self {
            Self::Group => api::read::<Group>(&path)?.and_then(|group| group.tasks).unwrap_or_default(),
            Self::Task => api::read::<Task>(&path)?.into_iter().collect(),
        })
    }

    fn find(self, key: &str) -> Result<Vec<Analysis>, Error> {
        let name = name_of(key);
        let mut found: Vec<Analysis> = match self {
            Self::Group => api::list::<Group>(self.collection())?.into_iter().map(Group::told).collect(),
            Self::Task => api::list::<Task>(self.collection())?.into_iter().map(Task::told).collect(),
        };
        found.retain(|analysis| analysis.name == name);
        found.sort_by_key(|analysis| analysis.id);
        Ok(found)
    }
}

fn name_of(key: &str) -> String {
    format!("orchestrator.{key}")
}

impl Phase {
    /// Whether something may still happen to it.
    fn is_open(self) -> bool {
        matches!(self, Self::Created | Self::Queued | Self::Running)
    }

    fn of(state: &str) -> Self {
        match state {
            "" | "Created" => Self::Created,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Canceled" => Self::Cancelled,
            _ => Self::Queued,
        }
    }

    /// Of a submitted group, by its members: the worst end, else the farthest.
    fn of_all(members: &[Self]) -> Self {
        let any = |phase| members.contains(&phase);
        match members {
            [] => Self::Queued,
            _ if any(Self::Failed) => Self::Failed,
            _ if any(Self::Cancelled) => Self::Cancelled,
            _ if members.iter().all(|phase| *phase == Self::Succeeded) => Self::Succeeded,
            _ if any(Self::Running) => Self::Running,
            _ => Self::Queued,
        }
    }
}

impl Group {
    fn told(self) -> Analysis {
        let tasks = self.tasks.unwrap_or_default();
        let phase = match Phase::of(&self.state) {
            Phase::Created => Phase::Created,
            _ => Phase::of_all(&tasks.iter().map(Task::phase).collect::<Vec<_>>()),
        };
        let state = match (phase, tasks.first()) {
            (Phase::Created, _) | (_, None) => self.state,
            (_, Some(task)) => task.state.clone(),
        };
        Analysis { unit: Unit::Group, ..told(self.id, self.name, phase, state, &tasks) }
    }
}

impl Task {
    fn phase(&self) -> Phase {
        Phase::of(&self.state)
    }

    fn told(self) -> Analysis {
        let (id, name, phase, state) = (self.id, self.name.clone(), self.phase(), self.state.clone());
        Analysis { unit: Unit::Task, ..told(id, name, phase, state, &[self]) }
    }

    /// Asks the hub to cancel it; the hub passes over one that has ended.
    fn cancel(&self) -> Result<(), Error> {
        if self.id == 0 {
            // A member of a group that is not submitted.
            return Ok(());
        }
        let response = http::put(HUB, &format!("/tasks/{}/cancel", self.id)).send()?;
        match response.status() {
            // Older releases refuse what has ended in the meantime.
            400 | 404 => Ok(()),
            _ if response.is_success() => Ok(()),
            _ => Err(api::refused(&response, &format!("cancel task {}", self.id), "cancel it in the hub")),
        }
    }
}

fn told(id: u64, name: String, phase: Phase, state: String, tasks: &[Task]) -> Analysis {
    let errors = tasks.iter().flat_map(|task| task.errors.iter().flatten());
    let line = |error: &TaskError| match error.severity.as_str() {
        "" => shortened(&error.description),
        severity => format!("{severity}: {}", shortened(&error.description)),
    };
    let remark = tasks.iter().rev().find_map(|task| task.activity.as_ref()?.last());
    Analysis {
        id,
        unit: Unit::Group,
        name,
        phase,
        state,
        pod: tasks.iter().find_map(|task| task.pod.clone()).filter(|pod| !pod.is_empty()),
        errors: errors.take(ERRORS_MAX).map(line).collect(),
        remark: remark.map(|line| shortened(line.as_str().unwrap_or(&line.to_string()))),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

impl Analysis {
    fn missing(id: u64, unit: Unit) -> Self {
        Self { unit, ..told(id, String::new(), Phase::Missing, String::new(), &[]) }
    }

    fn noted(self, ctx: &Context) -> Self {
        ctx.created("analysis", &self.id.to_string());
        self
    }
}

impl CreateAnalysis {
    fn key<'a>(&'a self, ctx: &'a Context) -> &'a str {
        self.request_key.as_deref().unwrap_or(ctx.idempotency_key())
    }

    fn addon(&self) -> &str {
        self.addon.as_deref().unwrap_or("analyzer")
    }

    fn body(&self, key: &str) -> Json {
        let mut body = json!({
            "name": name_of(key), "addon": self.addon(), "state": "Created",
            "data": if self.addon() == "windup" { self.windup() } else { self.analyzer() },
        });
        if self.unit == Some(Unit::Task) {
            body["application"] = json!({ "id": self.application_id, "name": self.application_name });
        }
        body
    }

    /// The labels that rules are chosen by.
    fn labels(&self) -> Vec<String> {
        let targets = self.targets.clone().unwrap_or_else(|| vec!["cloud-readiness".to_owned()]);
        let targets = targets.iter().map(|target| format!("konveyor.io/target={target}"));
        let sources = self.sources.iter().flatten().map(|source| format!("konveyor.io/source={source}"));
        targets.chain(sources).collect()
    }

    /// The addon's data in MTA 7.
    fn analyzer(&self) -> Json {
        json!({
            "rules": { "labels": { "included": self.labels() } },
            "tagger": { "enabled": true },
            "mode": { "binary": false, "withDeps": self.with_dependencies.unwrap_or_default() },
            "scope": { "withKnownLibs": self.with_known_libraries.unwrap_or_default() },
        })
    }

    /// The addon's data in MTA 6.2.
    fn windup(&self) -> Json {
        json!({
            "output": "/windup/report",
            "rules": { "labels": self.labels(), "rulesets": self.rulesets.clone().unwrap_or_default() },
            "tagger": { "enabled": true },
            "mode": { "binary": false, "withDeps": self.with_dependencies.unwrap_or_default(), "diva": false },
            "scope": { "withKnown": self.with_known_libraries.unwrap_or_default() },
        })
    }
}

impl SubmitAnalysis {
    /// The group as the hub has it, with its member: the hub replaces all of it by what is submitted.
    fn body(&self) -> Result<Json, Error> {
        let path = Unit::Group.path(self.analysis_id);
        let mut group = api::read::<Json>(&path)?.ok_or_else(|| api::missing("analysis", self.analysis_id))?;
        let application = json!({ "id": self.application_id, "name": self.application_name });
        group["tasks"] =
            json!([{ "name": format!("{}.1.analyzer", self.application_name), "application": application }]);
        Ok(group)
    }
}

#[cfg(test)]
#[path = "analyses_tests.rs"]
mod tests;
