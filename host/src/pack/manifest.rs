//! Format 1 of `pack.yaml`: text to [`Manifest`], with everything that is wrong told at once, each with its place and
//! its cure. It looks at the text alone; whether the files it names are there and fit is for `install`.
//!
//! Rules for change: within a format keys are only added, optional and with a default, and a key that is not known is
//! refused, so that nobody relies on what a server ignores. Anything else is a new format, read by its own reader. The
//! parsed form is also stored with the installed pack; there, unknown members are ignored.

mod read;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::directory::PackPath;
use crate::capability::HostPattern;
use crate::definition::{Diagnostic, Position, Source, yaml};
use crate::model::{
    ActionName, ComponentName, ConnectionName, Effect, PackName, SecretName, ServiceName, WorkflowName,
};

/// The formats this program reads.
pub const FORMATS: [u64; 1] = [1];
/// The worlds a pack's components may be built for.
pub const WORLDS: [&str; 1] = ["orchestrator:pack/action@0.1"];
/// How long one attempt may take where an action does not say.
pub const TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_secs(30);
/// How long one attempt may take at most. Longer work belongs into several attempts with checkpoints.
pub const TIMEOUT_MAX: SignedDuration = SignedDuration::from_secs(24 * 60 * 60);

/// What a pack says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The pack's name.
    pub name: PackName,
    /// Its version, without build metadata.
    pub version: semver::Version,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The world its components are built for.
    pub world: String,
    /// The connections it asks for.
    #[serde(default)]
    pub connections: BTreeMap<ConnectionName, ConnectionRequest>,
    /// The secrets whose bytes it asks for.
    #[serde(default)]
    pub secrets: BTreeMap<SecretName, SecretRequest>,
    /// Its components.
    #[serde(default)]
    pub components: BTreeMap<ComponentName, Component>,
    /// Its actions.
    #[serde(default)]
    pub actions: BTreeMap<ActionName, Action>,
    /// What its workflows ask for, for the calls that the language itself has.
    #[serde(default, skip_serializing_if = "Uses::is_empty")]
    pub uses: Uses,
    /// The files of its workflows.
    #[serde(default)]
    pub workflows: Vec<PackPath>,
    /// Its services.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// A connection that a pack asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRequest {
    /// What it leads to, for the admin who grants it.
    #[serde(default)]
    pub description: String,
    /// How it is used.
    #[serde(default)]
    pub kind: ConnectionKind,
}

/// How a connection is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionKind {
    /// By HTTP; the default.
    #[default]
    Http,
    /// For sending mail.
    Smtp,
}

/// A secret whose bytes a pack asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRequest {
    /// What it opens, for the admin who grants it.
    #[serde(default)]
    pub description: String,
}

/// A component of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its file.
    pub path: PackPath,
    /// The crate it is built from; by default the one with the component's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The command that builds it, in the place of cargo. Only `orchctl pack build` runs it, on its author's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// An action of a pack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// The component that implements it.
    pub component: ComponentName,
    /// What it does, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The schema of its input; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<PackPath>,
    /// The schema of its output; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PackPath>,
    /// What may be done when it is unknown whether a call took effect; `once` by default.
    #[serde(default)]
    pub effect: Effect,
    /// How long one attempt may take; 30 s by default, at most 24 h.
    pub timeout: SignedDuration,
    /// What it asks for of what the pack asks for.
    #[serde(default)]
    pub uses: Uses,
    /// Whether it answers the `probe` phase; `false` by default.
    #[serde(default)]
    pub probe: bool,
    /// Whether it answers the `undo` phase; `false` by default.
    #[serde(default)]
    pub undo: bool,
}

/// What an action asks for, or what the workflows of a pack do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// Connections of the pack.
    #[serde(default)]
    pub connections: Vec<ConnectionName>,
    /// Secrets of the pack.
    #[serde(default)]
    pub secrets: Vec<SecretName>,
    /// Hosts reached by absolute URL.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// Whether it posts to the server's own notifications; of actions only. It needs no grant: nothing leaves the server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inbox: bool,
}

impl Uses {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.secrets.is_empty() && self.hosts.is_empty() && !self.inbox
    }
}

/// A service of a pack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, unique over all installed packs.
    pub name: ServiceName,
    /// The heading it is listed under.
    pub group: String,
    /// What it does, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A picture for people: a URL, a `data:` URL, or the name of one that clients have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The workflow behind it.
    pub workflow: WorkflowName,
    /// The schema of what has to be said to order it; absent: the workflow's own `input.schema`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<PackPath>,
}

/// A manifest with its text, so that what is found later can still be told with its place.
#[derive(Debug)]
pub struct Parsed {
    /// What the text says.
    pub manifest: Manifest,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
    path: String,
    text: String,
    tree: yaml::Tree,
}

impl Parsed {
    /// An error at the place of a JSON pointer.
    pub fn error(&self, code: &'static str, pointer: &str, message: impl Into<String>) -> Diagnostic {
        let source = Source { path: &self.path, text: &self.text };
        Diagnostic::error(code, source, self.position(pointer), message)
    }

    /// The place of a JSON pointer.
    pub fn position(&self, pointer: &str) -> Position {
        self.tree.position_at(pointer)
    }
}

/// Reads a manifest.
///
/// # Errors
/// Everything that is wrong, in the order of the text, warnings included.
pub fn parse(text: &str, path: &str) -> Result<Parsed, Vec<Diagnostic>> {
    let tree = yaml::parse(text, path).map_err(|error| vec![error])?;
    let (manifest, findings) = read::manifest(&tree, Source { path, text });
    match manifest {
        Some(manifest) => {
            Ok(Parsed { manifest, warnings: findings, path: path.to_owned(), text: text.to_owned(), tree })
        }
        None => Err(findings),
    }
}

#[cfg(test)]
mod tests;
