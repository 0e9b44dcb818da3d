//! Whether a pack may come in: its manifest, schemas, workflows and the imports of its components are checked against
//! each other, and everything that is wrong is told at once. It reads the pack's folder and changes nothing; putting a
//! sound pack in its place is for `catalog`.

mod components;
mod schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::directory::{Directory, FilesError, MANIFEST, PackPath};
use super::manifest::{self, Manifest, Parsed};
use crate::definition::diagnostic::near;
use crate::definition::evaluate::Evaluate;
use crate::definition::graph::{ActionRef, Program};
use crate::definition::{ActionDeclaration, Actions, Diagnostic, LookupError, Severity, Source, compile};
use crate::model::{ActionName, ComponentName, Digest, Json, PackName, WorkflowName};

/// Where a workflow names the one that cleans up after its cancellation.
const ON_CANCEL: &str = "/document/metadata/onCancel";

/// Reads the imports of a component's bytes: `sandbox::imports` in earnest.
pub type Imports<'a> = &'a (dyn Fn(&[u8]) -> Result<Vec<String>, String> + Sync);

/// A pack of an exact version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackVersion {
    /// Its name.
    pub name: PackName,
    /// Its version.
    pub version: semver::Version,
}

impl std::fmt::Display for PackVersion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}@{}", self.name, self.version)
    }
}

/// What a check found out about a sound pack.
#[derive(Debug)]
pub struct Sound {
    /// What the pack says about itself.
    pub manifest: Manifest,
    /// The components that were there, by digest.
    pub components: BTreeMap<ComponentName, Digest>,
    /// Its workflows.
    pub workflows: BTreeMap<WorkflowName, SoundWorkflow>,
    /// The other packs whose actions its workflows call.
    pub requires: BTreeSet<PackVersion>,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// A workflow of a sound pack.
#[derive(Debug)]
pub struct SoundWorkflow {
    /// Its file.
    pub path: PackPath,
    /// Its compiled form.
    pub program: Arc<Program>,
    /// Its text.
    pub text: Arc<str>,
}

/// Why a pack was found wanting.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The pack has to be changed; everything that is wrong with it, warnings included, errors of the manifest first.
    #[error("check the pack: {} wrong", count(.0))]
    Findings(Vec<Diagnostic>),
    /// A file of the pack cannot be taken or read.
    #[error(transparent)]
    Files(#[from] FilesError),
}

fn count(findings: &[Diagnostic]) -> String {
    match findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
        1 => "one thing is".to_owned(),
        errors => format!("{errors} things are"),
    }
}

/// What a check goes by.
pub struct Rules<'a> {
    /// The actions of the packs that are installed.
    pub installed: &'a dyn Actions,
    /// Checks expressions.
    pub evaluator: &'a dyn Evaluate,
    /// Reads what a component imports.
    pub imports: Imports<'a>,
    /// Whether a component that is not there is an error; an author checks a pack before it is built, too.
    pub built: bool,
}

/// Checks a pack.
///
/// # Errors
/// See [`CheckError`].
pub fn check(directory: &Directory, rules: &Rules<'_>) -> Result<Sound, CheckError> {
    let parsed = parse(directory)?;
    let mut check = Check { directory, rules, findings: parsed.warnings.clone(), parsed: &parsed };
    let components = check.components()?;
    let schemas = check.schemas()?;
    let declarations = Declarations::new(&parsed.manifest, &components, &schemas);
    let workflows = check.workflows(&declarations)?;
    check.services(&workflows);
    check.cleaners(&workflows);
    let findings = check.findings;
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(CheckError::Findings(findings));
    }
    let requires = requirements(&parsed.manifest, &workflows);
    Ok(Sound { manifest: parsed.manifest, components, workflows, requires, warnings: findings })
}

fn parse(directory: &Directory) -> Result<Parsed, CheckError> {
    let path = PackPath::parse(MANIFEST).map_err(FilesError::from)?;
    let content = directory.read(&path)?.ok_or_else(|| {
        FilesError::refused(MANIFEST, "there is no such file; a pack's folder has its `pack.yaml` at the top")
    })?;
    let text = String::from_utf8(content).map_err(|_| FilesError::refused(MANIFEST, "it is not UTF-8 text"))?;
    manifest::parse(&text, MANIFEST).map_err(CheckError::Findings)
}

fn requirements(manifest: &Manifest, workflows: &BTreeMap<WorkflowName, SoundWorkflow>) -> BTreeSet<PackVersion> {
    let actions = workflows.values().flat_map(|workflow| workflow.program.actions());
    actions
        .filter(|action| action.pack != manifest.name || action.version != manifest.version)
        .map(|action| PackVersion { name: action.pack.clone(), version: action.version.clone() })
        .collect()
}

