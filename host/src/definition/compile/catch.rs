//! `try` and `catch`.

use super::Compiler;
use super::policy::{Around, canonical};
use super::task::{Env, Task};
use crate::definition::expression;
use crate::definition::graph::{Block, Catch, ErrorFilter};
use crate::definition::yaml::Tree;

impl<'a> Compiler<'a> {
    pub(super) fn try_block(&mut self, tree: &'a Tree, task: &Task<'a, '_>) -> Option<Block> {
        let body = self.list(tree, &format!("{}/try", task.pointer), Some(task.node), task.env);
        let catch = self.required(task.tree, "catch", "a `try` task").and_then(|catch| self.catch(catch, task));
        Some(Block { body: body?, catch: Some(catch?), keep_input: false })
    }

    fn catch(&mut self, tree: &'a Tree, task: &Task<'a, '_>) -> Option<Catch> {
        let pointer = format!("{}/catch", task.pointer);
        self.map(tree, "`catch`")?;
        let known = ["errors", "as", "when", "exceptWhen", "retry", "do", "then"];
        self.keys(tree, "`catch`", &known, &[]);
        let with = tree.get("errors").map_or(Some(ErrorFilter::default()), |errors| self.error_filter(errors));
        let variable = self.variable_name(tree.get("as"), "error", task.env)?;
        let env = task.env.with(&variable);
        let when = self.optional_condition(tree, "when", &pointer, &env);
        let except_when = self.optional_condition(tree, "exceptWhen", &pointer, &env);
        let retry = tree.get("retry").map_or(Some(None), |retry| {
            let around = Around { task: task.env, catch: &env };
            self.retry(retry, &format!("{pointer}/retry"), around).map(Some)
        });
        let handler = tree.get("do").map_or(Some(None), |list| self.handler(list, &pointer, task, &env).map(Some));
        let then = tree.get("then").map_or(Some(None), |then| self.flow(Some(then), task.siblings).map(Some));
        Some(Catch {
            with: with?,
            variable,
            when: when?,
            except_when: except_when?,
            retry: retry?,
            handler: handler?,
            then: then?,
        })
    }

    fn handler(
        &mut self,
        list: &'a Tree,
        pointer: &str,
        task: &Task<'a, '_>,
        env: &Env,
    ) -> Option<crate::definition::graph::ScopeId> {
        self.list(list, &format!("{pointer}/do"), Some(task.node), env)
    }

    /// `errors: {with: {…}}`: each member a value to be equal to.
    fn error_filter(&mut self, tree: &'a Tree) -> Option<ErrorFilter> {
        self.map(tree, "`errors`")?;
        self.keys(tree, "`errors`", &["with"], &[]);
        let Some(with) = tree.get("with") else { return Some(ErrorFilter::default()) };
        self.map(with, "`errors.with`")?;
        // Up to DSL 1.0.3 the schema spells it `details`.
        self.keys(with, "`errors.with`", &["type", "status", "title", "detail", "details", "instance"], &[]);
        let status = with.get("status").map_or(Some(None), |status| self.status(status).map(Some));
        let mut member = |key| with.get(key).map_or(Some(None), |value| self.filter_text(value, key).map(Some));
        let (kind, title) = (member("type"), member("title"));
        let (detail, details, instance) = (member("detail"), member("details"), member("instance"));
        Some(ErrorFilter {
            kind: kind?.map(|kind| canonical(&kind)),
            status: status?,
            title: title?,
            detail: detail?.or(details?),
            instance: instance?,
        })
    }

    fn filter_text(&mut self, tree: &'a Tree, key: &str) -> Option<String> {
        let text = self.text(tree, &format!("`errors.with.{key}`"))?;
        if expression::wrapped(text).is_some() {
            let message = format!("an expression is not supported in `errors.with.{key}`");
            let cure = format!("compare in `when`: `$error.{key} == …`");
            self.error_with_cure("unsupported", tree.position, message, cure);
            return None;
        }
        Some(text.to_owned())
    }
}
