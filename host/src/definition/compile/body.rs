//! The bodies of tasks; here the short ones: `do`, `set`, `switch`, `for`, `fork`, `wait`.

use std::collections::HashSet;

use super::task::{List, Task};
use super::value::{At, Spot};
use super::{Compiler, escape, index};
use crate::definition::expression;
use crate::definition::graph::{Block, Branch, Each, Flow, Fork, NodeId, NodeKind, Template, Way};
use crate::definition::yaml::{Tree, Value};

impl<'a> Compiler<'a> {
    pub(super) fn body(&mut self, kind: &'static str, task: &Task<'a, '_>) -> Option<NodeKind> {
        let tree = task.tree.get(kind)?;
        let pointer = format!("{}/{kind}", task.pointer);
        let at = (Spot::Body, task.env);
        match kind {
            "call" => self.call(tree, task),
            "for" => self.each(tree, task).map(NodeKind::Each),
            "try" => self.try_block(tree, task).map(NodeKind::Scope),
            "do" => {
                let body = self.list(tree, &pointer, Some(task.node), task.env)?;
                Some(NodeKind::Scope(Block { body, catch: None, keep_input: false }))
            }
            "emit" => self.emit(tree, &pointer, at).map(NodeKind::Emit),
            "fork" => self.fork(tree, &pointer, task).map(NodeKind::Fork),
            "listen" => self.listen(tree, &pointer, task).map(NodeKind::Listen),
            "raise" => self.raise(tree, &pointer, at).map(NodeKind::Raise),
            "run" => self.run(tree, &pointer, task).map(NodeKind::Act),
            "set" => self.set(tree, &pointer, at).map(NodeKind::Eval),
            "switch" => self.switch(tree, &pointer, task).map(NodeKind::Route),
            _ => self.duration(tree, &pointer, at).map(NodeKind::Timer),
        }
    }

    /// `fork: {branches, compete}`: each branch is a scope of one task.
    fn fork(&mut self, tree: &'a Tree, pointer: &str, task: &Task<'a, '_>) -> Option<Fork> {
        self.map(tree, "`fork`")?;
        self.keys(tree, "`fork`", &["branches", "compete"], &[]);
        let compete = self.flag(tree.get("compete"), "`compete`");
        let items = self.required(tree, "branches", "`fork`").and_then(|list| self.items_of(list))?;
        let pointer = format!("{pointer}/branches");
        let mut names = HashSet::new();
        let mut branches = Vec::with_capacity(items.len());
        for (offset, item) in items.iter().enumerate() {
            if let Some([branch]) = item.as_map()
                && !names.insert(branch.key.as_str())
            {
                let message = format!("the branch name `{}` stands twice in this fork", branch.key);
                self.error_with_cure("duplicate-task", branch.position, message, "rename one of them");
            }
            let scope = self.add_scope(Some(task.node), NodeId(index(self.nodes.len())));
            let items = std::slice::from_ref(item);
            let first = self.tasks(&List { items, offset, pointer: &pointer, scope, env: task.env, end: Flow::Exit });
            let name = item.as_map().and_then(|branch| branch.first()).map(|branch| branch.key.clone());
            branches.push(first.and(name).map(|name| Branch { name, body: scope }));
        }
        Some(Fork { branches: branches.into_iter().collect::<Option<_>>()?, compete: compete? })
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
        let item = self.item_name(tree, "each", task.env);
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
        let parallel = self.parallel(task.tree);
        Some(Each { items: items?, item, index, condition: condition?, body: body?, parallel: parallel? })
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
}
