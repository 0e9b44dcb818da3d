//! A picture of a program for people: a Mermaid flowchart, and an outline for a terminal. Nodes that no author wrote are
//! folded away: an arrow that leads to one leads on to what comes after. It decides nothing and reads no clock.

mod label;
mod outline;
mod shape;

use std::collections::BTreeMap;

use super::graph::{Catch, NodeId, NodeKind, Program, ScopeId};
use label::escaped;
pub use outline::outline;
use shape::{Landing, Link, Shape};

/// Where a task of an instance stands, as a class of its box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It was never entered.
    NotReached,
    /// Its `if` did not hold.
    Skipped,
    /// It was left.
    Completed,
    /// It was cancelled, or interrupted by what is around it.
    Cancelled,
    /// It ended with an error.
    Faulted,
    /// It waits for a time or an event.
    Waiting,
    /// It is under way.
    Running,
}

impl Mark {
    /// The class and how it looks.
    fn style(self) -> (&'static str, &'static str) {
        match self {
            Self::NotReached => ("notReached", "fill:#f6f6f6,stroke:#bbbbbb,color:#888888"),
            Self::Skipped => ("skipped", "fill:#f6f6f6,stroke:#888888,color:#555555,stroke-dasharray:4 3"),
            Self::Completed => ("completed", "fill:#d9f2d9,stroke:#2e7d32,color:#1b3d1d"),
            Self::Cancelled => ("cancelled", "fill:#e6e0ec,stroke:#6a4c93,color:#3b2a52"),
            Self::Faulted => ("faulted", "fill:#fbdcdc,stroke:#c62828,color:#5f1414"),
            Self::Waiting => ("waiting", "fill:#fff4cc,stroke:#b8860b,color:#5c4305"),
            Self::Running => ("running", "fill:#d6e8fb,stroke:#1565c0,color:#0b3260"),
        }
    }
}

/// The program as a Mermaid flowchart. `status` tells where a task stands; without one a box has no class.
pub fn mermaid(program: &Program, status: impl Fn(NodeId) -> Option<Mark>) -> String {
    let shape = Shape::new(program);
    let mut drawing = Drawing { program, shape: &shape, text: String::from("flowchart TD\n"), marked: BTreeMap::new() };
    drawing.line(1, "start((\"start\"))");
    drawing.scope(program.root, 1, &status);
    drawing.line(1, "finish(((\"end\")))");
    drawing.edge("start", &Link::plain(shape.first(program.root)));
    drawing.edges_of(program.root);
    drawing.classes();
    drawing.text
}

struct Drawing<'a> {
    program: &'a Program,
    shape: &'a Shape<'a>,
    text: String,
    /// The boxes of each class.
    marked: BTreeMap<Mark, Vec<String>>,
}

