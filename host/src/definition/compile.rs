//! From the text's tree to the graph. Every finding is reported at once; a part that is refused gives `None` and its
//! neighbours are still looked at. What the language allows is spelled out where it is read: a key that is not named
//! there is an error.

mod authentication;
mod body;
mod call;
mod catch;
mod event;
mod function;
mod header;
mod policy;
mod request;
mod run;
mod schedule;
mod task;
mod uses;
mod value;
mod weave;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Position, Severity, Source, near};
use super::evaluate::Evaluate;
use super::graph::{ActionRef, Expression, Extended, Frame, Node, NodeId, Program, Schema, SchemaId, Scope, ScopeId};
use super::yaml::{self, Entry, Tree};
use super::{Actions, Compiled, lint};
use crate::model::Digest;
use weave::Extension;

/// More findings of one severity than this are only counted: a person works through the first ones and asks again.
const FINDINGS_MAX: usize = 500;

/// The most values that are compiled, those of functions, extensions and named declarations at each use. Without it, few
/// lines that use each other many times could take hours.
const WORK_MAX: usize = 2_000_000;

/// What telling a finding counts as: looking for a near name and keeping the text takes as long as many values.
const WORK_OF_FINDING: usize = 50;

/// The blocks of `use` that declare by name.
const NAMED_BLOCKS: [&str; 6] = ["authentications", "catalogs", "errors", "functions", "retries", "timeouts"];

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
        compiler.lint(program, &tree);
    }
    let findings = compiler.findings();
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
    lines: Vec<&'a str>,
    actions: &'a dyn Actions,
    evaluator: &'a dyn Evaluate,
    /// What `use` declares by name, read where it is used.
    named: HashMap<(&'static str, &'a str), &'a Tree>,
    /// Their names, in the order of the text.
    names: HashMap<&'static str, Vec<&'a str>>,
    /// `use.secrets`.
    secrets: Vec<String>,
    /// `use.extensions`, those that add something.
    extensions: Vec<Extension<'a>>,
    /// `evaluate.mode: loose`.
    loose: bool,
    /// All task names, to tell a jump out of its list from one to nowhere.
    task_names: HashSet<&'a str>,
    findings: Vec<Diagnostic>,
    /// What was found, so that what is read at each of its uses is told once.
    told: HashSet<(Position, &'static str, String)>,
    errors: usize,
    warnings: usize,
    nodes: Vec<Option<Node>>,
    /// Where each node's name stands.
    places: Vec<Position>,
    scopes: Vec<Scope>,
    expressions: Vec<Expression>,
    schemas: Vec<Schema>,
    /// The schemas of actions that were already compiled: input and output.
    action_schemas: HashMap<ActionRef, (Option<SchemaId>, Option<SchemaId>)>,
    /// What the evaluator said of a program with these variables.
    checked: HashMap<String, Result<(), String>>,
    /// The functions that are being read, the innermost last.
    calling: Vec<&'a str>,
    /// The functions that were read at least once.
    called: HashSet<&'a str>,
    /// The tasks being read are those of an extension.
    weaving: bool,
    /// The task that they stand around.
    extended: Option<Arc<Extended>>,
    /// How many lists of tasks are open around the place.
    depth: usize,
    work: usize,
    /// There was too much work; told once.
    exhausted: bool,
}

impl<'a> Compiler<'a> {
    fn new(source: Source<'a>, tree: &'a Tree, actions: &'a dyn Actions, evaluator: &'a dyn Evaluate) -> Self {
        let mut task_names = HashSet::new();
        collect_task_names(tree, &mut task_names);
        let (named, names) = declarations(tree);
        Self {
            source,
            lines: source.text.lines().collect(),
            actions,
            evaluator,
            named,
            names,
            secrets: Vec::new(),
            extensions: Vec::new(),
            loose: false,
            task_names,
            findings: Vec::new(),
            told: HashSet::new(),
            errors: 0,
            warnings: 0,
            nodes: Vec::new(),
            places: Vec::new(),
            scopes: Vec::new(),
            expressions: Vec::new(),
            schemas: Vec::new(),
            action_schemas: HashMap::new(),
            checked: HashMap::new(),
            calling: Vec::new(),
            called: HashSet::new(),
            weaving: false,
            extended: None,
            depth: 0,
            work: 0,
            exhausted: false,
        }
    }

