//! What a compiled program can be told about itself: tasks that nothing reaches, loops that nothing slows or ends, parallel
//! loops that are none. Each check takes time in proportion to the program.

mod chained;
pub(super) mod reads;

use super::diagnostic::{Position, Severity};
use super::graph::{Flow, Node, NodeId, NodeKind, Program};

/// What was found, with its place in the text.
pub(super) struct Finding {
    pub(super) code: &'static str,
    pub(super) severity: Severity,
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) cure: String,
}

/// The findings; `places` holds where each node's name stands, and `place_of` finds a JSON pointer's place.
pub(super) fn check(program: &Program, places: &[Position], place_of: &dyn Fn(&str) -> Position) -> Vec<Finding> {
    let mut found = unreachable(program, places);
    found.extend(loops(program, places));
    found.extend(chained::check(program, places, place_of));
    found
}

/// The nodes of each scope, in order.
fn members(program: &Program) -> Vec<Vec<NodeId>> {
    let mut members = vec![Vec::new(); program.scopes.len()];
    for (id, node) in ids(program) {
        members[node.scope.0 as usize].push(id);
    }
    members
}

fn ids(program: &Program) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
    let id = |id| NodeId(u32::try_from(id).expect("nodes are numbered in 32 bits"));
    program.nodes.iter().enumerate().map(move |(place, node)| (id(place), node))
}

fn unreachable(program: &Program, places: &[Position]) -> Vec<Finding> {
    let mut reached = vec![false; program.nodes.len()];
    let mut open: Vec<NodeId> = program.scopes.iter().map(|scope| scope.first).collect();
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut reached[id.0 as usize], true) {
            open.extend(successors(program.node(id)));
        }
    }
    // What an extension cuts off is cut off on purpose.
    let woven =
        |node: &Node| node.hidden || program.scope(node.scope).owner.is_some_and(|owner| program.node(owner).hidden);
    let unreached = ids(program).filter(|(id, node)| !reached[id.0 as usize] && !woven(node));
    let finding = |(id, node): (NodeId, &Node)| Finding {
        code: "unreachable-task",
        severity: Severity::Warning,
        position: places[id.0 as usize],
        message: format!("nothing leads to task `{}`", node.name),
        cure: "remove it, or let a `then` lead to it".to_owned(),
    };
    unreached.map(finding).collect()
}

/// One warning for each group of tasks that can run round and round without a wait or a timeout.
fn loops(program: &Program, places: &[Position]) -> Vec<Finding> {
    let slow = slow(program);
    let bounded = bounded(program);
    let mut found = Vec::new();
    for (scope, members) in members(program).into_iter().enumerate() {
        if bounded[scope] {
            continue;
        }
        for round in rounds(program, &members) {
            let first = *round.iter().min().expect("a round has a member");
            if round.iter().any(|id| slow[id.0 as usize]) {
                continue;
            }
            found.push(Finding {
                code: "loop-without-wait-or-timeout",
                severity: Severity::Warning,
                position: places[first.0 as usize],
                message: format!(
                    "the loop through task `{}` has neither a wait nor a timeout",
                    program.node(first).name
                ),
                cure: "add a `wait` task to it, or a `timeout` around it".to_owned(),
            });
        }
    }
    found
}

/// For each scope, whether a timeout around it ends its loops. A node comes before those of its body.
fn bounded(program: &Program) -> Vec<bool> {
    let mut bounded = vec![program.frame.timeout.is_some(); program.scopes.len()];
    for (place, scope) in program.scopes.iter().enumerate() {
        if let Some(owner) = scope.owner.map(|id| program.node(id)) {
            bounded[place] |= owner.frame.timeout.is_some() || bounded[owner.scope.0 as usize];
        }
    }
    bounded
}

/// For each node, whether it waits, itself or inside. A node comes before those of its body.
fn slow(program: &Program) -> Vec<bool> {
    let mut slow = vec![false; program.nodes.len()];
    for (id, node) in ids(program).rev() {
        let waits = matches!(node.kind, NodeKind::Timer(_) | NodeKind::Listen(_));
        let ends = node.frame.timeout.is_some();
        slow[id.0 as usize] |= waits || ends;
        if let Some(owner) = program.scope(node.scope).owner {
            slow[owner.0 as usize] |= slow[id.0 as usize];
        }
    }
    slow
}

