//! Lists of tasks, a task's frame and flow, and the bodies that are short: `do`, `set`, `switch`, `for`, `wait`.

use std::collections::BTreeMap;

use super::value::{At, Spot};
use super::{Compiler, escape, index};
use crate::definition::diagnostic::{Position, near};
use crate::definition::expression;
use crate::definition::graph::{Block, Each, Flow, Frame, Node, NodeId, NodeKind, ScopeId, Template, Way};
use crate::definition::yaml::{Tree, Value};
use crate::model::TaskName;

/// The variables that loops and catches around a place bind.
#[derive(Debug, Clone, Default)]
pub(super) struct Env {
    bound: Vec<String>,
    any: bool,
}

impl Env {
    /// A place whose surroundings are not known, such as a declaration in `use`: any name may be bound.
    pub(super) fn unknown() -> Self {
        Self { bound: Vec::new(), any: true }
    }

    pub(super) fn with(&self, name: &str) -> Self {
        let mut env = self.clone();
        env.bound.push(name.to_owned());
        env
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        let bound = self.bound.iter().any(|bound| bound == name);
        bound || self.any && !expression::RESERVED.contains(&name)
    }
}

/// The tasks that are supported, each with the keys that belong to it besides its own name.
const KINDS: [(&str, &[&str]); 8] = [
    ("call", &["with"]),
    ("for", &["while", "do"]),
    ("try", &["catch"]),
    ("do", &[]),
    ("set", &[]),
    ("switch", &[]),
    ("raise", &[]),
    ("wait", &[]),
];
const KINDS_LATER: [&str; 4] = ["emit", "fork", "listen", "run"];
const COMMON: [&str; 7] = ["if", "input", "output", "export", "timeout", "then", "metadata"];

/// The most tasks of one workflow. The checks on loops grow with its square, and no person writes half as many.
const TASKS_MAX: usize = 2_000;

/// A list's tasks by name, for `then`.
pub(super) struct Siblings<'a> {
    names: Vec<(&'a str, NodeId)>,
    /// The task whose flow is being read.
    place: usize,
}

/// A task that is being read.
pub(super) struct Task<'a, 'e> {
    pub(super) tree: &'a Tree,
    pub(super) pointer: &'e str,
    pub(super) env: &'e Env,
    pub(super) node: NodeId,
    pub(super) siblings: &'e Siblings<'a>,
}

impl<'a> Compiler<'a> {
    /// A list of tasks: one scope.
    pub(super) fn list(&mut self, tree: &'a Tree, pointer: &str, owner: Option<NodeId>, env: &Env) -> Option<ScopeId> {
        let items = match tree.as_list() {
            Some(items) if !items.is_empty() => items,
            _ => {
                let message = format!("a list of at least one task belongs here, not {}", tree.kind());
                self.error_with_cure("wrong-type", tree.position, message, "write `- name: { … }` for each task");
                return None;
            }
        };
        if self.nodes.len() + items.len() > TASKS_MAX {
            let message = format!("a workflow has {TASKS_MAX} tasks at most");
            self.error_with_cure("too-many-tasks", tree.position, message, "split it, or loop over data with `for`");
            return None;
        }
        let tasks: Vec<_> = items.iter().map(|item| self.named_task(item)).collect();
        let first = NodeId(index(self.nodes.len()));
        let scope = self.add_scope(owner, first);
        let mut siblings = Siblings { names: Vec::new(), place: 0 };
        for task in tasks.iter().flatten() {
            siblings.names.push((task.0, NodeId(index(self.nodes.len()))));
            self.nodes.push(None);
            self.places.push(task.1);
        }
        let complete = tasks.iter().all(Option::is_some);
        for (place, (name, position, body)) in tasks.into_iter().flatten().enumerate() {
            siblings.place = place;
            let id = siblings.names[place].1;
            if siblings.names[..place].iter().any(|(other, _)| *other == name) {
                let message = format!("the task name `{name}` stands twice in this list");
                self.error_with_cure(
                    "duplicate-task",
                    position,
                    message,
                    "rename one of them: `then` needs one target",
                );
            }
            let item = items.iter().position(|item| std::ptr::eq(&item.as_map().unwrap_or_default()[0].value, body));
            let pointer = format!("{pointer}/{}/{}", item.unwrap_or(place), escape(name));
            let task = Task { tree: body, pointer: &pointer, env, node: id, siblings: &siblings };
            let node = self.task(name, position, scope, &task);
            self.nodes[id.0 as usize] = node;
        }
        complete.then_some(scope)
    }

