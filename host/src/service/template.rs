//! What somebody says of a service, and whether that can be: lengths, names, schemas. Everything that is wrong is told at
//! once, each with its place. Whether the workflows are installed is looked at in `change`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

use crate::definition::schema;
use crate::model::{Json, PackName, ServiceName, WorkflowName};

/// The heading of a service that names none.
const GROUP_STANDARD: &str = "general";

/// Workflows of one service, at most: what a person can choose from.
const WORKFLOWS_MAX: usize = 20;

/// Tags of one service, at most.
const TAGS_MAX: usize = 50;

/// Characters of a heading, a tag or an annotation's name, at most: a line in a table.
const LINE_CHARACTERS_MAX: usize = 255;

/// Characters of a description or a constraint, at most.
const TEXT_CHARACTERS_MAX: usize = 16_384;

/// Bytes of an icon, at most: a small picture as a `data:` URL.
const ICON_BYTES_MAX: usize = 65_536;

/// Annotations of one service, at most.
const ANNOTATIONS_MAX: usize = 50;

/// Bytes of a whole service, at most, so that a page with all of a tenant's services stays in bounds.
const BYTES_MAX: usize = 262_144;

/// What somebody says of a service; the least is a name and a workflow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewService)]
pub struct Template {
    /// Its name; the path gives it where it is put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "gold volume")]
    pub name: Option<ServiceName>,
    /// The heading it is listed under; by default `general`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "provisioning")]
    pub group: Option<String>,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A picture for people: a URL, a `data:` URL of at most 64 KiB, or the name of one that clients have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The pack of its workflow, where it has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "storage")]
    pub pack: Option<PackName>,
    /// The pack's version; by default the newest when it is ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub version: Option<semver::Version>,
    /// Its workflow, where it has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "provision-volume")]
    pub workflow: Option<WorkflowName>,
    /// Its workflows, at most 20, in the place of `pack` and `workflow`; the first one runs where an order names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<NewChoice>,
    /// The JSON Schema of what has to be said to order it, beside that of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<Json>,
    /// How a form shows the input, for clients; passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub ui_schema: Option<Json>,
    /// Members of the input that are set where an order does not give them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Option<Object>)]
    pub input_defaults: Map<String, Json>,
    /// Those of them that an order may not give.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub locked_inputs: BTreeSet<String>,
    /// A remark for clients; passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// What clients keep with it: texts by name, at most 50.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether it can be ordered; by default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// One of the workflows of a service that somebody makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewServiceWorkflow)]
pub struct NewChoice {
    /// What an order calls it; by default the workflow's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<WorkflowName>,
    /// Its pack.
    #[schema(value_type = String, example = "storage")]
    pub pack: PackName,
    /// The pack's version; by default the newest when it is ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub version: Option<semver::Version>,
    /// The workflow.
    #[schema(value_type = String, example = "provision-volume")]
    pub workflow: WorkflowName,
}

/// A service that was said right; also what is stored of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declared {
    pub(super) name: ServiceName,
    pub(super) group: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) icon: Option<String>,
    pub(super) workflows: Vec<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) input_schema: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ui_schema: Option<Json>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) input_defaults: Map<String, Json>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) locked_inputs: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) constraint: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) enabled: bool,
}

/// A workflow that a service stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) name: WorkflowName,
    pub(super) pack: PackName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<semver::Version>,
    pub(super) workflow: WorkflowName,
}

/// Something in what was said that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What, and what to do about it.
    pub message: String,
}

impl Wrong {
    /// A fault at a place.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl Template {
    /// Checks everything that can be checked without knowing what is installed.
    pub(super) fn check(self) -> Result<Declared, Vec<Wrong>> {
        let mut wrong = Vec::new();
        self.check_texts(&mut wrong);
        self.check_input(&mut wrong);
        let bytes = serde_json::to_vec(&self).map_or(usize::MAX, |bytes| bytes.len());
        if bytes > BYTES_MAX {
            wrong.push(Wrong::at("", format!("the service has {bytes} bytes; {BYTES_MAX} fit")));
        }
        match &self.name {
            None => wrong.push(Wrong::at("/name", "give the service a name")),
            Some(name) if !name.is_plain() => {
                let message =
                    "take a name that is not `.` or `..`, without characters that nobody sees or that turn text around";
                wrong.push(Wrong::at("/name", message));
            }
            Some(_) => {}
        }
        let workflows = self.targets().unwrap_or_else(|found| {
            wrong.push(found);
            Vec::new()
        });
        let Some(name) = self.name.filter(|_| wrong.is_empty()) else { return Err(wrong) };
        Ok(Declared {
            name,
            group: self.group.unwrap_or_else(|| GROUP_STANDARD.to_owned()),
            description: self.description,
            tags: self.tags,
            icon: self.icon,
            workflows,
            input_schema: self.input_schema,
            ui_schema: self.ui_schema,
            input_defaults: self.input_defaults,
            locked_inputs: self.locked_inputs,
            constraint: self.constraint,
            annotations: self.annotations,
            enabled: self.enabled.unwrap_or(true),
        })
    }

