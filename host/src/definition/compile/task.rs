//! Lists of tasks, and what each task has around its body: name, frame, metadata and flow.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::value::Spot;
use super::{Compiler, escape, index};
use crate::definition::diagnostic::{Position, near};
use crate::definition::expression;
use crate::definition::graph::{Flow, Frame, Node, NodeId, ScopeId};
use crate::definition::yaml::Tree;
use crate::model::{Json, TaskName};

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

/// The kinds of tasks, each with the keys that belong to it besides its own name.
const KINDS: [(&str, &[&str]); 12] = [
    ("call", &["with"]),
    ("for", &["while", "do"]),
    ("try", &["catch"]),
    ("listen", &["foreach"]),
    ("do", &[]),
    ("emit", &[]),
    ("fork", &[]),
    ("raise", &[]),
    ("run", &[]),
    ("set", &[]),
    ("switch", &[]),
    ("wait", &[]),
];
const COMMON: [&str; 7] = ["if", "input", "output", "export", "timeout", "then", "metadata"];

/// The most tasks of one workflow, those of functions and extensions counted at each use. No person writes a tenth of it,
/// and a generated one is better off looping over data.
const TASKS_MAX: usize = 20_000;

/// The most lists of tasks inside of each other, functions included. Text alone nests by twenty or so; the limit keeps
/// functions that call functions far from the end of a stack.
pub(super) const LISTS_DEPTH_MAX: usize = 32;

/// The most iterations that a loop may ask to run side by side.
const PARALLEL_MAX: u64 = 1_024;

/// A list's tasks by name, for `then`.
pub(super) struct Siblings<'a> {
    order: Vec<(&'a str, NodeId)>,
    by_name: HashMap<&'a str, NodeId>,
    /// The task whose flow is being read.
    place: usize,
    /// Where falling off the list leads.
    end: Flow,
}

/// A task that is being read.
#[derive(Clone, Copy)]
pub(super) struct Task<'a, 'e> {
    pub(super) tree: &'a Tree,
    pub(super) name: &'a str,
    pub(super) position: Position,
    pub(super) pointer: &'e str,
    pub(super) env: &'e Env,
    pub(super) node: NodeId,
    pub(super) scope: ScopeId,
    pub(super) siblings: &'e Siblings<'a>,
}

/// A list of tasks that is being read.
#[derive(Clone, Copy)]
pub(super) struct List<'a, 'e> {
    pub(super) items: &'a [Tree],
    /// The number of the first item in the text's list.
    pub(super) offset: usize,
    /// The list's.
    pub(super) pointer: &'e str,
    pub(super) scope: ScopeId,
    pub(super) env: &'e Env,
    /// Where falling off it leads.
    pub(super) end: Flow,
}

/// The name, its place and the body of a list's item.
pub(super) type Named<'a> = (&'a str, Position, &'a Tree);

impl<'a> Compiler<'a> {
    /// A list of tasks: one scope.
    pub(super) fn list(&mut self, tree: &'a Tree, pointer: &str, owner: Option<NodeId>, env: &Env) -> Option<ScopeId> {
        let items = self.items_of(tree)?;
        let scope = self.add_scope(owner, NodeId(index(self.nodes.len())));
        self.tasks(&List { items, offset: 0, pointer, scope, env, end: Flow::Exit }).map(|_| scope)
    }

