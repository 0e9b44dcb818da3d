//! Outputs: the transformations of a project, each with the archive that came out of it.
//!
//! Move2Kube knows no idempotency key, and an output carries nothing of ours. So whoever starts a transformation says
//! which outputs the project had before: one that it has beyond those is the one that an earlier try started. Two orders
//! at once in one project cannot be told apart.

use std::collections::BTreeMap;

use orchestrator_sdk::http::{self, SendErrorKind};
use orchestrator_sdk::{Context, Error, Finding, Reaction, json, log, standard};
use serde::{Deserialize, Serialize};

use crate::api::{self, MOVE2KUBE, ProjectId};
use crate::plans;

/// The connection that results may be stored by.
const RESULTS: &str = "results";

/// How far an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStatus {
    /// Move2Kube is at it, or waits for answers.
    Transforming,
    /// It is there.
    Done,
    /// It failed.
    Error,
    /// It is not there, or not any more.
    Missing,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Its identifier.
    pub id: String,
    /// How far it is.
    pub status: OutputStatus,
    /// When it was started, as Move2Kube writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// The outputs of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    /// By identifier.
    pub outputs: Vec<Output>,
}

/// What `start-transformation` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartTransformation {
    /// The project.
    #[serde(flatten)]
    pub project: ProjectId,
    /// The outputs that it had before.
    #[serde(default)]
    pub known_outputs: Vec<String>,
    /// Whether Move2Kube answers its questions itself, by their defaults.
    #[serde(default)]
    pub skip_questions: Option<bool>,
}

/// Which output.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputId {
    /// The project.
    #[serde(flatten)]
    pub project: ProjectId,
    /// The output's identifier.
    pub output_id: String,
}

/// What `fetch-result` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FetchResult {
    /// The output.
    #[serde(flatten)]
    pub output: OutputId,
    /// Where below the connection `results` the archive is put; absent, it is only looked at.
    pub store_as: Option<String>,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetched {
    /// Whether the archive is there.
    pub available: bool,
    /// Its bytes, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal digits, where it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it was put below the connection `results`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_as: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    #[serde(default)]
    outputs: Option<BTreeMap<String, Seen>>,
}

#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    status: String,
    #[serde(default)]
    timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    id: String,
}

/// Lists the outputs of a project.
///
/// # Errors
/// Those of Move2Kube.
pub fn list_outputs(_: &Context, input: ProjectId) -> Result<Outputs, Error> {
    Ok(Outputs { outputs: list(&input)? })
}

/// Starts a transformation by the project's plan, or finds the one that an earlier try started.
///
/// # Errors
/// Those of Move2Kube; unknown when it may have been started.
pub fn start_transformation(ctx: &Context, input: StartTransformation) -> Result<Output, Error> {
    if let Some(found) = input.find()? {
        log::info!("transformation `{}` is already there", found.id);
        return Ok(noted(ctx, found));
    }
    let Some(plan) = plans::read(&input.project)? else {
        return Err(Error::transient("the plan is not there: somebody plans the project anew"));
    };
    let mut request = http::post(MOVE2KUBE, &format!("{}/outputs", input.project.path()));
    if input.skip_questions == Some(true) {
        request = request.query("skip-qa", true);
    }
    let response = request.json(&json!({ "plan": plan })).send()?;
    if response.status() == 404 {
        return Err(input.project.missing());
    }
    if !response.is_success() {
        let cure = "look at the project in Move2Kube: another transformation may be under way";
        return Err(api::refused(&response, "start the transformation", cure));
    }
    let Started { id } = response.parse()?;
    Ok(noted(ctx, Output { id, status: OutputStatus::Transforming, timestamp: None }))
}

/// Tells whether an earlier run started its transformation.
///
/// # Errors
/// Those of Move2Kube.
pub fn probe_start_transformation(ctx: &Context, input: StartTransformation) -> Result<Finding<Output>, Error> {
    Ok(input.find()?.map_or(Finding::NotDone, |found| Finding::Done(noted(ctx, found))))
}

/// Reads how far a transformation is; one that is not there is `missing`.
///
/// # Errors
/// Those of Move2Kube.
pub fn get_output(_: &Context, input: OutputId) -> Result<Output, Error> {
    let found = list(&input.project)?.into_iter().find(|output| output.id == input.output_id);
    Ok(found.unwrap_or(Output { id: input.output_id, status: OutputStatus::Missing, timestamp: None }))
}