    fn check_texts(&self, wrong: &mut Vec<Wrong>) {
        let mut lines: Vec<(String, &str)> =
            self.group.iter().map(|text| ("/group".to_owned(), text.as_str())).collect();
        lines.extend(self.tags.iter().enumerate().map(|(at, tag)| (format!("/tags/{at}"), tag.as_str())));
        lines.extend(self.annotations.keys().map(|name| ("/annotations".to_owned(), name.as_str())));
        for (pointer, line) in lines {
            let fits = (1..=LINE_CHARACTERS_MAX).contains(&line.chars().count()) && !line.chars().any(char::is_control);
            if !fits {
                wrong.push(Wrong::at(pointer, format!("use 1 to {LINE_CHARACTERS_MAX} printable characters")));
            }
        }
        for (pointer, text) in [("/description", &self.description), ("/constraint", &self.constraint)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARACTERS_MAX) {
                wrong.push(Wrong::at(pointer, format!("use at most {TEXT_CHARACTERS_MAX} characters")));
            }
        }
        if self.icon.as_ref().is_some_and(|icon| !is_icon(icon)) {
            wrong.push(Wrong::at(
                "/icon",
                format!("use an `https:` URL, a name or a `data:image/` URL of at most {ICON_BYTES_MAX} bytes"),
            ));
        }
        for (pointer, count, max) in
            [("/tags", self.tags.len(), TAGS_MAX), ("/annotations", self.annotations.len(), ANNOTATIONS_MAX)]
        {
            if count > max {
                wrong.push(Wrong::at(pointer, format!("give at most {max}; there are {count}")));
            }
        }
    }

    fn check_input(&self, wrong: &mut Vec<Wrong>) {
        for (pointer, data) in [("/inputSchema", &self.input_schema), ("/uiSchema", &self.ui_schema)] {
            if data.as_ref().is_some_and(|data| !data.is_object()) {
                wrong.push(Wrong::at(pointer, "give an object"));
            }
        }
        if let Some(Err(error)) = self.input_schema.as_ref().map(schema::compile) {
            wrong.push(Wrong::at(format!("/inputSchema{}", error.pointer), error.message));
        }
        for name in self.locked_inputs.iter().filter(|name| !self.input_defaults.contains_key(*name)) {
            let message = format!("`{name}` is locked and has no value: add it to `inputDefaults`");
            wrong.push(Wrong::at("/lockedInputs", message));
        }
    }

    /// The workflows, whichever way they were said.
    fn targets(&self) -> Result<Vec<Target>, Wrong> {
        let single = self.pack.is_some() || self.version.is_some() || self.workflow.is_some();
        let said = match (&self.pack, &self.workflow, self.workflows.as_slice()) {
            (Some(pack), Some(workflow), []) => vec![NewChoice {
                name: None,
                pack: pack.clone(),
                version: self.version.clone(),
                workflow: workflow.clone(),
            }],
            (_, _, several) if !single && !several.is_empty() => several.to_vec(),
            (_, _, []) => return Err(Wrong::at("", "give `pack` and `workflow`, or `workflows`")),
            _ => {
                return Err(Wrong::at("/workflows", "give either `workflows`, or `pack` and `workflow`, and not both"));
            }
        };
        if said.len() > WORKFLOWS_MAX {
            return Err(Wrong::at("/workflows", format!("give at most {WORKFLOWS_MAX}; there are {}", said.len())));
        }
        let mut targets: Vec<Target> = Vec::new();
        for (at, NewChoice { name, pack, version, workflow }) in said.into_iter().enumerate() {
            let name = name.unwrap_or_else(|| workflow.clone());
            if targets.iter().any(|known| known.name == name) {
                let message = format!("`{name}` is there already; give each workflow a `name` of its own");
                return Err(Wrong::at(format!("/workflows/{at}"), message));
            }
            targets.push(Target { name, pack, version, workflow });
        }
        Ok(targets)
    }
}

impl Template {
    /// The same service with its one workflow said by `pack`, `version` and `workflow`; unchanged where it has several.
    pub fn single(mut self) -> Self {
        if let [_] = self.workflows.as_slice() {
            let only = self.workflows.remove(0);
            (self.pack, self.version, self.workflow) = (Some(only.pack), only.version, Some(only.workflow));
        }
        self
    }
}

/// Whether a page may show this as a picture: an address that runs nothing, a picture itself, or a name.
fn is_icon(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.trim().to_ascii_lowercase());
    let is_harmless = match scheme.as_deref() {
        Some("data") => text.get(5..11).is_some_and(|kind| kind.eq_ignore_ascii_case("image/")),
        Some(scheme) => !["javascript", "vbscript", "file", "blob"].contains(&scheme),
        None => true,
    };
    is_harmless && text.len() <= ICON_BYTES_MAX && !text.chars().any(char::is_control)
}

impl From<Declared> for Template {
    /// The same service, said again.
    fn from(declared: Declared) -> Self {
        let choice = |Target { name, pack, version, workflow }| NewChoice { name: Some(name), pack, version, workflow };
        Self {
            name: Some(declared.name),
            group: Some(declared.group),
            description: declared.description,
            tags: declared.tags,
            icon: declared.icon,
            pack: None,
            version: None,
            workflow: None,
            workflows: declared.workflows.into_iter().map(choice).collect(),
            input_schema: declared.input_schema,
            ui_schema: declared.ui_schema,
            input_defaults: declared.input_defaults,
            locked_inputs: declared.locked_inputs,
            constraint: declared.constraint,
            annotations: declared.annotations,
            enabled: Some(declared.enabled),
        }
    }
}