    /// The items of a list that must not be empty.
    pub(super) fn items_of(&mut self, tree: &'a Tree) -> Option<&'a [Tree]> {
        match tree.as_list() {
            Some(items) if !items.is_empty() => Some(items),
            _ => {
                let kind = if tree.as_list().is_some() { "an empty one" } else { tree.kind() };
                let message = format!("a list of at least one task belongs here, not {kind}");
                self.error_with_cure("wrong-type", tree.position, message, "write `- name: { … }` for each task");
                None
            }
        }
    }

    /// The tasks of a list, into its scope. Gives the first.
    pub(super) fn tasks(&mut self, list: &List<'a, '_>) -> Option<NodeId> {
        if self.depth >= LISTS_DEPTH_MAX {
            self.too_deep(list.items.first().map_or(Position::START, |item| item.position));
            return None;
        }
        self.depth += 1;
        let first = self.tasks_inside(list);
        self.depth -= 1;
        first
    }

    pub(super) fn too_deep(&mut self, at: Position) {
        let message = format!("tasks are nested deeper than {LISTS_DEPTH_MAX} lists, those of functions included");
        self.error_with_cure("too-deep", at, message, "flatten the lists, or start another workflow with `run`");
    }

    fn tasks_inside(&mut self, list: &List<'a, '_>) -> Option<NodeId> {
        let tasks: Vec<_> = list.items.iter().map(|item| self.named_task(item)).collect();
        let first = NodeId(index(self.nodes.len()));
        let mut siblings = Siblings::new(list.end);
        for (name, position, _) in tasks.iter().flatten() {
            let id = self.reserve(*position)?;
            if !siblings.add(name, id) {
                let message = format!("the task name `{name}` stands twice in this list");
                let cure = "rename one of them: `then` needs one target";
                self.error_with_cure("duplicate-task", *position, message, cure);
            }
        }
        let complete = tasks.iter().all(Option::is_some);
        let numbered = tasks.into_iter().enumerate().filter_map(|(item, task)| task.map(|task| (item, task)));
        for (place, (item, (name, position, tree))) in numbered.enumerate() {
            siblings.place = place;
            let pointer = format!("{}/{}/{}", list.pointer, list.offset + item, escape(name));
            self.woven(&Task {
                tree,
                name,
                position,
                pointer: &pointer,
                env: list.env,
                node: siblings.order[place].1,
                scope: list.scope,
                siblings: &siblings,
            });
        }
        complete.then_some(first)
    }

    /// A place for a node.
    pub(super) fn reserve(&mut self, position: Position) -> Option<NodeId> {
        if self.nodes.len() >= TASKS_MAX {
            let message =
                format!("a workflow has {TASKS_MAX} tasks at most, those of functions and extensions at each use");
            self.error_with_cure("too-many-tasks", position, message, "split it, or loop over data with `for`");
            return None;
        }
        self.spend(position)?;
        self.nodes.push(None);
        self.places.push(position);
        Some(NodeId(index(self.nodes.len() - 1)))
    }

    pub(super) fn put(&mut self, id: NodeId, node: Option<Node>) {
        self.nodes[id.0 as usize] = node;
    }

    pub(super) fn named_task(&mut self, item: &'a Tree) -> Option<Named<'a>> {
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

    /// The task as a node of its scope, without what extensions add.
    pub(super) fn node(&mut self, task: &Task<'a, '_>) -> Option<Node> {
        let name = self.task_name(task);
        self.map(task.tree, "a task")?;
        let kind = self.kind_of(task);
        let frame = self.frame(task);
        let then = self.flow(task.tree.get("then"), task.siblings);
        let metadata = self.metadata(task.tree);
        let shield = self.flag(task.tree.get("metadata").and_then(|tree| tree.get("shield")), "`metadata.shield`");
        let kind = self.body(kind?, task);
        Some(Node {
            hidden: self.weaving || !self.calling.is_empty(),
            extends: self.extended.clone(),
            shield: shield?,
            name: name?,
            reference: task.pointer.to_owned(),
            scope: task.scope,
            frame: frame?,
            kind: kind?,
            then: then?,
            next: task.siblings.next(),
            metadata: metadata?,
        })
    }

    pub(super) fn task_name(&mut self, task: &Task<'a, '_>) -> Option<TaskName> {
        match TaskName::parse(task.name) {
            Ok(name) if matches!(task.name, "continue" | "exit" | "end") => {
                let message =
                    format!("`then: {0}` does not lead to this task: `{0}` means something else there", task.name);
                self.warning("reserved-name", task.position, message, "choose another name");
                Some(name)
            }
            Ok(name) => Some(name),
            Err(error) => {
                self.error_with_cure("bad-name", task.position, error.to_string(), error.rule);
                None
            }
        }
    }

    /// Which of the kinds the task is; its keys are checked on the way.
    fn kind_of(&mut self, task: &Task<'a, '_>) -> Option<&'static str> {
        let (tree, name) = (task.tree, task.name);
        let names = KINDS.map(|(kind, _)| kind);
        let Some(kind) = kind(tree) else {
            let known: Vec<&'static str> = names.into_iter().chain(COMMON).collect();
            let before = self.errors;
            self.keys(tree, &format!("task `{name}`"), &known, &[]);
            if self.errors == before {
                let message = format!("task `{name}` does nothing");
                self.error_with_cure("no-kind", task.position, message, format!("give it one of {}", names.join(", ")));
            }
            return None;
        };
        let companions = KINDS.into_iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
        let others = names.iter().filter(|other| **other != kind && !companions.contains(other));
        for other in others {
            if let Some(entry) = tree.as_map()?.iter().find(|entry| entry.key == *other) {
                let message = format!("task `{name}` has both `{kind}` and `{other}`, but a task does one thing");
                self.error_with_cure("several-kinds", entry.position, message, "make it two tasks");
            }
        }
        let known: Vec<&'static str> = [kind].into_iter().chain(companions.iter().copied()).chain(COMMON).collect();
        let allowed: Vec<&'static str> = known.iter().copied().chain(names).collect();
        // What `several-kinds` has told is not told again as an unknown key.
        self.keys(tree, &format!("a `{kind}` task"), &allowed, &[]);
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

    fn metadata(&mut self, tree: &'a Tree) -> Option<BTreeMap<String, Json>> {
        let Some(metadata) = tree.get("metadata") else { return Some(BTreeMap::new()) };
        let entries = self.map(metadata, "`metadata`")?;
        let in_loop = tree.get("for").is_some();
        let calls_action = tree
            .get("call")
            .and_then(Tree::as_text)
            .is_some_and(|name| !matches!(name, "http" | "openapi") && !self.named.contains_key(&("functions", name)));
        for entry in entries {
            if entry.key == "heartbeat" && !calls_action || entry.key == "parallel" && !in_loop {
                let message = format!("`metadata.{}` has no effect here", entry.key);
                self.warning("unsupported-metadata", entry.position, message, "remove it, or take it as a note");
            }
        }
        Some(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
    }

    /// `metadata.parallel` of a loop.
    pub(super) fn parallel(&mut self, task: &'a Tree) -> Option<Option<u32>> {
        let Some(tree) = task.get("metadata").and_then(|metadata| metadata.get("parallel")) else { return Some(None) };
        let number = tree.to_json().as_u64().filter(|number| (1..=PARALLEL_MAX).contains(number));
        let Some(number) = number.and_then(|number| u32::try_from(number).ok()) else {
            let message = format!("`metadata.parallel` is a whole number from 1 to {PARALLEL_MAX}");
            self.error("wrong-type", tree.position, message);
            return None;
        };
        if let Some(condition) = task.get("while") {
            let message = "`while` asks before each iteration whether to go on; side by side there is no such moment";
            let cure = "remove `while`, or `metadata.parallel`";
            self.error_with_cure("parallel-chained", condition.position, message, cure);
            return None;
        }
        Some(Some(number))
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
        if let Some(node) = siblings.by_name.get(target) {
            return Some(Flow::To(*node));
        }
        if self.task_names.contains(target) {
            let message = format!("`{target}` is a task of another list; a jump stays within its own");
            let cure = "leave this list with `then: exit` and jump from the task around it";
            self.error_with_cure("jump-out-of-scope", tree.position, message, cure);
        } else {
            let candidates = siblings.order.iter().map(|(name, _)| *name).chain(["continue", "exit", "end"]);
            let cure = match near(target, candidates).first() {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => "name a task of the same list, or write `continue`, `exit` or `end`".to_owned(),
            };
            self.error_with_cure("unknown-jump-target", tree.position, format!("there is no task `{target}`"), cure);
        }
        None
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
        self.hides(text, tree.position, env, "choose another name");
        Some(text.to_owned())
    }

    /// The name of a loop's variable; the one that it has by default may hide another as well.
    pub(super) fn item_name(&mut self, looped: &'a Tree, key: &str, env: &Env) -> Option<String> {
        if looped.get(key).is_none() {
            self.hides("item", looped.position, env, &format!("name this one, `{key}: other`"));
        }
        self.variable_name(looped.get(key), "item", env)
    }

    fn hides(&mut self, name: &str, at: Position, env: &Env, cure: &str) {
        if env.bound.iter().any(|bound| bound == name) {
            let message = format!("`${name}` hides the variable of the same name around it");
            self.warning("variable-hides-another", at, message, cure);
        }
    }
}

/// The kind of a task, where it has one.
pub(super) fn kind(tree: &Tree) -> Option<&'static str> {
    KINDS.iter().find(|(kind, _)| tree.get(kind).is_some()).map(|(kind, _)| *kind)
}

impl<'a> Siblings<'a> {
    pub(super) fn new(end: Flow) -> Self {
        Self { order: Vec::new(), by_name: HashMap::new(), place: 0, end }
    }

    /// Whether the name is a new one.
    pub(super) fn add(&mut self, name: &'a str, id: NodeId) -> bool {
        self.order.push((name, id));
        match self.by_name.entry(name) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(id);
                true
            }
        }
    }

    /// The flow to the next task of the list, or out of it.
    fn next(&self) -> Flow {
        self.order.get(self.place + 1).map_or(self.end, |(_, node)| Flow::To(*node))
    }
}
