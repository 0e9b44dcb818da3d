//! What of a program is drawn and how it hangs together: the tasks an author wrote, their bodies, the arrows between
//! them. Folded nodes are passed through here, so that the drawing never meets one.

use std::collections::{BTreeSet, HashSet};

use super::label;
use crate::definition::graph::{Flow, NodeId, NodeKind, Program, ScopeId, Way};

/// Where an arrow leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// To a drawn task.
    Node(NodeId),
    /// Out of a drawn body.
    Out(ScopeId),
    /// To the end of the workflow.
    End,
}

/// An arrow.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) label: Option<String>,
    pub(super) to: Landing,
    pub(super) dotted: bool,
}

impl Link {
    pub(super) fn plain(to: Landing) -> Self {
        Self { label: None, to, dotted: false }
    }
}

/// A body inside a task's box; with a suffix and a title where it has a box of its own.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) scope: ScopeId,
    pub(super) part: Option<(String, String)>,
}

impl Body {
    pub(super) fn is_handler(&self) -> bool {
        self.part.as_ref().is_some_and(|(suffix, _)| suffix == "catch")
    }
}

pub(super) struct Shape<'a> {
    program: &'a Program,
    ids: Vec<String>,
    /// The nodes of each scope, in the order of the text.
    members: Vec<Vec<NodeId>>,
    /// Whether a node, or something inside it, is drawn.
    shown: Vec<bool>,
    /// The bodies that need a box for the arrows that leave them.
    exits: BTreeSet<u32>,
}

impl<'a> Shape<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        let members = program.scopes.iter().enumerate().map(|(scope, _)| in_order(program, scope)).collect();
        let (ids, shown, exits) = (ids(program), vec![false; program.nodes.len()], BTreeSet::new());
        let mut shape = Self { program, ids, members, shown, exits };
        shape.look(program.root);
        shape.find_exits(program.root);
        shape
    }

    /// Notes what is shown, from the inside out.
    fn look(&mut self, scope: ScopeId) -> bool {
        let mut any = false;
        for node in self.members[scope.0 as usize].clone() {
            let mut inside = false;
            for (body, _) in bodies(self.program, node) {
                inside |= self.look(body);
            }
            let shown = inside || !self.program.node(node).hidden;
            self.shown[node.0 as usize] = shown;
            any |= shown;
        }
        any
    }

    /// A body needs a way out to be seen where a named arrow leads out, or more than one.
    fn find_exits(&mut self, scope: ScopeId) {
        let mut out: Vec<(u32, bool)> = Vec::new();
        for node in self.members(scope) {
            for link in self.links(node) {
                if let Landing::Out(scope) = link.to {
                    out.push((scope.0, link.label.is_some()));
                }
            }
            for body in self.bodies(node) {
                self.find_exits(body.scope);
            }
        }
        let named = out.iter().any(|(_, named)| *named);
        if scope != self.program.root && (named || out.len() > 1) {
            self.exits.extend(out.first().map(|(scope, _)| *scope));
        }
    }

    pub(super) fn id(&self, node: NodeId) -> &str {
        &self.ids[node.0 as usize]
    }

    pub(super) fn has_exit(&self, scope: ScopeId) -> bool {
        self.exits.contains(&scope.0)
    }

    pub(super) fn exit_id(&self, scope: ScopeId) -> String {
        let owner = self.program.scope(scope).owner;
        let part = owner.and_then(|owner| {
            let body = self.bodies(owner).into_iter().find(|body| body.scope == scope);
            body.and_then(|body| body.part).map(|(suffix, _)| format!("__{suffix}"))
        });
        format!("{}{}__out", owner.map_or("root", |owner| self.id(owner)), part.unwrap_or_default())
    }

    /// The drawn tasks of a scope; those inside a folded one in its place.
    pub(super) fn members(&self, scope: ScopeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        for node in &self.members[scope.0 as usize] {
            match (self.shown[node.0 as usize], self.program.node(*node).hidden) {
                (false, _) => {}
                (true, false) => found.push(*node),
                (true, true) => {
                    bodies(self.program, *node).into_iter().for_each(|(body, _)| found.extend(self.members(body)))
                }
            }
        }
        found
    }

    /// The bodies of a drawn task that have something drawn in them.
    pub(super) fn bodies(&self, node: NodeId) -> Vec<Body> {
        let found = bodies(self.program, node).into_iter().filter(|(scope, _)| !self.members(*scope).is_empty());
        found.map(|(scope, part)| Body { scope, part }).collect()
    }

    /// Where a scope begins.
    pub(super) fn first(&self, scope: ScopeId) -> Landing {
        self.land(scope, Flow::To(self.program.scope(scope).first))
    }

    /// Where a flow out of a node of `scope` leads, folded nodes passed through.
    pub(super) fn land(&self, mut scope: ScopeId, mut flow: Flow) -> Landing {
        // Each step goes into, through or out of a folded node; a circle of them alone leads nowhere.
        for _ in 0..=2 * self.program.nodes.len() {
            match flow {
                Flow::End => return Landing::End,
                Flow::Exit => match self.program.scope(scope).owner.map(|owner| self.program.node(owner)) {
                    Some(owner) if owner.hidden => (scope, flow) = (owner.scope, owner.then),
                    _ => return Landing::Out(scope),
                },
                Flow::To(id) => {
                    let node = self.program.node(id);
                    if !node.hidden {
                        return Landing::Node(id);
                    }
                    let inside = bodies(self.program, id).into_iter().find(|(body, _)| !self.members(*body).is_empty());
                    match inside {
                        Some((body, _)) => (scope, flow) = (body, Flow::To(self.program.scope(body).first)),
                        None => flow = node.then,
                    }
                }
            }
        }
        Landing::Out(scope)
    }

    /// The arrows that leave a drawn task, each target once.
    pub(super) fn links(&self, id: NodeId) -> Vec<Link> {
        let node = self.program.node(id);
        let land = |flow| self.land(node.scope, flow);
        let mut links = match &node.kind {
            NodeKind::Route(ways) => ways.iter().map(|way| self.way(id, way)).collect(),
            NodeKind::Raise(_) => Vec::new(),
            _ => vec![Link::plain(land(node.then))],
        };
        if let NodeKind::Route(ways) = &node.kind
            && ways.iter().all(|way| way.guard.is_some())
        {
            links.push(Link { label: Some("otherwise".to_owned()), ..Link::plain(land(node.then)) });
        }
        let around = land(node.next);
        if let Some(condition) = node.frame.condition {
            let label = Some(format!("unless {}", label::expression(self.program, condition)));
            if !links.iter().any(|link| link.label.is_none() && link.to == around) {
                links.push(Link { label, to: around, dotted: true });
            }
        }
        links
    }

    fn way(&self, id: NodeId, way: &Way) -> Link {
        let to = self.land(self.program.node(id).scope, way.flow);
        Link { label: Some(way.name.clone()), ..Link::plain(to) }
    }
}

