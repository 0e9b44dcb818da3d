//! `run`: other workflows. Processes are refused: whatever runs here is a sandboxed component.

use super::Compiler;
use super::task::Task;
use super::value::Spot;
use crate::definition::duration::DURATION_MAX;
use crate::definition::expression;
use crate::definition::graph::{Act, Callee, Template};
use crate::definition::yaml::{Tree, Value};
use crate::model::{Effect, Json, WorkflowName};

/// The processes of the DSL that need a machine of their own.
const PROCESSES: [&str; 3] = ["container", "script", "shell"];

impl<'a> Compiler<'a> {
    pub(super) fn run(&mut self, tree: &'a Tree, pointer: &str, task: &Task<'a, '_>) -> Option<Act> {
        let entries = self.map(tree, "`run`")?;
        if let Some(process) = entries.iter().find(|entry| PROCESSES.contains(&entry.key.as_str())) {
            let message = format!("`run.{}` is not supported: nothing runs outside of a sandbox here", process.key);
            let cure = "make it an action of a pack, a component, and call that";
            self.error_with_cure("unsupported", process.position, message, cure);
            return None;
        }
        self.keys(tree, "`run`", &["workflow", "await"], &["return"]);
        let waits = match tree.get("await") {
            None => Some(true),
            flag => self.flag(flag, "`await`"),
        };
        let effect = self.effect(task.tree);
        let workflow = self.required(tree, "workflow", "`run`")?;
        self.map(workflow, "`workflow`")?;
        self.keys(workflow, "`workflow`", &["namespace", "name", "version", "input"], &[]);
        let (namespace, name) = (self.workflow_label(workflow, "namespace"), self.workflow_label(workflow, "name"));
        let version = self.workflow_version(workflow);
        let arguments = self.workflow_input(workflow, pointer, task);
        Some(Act {
            callee: Callee::Workflow { namespace: namespace?.to_string(), name: name?, version: version? },
            arguments: arguments?,
            // The child's identity is made of the call's, so starting it again finds it.
            effect: effect?.unwrap_or(Effect::Idempotent),
            timeout: DURATION_MAX,
            heartbeat: None,
            input_schema: None,
            output_schema: None,
            probe: false,
            undo: false,
            detached: !waits?,
        })
    }

    fn workflow_label(&mut self, workflow: &'a Tree, key: &str) -> Option<WorkflowName> {
        let tree = self.required(workflow, key, "`workflow`")?;
        let text = self.text(tree, &format!("`workflow.{key}`"))?;
        let refused = |error: crate::model::NameError| {
            self.error_with_cure(
                "bad-name",
                tree.position,
                format!("`{text}` is not a workflow's {key}"),
                format!("{}; an expression is not taken here", error.rule),
            );
        };
        WorkflowName::parse(text).map_err(refused).ok()
    }

    /// An exact version; `latest` and none mean the newest.
    fn workflow_version(&mut self, workflow: &'a Tree) -> Option<Option<semver::Version>> {
        let Some(tree) = workflow.get("version") else { return Some(None) };
        match self.text(tree, "`workflow.version`")? {
            "latest" => Some(None),
            text => match text.parse() {
                Ok(version) => Some(Some(version)),
                Err(error) => {
                    let message = format!("`{text}` is not a semantic version: {error}");
                    let cure = "write three numbers, `'1.0.0'`, or `latest`";
                    self.error_with_cure("bad-version", tree.position, message, cure);
                    None
                }
            },
        }
    }

    fn workflow_input(&mut self, workflow: &'a Tree, pointer: &str, task: &Task<'a, '_>) -> Option<Template> {
        let Some(tree) = workflow.get("input") else {
            return Some(Template::Literal(Json::Object(Default::default())));
        };
        let fits = match &tree.value {
            Value::Map(_) => true,
            Value::Text(text) => expression::wrapped(text).is_some(),
            _ => false,
        };
        if !fits {
            let message = format!("`workflow.input` is a mapping or one `${{ … }}`, not {}", tree.kind());
            self.error("wrong-type", tree.position, message);
            return None;
        }
        self.template(tree, &format!("{pointer}/workflow/input"), (Spot::Body, task.env))
    }
}