/// The actions of several packs that are not installed, for a check without a server.
#[derive(Debug, Default)]
pub struct Beside(Vec<Declarations>);

impl Beside {
    /// Reads the actions of a pack's folder. Only what its callers need is looked at; that the pack is sound is not.
    ///
    /// # Errors
    /// Its manifest has errors, or a file cannot be read.
    pub fn add(&mut self, directory: &Directory) -> Result<(), CheckError> {
        let parsed = parse(directory)?;
        let mut schemas = BTreeMap::new();
        for action in parsed.manifest.actions.values() {
            for path in action.input.iter().chain(&action.output) {
                let schema = directory.read(path)?.and_then(|content| serde_json::from_slice(&content).ok());
                schemas.extend(schema.map(|schema| (path.clone(), Arc::new(schema))));
            }
        }
        self.0.push(Declarations::new(&parsed.manifest, &BTreeMap::new(), &schemas));
        Ok(())
    }
}

impl Actions for Beside {
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError> {
        let named: Vec<&Declarations> = self.0.iter().filter(|other| Some(&other.pack.name) == pack).collect();
        let found = named.iter().find(|other| version.is_none_or(|version| *version == other.pack.version));
        match (found, pack, version) {
            (Some(found), _, _) => found.get(name),
            (None, Some(pack), Some(version)) if !named.is_empty() => Err(LookupError::Version {
                pack: pack.clone(),
                version: version.clone(),
                known: named.iter().map(|other| other.pack.version.to_string()).collect(),
            }),
            (None, pack, _) => Err(LookupError::Pack {
                pack: pack
                    .cloned()
                    .unwrap_or_else(|| PackName::parse("none").expect("a fixed text that fits the rule")),
                known: self.0.iter().map(|other| other.pack.name.to_string()).collect(),
            }),
        }
    }
}

/// The actions of one pack as its workflows, and those of others, call them.
#[derive(Debug)]
pub struct Declarations {
    pack: PackVersion,
    actions: BTreeMap<ActionName, ActionDeclaration>,
}

impl Declarations {
    /// Declares a manifest's actions. A component or schema that is missing has been told already: such an action is
    /// declared without it, so that its callers are not told again.
    pub fn new(
        manifest: &Manifest,
        components: &BTreeMap<ComponentName, Digest>,
        schemas: &BTreeMap<PackPath, Arc<Json>>,
    ) -> Self {
        let pack = PackVersion { name: manifest.name.clone(), version: manifest.version.clone() };
        let schema = |path: &Option<PackPath>| path.as_ref().and_then(|path| schemas.get(path)).cloned();
        let declare = |(name, action): (&ActionName, &manifest::Action)| {
            let component = components.get(&action.component).copied().unwrap_or_else(|| Digest::of(b""));
            let declaration = ActionDeclaration {
                action: ActionRef {
                    pack: pack.name.clone(),
                    version: pack.version.clone(),
                    action: name.clone(),
                    component,
                },
                effect: action.effect,
                timeout: action.timeout,
                input: schema(&action.input),
                output: schema(&action.output),
                probe: action.probe,
                undo: action.undo,
            };
            (name.clone(), declaration)
        };
        let actions = manifest.actions.iter().map(declare).collect();
        Self { pack, actions }
    }

    /// The declaration of an action.
    ///
    /// # Errors
    /// The pack has no such action.
    pub fn get(&self, name: &ActionName) -> Result<ActionDeclaration, LookupError> {
        self.actions.get(name).cloned().ok_or_else(|| LookupError::Action {
            pack: self.pack.name.clone(),
            action: name.clone(),
            known: self.actions.keys().map(ToString::to_string).collect(),
        })
    }
}

/// A pack's own actions first, then those of the installed packs.
pub struct Scope<'a> {
    /// The pack whose workflow is compiled.
    pub own: &'a Declarations,
    /// All others.
    pub installed: &'a dyn Actions,
}

impl Actions for Scope<'_> {
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError> {
        let own = &self.own.pack;
        let is_own = pack.is_none_or(|pack| *pack == own.name) && version.is_none_or(|version| *version == own.version);
        match is_own {
            true => self.own.get(name),
            false => self.installed.action(Some(pack.unwrap_or(&own.name)), version, name),
        }
    }
}

/// One check under way.
struct Check<'a> {
    directory: &'a Directory,
    rules: &'a Rules<'a>,
    parsed: &'a Parsed,
    findings: Vec<Diagnostic>,
}

