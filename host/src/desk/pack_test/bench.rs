//! The pack under test: what it says about itself, its workflows compiled as an installation would, and its components
//! as far as they are built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::case::{ActionLabel, TestFile};
use super::read::{self, Known};
use crate::connection::secrets::{SecretStore, Secrets};
use crate::coordinator::perform::Attempt;
use crate::coordinator::{Named, ProgramError, Programs, Resolved};
use crate::definition::graph::{Callee, NodeKind, Program};
use crate::definition::{Diagnostic, Severity, Source, schema};
use crate::desk::SharedActions;
use crate::desk::actions::DeskActions;
use crate::desk::tools::Tools;
use crate::journal::memory::MemoryJournal;
use crate::machine::record::Created;
use crate::model::{ActionName, ComponentName, Effect, PackName, TenantName, WorkflowName};
use crate::pack::directory::{Directory, MANIFEST, PackPath};
use crate::pack::install::{Beside, CheckError, Rules, check};
use crate::pack::manifest::{ConnectionKind, Manifest};
use crate::sandbox::{self, Component};

/// The pack under test.
pub(super) struct Bench {
    folder: PathBuf,
    directory: Directory,
    pub(super) manifest: Manifest,
    pub(super) programs: BTreeMap<WorkflowName, Arc<Program>>,
    actions: SharedActions,
    pub(super) tools: Arc<Tools>,
    pub(super) secrets: Secrets,
    /// Loaded when first called.
    components: tokio::sync::Mutex<BTreeMap<ComponentName, Arc<Component>>>,
    /// Keeps the key of the secrets.
    _folder: tempfile::TempDir,
}

/// Why a pack cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The pack or its test files have errors; all of them.
    #[error("test the pack: it has errors")]
    Findings(Vec<Diagnostic>),
    /// A file cannot be read, or the machine fails.
    #[error("{0}")]
    Failed(String),
}

impl Bench {
    pub(super) async fn open(folder: &Path, others: &[PathBuf], tools: Arc<Tools>) -> Result<Self, BenchError> {
        let failed = |error: &dyn std::error::Error| BenchError::Failed(super::chain(error));
        let directory = Directory::open(folder).map_err(|error| failed(&error))?;
        let mut beside = Beside::default();
        for other in others {
            let added = Directory::open(other).map_err(CheckError::from).and_then(|other| beside.add(&other));
            added.map_err(|error| BenchError::Failed(format!("read `{}`: {error}", other.display())))?;
        }
        for sibling in siblings(folder) {
            // Whatever is wrong with a neighbour is for its own tests.
            let _ = Directory::open(&sibling).map(|sibling| beside.add(&sibling));
        }
        let others = Arc::new(DeskActions::new(Arc::new(beside), None, true));
        let imports = |bytes: &[u8]| sandbox::imports(bytes).map_err(|error| error.to_string());
        let rules = Rules { installed: &*others, evaluator: &*tools.evaluator, imports: &imports, built: false };
        let sound = check(&directory, &rules).map_err(|error| match error {
            CheckError::Findings(findings) => BenchError::Findings(placed(folder, errors(findings))),
            CheckError::Files(error) => failed(&error),
        })?;
        let programs = sound.workflows.into_iter().map(|(name, workflow)| (name, workflow.program)).collect();
        let mut own = Beside::default();
        own.add(&directory).map_err(|error| failed(&error))?;
        let actions: SharedActions = Arc::new(Neighbours { own, others });
        let temporary = tempfile::tempdir().map_err(|error| failed(&error))?;
        let secrets = SecretStore::open(Arc::new(MemoryJournal::new()), &temporary.path().join("key"));
        let secrets = secrets.map_err(|error| failed(&error))?.of(&TenantName::standard());
        for name in sound.manifest.secrets.keys() {
            secrets.put(name, name.as_str().as_bytes()).await.map_err(|error| failed(&error))?;
        }
        let (folder, components) = (folder.to_owned(), tokio::sync::Mutex::default());
        let manifest = sound.manifest;
        Ok(Self { folder, directory, manifest, programs, actions, tools, secrets, components, _folder: temporary })
    }