/// The groups of nodes of one scope that lead to each other: Tarjan's strongly connected components, with its recursion
/// as a list of open visits, because a scope may be longer than a stack is deep.
fn rounds(program: &Program, members: &[NodeId]) -> Vec<Vec<NodeId>> {
    let mut tarjan = Tarjan::default();
    for id in members {
        if !tarjan.seen.contains_key(id) {
            tarjan.visit(program, *id);
        }
    }
    tarjan.rounds
}

#[derive(Default)]
struct Tarjan {
    seen: std::collections::HashMap<NodeId, Mark>,
    stack: Vec<NodeId>,
    rounds: Vec<Vec<NodeId>>,
}

#[derive(Clone, Copy)]
struct Mark {
    order: usize,
    /// The earliest node that it leads back to.
    low: usize,
    on_stack: bool,
}

struct Visit {
    id: NodeId,
    onward: Vec<NodeId>,
}

impl Tarjan {
    fn visit(&mut self, program: &Program, start: NodeId) {
        let mut open = vec![self.begin(program, start)];
        while let Some(visit) = open.last_mut() {
            let id = visit.id;
            match visit.onward.pop() {
                Some(next) => match self.seen.get(&next).copied() {
                    None => {
                        let inner = self.begin(program, next);
                        open.push(inner);
                    }
                    Some(mark) if mark.on_stack => self.lower(id, mark.order),
                    Some(_) => {}
                },
                None => {
                    open.pop();
                    self.end(program, id);
                    if let Some(around) = open.last().map(|visit| visit.id) {
                        let low = self.mark(id).low;
                        self.lower(around, low);
                    }
                }
            }
        }
    }

    fn begin(&mut self, program: &Program, id: NodeId) -> Visit {
        let order = self.seen.len();
        self.seen.insert(id, Mark { order, low: order, on_stack: true });
        self.stack.push(id);
        Visit { id, onward: successors(program.node(id)).collect() }
    }

    fn end(&mut self, program: &Program, id: NodeId) {
        let mark = *self.mark(id);
        if mark.low != mark.order {
            return;
        }
        let from = self.stack.iter().rposition(|other| *other == id).expect("a node is on the stack until its end");
        let round = self.stack.split_off(from);
        round.iter().for_each(|member| self.mark(*member).on_stack = false);
        if round.len() > 1 || successors(program.node(id)).any(|next| next == id) {
            self.rounds.push(round);
        }
    }

    fn lower(&mut self, id: NodeId, low: usize) {
        let mark = self.mark(id);
        mark.low = mark.low.min(low);
    }

    fn mark(&mut self, id: NodeId) -> &mut Mark {
        self.seen.get_mut(&id).expect("a visited node is marked")
    }
}

fn successors(node: &Node) -> impl Iterator<Item = NodeId> {
    flows(node).into_iter().filter_map(|flow| match flow {
        Flow::To(id) => Some(id),
        Flow::Exit | Flow::End => None,
    })
}

/// Where control may go after a node, skipped or not.
fn flows(node: &Node) -> Vec<Flow> {
    let mut flows = onward(node);
    if node.frame.condition.is_some() {
        flows.push(node.next);
    }
    flows
}

/// Where control may go after a node that was not skipped.
fn onward(node: &Node) -> Vec<Flow> {
    match &node.kind {
        NodeKind::Route(ways) => {
            let default = ways.iter().all(|way| way.guard.is_some()).then_some(node.then);
            ways.iter().map(|way| way.flow).chain(default).collect()
        }
        NodeKind::Raise(_) => Vec::new(),
        NodeKind::Scope(block) => {
            let caught = block.catch.as_ref().and_then(|catch| catch.then);
            std::iter::once(node.then).chain(caught).collect()
        }
        _ => vec![node.then],
    }
}