    fn named_task(&mut self, item: &'a Tree) -> Option<(&'a str, Position, &'a Tree)> {
        match item.as_map() {
            Some([task]) => Some((&task.key, task.position, &task.value)),
            Some([first, ..]) => {
                let message = format!("a task is a mapping with one key, its name; `{}` has neighbours", first.key);
                let cure = "indent the task's own keys below its name, or start a new item with `-`";
                self.error_with_cure("wrong-type", first.position, message, cure);
                None
            }
            _ => {
                let message = format!("a task is `name: {{ … }}`, not {}", item.kind());
                self.error("wrong-type", item.position, message);
                None
            }
        }
    }

    fn task(&mut self, name: &str, position: Position, scope: ScopeId, task: &Task<'a, '_>) -> Option<Node> {
        let task_name = match TaskName::parse(name) {
            Ok(_) if matches!(name, "continue" | "exit" | "end") => {
                let message =
                    format!("a task cannot be called `{name}`: as a target of `then` it means something else");
                self.error("bad-name", position, message);
                None
            }
            Ok(name) => Some(name),
            Err(error) => {
                self.error_with_cure("bad-name", position, error.to_string(), error.rule);
                None
            }
        };
        self.map(task.tree, "a task")?;
        let kind = self.kind_of(name, position, task.tree);
        let frame = self.frame(task);
        let then = self.flow(task.tree.get("then"), task.siblings);
        let metadata = self.metadata(task.tree);
        let kind = self.body(kind?, task);
        Some(Node {
            hidden: false,
            shield: false,
            name: task_name?,
            reference: task.pointer.to_owned(),
            scope,
            frame: frame?,
            kind: kind?,
            then: then?,
            next: task.siblings.next(),
            metadata: metadata?,
        })
    }