    /// Reads the test files.
    pub(super) fn files(&self) -> Result<Vec<TestFile>, BenchError> {
        let is_test = |path: &&PackPath| {
            path.as_str().starts_with("tests/") && (path.as_str().ends_with(".yaml") || path.as_str().ends_with(".yml"))
        };
        let (mut files, mut findings) = (Vec::new(), Vec::new());
        for path in self.directory.files().keys().filter(is_test) {
            let content = self.directory.read(path).map_err(|error| BenchError::Failed(super::chain(&error)))?;
            let text = String::from_utf8_lossy(&content.unwrap_or_default()).into_owned();
            match read::read(Source { path: path.as_str(), text: &text }, self) {
                Ok(file) => files.push(file),
                Err(found) => findings.extend(found),
            }
        }
        match findings.is_empty() {
            true => Ok(files),
            false => Err(BenchError::Findings(placed(&self.folder, findings))),
        }
    }

    /// The component of an action; else why there is none, and what to do about it.
    pub(super) async fn component(&self, action: &ActionName) -> Result<Arc<Component>, (String, String)> {
        let build = || format!("build it: `orchctl pack build {}`", self.folder.display());
        let declared = self.manifest.actions.get(action);
        let declared = declared.ok_or_else(|| ("the pack has no such action".to_owned(), build()))?;
        let mut components = self.components.lock().await;
        if let Some(known) = components.get(&declared.component) {
            return Ok(known.clone());
        }
        let path = self.manifest.components.get(&declared.component).map(|component| &component.path);
        let bytes = path.and_then(|path| self.directory.read(path).ok().flatten());
        let Some(bytes) = bytes else {
            return Err((format!("its component `{}` is not built", declared.component), build()));
        };
        let loaded = self.tools.sandbox.load(crate::model::Digest::of(&bytes), &bytes).await;
        let loaded =
            loaded.map_err(|error| (error.to_string(), "correct the component, and build it again".to_owned()))?;
        components.insert(declared.component.clone(), loaded.clone());
        Ok(loaded)
    }

    /// How a call may be repeated.
    pub(super) fn effect(&self, attempt: &Attempt) -> Effect {
        let nodes = self.programs.values().flat_map(|program| &program.nodes);
        let mut acts = nodes.filter_map(|node| match &node.kind {
            NodeKind::Act(act) if node.reference == attempt.reference && act.callee == attempt.call.callee => Some(act),
            _ => None,
        });
        acts.next().map(|act| act.effect).unwrap_or_default()
    }

    /// The workflow and those that it runs.
    fn family(&self, workflow: &WorkflowName) -> Vec<&Arc<Program>> {
        let mut family: Vec<&Arc<Program>> = Vec::new();
        let mut open = vec![workflow.clone()];
        while let Some(name) = open.pop() {
            let Some(program) = self.programs.get(&name) else { continue };
            if family.iter().any(|known| known.name == program.name) {
                continue;
            }
            family.push(program);
            open.extend(program.nodes.iter().filter_map(|node| match &node.kind {
                NodeKind::Act(act) => match &act.callee {
                    Callee::Workflow { name, .. } => Some(name.clone()),
                    _ => None,
                },
                _ => None,
            }));
        }
        family
    }
}

/// The folders beside a pack that hold packs.
fn siblings(folder: &Path) -> Vec<PathBuf> {
    let own = std::fs::canonicalize(folder).ok();
    let above = own.as_deref().and_then(Path::parent);
    let entries = above.and_then(|above| std::fs::read_dir(above).ok()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join(MANIFEST).is_file()).collect();
    found.retain(|path| Some(path) != own.as_ref());
    found.sort();
    found
}

fn errors(findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect()
}

