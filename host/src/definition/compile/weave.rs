//! `use.extensions`: tasks around tasks. An extended task becomes a hidden block of the tasks before it, itself, and those
//! after it:
//!
//! ```text
//! block: [when?] -> before … -> recall -> TASK -> [when?] block that keeps its input: after …
//! ```
//!
//! `exit` in a task before leaves the block, and with it the extended task: the block's output is what that task gave.
//! The block has the extended task's `if` and `then`; all else the task keeps. The first extension that fits is the
//! outermost.
//!
//! A task that decides itself where to go, a `switch` or a `try` with `catch.then`, cannot stand inside a block that
//! decides for it. There, the block holds the tasks before alone, and those after stand on each way out.

use std::sync::Arc;

use super::task::{Env, List, Task, kind};
use super::value::Spot;
use super::{Compiler, escape, index};
use crate::definition::graph::{Block, ExpressionId, Extended, Flow, Frame, Node, NodeId, NodeKind, ScopeId, Way};
use crate::definition::yaml::Tree;
use crate::model::TaskName;

/// More extensions than this would nest blocks deeper than anybody follows.
const EXTENSIONS_MAX: usize = 16;

/// What may be extended; `composite` means the tasks that only hold others.
const EXTENDABLE: [(&str, &[&str]); 13] = [
    ("all", &[]),
    ("call", &["call"]),
    ("composite", &["do", "fork"]),
    ("emit", &["emit"]),
    ("for", &["for"]),
    ("fork", &["fork"]),
    ("listen", &["listen"]),
    ("raise", &["raise"]),
    ("run", &["run"]),
    ("set", &["set"]),
    ("switch", &["switch"]),
    ("try", &["try"]),
    ("wait", &["wait"]),
];

/// An extension.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extension<'a> {
    place: usize,
    name: &'a str,
    /// Absent: every kind.
    kinds: Option<&'static [&'static str]>,
    when: Option<&'a Tree>,
    before: Option<&'a [Tree]>,
    after: Option<&'a Tree>,
}

/// A block that is being put around a task.
struct Wrap {
    node: NodeId,
    /// The scope it is in.
    scope: ScopeId,
    body: ScopeId,
    inner: NodeId,
    /// Where the inner task leads.
    after: Flow,
}

impl Extension<'_> {
    fn pointer(&self) -> String {
        format!("/use/extensions/{}/{}", self.place, escape(self.name))
    }
}

impl<'a> Compiler<'a> {
    pub(super) fn declare_extensions(&mut self, tree: &'a Tree) {
        let Some(items) = tree.as_list() else {
            let message = format!("`use.extensions` is a list, not {}", tree.kind());
            self.error_with_cure("wrong-type", tree.position, message, "write `- name: { extend: …, before: [ … ] }`");
            return;
        };
        if items.len() > EXTENSIONS_MAX {
            let message = format!("a workflow has {EXTENSIONS_MAX} extensions at most");
            self.error("too-large", tree.position, message);
            return;
        }
        for (place, item) in items.iter().enumerate() {
            let Some((name, _, body)) = self.named_task(item) else { continue };
            let Some(extension) = self.extension(place, name, body) else { continue };
            self.rehearse(|compiler| compiler.rehearse_extension(&extension, body));
            if extension.before.is_some() || extension.after.is_some() {
                self.extensions.push(extension);
            }
        }
    }

