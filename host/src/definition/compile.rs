//! From the text's tree to the graph. Every finding is reported at once; a part that is refused gives `None` and its
//! neighbours are still looked at. What the language allows is spelled out where it is read: a key that is not named
//! there is an error.

mod call;
mod catch;
mod header;
mod policy;
mod task;
mod value;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Position, Severity, Source, near};
use super::evaluate::Evaluate;
use super::graph::{ActionRef, Expression, Frame, Node, NodeId, Program, Schema, SchemaId, Scope, ScopeId};
use super::yaml::{self, Entry, Tree};
use super::{Actions, Compiled, lint};
use crate::model::Digest;

/// See [`super::compile`].
pub(super) fn compile(
    source: Source<'_>,
    actions: &dyn Actions,
    evaluator: &dyn Evaluate,
) -> Result<Compiled, Vec<Diagnostic>> {
    let tree = yaml::parse(source.text, source.path).map_err(|found| vec![found])?;
    let mut compiler = Compiler::new(source, &tree, actions, evaluator);
    let program = compiler.workflow(&tree);
    if let Some(program) = &program {
        let places = std::mem::take(&mut compiler.places);
        compiler.findings.extend(lint::check(program, source, &places));
    }
    let mut findings = compiler.findings;
    // A named policy is read at each of its uses, and its faults would be told as often.
    findings.sort_by(|a, b| (a.line, a.column, a.code, &a.message).cmp(&(b.line, b.column, b.code, &b.message)));
    findings.dedup();
    match program {
        Some(program) if findings.iter().all(|found| found.severity == Severity::Warning) => {
            Ok(Compiled { program, warnings: findings })
        }
        _ => Err(findings),
    }
}

/// What is being built, and what has been found on the way.
struct Compiler<'a> {
    source: Source<'a>,
    actions: &'a dyn Actions,
    evaluator: &'a dyn Evaluate,
    /// `use`, whose names are read where they are used.
    definitions: Option<&'a Tree>,
    /// All task names, to tell a jump out of its list from one to nowhere.
    task_names: HashSet<&'a str>,
    findings: Vec<Diagnostic>,
    nodes: Vec<Option<Node>>,
    /// Where each node's name stands.
    places: Vec<Position>,
    scopes: Vec<Scope>,
    expressions: Vec<Expression>,
    schemas: Vec<Schema>,
    /// The schemas of actions that were already compiled: input and output.
    action_schemas: HashMap<ActionRef, (Option<SchemaId>, Option<SchemaId>)>,
}

impl<'a> Compiler<'a> {
    fn new(source: Source<'a>, tree: &'a Tree, actions: &'a dyn Actions, evaluator: &'a dyn Evaluate) -> Self {
        let mut task_names = HashSet::new();
        collect_task_names(tree, &mut task_names);
        Self {
            source,
            actions,
            evaluator,
            definitions: tree.get("use"),
            task_names,
            findings: Vec::new(),
            nodes: Vec::new(),
            places: Vec::new(),
            scopes: Vec::new(),
            expressions: Vec::new(),
            schemas: Vec::new(),
            action_schemas: HashMap::new(),
        }
    }

    fn workflow(&mut self, tree: &'a Tree) -> Option<Program> {
        self.map(tree, "a workflow")?;
        let known = ["document", "input", "output", "use", "do", "timeout", "evaluate"];
        self.keys(tree, "a workflow", &known, &["schedule"]);
        let header = self.header(tree);
        self.evaluate_block(tree);
        self.use_block(tree);
        let frame = self.workflow_frame(tree);
        let root = match tree.get("do") {
            Some(list) => self.list(list, "/do", None, &task::Env::default()),
            None => {
                self.error("missing-key", tree.position, "a workflow needs `do`: the list of its tasks");
                None
            }
        };
        let (header, frame, root) = (header?, frame?, root?);
        // A node is missing only where something was reported.
        let nodes = std::mem::take(&mut self.nodes).into_iter().collect::<Option<Vec<_>>>()?;
        Some(Program {
            namespace: header.namespace,
            name: header.name,
            version: header.version,
            title: header.title,
            summary: header.summary,
            digest: Digest::of(self.source.text.as_bytes()),
            definition: Arc::new(tree.to_json()),
            secrets: Vec::new(),
            schedule: None,
            frame,
            root,
            nodes,
            scopes: std::mem::take(&mut self.scopes),
            expressions: std::mem::take(&mut self.expressions),
            schemas: std::mem::take(&mut self.schemas),
        })
    }