/// The bodies of a node, each with the suffix and title of its own box, where it has one.
fn bodies(program: &Program, id: NodeId) -> Vec<(ScopeId, Option<(String, String)>)> {
    let part = |suffix: &str, title: String| Some((suffix.to_owned(), title));
    match &program.node(id).kind {
        NodeKind::Scope(block) => match &block.catch {
            None => vec![(block.body, None)],
            Some(catch) => {
                let handler = catch.handler.map(|scope| (scope, part("catch", format!("catch ${}", catch.variable))));
                std::iter::once((block.body, part("try", "try".to_owned()))).chain(handler).collect()
            }
        },
        NodeKind::Each(each) => vec![(each.body, None)],
        NodeKind::Fork(fork) => {
            let branch = |(place, branch): (usize, &crate::definition::graph::Branch)| {
                (branch.body, part(&format!("b{place}"), format!("branch {}", branch.name)))
            };
            fork.branches.iter().enumerate().map(branch).collect()
        }
        NodeKind::Listen(listen) => {
            let body = listen.foreach.as_ref().and_then(|foreach| Some((foreach.body?, &foreach.item)));
            body.map(|(scope, item)| (scope, part("each", format!("for each ${item}")))).into_iter().collect()
        }
        NodeKind::Act(_)
        | NodeKind::Eval(_)
        | NodeKind::Route(_)
        | NodeKind::Timer(_)
        | NodeKind::Raise(_)
        | NodeKind::Emit(_)
        | NodeKind::Recall => Vec::new(),
    }
}

/// The nodes of a scope in the order of the text: along `next`, then whatever that does not reach.
fn in_order(program: &Program, scope: usize) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut here = Some(program.scopes[scope].first);
    while let Some(node) = here
        && seen.insert(node)
    {
        found.push(node);
        here = match program.node(node).next {
            Flow::To(next) => Some(next),
            Flow::Exit | Flow::End => None,
        };
    }
    let all = (0..).map(NodeId).zip(&program.nodes);
    found.extend(all.filter(|(id, node)| node.scope.0 as usize == scope && !seen.contains(id)).map(|(id, _)| id));
    found
}

/// Names for boxes that stay the same while tasks come and go around them: the steps of the task's reference without
/// the places in lists.
fn ids(program: &Program) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut ids = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        let steps: Vec<_> = node.reference.split('/').skip(2).filter(|step| step.parse::<u64>().is_err()).collect();
        let plain = format!("t_{}", steps.iter().map(|step| word(step)).collect::<Vec<_>>().join("_"));
        let mut id = plain.clone();
        let mut number = 2;
        while !taken.insert(id.clone()) {
            id = format!("{plain}_{number}");
            number += 1;
        }
        ids.push(id);
    }
    ids
}

/// A step with letters, digits and `_` only.
fn word(step: &str) -> String {
    let safe = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_string(),
        '-' | '_' | ' ' => "_".to_owned(),
        letter => format!("u{:x}", u32::from(letter)),
    };
    step.chars().map(safe).collect()
}