    fn extension(&mut self, place: usize, name: &'a str, tree: &'a Tree) -> Option<Extension<'a>> {
        self.map(tree, "an extension")?;
        self.keys(tree, "an extension", &["extend", "when", "before", "after"], &[]);
        let extend = self.required(tree, "extend", "an extension")?;
        let kinds = self.word(extend, "`extend`", &EXTENDABLE)?;
        let before = tree.get("before").map_or(Some(None), |list| self.items_of(list).map(Some))?;
        let after = tree.get("after").map_or(Some(None), |list| self.items_of(list).map(|_| Some(list)))?;
        let kinds = (!kinds.is_empty()).then_some(kinds);
        Some(Extension { place, name, kinds, when: tree.get("when"), before, after })
    }

    /// An extension that nothing fits is read for its faults as well.
    fn rehearse_extension(&mut self, extension: &Extension<'a>, tree: &'a Tree) -> Option<()> {
        let node = self.reserve(tree.position)?;
        self.guard(extension);
        let body = self.add_scope(Some(node), node);
        self.before(extension, body, Flow::Exit, None);
        self.after(extension, node, None);
        Some(())
    }

    /// Puts the task's node in its place, with all that extensions add.
    pub(super) fn woven(&mut self, task: &Task<'a, '_>) {
        let kind = kind(task.tree);
        let fits = |extension: &&Extension<'a>| {
            extension.kinds.is_none_or(|kinds| kind.is_some_and(|kind| kinds.contains(&kind)))
        };
        let around: Vec<_> = match self.weaving || kind.is_none() {
            true => Vec::new(),
            false => self.extensions.iter().filter(fits).copied().collect(),
        };
        let leads_itself =
            kind == Some("switch") || task.tree.get("catch").is_some_and(|catch| catch.get("then").is_some());
        let done = match (around.is_empty(), leads_itself) {
            (true, _) => {
                let node = self.node(task);
                self.put(task.node, node);
                return;
            }
            (false, false) => self.wrap_all(task, &around),
            (false, true) => self.line_up(task, &around),
        };
        // Only where something was reported.
        if done.is_none() {
            self.put(task.node, None);
        }
    }

    fn wrap_all(&mut self, task: &Task<'a, '_>, around: &[Extension<'a>]) -> Option<()> {
        let mut wraps: Vec<Wrap> = Vec::with_capacity(around.len());
        let (mut node, mut scope) = (task.node, task.scope);
        for extension in around {
            let wrap = self.wrap(extension, node, scope, task)?;
            (node, scope) = (wrap.inner, wrap.body);
            wraps.push(wrap);
        }
        let mut inner = self.node(&Task { node, scope, ..*task })?;
        let (mut then, mut next) = (inner.then, inner.next);
        let mut condition = inner.frame.condition.take();
        for wrap in wraps {
            let kind = NodeKind::Scope(Block { body: wrap.body, catch: None, keep_input: false });
            let frame = Frame { condition: condition.take(), ..Frame::default() };
            let block = Node { then, next, frame, ..self.hidden(task, wrap.scope, kind)? };
            self.put(wrap.node, Some(block));
            (then, next) = (wrap.after, wrap.after);
        }
        self.put(node, Some(Node { then, next, ..inner }));
        Some(())
    }

    /// The inside of a block, but for the task itself.
    fn wrap(&mut self, extension: &Extension<'a>, node: NodeId, scope: ScopeId, task: &Task<'a, '_>) -> Option<Wrap> {
        let body = self.add_scope(Some(node), NodeId(index(self.nodes.len())));
        let before = extension.before.map_or(Some(None), |_| self.lead(extension, body, task).map(Some));
        let inner = self.reserve(task.position)?;
        if let Some(open) = before? {
            self.close(open, Flow::To(inner), task)?;
        }
        let after = match extension.after {
            None => Flow::Exit,
            Some(_) => Flow::To(self.tail(extension, body, Flow::Exit, task)?),
        };
        Some(Wrap { node, scope, body, inner, after })
    }

    /// `when` and the tasks before, in the block's scope; what is left open is where they lead.
    fn lead(&mut self, extension: &Extension<'a>, body: ScopeId, task: &Task<'a, '_>) -> Option<Lead> {
        let guard = self.guard(extension)?;
        let route = guard.map_or(Some(None), |_| self.reserve(task.position).map(Some))?;
        let recall = self.reserve(task.position)?;
        let first = self.before(extension, body, Flow::To(recall), extended(task))?;
        self.scopes[body.0 as usize].first = route.unwrap_or(first);
        Some(Lead { body, guard, route, first, recall })
    }

    fn close(&mut self, lead: Lead, inner: Flow, task: &Task<'a, '_>) -> Option<()> {
        if let Some(route) = lead.route {
            let way = Way { name: "when".to_owned(), guard: lead.guard, flow: Flow::To(lead.first) };
            let node = self.hidden(task, lead.body, NodeKind::Route(vec![way]))?;
            self.put(route, Some(Node { then: inner, next: inner, ..node }));
        }
        let node = self.hidden(task, lead.body, NodeKind::Recall)?;
        self.put(lead.recall, Some(Node { then: inner, next: inner, ..node }));
        Some(())
    }

    /// The block of the tasks after, which keeps its input.
    fn tail(&mut self, extension: &Extension<'a>, scope: ScopeId, then: Flow, task: &Task<'a, '_>) -> Option<NodeId> {
        let id = self.reserve(task.position)?;
        let condition = self.guard(extension);
        let body = self.after(extension, id, extended(task))?;
        let kind = NodeKind::Scope(Block { body, catch: None, keep_input: true });
        let frame = Frame { condition: condition?, ..Frame::default() };
        let node = Node { then, next: then, frame, ..self.hidden(task, scope, kind)? };
        self.put(id, Some(node));
        Some(id)
    }

    /// For a task that leads itself: a block of the tasks before, the task, and a block of those after on each way out.
    fn line_up(&mut self, task: &Task<'a, '_>, around: &[Extension<'a>]) -> Option<()> {
        let leading: Vec<_> = around.iter().filter(|extension| extension.before.is_some()).collect();
        let mut id = task.node;
        let mut blocks = Vec::with_capacity(leading.len());
        for extension in leading {
            let body = self.add_scope(Some(id), NodeId(index(self.nodes.len())));
            let lead = self.lead(extension, body, task)?;
            self.close(lead, Flow::Exit, task)?;
            let next = self.reserve(task.position)?;
            blocks.push((id, body, next));
            id = next;
        }
        let mut node = self.node(&Task { node: id, ..*task })?;
        let skipped = node.next;
        let mut condition = if blocks.is_empty() { None } else { node.frame.condition.take() };
        for (id, body, next) in blocks {
            let kind = NodeKind::Scope(Block { body, catch: None, keep_input: false });
            let frame = Frame { condition: condition.take(), ..Frame::default() };
            let block = Node { then: Flow::To(next), next: skipped, frame, ..self.hidden(task, task.scope, kind)? };
            self.put(id, Some(block));
        }
        self.lead_through(&mut node, task, around)?;
        self.put(id, Some(node));
        Some(())
    }

    /// Puts the tasks after on each way out of a task.
    fn lead_through(&mut self, node: &mut Node, task: &Task<'a, '_>, around: &[Extension<'a>]) -> Option<()> {
        let mut known: Vec<(Flow, Flow)> = Vec::new();
        let mut through = |compiler: &mut Self, flow: &mut Flow| -> Option<()> {
            if let Some((_, to)) = known.iter().find(|(from, _)| from == flow) {
                *flow = *to;
                return Some(());
            }
            // Built from the way out inwards: the first extension is the outermost, so its tasks come last.
            let mut to = *flow;
            for extension in around.iter().filter(|extension| extension.after.is_some()) {
                to = Flow::To(compiler.tail(extension, task.scope, to, task)?);
            }
            known.push((*flow, to));
            *flow = to;
            Some(())
        };
        match &mut node.kind {
            NodeKind::Route(ways) => {
                for way in ways {
                    through(self, &mut way.flow)?;
                }
            }
            NodeKind::Scope(Block { catch: Some(catch), .. }) => {
                if let Some(then) = &mut catch.then {
                    through(self, then)?;
                }
            }
            _ => {}
        }
        through(self, &mut node.then)
    }

    fn guard(&mut self, extension: &Extension<'a>) -> Option<Option<ExpressionId>> {
        let Some(when) = extension.when else { return Some(None) };
        let pointer = format!("{}/when", extension.pointer());
        self.condition(when, &pointer, (Spot::Before, &Env::default())).map(Some)
    }

    fn before(
        &mut self,
        extension: &Extension<'a>,
        scope: ScopeId,
        end: Flow,
        around: Option<Arc<Extended>>,
    ) -> Option<NodeId> {
        let pointer = format!("{}/before", extension.pointer());
        let env = &Env::default();
        let items = extension.before?;
        self.as_extension(around, |compiler| {
            compiler.tasks(&List { items, offset: 0, pointer: &pointer, scope, env, end })
        })
    }

    fn after(&mut self, extension: &Extension<'a>, owner: NodeId, around: Option<Arc<Extended>>) -> Option<ScopeId> {
        let pointer = format!("{}/after", extension.pointer());
        let list = extension.after?;
        self.as_extension(around, |compiler| compiler.list(list, &pointer, Some(owner), &Env::default()))
    }

    /// The tasks of an extension are not extended themselves.
    fn as_extension<T>(&mut self, around: Option<Arc<Extended>>, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.weaving, true);
        let outer = std::mem::replace(&mut self.extended, around);
        let found = read(self);
        (self.weaving, self.extended) = (before, outer);
        found
    }

    /// A node that the author did not write; it stands for the extended task.
    fn hidden(&mut self, task: &Task<'a, '_>, scope: ScopeId, kind: NodeKind) -> Option<Node> {
        Some(Node {
            name: self.task_name(task)?,
            reference: task.pointer.to_owned(),
            scope,
            frame: Frame::default(),
            kind,
            then: Flow::Exit,
            next: Flow::Exit,
            hidden: true,
            shield: false,
            metadata: Default::default(),
            extends: extended(task),
        })
    }
}

/// What the tasks around a task are told of it.
fn extended(task: &Task<'_, '_>) -> Option<Arc<Extended>> {
    let name = TaskName::parse(task.name).ok()?;
    Some(Arc::new(Extended { name, reference: task.pointer.to_owned() }))
}

/// The tasks before an extended task, as long as it is not known what they lead to.
struct Lead {
    body: ScopeId,
    guard: Option<ExpressionId>,
    route: Option<NodeId>,
    first: NodeId,
    recall: NodeId,
}