impl Drawing<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        (0..depth).for_each(|_| self.text.push_str("  "));
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The boxes of a scope, those of folded nodes in their place.
    fn scope(&mut self, scope: ScopeId, depth: usize, status: &dyn Fn(NodeId) -> Option<Mark>) {
        for node in self.shape.members(scope) {
            self.node(node, depth, status);
        }
        if self.shape.has_exit(scope) {
            self.line(depth, &format!("{}((\"exit\"))", self.shape.exit_id(scope)));
        }
    }

    fn node(&mut self, id: NodeId, depth: usize, status: &dyn Fn(NodeId) -> Option<Mark>) {
        let name = self.shape.id(id).to_owned();
        if let Some(mark) = status(id) {
            self.marked.entry(mark).or_default().push(name.clone());
        }
        let label = label::of(self.program, id).join("<br/>");
        let bodies = self.shape.bodies(id);
        if bodies.is_empty() {
            let (open, close) = frame(&self.program.node(id).kind);
            return self.line(depth, &format!("{name}{open}\"{label}\"{close}"));
        }
        self.line(depth, &format!("subgraph {name}[\"{label}\"]"));
        for body in bodies {
            match &body.part {
                None => self.scope(body.scope, depth + 1, status),
                Some((suffix, title)) => {
                    self.line(depth + 1, &format!("subgraph {name}__{suffix}[\"{}\"]", escaped(title)));
                    self.scope(body.scope, depth + 2, status);
                    self.line(depth + 1, "end");
                }
            }
        }
        self.line(depth, "end");
    }

    /// The arrows between the members of a scope, and those inside them.
    fn edges_of(&mut self, scope: ScopeId) {
        for node in self.shape.members(scope) {
            let name = self.shape.id(node).to_owned();
            for link in self.shape.links(node) {
                self.edge(&name, &link);
            }
            if let NodeKind::Scope(block) = &self.program.node(node).kind
                && let Some(catch) = &block.catch
            {
                self.catch_edges(node, catch);
            }
            for body in self.shape.bodies(node) {
                self.edges_of(body.scope);
            }
        }
    }

    fn catch_edges(&mut self, node: NodeId, catch: &Catch) {
        let name = self.shape.id(node).to_owned();
        let handled = self.shape.bodies(node).iter().any(|body| body.is_handler());
        let errors = label::errors(catch);
        if handled {
            self.line(1, &format!("{name}__try -.->|\"{}\"| {name}__catch", escaped(&errors)));
        }
        let Some(then) = catch.then else { return };
        let to = self.shape.land(self.program.node(node).scope, then);
        let (from, label) = if handled { (format!("{name}__catch"), None) } else { (name, Some(errors)) };
        self.edge(&from, &Link { label, to, dotted: true });
    }

    fn edge(&mut self, from: &str, link: &Link) {
        let to = match link.to {
            Landing::Node(node) => self.shape.id(node).to_owned(),
            Landing::End => "finish".to_owned(),
            Landing::Out(scope) if scope == self.program.root => "finish".to_owned(),
            Landing::Out(scope) if self.shape.has_exit(scope) => self.shape.exit_id(scope),
            // Falling off the end of a body: the arrow leaves the box around it.
            Landing::Out(_) => return,
        };
        let arrow = if link.dotted { "-.->" } else { "-->" };
        let label = link.label.as_ref().map(|label| format!("|\"{}\"|", escaped(label))).unwrap_or_default();
        self.line(1, &format!("{from} {arrow}{label} {to}"));
    }

    fn classes(&mut self) {
        for (mark, boxes) in std::mem::take(&mut self.marked) {
            let (class, style) = mark.style();
            self.line(1, &format!("classDef {class} {style}"));
            self.line(1, &format!("class {} {class}", boxes.join(",")));
        }
    }
}

