//! What a compiled program can be told about itself: tasks that nothing reaches, loops that nothing slows or ends.

use std::collections::HashSet;

use super::diagnostic::{Diagnostic, Position, Source};
use super::graph::{Flow, Node, NodeId, NodeKind, Program, ScopeId};

/// The warnings; `places` holds where each node's name stands.
pub(super) fn check(program: &Program, source: Source<'_>, places: &[Position]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for scope in 0..program.scopes.len() {
        let scope = ScopeId(u32::try_from(scope).expect("scopes are numbered in 32 bits"));
        let members = members(program, scope);
        let reached = reached(program, program.scope(scope).first, true);
        for id in &members {
            let node = program.node(*id);
            let place = places[id.0 as usize];
            if !reached.contains(id) {
                let message = format!("nothing leads to task `{}`", node.name);
                let cure = "remove it, or let a `then` lead to it";
                found.push(Diagnostic::warning("unreachable-task", source, place, message).cure(cure));
            }
        }
        found.extend(loops(program, scope, &members, source, places));
    }
    found
}

fn members(program: &Program, scope: ScopeId) -> Vec<NodeId> {
    let numbered = program.nodes.iter().enumerate();
    let of_scope = numbered.filter(|(_, node)| node.scope == scope);
    of_scope.map(|(id, _)| NodeId(u32::try_from(id).expect("nodes are numbered in 32 bits"))).collect()
}

/// One warning for each group of tasks that can run round and round without a wait or a timeout.
fn loops(
    program: &Program,
    scope: ScopeId,
    members: &[NodeId],
    source: Source<'_>,
    places: &[Position],
) -> Vec<Diagnostic> {
    if bounded(program, scope) {
        return Vec::new();
    }
    let mut told: HashSet<NodeId> = HashSet::new();
    let mut found = Vec::new();
    let onward: Vec<HashSet<NodeId>> = members.iter().map(|id| reached(program, *id, false)).collect();
    for (place, id) in members.iter().enumerate() {
        if !onward[place].contains(id) || told.contains(id) {
            continue;
        }
        let round: Vec<NodeId> = members
            .iter()
            .enumerate()
            .filter(|(other, member)| onward[place].contains(member) && onward[*other].contains(id))
            .map(|(_, member)| *member)
            .collect();
        if !round.iter().any(|id| slow(program, program.node(*id))) {
            let message =
                format!("the loop through task `{}` has neither a wait nor a timeout", program.node(*id).name);
            let cure = "add a `wait` task to it, or a `timeout` around it";
            let place = places[id.0 as usize];
            found.push(Diagnostic::warning("loop-without-wait-or-timeout", source, place, message).cure(cure));
        }
        told.extend(round);
    }
    found
}

/// Whether a timeout around the scope ends its loops.
fn bounded(program: &Program, scope: ScopeId) -> bool {
    if program.frame.timeout.is_some() {
        return true;
    }
    let mut around = program.scope(scope).owner;
    while let Some(owner) = around.map(|id| program.node(id)) {
        if owner.frame.timeout.is_some() {
            return true;
        }
        around = program.scope(owner.scope).owner;
    }
    false
}

/// Whether a task waits, itself or inside.
fn slow(program: &Program, node: &Node) -> bool {
    let inside = |scope: ScopeId| members(program, scope).into_iter().any(|id| slow(program, program.node(id)));
    match &node.kind {
        NodeKind::Timer(_) => true,
        NodeKind::Scope(block) => {
            inside(block.body) || block.catch.as_ref().and_then(|catch| catch.handler).is_some_and(inside)
        }
        NodeKind::Each(each) => inside(each.body),
        _ => node.frame.timeout.is_some(),
    }
}

/// The nodes of the same scope that can follow `from`; itself included from the start, or only if a way leads back.
fn reached(program: &Program, from: NodeId, with_start: bool) -> HashSet<NodeId> {
    let mut found = if with_start { HashSet::from([from]) } else { HashSet::new() };
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for next in successors(program.node(id)) {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

fn successors(node: &Node) -> Vec<NodeId> {
    let mut flows = Vec::new();
    match &node.kind {
        NodeKind::Route(ways) => {
            flows.extend(ways.iter().map(|way| way.flow));
            if ways.iter().all(|way| way.guard.is_some()) {
                flows.push(node.then);
            }
        }
        NodeKind::Raise(_) => {}
        NodeKind::Scope(block) => {
            flows.push(node.then);
            flows.extend(block.catch.as_ref().and_then(|catch| catch.then));
        }
        _ => flows.push(node.then),
    }
    if node.frame.condition.is_some() {
        flows.push(node.next);
    }
    let targets = flows.into_iter().filter_map(|flow| match flow {
        Flow::To(id) => Some(id),
        Flow::Exit | Flow::End => None,
    });
    targets.collect()
}
