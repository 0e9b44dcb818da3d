//! Namespaces of Kubernetes and projects of OpenShift: make, look, delete.
//!
//! What is made carries its request's key: a namespace as a label, a project in its description too, because a project
//! request passes no labels on. What carries another key, or none, is never taken for ours and never deleted.

use std::collections::BTreeMap;

use orchestrator_sdk::http::{self, Response};
use orchestrator_sdk::{Context, Error, Json, Reaction, json, log, standard};
use serde::{Deserialize, Serialize};

/// The connection's name in `pack.yaml`.
const CLUSTER: &str = "cluster";

/// The label that carries the request's key.
const KEY_LABEL: &str = "orchestrator/request-key";

/// Where OpenShift keeps a project's description.
const DESCRIPTION: &str = "openshift.io/description";

/// Where OpenShift keeps a project's title.
const DISPLAY_NAME: &str = "openshift.io/display-name";

/// The phase that an action gives for what is not there. Kubernetes itself has no word for it.
const DELETED: &str = "Deleted";

/// The phase between an accepted deletion and its end.
const TERMINATING: &str = "Terminating";

/// The problem of a name that somebody else has.
const TAKEN: &str = "urn:orchestrator:jira-escalation:namespace-taken";

/// What is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A namespace, by the API of Kubernetes; needs the right to make namespaces in the cluster.
    #[default]
    Namespace,
    /// A project, by OpenShift's project requests, which ordinary users may make.
    Project,
}

/// What `create-namespace` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateNamespace {
    /// Its name.
    pub name: String,
    /// What to make.
    pub kind: Option<Kind>,
    /// Labels beside the request's key; a project request passes none on.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations; a project request passes none on.
    pub annotations: Option<BTreeMap<String, String>>,
    /// The title for people; OpenShift only.
    pub display_name: Option<String>,
    /// What it is for; OpenShift only.
    pub description: Option<String>,
    /// What makes repeats harmless beyond this task; the task's idempotency key when absent.
    pub request_key: Option<String>,
}

/// What `get-namespace` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetNamespace {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Option<Kind>,
    /// Whether a namespace that is not there is an answer (`Deleted`) and no error.
    #[serde(default)]
    pub allow_missing: bool,
}

/// What `delete-namespace` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteNamespace {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Option<Kind>,
    /// The key that it was made with; another one's is left alone. The task's idempotency key when absent.
    pub request_key: Option<String>,
}

/// A namespace or project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// `Active`, `Terminating`, or `Deleted` when it is gone; `Pending` when the cluster has not said.
    pub phase: String,
    /// What tells it from an earlier one of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether this call made it; only from `create-namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// Whether it was left alone because it carries another key; only from `delete-namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    status: Option<State>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct State {
    #[serde(default)]
    phase: Option<String>,
}

/// The body of every error of the API.
#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: String,
}

/// Makes a namespace or project, or finds the one that an earlier try with the same key made.
///
/// # Errors
/// Those of the cluster; `namespace-taken` 409 when somebody else has the name; transient while one of that name is
/// being deleted.
pub fn create_namespace(ctx: &Context, input: CreateNamespace) -> Result<Namespace, Error> {
    let key = input.request_key.as_deref().unwrap_or(ctx.idempotency_key());
    let kind = input.kind.unwrap_or_default();
    let response = http::post(CLUSTER, kind.requests()).json(&input.body(kind, key)).send()?;
    let doing = format!("make the {} `{}`", kind.word(), input.name);
    if response.is_success() {
        let object: Object = response.parse()?;
        ctx.created(kind.word(), &input.name);
        // The answer to a project request is the project, still without a phase.
        return Ok(Namespace { created: Some(true), ..object.shown(kind) });
    }
    if response.status() != 409 {
        return Err(refused(&response, &doing, "check name, labels and annotations"));
    }
    let there = read(kind, &input.name, true)?;
    found(ctx, kind, &input.name, key, there)
}

/// What it means that the name is in use.
fn found(ctx: &Context, kind: Kind, name: &str, key: &str, there: Option<Object>) -> Result<Namespace, Error> {
    let word = kind.word();
    let Some(object) = there else {
        return Err(Error::transient(format!("the {word} `{name}` has just been deleted; it can be made again now")));
    };
    let own = object.carries(key);
    if object.phase() == TERMINATING {
        let detail = format!("the {word} `{name}` is being deleted; it can be made again once it is gone");
        return Err(Error::transient(detail).with_status(409));
    }
    if !own {
        let detail = format!("the {word} `{name}` exists and belongs to somebody else; order another name");
        return Err(Error::new(Reaction::Permanent, TAKEN, 409, "The name is taken", detail));
    }
    log::info!("the {word} `{name}` of request `{key}` is already there");
    ctx.created(word, name);
    Ok(Namespace { created: Some(false), ..object.shown(kind) })
}

/// Reads a namespace or project.
///
/// # Errors
/// Those of the cluster; `communication` 404 when there is none, unless `allowMissing`.
pub fn get_namespace(_: &Context, input: GetNamespace) -> Result<Namespace, Error> {
    let kind = input.kind.unwrap_or_default();
    match read(kind, &input.name, input.allow_missing)? {
        Some(object) => Ok(object.shown(kind)),
        None if input.allow_missing => Ok(Namespace::in_phase(&input.name, kind, DELETED)),
        None => {
            let detail = format!("there is no {} `{}` in the cluster: it was deleted", kind.word(), input.name);
            Err(Error::new(Reaction::Permanent, standard::COMMUNICATION, 404, "Not found in the cluster", detail))
        }
    }
}