    /// `input` before the first task, `output` after the last.
    fn workflow_frame(&mut self, tree: &'a Tree) -> Option<Frame> {
        use value::Spot;
        let env = task::Env::default();
        let input = self.data_block(tree, "input", "from", "", (Spot::WorkflowInput, &env));
        let output = self.data_block(tree, "output", "as", "", (Spot::WorkflowOutput, &env));
        let timeout = self.timeout(tree, "", (Spot::WorkflowInput, &env));
        let ((input_schema, input_from), (output_schema, output_as), timeout) = (input?, output?, timeout?);
        Some(Frame { input_schema, input_from, output_schema, output_as, timeout, ..Frame::default() })
    }

    fn error(&mut self, code: &'static str, at: Position, message: impl Into<String>) {
        self.findings.push(Diagnostic::error(code, self.source, at, message));
    }

    fn error_with_cure(
        &mut self,
        code: &'static str,
        at: Position,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.findings.push(Diagnostic::error(code, self.source, at, message).cure(cure));
    }

    fn warning(&mut self, code: &'static str, at: Position, message: impl Into<String>, cure: impl Into<String>) {
        self.findings.push(Diagnostic::warning(code, self.source, at, message).cure(cure));
    }

    /// Requires a mapping.
    fn map(&mut self, tree: &'a Tree, what: &str) -> Option<&'a [Entry]> {
        let entries = tree.as_map();
        if entries.is_none() {
            self.error("wrong-type", tree.position, format!("{what} is a mapping, not {}", tree.kind()));
        }
        entries
    }

    /// Requires text.
    fn text(&mut self, tree: &'a Tree, what: &str) -> Option<&'a str> {
        let text = tree.as_text();
        if text.is_none() {
            let message = format!("{what} is text, not {}", tree.kind());
            self.error_with_cure("wrong-type", tree.position, message, "put it between quotes");
        }
        text
    }

    /// Refuses each key of the mapping that is not `known`; one of the language that comes later says so.
    fn keys(&mut self, tree: &'a Tree, what: &str, known: &[&'static str], later: &[&'static str]) {
        for entry in tree.as_map().unwrap_or_default() {
            let key = entry.key.as_str();
            if later.contains(&key) {
                let message = format!("`{key}` in {what} is not supported by this version");
                let cure = format!("remove it; supported here: {}", known.join(", "));
                self.error_with_cure("unsupported", entry.position, message, cure);
            } else if !known.contains(&key) {
                let candidates = near(key, known.iter().copied());
                let cure = match candidates.first() {
                    Some(candidate) => format!("did you mean `{candidate}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.error_with_cure("unknown-key", entry.position, format!("unknown key `{key}` in {what}"), cure);
            }
        }
    }

    /// A required key's value.
    fn required(&mut self, tree: &'a Tree, key: &str, what: &str) -> Option<&'a Tree> {
        let found = tree.get(key);
        if found.is_none() {
            self.error("missing-key", tree.position, format!("{what} needs `{key}`"));
        }
        found
    }

    /// The value of a name in a block of `use`, with its pointer; a name that is not there is reported.
    fn named(&mut self, block: &str, name: &str, at: Position, code: &'static str) -> Option<(&'a Tree, String)> {
        let block_tree = self.definitions.and_then(|definitions| definitions.get(block));
        if let Some(found) = block_tree.and_then(|tree| tree.get(name)) {
            return Some((found, format!("/use/{block}/{}", escape(name))));
        }
        let entries = block_tree.and_then(Tree::as_map).unwrap_or_default();
        let candidates = near(name, entries.iter().map(|entry| entry.key.as_str()));
        let cure = match candidates.first() {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => format!("declare it: `use: {{ {block}: {{ {name}: … }} }}`"),
        };
        self.error_with_cure(code, at, format!("`{name}` is not declared in `use.{block}`"), cure);
        None
    }

    fn add_scope(&mut self, owner: Option<NodeId>, first: NodeId) -> ScopeId {
        self.scopes.push(Scope { owner, first });
        ScopeId(index(self.scopes.len() - 1))
    }
}

/// An index into one of the program's vectors. The tree has at most [`yaml::NODES_MAX`] values, so it always fits.
fn index(position: usize) -> u32 {
    u32::try_from(position).expect("the number of values in a tree is bounded")
}

/// A name as a step of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The keys of all one-key mappings in lists under `do` and `try`, at any depth.
fn collect_task_names<'a>(tree: &'a Tree, names: &mut HashSet<&'a str>) {
    for entry in tree.as_map().unwrap_or_default() {
        if matches!(entry.key.as_str(), "do" | "try") {
            let items = entry.value.as_list().unwrap_or_default();
            names.extend(items.iter().filter_map(Tree::as_map).flatten().map(|task| task.key.as_str()));
        }
        collect_task_names(&entry.value, names);
    }
    tree.as_list().unwrap_or_default().iter().for_each(|item| collect_task_names(item, names));
}