    fn workflow(&mut self, tree: &'a Tree) -> Option<Program> {
        self.map(tree, "a workflow")?;
        let known = ["document", "input", "output", "use", "do", "timeout", "evaluate", "schedule"];
        self.keys(tree, "a workflow", &known, &[]);
        let header = self.header(tree);
        self.evaluate_block(tree);
        self.use_block(tree);
        let frame = self.workflow_frame(tree);
        let schedule = self.schedule(tree);
        let root = match tree.get("do") {
            Some(list) => self.list(list, "/do", None, &task::Env::default()),
            None => {
                self.error("missing-key", tree.position, "a workflow needs `do`: the list of its tasks");
                None
            }
        };
        self.unused_functions();
        let (header, frame, schedule, root) = (header?, frame?, schedule?, root?);
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
            secrets: std::mem::take(&mut self.secrets),
            schedule,
            frame,
            root,
            nodes,
            scopes: std::mem::take(&mut self.scopes),
            expressions: std::mem::take(&mut self.expressions),
            schemas: std::mem::take(&mut self.schemas),
        })
    }

    fn lint(&mut self, program: &Program, tree: &Tree) {
        let places = std::mem::take(&mut self.places);
        for found in lint::check(program, &places, &|pointer| tree.position_at(pointer)) {
            match found.severity {
                Severity::Error => self.error_with_cure(found.code, found.position, found.message, found.cure),
                Severity::Warning => self.warning(found.code, found.position, found.message, found.cure),
            }
        }
    }

    /// What was found, in the order of the text.
    fn findings(&mut self) -> Vec<Diagnostic> {
        let more = (self.errors + self.warnings).saturating_sub(self.findings.len());
        if more > 0 {
            let message = format!("{more} more findings are not shown");
            let of_errors = self.errors > FINDINGS_MAX;
            let found = if of_errors { Diagnostic::error } else { Diagnostic::warning };
            self.findings.push(found("too-many-findings", self.source, Position::START, message));
        }
        let mut findings = std::mem::take(&mut self.findings);
        findings.sort_by(|a, b| (a.line, a.column, a.code, &a.message).cmp(&(b.line, b.column, b.code, &b.message)));
        findings
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
        self.tell(Severity::Error, code, at, message.into(), None);
    }

    fn error_with_cure(
        &mut self,
        code: &'static str,
        at: Position,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.tell(Severity::Error, code, at, message.into(), Some(cure.into()));
    }

    fn warning(&mut self, code: &'static str, at: Position, message: impl Into<String>, cure: impl Into<String>) {
        self.tell(Severity::Warning, code, at, message.into(), Some(cure.into()));
    }

    fn tell(&mut self, severity: Severity, code: &'static str, at: Position, message: String, cure: Option<String>) {
        self.work += WORK_OF_FINDING;
        let told = if severity == Severity::Error { self.errors } else { self.warnings };
        if told < FINDINGS_MAX {
            if !self.told.insert((at, code, message.clone())) {
                return;
            }
            let line = self.lines.get(at.line.saturating_sub(1) as usize).copied().unwrap_or_default();
            let found = Diagnostic::error_in_line(code, self.source.path, line, at, message);
            self.findings.push(Diagnostic { severity, cure, ..found });
        }
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
    }

    /// Counts a value that is compiled; nothing once there were too many.
    fn spend(&mut self, at: Position) -> Option<()> {
        self.work += 1;
        if self.work >= WORK_MAX && !std::mem::replace(&mut self.exhausted, true) {
            let message = "functions, extensions and declarations are used so often that the workflow grows too large";
            self.error_with_cure("too-large", at, message, "use them less often, or split the workflow");
        }
        (!self.exhausted).then_some(())
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

    /// Refuses each key of the mapping that is not `known`; one of the language that is not supported says so.
    fn keys(&mut self, tree: &'a Tree, what: &str, known: &[&'static str], refused: &[&'static str]) {
        for entry in tree.as_map().unwrap_or_default() {
            let key = entry.key.as_str();
            if self.spend(entry.position).is_none() {
                return;
            }
            if refused.contains(&key) {
                let message = format!("`{key}` in {what} is not supported");
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
    fn named(
        &mut self,
        block: &'static str,
        name: &'a str,
        at: Position,
        code: &'static str,
    ) -> Option<(&'a Tree, String)> {
        if let Some(found) = self.named.get(&(block, name)) {
            return Some((found, format!("/use/{block}/{}", escape(name))));
        }
        let candidates = near(name, self.declared(block).iter().copied());
        let cure = match candidates.first() {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => format!("declare it: `use: {{ {block}: {{ {name}: … }} }}`"),
        };
        self.error_with_cure(code, at, format!("`{name}` is not declared in `use.{block}`"), cure);
        None
    }

    /// The names that a block of `use` declares.
    fn declared(&self, block: &str) -> &[&'a str] {
        self.names.get(block).map_or(&[], Vec::as_slice)
    }

    /// One of some words.
    fn word<T: Copy>(&mut self, tree: &'a Tree, what: &str, words: &[(&'static str, T)]) -> Option<T> {
        let found = tree.as_text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            let names: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.error("wrong-type", tree.position, format!("{what} is one of {}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// `true` or `false`; absent: `false`.
    fn flag(&mut self, tree: Option<&'a Tree>, what: &str) -> Option<bool> {
        match tree.map(|tree| &tree.value) {
            None => Some(false),
            Some(yaml::Value::Bool(value)) => Some(*value),
            Some(_) => {
                let at = tree.map_or(Position::START, |tree| tree.position);
                self.error("wrong-type", at, format!("{what} is `true` or `false`"));
                None
            }
        }
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

type Declared<'a> = HashMap<(&'static str, &'a str), &'a Tree>;
type Names<'a> = HashMap<&'static str, Vec<&'a str>>;

/// What the blocks of `use` declare by name; what is wrong with them is told elsewhere.
fn declarations(tree: &Tree) -> (Declared<'_>, Names<'_>) {
    let (mut named, mut names) = (Declared::new(), Names::new());
    for block in NAMED_BLOCKS {
        let entries = tree.get("use").and_then(|tree| tree.get(block)).and_then(Tree::as_map).unwrap_or_default();
        names.insert(block, entries.iter().map(|entry| entry.key.as_str()).collect());
        named.extend(entries.iter().map(|entry| ((block, entry.key.as_str()), &entry.value)));
    }
    (named, names)
}

/// The keys of all one-key mappings in lists of tasks, at any depth.
fn collect_task_names<'a>(tree: &'a Tree, names: &mut HashSet<&'a str>) {
    for entry in tree.as_map().unwrap_or_default() {
        if matches!(entry.key.as_str(), "do" | "try" | "branches" | "before" | "after") {
            let items = entry.value.as_list().unwrap_or_default();
            names.extend(items.iter().filter_map(Tree::as_map).flatten().map(|task| task.key.as_str()));
        }
        collect_task_names(&entry.value, names);
    }
    tree.as_list().unwrap_or_default().iter().for_each(|item| collect_task_names(item, names));
}