impl Check<'_> {
    fn manifest(&self) -> &Manifest {
        &self.parsed.manifest
    }

    /// Notes an error at a place of the manifest.
    fn error(&mut self, code: &'static str, pointer: &str, message: impl Into<String>, cure: impl Into<String>) {
        self.findings.push(self.parsed.error(code, pointer, message).cure(cure));
    }

    fn warning(&mut self, code: &'static str, pointer: &str, message: impl Into<String>, cure: impl Into<String>) {
        let finding = Diagnostic { severity: Severity::Warning, ..self.parsed.error(code, pointer, message) };
        self.findings.push(finding.cure(cure));
    }

    /// Notes that a file the manifest names is not in the pack.
    fn missing(&mut self, pointer: &str, path: &PackPath) {
        let known = self.directory.files().keys().map(PackPath::as_str);
        let cure = match near(path.as_str(), known).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add the file, or correct its path".to_owned(),
        };
        self.error("missing-file", pointer, format!("the pack has no file `{path}`"), cure);
    }

    fn workflows(&mut self, own: &Declarations) -> Result<BTreeMap<WorkflowName, SoundWorkflow>, CheckError> {
        let mut workflows: BTreeMap<WorkflowName, SoundWorkflow> = BTreeMap::new();
        let paths = self.manifest().workflows.clone();
        for (index, path) in paths.into_iter().enumerate() {
            let pointer = format!("/workflows/{index}");
            let Some(workflow) = self.workflow(&pointer, path, own)? else { continue };
            let name = workflow.program.name.clone();
            if let Some(first) = workflows.get(&name) {
                let message =
                    format!("two files define the workflow `{name}`: `{}` and `{}`", first.path, workflow.path);
                self.error("duplicate", &pointer, message, "give one of them another `document.name`");
                continue;
            }
            workflows.insert(name, workflow);
        }
        Ok(workflows)
    }

    fn workflow(
        &mut self,
        pointer: &str,
        path: PackPath,
        own: &Declarations,
    ) -> Result<Option<SoundWorkflow>, CheckError> {
        let Some(content) = self.directory.read(&path)? else {
            self.missing(pointer, &path);
            return Ok(None);
        };
        let Ok(text) = String::from_utf8(content) else {
            self.error("not-text", pointer, format!("`{path}` is not UTF-8 text"), "save it as UTF-8");
            return Ok(None);
        };
        let scope = Scope { own, installed: self.rules.installed };
        match compile(Source { path: path.as_str(), text: &text }, &scope, self.rules.evaluator) {
            Ok(compiled) => {
                self.findings.extend(compiled.warnings);
                Ok(Some(SoundWorkflow { path, program: Arc::new(compiled.program), text: text.into() }))
            }
            Err(findings) => {
                self.findings.extend(findings);
                Ok(None)
            }
        }
    }

    fn services(&mut self, workflows: &BTreeMap<WorkflowName, SoundWorkflow>) {
        // A workflow that does not compile is not in the list, and its service would only repeat the news.
        let all_known = workflows.len() == self.manifest().workflows.len();
        let services = self.manifest().services.clone();
        for (index, service) in services.iter().enumerate() {
            if workflows.contains_key(&service.workflow) || !all_known {
                continue;
            }
            let cure = match near(service.workflow.as_str(), workflows.keys().map(WorkflowName::as_str)).first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add its file under `workflows`; a workflow's name is its `document.name`".to_owned(),
            };
            let message = format!("the pack has no workflow `{}`", service.workflow);
            self.error("undeclared", &format!("/services/{index}/workflow"), message, cure);
        }
    }

    /// A workflow that `document.metadata.onCancel` names is another one of the pack.
    fn cleaners(&mut self, workflows: &BTreeMap<WorkflowName, SoundWorkflow>) {
        let all_known = workflows.len() == self.manifest().workflows.len();
        for (name, workflow) in workflows {
            let Some(named) = workflow.program.definition.pointer(ON_CANCEL) else { continue };
            let index = self.manifest().workflows.iter().position(|path| *path == workflow.path).unwrap_or_default();
            let (cleaner, path) = (named.as_str().unwrap_or_default(), &workflow.path);
            let message = match named.as_str().map(WorkflowName::parse) {
                Some(Ok(cleaner)) if cleaner == *name => format!("`{path}` names itself in `onCancel`"),
                Some(Ok(cleaner)) if workflows.contains_key(&cleaner) || !all_known => continue,
                Some(_) => format!("`{path}` names `{cleaner}` in `onCancel`, and the pack has no such workflow"),
                None => format!("`onCancel` in `{path}` is no text"),
            };
            let others = workflows.keys().filter(|other| *other != name).map(WorkflowName::as_str);
            let cure = match near(cleaner, others).first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name the workflow of this pack that cleans up after a cancellation, by its `document.name`"
                    .to_owned(),
            };
            self.error("on-cancel", &format!("/workflows/{index}"), message, cure);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
