//! A double of the namespaces of Kubernetes and the projects of OpenShift: the same paths, bodies, phases, refusals and
//! error texts. Its phases advance by looks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::jira::wire::{Answer, Seen, World};
pub use crate::jira::wire::{Double, Fault, Trouble};
use crate::published::Document;

/// The one token that is right.
pub const TOKEN: &str = "cluster-token-5f1c";

/// A running double.
pub type Kubernetes = Double<Cluster>;

/// A namespace, which is a project too.
#[derive(Debug, Clone)]
pub struct Space {
    uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Looks until it is active, or gone.
    looks: u32,
    terminating: bool,
}

/// What the cluster knows.
#[derive(Default)]
pub struct Cluster {
    /// The namespaces by name.
    pub spaces: BTreeMap<String, Space>,
    /// How many were ever made.
    pub made: usize,
    /// No more than so many.
    pub quota: Option<usize>,
    /// New ones become active only with this look.
    pub looks_until_active: u32,
    /// Deleted ones are gone only with this look.
    pub looks_until_gone: u32,
    /// Whether the token has been revoked.
    pub revoked: bool,
    /// Whether the account may only read.
    pub forbidden: bool,
}

impl Cluster {
    /// Makes a namespace as somebody else would.
    pub fn add(&mut self, name: &str) {
        self.made += 1;
        let uid = format!("00000000-0000-4000-8000-{:012}", self.made);
        let space = Space { uid, labels: BTreeMap::new(), annotations: BTreeMap::new(), looks: 0, terminating: false };
        self.spaces.insert(name.to_owned(), space);
    }

    fn make(&mut self, name: &str, labels: &Value, annotations: &Value) -> Answer {
        let texts = |value: &Value| -> BTreeMap<String, String> {
            let members = value.as_object().into_iter().flatten();
            members.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
        };
        let labels = texts(labels);
        if !is_label(name) {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
            let message = format!("Namespace \"{name}\" is invalid: metadata.name: Invalid value: \"{name}\": {rule}");
            return fault(422, "Invalid", &message);
        }
        if let Some(value) = labels.values().find(|value| !is_value(value)) {
            let message = format!("Namespace \"{name}\" is invalid: metadata.labels: Invalid value: \"{value}\"");
            return fault(422, "Invalid", &message);
        }
        if self.quota.is_some_and(|quota| self.spaces.len() >= quota) {
            let message = format!("namespaces \"{name}\" is forbidden: exceeded quota: namespaces, requested: 1");
            return fault(403, "Forbidden", &message);
        }
        match self.spaces.get(name) {
            Some(space) if space.terminating => {
                let message = format!("object is being deleted: namespaces \"{name}\" already exists");
                return fault(409, "AlreadyExists", &message);
            }
            Some(_) => return fault(409, "AlreadyExists", &format!("namespaces \"{name}\" already exists")),
            None => {}
        }
        self.add(name);
        let looks = self.looks_until_active;
        let space = self.spaces.get_mut(name).expect("just made");
        *space = Space { labels, annotations: texts(annotations), looks, ..space.clone() };
        Answer::json(201, space.shown(name))
    }

    fn look(&mut self, name: &str, project: bool) -> Answer {
        let Some(space) = self.spaces.get_mut(name) else { return missing(name, project) };
        space.looks = space.looks.saturating_sub(1);
        if space.terminating && space.looks == 0 {
            self.spaces.remove(name);
            return missing(name, project);
        }
        Answer::json(200, space.shown(name))
    }

    fn delete(&mut self, name: &str, project: bool, body: &Value) -> Answer {
        let looks = self.looks_until_gone;
        let Some(space) = self.spaces.get_mut(name) else { return missing(name, project) };
        let wanted = body["preconditions"]["uid"].as_str();
        if wanted.is_some_and(|wanted| wanted != space.uid) {
            return fault(409, "Conflict", "the UID in the precondition does not match the UID in record");
        }
        if !space.terminating {
            (space.terminating, space.looks) = (true, looks.max(1));
        }
        Answer::json(200, space.shown(name))
    }
}

impl Space {
    fn shown(&self, name: &str) -> Value {
        let phase = match (self.terminating, self.looks) {
            (true, _) => json!("Terminating"),
            (false, 0) => json!("Active"),
            (false, _) => Value::Null,
        };
        let mut status = json!({});
        if !phase.is_null() {
            status["phase"] = phase;
        }
        let metadata = json!({ "name": name, "uid": self.uid, "labels": self.labels, "annotations": self.annotations });
        json!({ "kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": status })
    }
}

