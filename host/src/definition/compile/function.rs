//! Functions of `use.functions`: a call of one is a block of two hidden tasks, the evaluated `with` and the function's own
//! task, which is read anew at each call.

use super::Compiler;
use super::task::{Env, Siblings, Task};
use crate::definition::diagnostic::Position;
use crate::definition::graph::{Block, Flow, Frame, Node, NodeKind};
use crate::definition::yaml::Tree;

/// The names that `call` reads as something else.
const BUILT_IN: [&str; 6] = ["http", "openapi", "grpc", "asyncapi", "a2a", "mcp"];

impl<'a> Compiler<'a> {
    pub(super) fn declare_function(&mut self, name: &'a str, tree: &'a Tree) {
        if BUILT_IN.contains(&name) {
            let message = format!("a function cannot be called `{name}`: `call: {name}` means something else");
            self.error_with_cure("bad-name", tree.position, message, "choose another name");
        }
    }

    /// Functions that nothing calls are read for their faults.
    pub(super) fn unused_functions(&mut self) {
        for name in self.declared("functions").to_vec() {
            if !self.called.contains(name)
                && let Some(tree) = self.named.get(&("functions", name)).copied()
            {
                self.rehearse(|compiler| compiler.rehearse_function(name, tree));
            }
        }
    }

    fn rehearse_function(&mut self, name: &'a str, tree: &'a Tree) -> Option<()> {
        let node = self.reserve(tree.position)?;
        let scope = self.add_scope(None, node);
        self.function(name, tree, scope, node);
        Some(())
    }

    pub(super) fn call_function(&mut self, name: &'a str, at: Position, task: &Task<'a, '_>) -> Option<Block> {
        let tree = *self.named.get(&("functions", name))?;
        let arguments = self.arguments(task);
        if self.calling.contains(&name) {
            let message = format!("the function `{name}` calls itself");
            let cure = "loop with `for` or a backward `then`; to recurse, start a workflow with `run`";
            self.error_with_cure("recursive-function", at, message, cure);
            return None;
        }
        let (first, body) = (self.reserve(task.position)?, self.reserve(tree.position)?);
        let scope = self.add_scope(Some(task.node), first);
        let with = Node {
            name: self.task_name(task)?,
            reference: task.pointer.to_owned(),
            scope,
            frame: Frame::default(),
            kind: NodeKind::Eval(arguments?),
            then: Flow::To(body),
            next: Flow::To(body),
            hidden: true,
            shield: false,
            metadata: Default::default(),
            extends: self.extended.clone(),
        };
        self.put(first, Some(with));
        self.function(name, tree, scope, body);
        Some(Block { body: scope, catch: None, keep_input: false })
    }

    /// The function's own task. Around it, no variable of the caller is bound.
    fn function(
        &mut self,
        name: &'a str,
        tree: &'a Tree,
        scope: crate::definition::graph::ScopeId,
        node: crate::definition::graph::NodeId,
    ) {
        if self.depth >= super::task::LISTS_DEPTH_MAX {
            self.too_deep(tree.position);
            return;
        }
        let around = self.extended.take();
        self.called.insert(name);
        self.calling.push(name);
        self.depth += 1;
        let mut siblings = Siblings::new(Flow::Exit);
        siblings.add(name, node);
        let pointer = format!("/use/functions/{}", super::escape(name));
        let env = Env::default();
        let (position, siblings) = (tree.position, &siblings);
        self.woven(&Task { tree, name, position, pointer: &pointer, env: &env, node, scope, siblings });
        self.depth -= 1;
        self.calling.pop();
        self.extended = around;
    }
}
