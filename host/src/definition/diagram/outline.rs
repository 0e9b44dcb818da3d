//! The program as an outline: one line for each task, indented by its place, with where it leads if that is not simply
//! the next one.

use super::label::{self, shortened};
use super::shape::{Landing, Link, Shape};
use crate::definition::graph::{NodeId, NodeKind, Program, ScopeId};

/// The program as an outline for a terminal.
pub fn outline(program: &Program) -> String {
    let shape = Shape::new(program);
    let mut text = format!("{} {} ({})\n", program.name, program.version, program.namespace);
    scope(program, &shape, program.root, 1, &mut text);
    text
}

fn scope(program: &Program, shape: &Shape<'_>, id: ScopeId, depth: usize, text: &mut String) {
    let members = shape.members(id);
    for (place, node) in members.iter().enumerate() {
        let next = members.get(place + 1).map_or(Landing::Out(id), |next| Landing::Node(*next));
        task(program, shape, *node, next, depth, text);
    }
}

fn task(program: &Program, shape: &Shape<'_>, id: NodeId, next: Landing, depth: usize, text: &mut String) {
    let node = program.node(id);
    let what = label::does(program, id).unwrap_or_else(|| "do".to_owned());
    let unless = node.frame.condition.map(|id| format!(", if {}", label::expression(program, id))).unwrap_or_default();
    let links = shape.links(id);
    let is_route = matches!(node.kind, NodeKind::Route(_));
    let leads = links.iter().find(|link| !is_route && !link.dotted && link.to != next);
    let leads = leads.map(|link| format!(" -> {}", place(program, link.to))).unwrap_or_default();
    line(text, depth, &format!("{}: {}{leads}", node.name, shortened(&format!("{what}{unless}"))));
    if is_route {
        for Link { label, to, .. } in links.iter().filter(|link| !link.dotted) {
            let name = label.as_deref().unwrap_or_default();
            line(text, depth + 1, &format!("{} -> {}", shortened(name), place(program, *to)));
        }
    }
    for body in shape.bodies(id) {
        let inner = match &body.part {
            Some((suffix, title)) if suffix != "try" => {
                line(text, depth + 1, &format!("{}{}", shortened(title), caught(program, id, body.is_handler())));
                depth + 2
            }
            _ => depth + 1,
        };
        scope(program, shape, body.scope, inner, text);
    }
}

/// What a handler takes.
fn caught(program: &Program, id: NodeId, is_handler: bool) -> String {
    match &program.node(id).kind {
        NodeKind::Scope(block) if is_handler => {
            block.catch.as_ref().map(|catch| format!(": {}", label::errors(catch))).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn place(program: &Program, to: Landing) -> String {
    match to {
        Landing::Node(node) => program.node(node).name.to_string(),
        Landing::Out(_) => "exit".to_owned(),
        Landing::End => "end".to_owned(),
    }
}

fn line(text: &mut String, depth: usize, line: &str) {
    (0..depth).for_each(|_| text.push_str("  "));
    text.push_str(line);
    text.push('\n');
}