fn is_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edge = |byte: Option<u8>| byte.is_some_and(plain);
    name.len() <= 63
        && edge(name.bytes().next())
        && edge(name.bytes().last())
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
}

fn is_value(value: &str) -> bool {
    value.len() <= 63 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn fault(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code,
    });
    Answer::json(code, body)
}

/// OpenShift does not tell an ordinary user whether a project exists.
fn missing(name: &str, project: bool) -> Answer {
    if project {
        let message =
            format!("projects.project.openshift.io \"{name}\" is forbidden: User \"robot\" cannot get resource");
        return fault(403, "Forbidden", &message);
    }
    fault(404, "NotFound", &format!("namespaces \"{name}\" not found"))
}

/// What of an exchange is not as the cluster's interface is published; projects are OpenShift's and not published so.
fn misfit(seen: &Seen, answer: Option<&Answer>) -> Option<String> {
    let document = Document::Kubernetes;
    let is_namespace = seen.path.starts_with("/api/v1/namespaces");
    match answer {
        Some(Answer { status: 400.., body: Some(body), .. }) => document.misfit("Status", body),
        Some(Answer { body: Some(body), .. }) if is_namespace => document.misfit("Namespace", body),
        Some(_) => None,
        None if seen.method == "DELETE" && !seen.body.is_null() => document.misfit("DeleteOptions", &seen.body),
        None if seen.method == "POST" && is_namespace => document.misfit("Namespace", &seen.body),
        None => None,
    }
}

impl World for Cluster {
    fn answer(&mut self, seen: &Seen) -> Answer {
        if let Some(misfit) = misfit(seen, None) {
            return fault(400, "BadRequest", &misfit);
        }
        let answer = self.answer_to(seen);
        match misfit(seen, Some(&answer)) {
            Some(misfit) => fault(501, "InternalError", &format!("the double answers as no cluster does: {misfit}")),
            None => answer,
        }
    }

    fn trouble(&self, status: u16) -> Answer {
        trouble(status)
    }
}

impl Cluster {
    fn answer_to(&mut self, seen: &Seen) -> Answer {
        if self.revoked || seen.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return fault(401, "Unauthorized", "Unauthorized");
        }
        if self.forbidden && seen.method != "GET" {
            let message =
                "namespaces is forbidden: User \"robot\" cannot create resource \"namespaces\" in API group \"\"";
            return fault(403, "Forbidden", message);
        }
        let metadata = &seen.body["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let one = |path: &str| seen.path.strip_prefix(path).filter(|name| !name.contains('/')).map(str::to_owned);
        let namespace = one("/api/v1/namespaces/");
        let project = one("/apis/project.openshift.io/v1/projects/");
        match (seen.method.as_str(), seen.path.as_str(), namespace, project) {
            ("POST", "/api/v1/namespaces", ..) => self.make(name, &metadata["labels"], &metadata["annotations"]),
            ("POST", "/apis/project.openshift.io/v1/projectrequests", ..) => {
                let annotations = json!({
                    "openshift.io/description": seen.body["description"],
                    "openshift.io/display-name": seen.body["displayName"],
                });
                self.make(name, &Value::Null, &annotations)
            }
            ("GET", _, Some(name), _) => self.look(&name, false),
            ("GET", _, _, Some(name)) => self.look(&name, true),
            ("DELETE", _, Some(name), _) => self.delete(&name, false, &seen.body),
            ("DELETE", _, _, Some(name)) => self.delete(&name, true, &seen.body),
            _ => fault(404, "NotFound", "the server could not find the requested resource"),
        }
    }
}

fn trouble(status: u16) -> Answer {
    match status {
        401 => fault(401, "Unauthorized", "Unauthorized"),
        403 => fault(403, "Forbidden", "namespaces is forbidden"),
        409 => fault(409, "Conflict", "the object has been modified; please apply your changes to the latest version"),
        429 => fault(429, "TooManyRequests", "the server has received too many requests").header("retry-after", "1"),
        422 => fault(422, "Invalid", "Namespace is invalid"),
        503 => fault(503, "ServiceUnavailable", "apiserver is shutting down"),
        status => fault(status, "InternalError", "etcdserver: request timed out"),
    }
}