/// The brackets that make a box's shape.
fn frame(kind: &NodeKind) -> (&'static str, &'static str) {
    match kind {
        NodeKind::Act(_) => ("[[", "]]"),
        NodeKind::Route(_) => ("{", "}"),
        NodeKind::Timer(_) => ("([", "])"),
        NodeKind::Raise(_) => ("[/", "/]"),
        NodeKind::Listen(_) => ("{{", "}}"),
        NodeKind::Emit(_) => (">", "]"),
        NodeKind::Eval(_) | NodeKind::Each(_) | NodeKind::Scope(_) | NodeKind::Fork(_) | NodeKind::Recall => ("[", "]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::graph::{Branch, Fork, Node, NodeId};
    use crate::machine::testing::program;
    use serde_json::json;

    fn picture(definition: crate::model::Json) -> String {
        mermaid(&program(definition), |_| None)
    }

    fn sample() -> Program {
        program(json!({ "do": [
            { "provision": { "try": [
                { "create": { "call": "create", "if": ".go" } },
                { "look": { "call": "look" } },
                { "decide": { "switch": [
                    { "ready": { "when": ".ready", "then": "exit" } },
                    { "other": { "then": "pause" } }] } },
                { "pause": { "wait": { "seconds": 5 }, "then": "look" } },
            ], "catch": { "do": [{ "tell": { "raise": { "error": { "type": "urn:x:gone", "status": 500 } } } }] } } },
            { "each": { "for": { "in": "$context.list" }, "do": [{ "note": { "set": { "a": 1 } } }] } },
        ] }))
    }

    #[test]
    fn a_program_becomes_a_flowchart() {
        let expected = r##"flowchart TD
  start(("start"))
  subgraph t_provision["provision<br/>try"]
    subgraph t_provision__try["try"]
      t_provision_try_create[["create<br/>call test/create@1.0.0"]]
      t_provision_try_look[["look<br/>call test/look@1.0.0"]]
      t_provision_try_decide{"decide<br/>switch"}
      t_provision_try_pause(["pause<br/>wait 5s"])
      t_provision__try__out(("exit"))
    end
    subgraph t_provision__catch["catch $error"]
      t_provision_catch_do_tell[/"tell<br/>raise gone"/]
    end
  end
  subgraph t_each["each<br/>for $item in $context.list"]
    t_each_do_note["note<br/>set"]
  end
  finish((("end")))
  start --> t_provision
  t_provision --> t_each
  t_provision__try -.->|"any error"| t_provision__catch
  t_provision_try_create --> t_provision_try_look
  t_provision_try_look --> t_provision_try_decide
  t_provision_try_decide -->|"ready"| t_provision__try__out
  t_provision_try_decide -->|"other"| t_provision_try_pause
  t_provision_try_pause --> t_provision_try_look
  t_each --> finish
"##;
        assert_eq!(mermaid(&sample(), |_| None), expected);
    }

    #[test]
    fn a_program_becomes_an_outline() {
        let expected = "flow 1.0.0 (test)
  provision: try
    create: call test/create@1.0.0, if .go
    look: call test/look@1.0.0
    decide: switch
      ready -> exit
      other -> pause
    pause: wait 5s -> look
    catch $error: any error
      tell: raise gone
  each: for $item in $context.list
    note: set
";
        assert_eq!(outline(&sample()), expected);
    }

    #[test]
    fn each_task_has_the_class_of_its_mark() {
        let program =
            program(json!({ "do": [{ "a": { "set": {} } }, { "b": { "set": {} } }, { "c": { "set": {} } }] }));
        let marks = [Mark::Completed, Mark::Running, Mark::NotReached];
        let text = mermaid(&program, |node| Some(marks[node.0 as usize]));
        for line in ["class t_a completed", "class t_b running", "class t_c notReached", "classDef running fill"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn whatever_a_label_holds_it_stays_text() {
        let text = picture(json!({ "do": [{ "a \"] <b>|`#": { "set": {} } }] }));
        assert!(text.contains("a #quot;] #lt;b#gt;|#96;#35;<br/>set"), "{text}");
        let long = "x".repeat(200);
        let text = picture(json!({ "do": [{ long: { "set": {} } }] }));
        assert!(text.contains(&format!("\"{}…<br/>set", "x".repeat(60))), "{text}");
    }

    #[test]
    fn a_skipped_task_is_passed_by_where_its_then_leads_elsewhere() {
        let text = picture(json!({ "do": [
            { "a": { "set": {}, "if": ".x > 1", "then": "end" } }, { "b": { "set": {} } }] }));
        assert!(text.contains("t_a --> finish") && text.contains("t_a -.->|\"unless .x #gt; 1\"| t_b"), "{text}");
    }

    #[test]
    fn names_that_would_be_one_box_are_two() {
        let text = picture(json!({ "do": [{ "a b": { "set": {} } }, { "a-b": { "set": {} } }] }));
        assert!(text.contains("t_a_b --> t_a_b_2"), "{text}");
    }

    fn hide(node: &mut Node) {
        node.hidden = true;
    }

    #[test]
    fn nodes_that_nobody_wrote_are_folded() {
        // a, then a woven block of two of which one is the author's, then c that is not.
        let mut program = program(json!({ "do": [
            { "a": { "set": {} } },
            { "woven": { "do": [{ "before": { "set": {} } }, { "own": { "set": {} } }] } },
            { "c": { "set": {} } }, { "d": { "set": {} } }] }));
        for node in &mut program.nodes {
            if matches!(node.name.as_str(), "woven" | "before" | "c") {
                hide(node);
            }
        }
        let text = mermaid(&program, |_| None);
        assert!(!text.contains("woven[") && !text.contains("before") && !text.contains("\"c<"), "{text}");
        assert!(text.contains("t_a --> t_woven_do_own\n") && text.contains("t_woven_do_own --> t_d\n"), "{text}");
        assert!(outline(&program).contains("  own: set\n  d: set\n"), "{}", outline(&program));
    }

    #[test]
    fn a_circle_of_folded_nodes_ends() {
        let mut program = program(
            json!({ "do": [{ "a": { "set": {} } }, { "b": { "set": {} } }, { "c": { "set": {}, "then": "b" } }] }),
        );
        program.nodes.iter_mut().skip(1).for_each(hide);
        assert!(mermaid(&program, |_| None).contains("t_a"));
    }

    #[test]
    fn a_fork_shows_its_branches() {
        let mut program = program(json!({ "do": [{ "f": { "do": [{ "left": { "set": {} } }] } }] }));
        let body = program.scopes.iter().position(|scope| scope.owner.is_some()).unwrap();
        let body = ScopeId(u32::try_from(body).unwrap());
        let branches = vec![Branch { name: "left".to_owned(), body }];
        program.nodes[NodeId(0).0 as usize].kind = NodeKind::Fork(Fork { branches, compete: true });
        let text = mermaid(&program, |_| None);
        assert!(text.contains("subgraph t_f[\"f<br/>fork, first one wins\"]"), "{text}");
        assert!(text.contains("subgraph t_f__b0[\"branch left\"]"), "{text}");
    }
}