/// The findings with their paths below the folder, as an editor opens them.
fn placed(folder: &Path, findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |finding: Diagnostic| Diagnostic { path: folder.join(&finding.path).display().to_string(), ..finding };
    findings.into_iter().map(place).collect()
}

/// The own pack's actions, and those of the packs beside it.
struct Neighbours {
    own: Beside,
    others: Arc<DeskActions>,
}

impl crate::definition::Actions for Neighbours {
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<crate::definition::ActionDeclaration, crate::definition::LookupError> {
        self.own.action(pack, version, name).or_else(|_| self.others.action(pack, version, name))
    }
}

impl Known for Bench {
    fn workflows(&self) -> Vec<String> {
        self.programs.keys().map(ToString::to_string).collect()
    }

    fn connections(&self) -> Vec<String> {
        self.manifest.connections.keys().map(ToString::to_string).collect()
    }

    fn mail_connections(&self) -> Vec<String> {
        let connections = self.manifest.connections.iter();
        let mail = connections.filter(|(_, connection)| connection.kind == ConnectionKind::Smtp);
        mail.map(|(name, _)| name.to_string()).collect()
    }

    fn tasks(&self, workflow: &WorkflowName) -> Vec<String> {
        let program = self.programs.get(workflow);
        let nodes = program.into_iter().flat_map(|program| &program.nodes).filter(|node| !node.hidden);
        nodes.map(|node| node.name.to_string()).collect()
    }

    fn calls(&self, workflow: &WorkflowName) -> Vec<ActionLabel> {
        let actions = self.family(workflow).into_iter().flat_map(|program| program.actions());
        let label = |action: &crate::definition::graph::ActionRef| ActionLabel {
            action: action.action.to_string(),
            other: (action.pack != self.manifest.name).then(|| (action.pack.to_string(), action.version.to_string())),
        };
        actions.map(label).collect()
    }

    fn misfits(&self, label: &ActionLabel, output: &Json) -> Vec<(String, String)> {
        let Ok(name) = ActionName::parse(&label.action) else { return Vec::new() };
        let (pack, version) = match &label.other {
            Some((pack, version)) => (PackName::parse(pack).ok(), semver::Version::parse(version).ok()),
            None => (Some(self.manifest.name.clone()), None),
        };
        let declared = self.actions.action(pack.as_ref(), version.as_ref(), &name).ok();
        let validator = declared.and_then(|declared| schema::compile(declared.output.as_deref()?).ok());
        let Some(validator) = validator else { return Vec::new() };
        validator.iter_errors(output).map(|error| (error.instance_path().to_string(), error.to_string())).collect()
    }
}

/// The workflows of the pack under test, by its name or by their own namespaces.
pub(super) struct Shelf(pub(super) Arc<Bench>);

impl Programs for Shelf {
    fn resolve(
        &self,
        _: &PackName,
        _: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Resolved, ProgramError> {
        let program = self.0.programs.get(workflow).cloned();
        let program =
            program.ok_or_else(|| ProgramError::NotFound(format!("there is no workflow `{workflow}` here")))?;
        Ok(Resolved { program, version: self.0.manifest.version.clone() })
    }

    fn named(
        &self,
        _: (&PackName, &semver::Version),
        namespace: &str,
        workflow: &WorkflowName,
        _: Option<&semver::Version>,
    ) -> Result<Named, ProgramError> {
        let pack = self.0.manifest.name.clone();
        let resolved = self.resolve(&pack, None, workflow)?;
        match namespace == pack.as_str() || namespace == resolved.program.namespace {
            true => Ok(Named { pack, resolved }),
            false => Err(ProgramError::NotFound(format!(
                "`{namespace}/{workflow}` is of another pack; a test runs the workflows of its own"
            ))),
        }
    }

    fn pinned(&self, created: &Created) -> Result<Arc<Program>, ProgramError> {
        self.resolve(&created.pack, None, &created.workflow).map(|resolved| resolved.program)
    }
}