/// Asks to delete what was made with a key, and returns its phase then: `Terminating`, or `Deleted` when it is gone.
///
/// # Errors
/// Those of the cluster.
pub fn delete_namespace(ctx: &Context, input: DeleteNamespace) -> Result<Namespace, Error> {
    let key = input.request_key.as_deref().unwrap_or(ctx.idempotency_key());
    let kind = input.kind.unwrap_or_default();
    let Some(object) = read(kind, &input.name, true)? else {
        ctx.deleted(kind.word(), &input.name);
        return Ok(Namespace::in_phase(&input.name, kind, DELETED));
    };
    if !object.carries(key) {
        return Ok(Namespace { foreign: Some(true), ..object.shown(kind) });
    }
    if object.phase() == TERMINATING {
        return Ok(object.shown(kind));
    }
    let mut request = http::delete(CLUSTER, &kind.path(&input.name));
    if let Some(uid) = &object.metadata.uid {
        // Never one of the same name that was made in between.
        let preconditions = json!({ "uid": uid });
        request = request.json(&json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions }));
    }
    let response = request.send()?;
    let phase = match response.status() {
        404 => DELETED,
        // Being deleted already, or another one by now.
        409 => TERMINATING,
        _ if response.is_success() => TERMINATING,
        _ => return Err(refused(&response, &format!("delete the {} `{}`", kind.word(), input.name), "check the name")),
    };
    ctx.deleted(kind.word(), &input.name);
    Ok(Namespace { uid: object.metadata.uid, ..Namespace::in_phase(&input.name, kind, phase) })
}

/// Reads one; `None` when there is none. OpenShift tells an ordinary user that a project which is not there is forbidden.
fn read(kind: Kind, name: &str, allow_missing: bool) -> Result<Option<Object>, Error> {
    let response = http::get(CLUSTER, &kind.path(name)).send()?;
    match response.status() {
        404 => Ok(None),
        403 if kind == Kind::Project && allow_missing => Ok(None),
        _ if response.is_success() => response.parse().map(Some),
        _ => Err(refused(&response, &format!("read the {} `{name}`", kind.word()), "check the name")),
    }
}

/// The error of an unsuccessful response: the cluster's own words, what was being done, and what to do about it.
fn refused(response: &Response, doing: &str, cure: &str) -> Error {
    let mut error = response.error();
    let status = response.status();
    let fault = response.parse::<Fault>().unwrap_or(Fault { message: String::new(), reason: String::new() });
    let said = if fault.message.is_empty() { "no reason" } else { &fault.message };
    let cure = match status {
        401 => "the token of the connection granted as `cluster` is wrong or has expired: store a new one",
        403 if fault.message.contains("quota") => "delete what is not needed, or raise the quota",
        403 => "give the service account of the connection granted as `cluster` the right to make, get and delete it",
        408 | 429 | 500.. => "the cluster is busy or away",
        _ => cure,
    };
    let reason = if fault.reason.is_empty() { String::new() } else { format!(" ({})", fault.reason) };
    error.problem.detail = format!("{doing}: the cluster answered {status}{reason}: {said}; {cure}");
    match status {
        400 | 422 => error.with_type(standard::VALIDATION, status, "Refused by the cluster"),
        _ => error,
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Project => "project",
        }
    }

    /// Where new ones are asked for.
    fn requests(self) -> &'static str {
        match self {
            Self::Namespace => "/api/v1/namespaces",
            Self::Project => "/apis/project.openshift.io/v1/projectrequests",
        }
    }

    fn path(self, name: &str) -> String {
        let collection = match self {
            Self::Namespace => "/api/v1/namespaces",
            Self::Project => "/apis/project.openshift.io/v1/projects",
        };
        format!("{collection}/{}", http::encode_path_segment(name))
    }
}

impl CreateNamespace {
    fn body(&self, kind: Kind, key: &str) -> Json {
        match kind {
            Kind::Namespace => {
                let mut labels = self.labels.clone().unwrap_or_default();
                labels.insert(KEY_LABEL.to_owned(), key.to_owned());
                json!({
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": { "name": self.name, "labels": labels, "annotations": self.all_annotations() },
                })
            }
            Kind::Project => json!({
                "apiVersion": "project.openshift.io/v1",
                "kind": "ProjectRequest",
                "metadata": { "name": self.name },
                "displayName": self.display_name.as_deref().unwrap_or_default(),
                "description": self.description_with(key),
            }),
        }
    }

    fn all_annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = self.annotations.clone().unwrap_or_default();
        let told = [(DISPLAY_NAME, &self.display_name), (DESCRIPTION, &self.description)];
        for (name, value) in told {
            if let Some(value) = value {
                annotations.entry(name.to_owned()).or_insert_with(|| value.clone());
            }
        }
        annotations
    }

    fn description_with(&self, key: &str) -> String {
        match self.description.as_deref() {
            None | Some("") => marker(key),
            Some(description) => format!("{description} {}", marker(key)),
        }
    }
}

fn marker(key: &str) -> String {
    format!("[orchestrator:{key}]")
}

impl Object {
    fn carries(&self, key: &str) -> bool {
        let Metadata { labels, annotations, .. } = &self.metadata;
        let marker = marker(key);
        labels.get(KEY_LABEL).is_some_and(|label| label == key)
            || annotations.get(DESCRIPTION).is_some_and(|description| description.ends_with(&marker))
    }

    fn phase(&self) -> &str {
        self.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
    }

    fn shown(self, kind: Kind) -> Namespace {
        let uid = self.metadata.uid.clone();
        Namespace { uid, ..Namespace::in_phase(&self.metadata.name, kind, self.phase()) }
    }
}

impl Namespace {
    fn in_phase(name: &str, kind: Kind, phase: &str) -> Self {
        Self { name: name.to_owned(), kind, phase: phase.to_owned(), uid: None, created: None, foreign: None }
    }
}

#[cfg(test)]
#[path = "namespaces_tests.rs"]
mod tests;