    /// Which of the kinds the task is; its keys are checked on the way.
    fn kind_of(&mut self, name: &str, position: Position, tree: &'a Tree) -> Option<&'static str> {
        let names = KINDS.map(|(kind, _)| kind);
        if let Some(later) = tree.as_map()?.iter().find(|entry| KINDS_LATER.contains(&entry.key.as_str())) {
            let message = format!("tasks of the kind `{}` are not supported by this version", later.key);
            let cure = format!("supported tasks: {}", names.join(", "));
            self.error_with_cure("unsupported", later.position, message, cure);
            return None;
        }
        let Some((kind, companions)) = KINDS.into_iter().find(|(kind, _)| tree.get(kind).is_some()) else {
            let known: Vec<&'static str> = names.into_iter().chain(COMMON).collect();
            let before = self.findings.len();
            self.keys(tree, &format!("task `{name}`"), &known, &[]);
            if self.findings.len() == before {
                let message = format!("task `{name}` does nothing");
                self.error_with_cure("no-kind", position, message, format!("give it one of {}", names.join(", ")));
            }
            return None;
        };
        let others = names.iter().filter(|other| **other != kind && !companions.contains(other));
        for other in others {
            if let Some(entry) = tree.as_map()?.iter().find(|entry| entry.key == *other) {
                let message = format!("task `{name}` has both `{kind}` and `{other}`, but a task does one thing");
                self.error_with_cure("several-kinds", entry.position, message, "make it two tasks");
            }
        }
        let known: Vec<&'static str> = [kind].into_iter().chain(companions.iter().copied()).chain(COMMON).collect();
        let allowed: Vec<&'static str> = known.iter().copied().chain(names).collect();
        let later: &[&'static str] = if kind == "listen" { &["foreach"] } else { &[] };
        // What `several-kinds` has told is not told again as an unknown key.
        self.keys(tree, &format!("a `{kind}` task"), &allowed, later);
        Some(kind)
    }

    fn frame(&mut self, task: &Task<'a, '_>) -> Option<Frame> {
        let (tree, pointer) = (task.tree, task.pointer);
        let condition = match tree.get("if") {
            Some(value) => self.condition(value, &format!("{pointer}/if"), (Spot::Before, task.env)).map(Some),
            None => Some(None),
        };
        let input = self.data_block(tree, "input", "from", pointer, (Spot::Before, task.env));
        let output = self.data_block(tree, "output", "as", pointer, (Spot::Body, task.env));
        let export = self.data_block(tree, "export", "as", pointer, (Spot::Export, task.env));
        let timeout = self.timeout(tree, pointer, (Spot::Before, task.env));
        let ((input_schema, input_from), (output_schema, output_as)) = (input?, output?);
        let (export_schema, export_as) = export?;
        Some(Frame {
            condition: condition?,
            input_schema,
            input_from,
            output_as,
            output_schema,
            export_as,
            export_schema,
            timeout: timeout?,
        })
    }

    fn metadata(&mut self, tree: &'a Tree) -> Option<BTreeMap<String, crate::model::Json>> {
        let Some(metadata) = tree.get("metadata") else { return Some(BTreeMap::new()) };
        let entries = self.map(metadata, "`metadata`")?;
        for entry in entries.iter().filter(|entry| matches!(entry.key.as_str(), "shield" | "parallel" | "heartbeat")) {
            let message = format!("`metadata.{}` has no effect in this version", entry.key);
            self.warning("unsupported-metadata", entry.position, message, "remove it, or take it as a note");
        }
        Some(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
    }

    /// `then`: `continue`, `exit`, `end` or a task of the same list; absent means `continue`.
    pub(super) fn flow(&mut self, tree: Option<&'a Tree>, siblings: &Siblings<'a>) -> Option<Flow> {
        let Some(tree) = tree else { return Some(siblings.next()) };
        let target = self.text(tree, "`then`")?;
        match target {
            "continue" => return Some(siblings.next()),
            "exit" => return Some(Flow::Exit),
            "end" => return Some(Flow::End),
            _ => {}
        }
        if let Some((_, node)) = siblings.names.iter().find(|(name, _)| *name == target) {
            return Some(Flow::To(*node));
        }
        if self.task_names.contains(target) {
            let message = format!("`{target}` is a task of another list; a jump stays within its own");
            let cure = "leave this list with `then: exit` and jump from the task around it";
            self.error_with_cure("jump-out-of-scope", tree.position, message, cure);
        } else {
            let candidates = siblings.names.iter().map(|(name, _)| *name).chain(["continue", "exit", "end"]);
            let cure = match near(target, candidates).first() {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => "name a task of the same list, or write `continue`, `exit` or `end`".to_owned(),
            };
            self.error_with_cure("unknown-jump-target", tree.position, format!("there is no task `{target}`"), cure);
        }
        None
    }

    fn body(&mut self, kind: &'static str, task: &Task<'a, '_>) -> Option<NodeKind> {
        let tree = task.tree.get(kind)?;
        let pointer = format!("{}/{kind}", task.pointer);
        match kind {
            "call" => self.call(tree, task).map(NodeKind::Act),
            "for" => self.each(tree, task).map(NodeKind::Each),
            "try" => self.try_block(tree, task).map(NodeKind::Scope),
            "do" => {
                let body = self.list(tree, &pointer, Some(task.node), task.env)?;
                Some(NodeKind::Scope(Block { body, catch: None, keep_input: false }))
            }
            "set" => self.set(tree, &pointer, (Spot::Body, task.env)).map(NodeKind::Eval),
            "switch" => self.switch(tree, &pointer, task).map(NodeKind::Route),
            "raise" => self.raise(tree, &pointer, (Spot::Body, task.env)).map(NodeKind::Raise),
            _ => self.duration(tree, &pointer, (Spot::Body, task.env)).map(NodeKind::Timer),
        }
    }

    fn set(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        match &tree.value {
            Value::Map(_) => self.template(tree, pointer, at),
            Value::Text(text) if expression::wrapped(text).is_some() => self.template(tree, pointer, at),
            _ => {
                let message = format!("`set` is a mapping or one `${{ … }}`, not {}", tree.kind());
                self.error("wrong-type", tree.position, message);
                None
            }
        }
    }

    fn switch(&mut self, tree: &'a Tree, pointer: &str, task: &Task<'a, '_>) -> Option<Vec<Way>> {
        let cases = match tree.as_list() {
            Some(cases) if !cases.is_empty() => cases,
            _ => {
                let message = format!("`switch` is a list of at least one case, not {}", tree.kind());
                self.error_with_cure("wrong-type", tree.position, message, "write `- name: { when: …, then: … }`");
                return None;
            }
        };
        let mut ways: Vec<Option<Way>> = Vec::with_capacity(cases.len());
        for (place, case) in cases.iter().enumerate() {
            let way = self.case(case, &format!("{pointer}/{place}"), task);
            let is_default = |way: &Option<Way>| way.as_ref().is_some_and(|way| way.guard.is_none());
            if is_default(&way) && ways.iter().any(is_default) {
                let message = "a switch has one case without `when` at most";
                self.error_with_cure("several-defaults", case.position, message, "give all but one of them a `when`");
            }
            ways.push(way);
        }
        ways.into_iter().collect()
    }

    fn case(&mut self, item: &'a Tree, pointer: &str, task: &Task<'a, '_>) -> Option<Way> {
        let Some([case]) = item.as_map() else {
            let message = format!("a case is `name: {{ when, then }}`, not {}", item.kind());
            self.error("wrong-type", item.position, message);
            return None;
        };
        self.map(&case.value, "a case")?;
        self.keys(&case.value, "a case", &["when", "then"], &[]);
        let pointer = format!("{pointer}/{}", escape(&case.key));
        let guard = match case.value.get("when") {
            Some(when) => self.condition(when, &format!("{pointer}/when"), (Spot::Body, task.env)).map(Some),
            None => Some(None),
        };
        let then = self.required(&case.value, "then", "a case");
        let flow = then.and_then(|then| self.flow(Some(then), task.siblings));
        Some(Way { name: case.key.clone(), guard: guard?, flow: flow? })
    }

    fn each(&mut self, tree: &'a Tree, task: &Task<'a, '_>) -> Option<Each> {
        let pointer = task.pointer;
        self.map(tree, "`for`")?;
        self.keys(tree, "`for`", &["each", "in", "at"], &[]);
        let items =
            self.required(tree, "in", "`for`").and_then(|items| self.items(items, &format!("{pointer}/for/in"), task));
        let item = self.variable_name(tree.get("each"), "item", task.env);
        let index = self.variable_name(tree.get("at"), "index", task.env);
        let (item, index) = (item?, index?);
        if item == index {
            let message = format!("`each` and `at` cannot both be `{item}`");
            self.error("variable-name", tree.position, message);
        }
        let env = task.env.with(&item).with(&index);
        let condition = match task.tree.get("while") {
            Some(value) => self.condition(value, &format!("{pointer}/while"), (Spot::Body, &env)).map(Some),
            None => Some(None),
        };
        let body = self
            .required(task.tree, "do", "a `for` task")
            .and_then(|list| self.list(list, &format!("{pointer}/do"), Some(task.node), &env));
        Some(Each { items: items?, item, index, condition: condition?, body: body?, parallel: None })
    }

    /// `for.in`: an expression, or an array written out.
    fn items(&mut self, tree: &'a Tree, pointer: &str, task: &Task<'a, '_>) -> Option<Template> {
        match &tree.value {
            Value::Text(_) => self.transform(tree, pointer, (Spot::Body, task.env)),
            Value::List(_) => self.template(tree, pointer, (Spot::Body, task.env)),
            _ => {
                let message = format!("`for.in` is an expression or a list, not {}", tree.kind());
                self.error("wrong-type", tree.position, message);
                None
            }
        }
    }

    /// The name of a variable that a task binds, without `$`.
    pub(super) fn variable_name(&mut self, tree: Option<&'a Tree>, default: &str, env: &Env) -> Option<String> {
        let Some(tree) = tree else { return Some(default.to_owned()) };
        let text = self.text(tree, "a variable's name")?;
        if expression::RESERVED.contains(&text) {
            let message = format!("`{text}` already means something to the language");
            self.error_with_cure("variable-name", tree.position, message, "choose another name");
            return None;
        }
        if expression::name(text) != text || text.is_empty() {
            let message = format!("`{text}` is not a variable's name");
            let cure = "use letters, digits and `_`, no digit first, without the `$`";
            self.error_with_cure("variable-name", tree.position, message, cure);
            return None;
        }
        if env.bound.iter().any(|bound| bound == text) {
            let message = format!("`${text}` hides the variable of the same name around it");
            self.warning("variable-hides-another", tree.position, message, "choose another name");
        }
        Some(text.to_owned())
    }
}

impl Siblings<'_> {
    /// The flow to the next task of the list, or out of it.
    fn next(&self) -> Flow {
        self.names.get(self.place + 1).map_or(Flow::Exit, |(_, node)| Flow::To(*node))
    }
}