/// Looks whether the archive of a transformation is there, and stores it where that is asked for. It is streamed by the
/// host and may be of any size.
///
/// # Errors
/// Those of Move2Kube, and of what it is stored in.
pub fn fetch_result(_: &Context, input: FetchResult) -> Result<Fetched, Error> {
    let path = input.output.path();
    let Some(place) = input.store_as.filter(|place| !place.is_empty()) else { return look(&path) };
    let target = format!("/{}", http::encode_key(place.trim_start_matches('/')));
    let put = http::put(RESULTS, &target).header("Content-Type", "application/zip");
    let outcome = http::transfer(http::get(MOVE2KUBE, &path), put)?.finish()?;
    let Some(moved) = outcome.transferred else {
        return Err(api::refused(&outcome.response, "fetch the result", "look at the project in Move2Kube"));
    };
    if !outcome.response.is_success() {
        return Err(outcome.response.error().context("store the result"));
    }
    Ok(Fetched { available: true, bytes: Some(moved.bytes), sha256: Some(moved.sha256), stored_as: Some(place) })
}

/// Removes an output; one that is gone is a success. Move2Kube refuses while it is `transforming`, which is told by that
/// status.
///
/// # Errors
/// Those of Move2Kube.
pub fn remove_output(ctx: &Context, input: OutputId) -> Result<Output, Error> {
    let response = http::delete(MOVE2KUBE, &input.path()).send()?;
    let status = match response.status() {
        404 => OutputStatus::Missing,
        409 => OutputStatus::Transforming,
        _ if response.is_success() => OutputStatus::Missing,
        _ => return Err(api::refused(&response, "remove the output", "remove it in Move2Kube")),
    };
    if status == OutputStatus::Missing {
        ctx.deleted("transformation", &input.output_id);
    }
    Ok(Output { id: input.output_id, status, timestamp: None })
}

fn look(path: &str) -> Result<Fetched, Error> {
    let response = match http::get(MOVE2KUBE, path).send() {
        // It is there, and larger than what an action may hold.
        Err(error) if matches!(error.kind(), SendErrorKind::TooLarge(_)) => {
            return Ok(Fetched { available: true, bytes: None, sha256: None, stored_as: None });
        }
        sent => sent?,
    };
    let nothing = Fetched { available: false, bytes: None, sha256: None, stored_as: None };
    match response.status() {
        204 | 404 => Ok(nothing),
        _ if response.is_success() => {
            Ok(Fetched { available: true, bytes: Some(response.bytes().len() as u64), ..nothing })
        }
        _ => Err(api::refused(&response, "fetch the result", "look at the project in Move2Kube")),
    }
}

fn list(project: &ProjectId) -> Result<Vec<Output>, Error> {
    let response = http::get(MOVE2KUBE, &project.path()).send()?;
    match response.status() {
        404 => Err(project.missing()),
        _ if response.is_success() => {
            let outputs = response.parse::<Project>()?.outputs.unwrap_or_default();
            Ok(outputs.into_iter().map(|(id, seen)| seen.told(id)).collect())
        }
        _ => Err(api::refused(&response, "read the project", "look at the project in Move2Kube")),
    }
}

fn noted(ctx: &Context, output: Output) -> Output {
    ctx.created("transformation", &output.id);
    output
}

impl Seen {
    fn told(self, id: String) -> Output {
        let status = match self.status.as_str() {
            "done" => OutputStatus::Done,
            "error" => OutputStatus::Error,
            _ => OutputStatus::Transforming,
        };
        Output { id, status, timestamp: self.timestamp }
    }
}

impl OutputId {
    fn path(&self) -> String {
        format!("{}/outputs/{}", self.project.path(), http::encode_path_segment(&self.output_id))
    }
}

impl StartTransformation {
    fn find(&self) -> Result<Option<Output>, Error> {
        let mut new = list(&self.project)?;
        new.retain(|output| !self.known_outputs.contains(&output.id));
        match new.len() {
            0 | 1 => Ok(new.pop()),
            _ => {
                let ids: Vec<_> = new.iter().map(|output| output.id.as_str()).collect();
                let detail = format!(
                    "several transformations were started in project `{}` at once: {}; order one at a time in a \
                     project, or use one project per order",
                    self.project.project_id,
                    ids.join(", ")
                );
                Err(Error::new(Reaction::Permanent, standard::VALIDATION, 409, "Conflict in Move2Kube", detail))
            }
        }
    }
}

#[cfg(test)]
#[path = "outputs_tests.rs"]
mod tests;
