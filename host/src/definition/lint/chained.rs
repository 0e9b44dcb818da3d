//! Parallel loops: their iterations run side by side, so none may read what the one before it would have given. Followed
//! from the first task on for as long as the loop's data is passed along unread.

use std::collections::HashSet;

use super::reads::{reads_data, reads_variables};
use super::{Finding, ids, onward};
use crate::definition::diagnostic::{Position, Severity};
use crate::definition::graph::{
    Block, Duration, ExpressionId, Flow, Listen, NodeId, NodeKind, Program, Raise, Retry, ScopeId, Strategy, Template,
    Until,
};

/// One error for each parallel loop that reads chained data.
pub(super) fn check(program: &Program, places: &[Position], place_of: &dyn Fn(&str) -> Position) -> Vec<Finding> {
    let loops = ids(program).filter_map(|(id, node)| match &node.kind {
        NodeKind::Each(each) if each.parallel.is_some() => Some((id, each)),
        _ => None,
    });
    let mut found = Vec::new();
    for (id, each) in loops {
        let mut walk = Walk { program, reader: None };
        walk.scope(each.body);
        let (position, what) = match walk.reader {
            None => continue,
            Some((node, Some(expression))) => {
                let expression = program.expression(expression);
                let text: String = expression.text.chars().take(100).collect();
                (place_of(&expression.pointer), format!("`{text}` at task `{}`", program.node(node).name))
            }
            Some((node, None)) => (places[node.0 as usize], format!("task `{}`", program.node(node).name)),
        };
        found.push(Finding {
            code: "parallel-chained",
            severity: Severity::Error,
            position,
            message: format!(
                "the iterations of `{}` run side by side, but {what} reads the data that the iteration before gives",
                program.node(id).name
            ),
            cure: "give the body's first task an `input: { from: … }` made of the loop's variables, `$context` or \
                   `$workflow`, or remove `metadata.parallel`"
                .to_owned(),
        });
    }
    found
}

/// A walk along everything that the loop's data reaches unchanged.
struct Walk<'a> {
    program: &'a Program,
    /// The first task that reads it, with the expression, where it is one.
    reader: Option<(NodeId, Option<ExpressionId>)>,
}

impl Walk<'_> {
    /// Whether the data may leave the scope unchanged that entered it.
    fn scope(&mut self, scope: ScopeId) -> bool {
        let mut reached = HashSet::new();
        let mut open = vec![self.program.scope(scope).first];
        let mut leaves = false;
        while let Some(id) = open.pop() {
            if self.reader.is_some() || !reached.insert(id) {
                continue;
            }
            let node = self.program.node(id);
            let mut flows = if self.node(id) { onward(node) } else { Vec::new() };
            if node.frame.condition.is_some() {
                flows.push(node.next);
            }
            for flow in flows {
                match flow {
                    Flow::To(next) => open.push(next),
                    Flow::Exit => leaves = true,
                    Flow::End => {}
                }
            }
        }
        leaves
    }

    /// Whether the task's output may be the data it was given.
    fn node(&mut self, id: NodeId) -> bool {
        let frame = &self.program.node(id).frame;
        if frame.input_schema.is_some() {
            self.reader.get_or_insert((id, None));
        }
        self.expression(id, frame.condition);
        self.duration(id, frame.timeout.as_ref());
        self.template(id, frame.input_from.as_ref());
        if frame.input_from.is_some() {
            return false;
        }
        let passes = self.body(id);
        for template in [&frame.output_as, &frame.export_as].into_iter().flatten() {
            match passes {
                true => self.template(id, Some(template)),
                false => self.variables(id, template),
            }
        }
        if passes && (frame.output_schema.is_some() || frame.export_schema.is_some()) {
            self.reader.get_or_insert((id, None));
        }
        passes && frame.output_as.is_none()
    }

    fn body(&mut self, id: NodeId) -> bool {
        match &self.program.node(id).kind {
            NodeKind::Act(act) => {
                self.template(id, Some(&act.arguments));
                act.detached
            }
            NodeKind::Eval(template) | NodeKind::Emit(template) | NodeKind::Raise(Raise::Error(template)) => {
                self.template(id, Some(template));
                false
            }
            NodeKind::Raise(Raise::Again(expression)) => {
                self.expression(id, Some(*expression));
                false
            }
            NodeKind::Route(ways) => {
                ways.iter().for_each(|way| self.expression(id, way.guard));
                true
            }
            NodeKind::Each(each) => {
                self.template(id, Some(&each.items));
                self.expression(id, each.condition);
                self.scope(each.body);
                each.parallel.is_none()
            }
            NodeKind::Timer(duration) => {
                self.duration(id, Some(duration));
                true
            }
            NodeKind::Scope(block) => self.block(id, block),
            NodeKind::Fork(fork) => {
                let mut leaves = false;
                for branch in &fork.branches {
                    leaves |= self.scope(branch.body);
                }
                leaves && fork.compete
            }
            NodeKind::Listen(listen) => {
                self.listen(id, listen);
                false
            }
            NodeKind::Recall => true,
        }
    }

    fn block(&mut self, id: NodeId, block: &Block) -> bool {
        let mut leaves = self.scope(block.body) || block.keep_input;
        if let Some(catch) = &block.catch {
            self.expression(id, catch.when);
            self.expression(id, catch.except_when);
            if let Some(retry) = &catch.retry {
                self.retry(id, retry);
            }
            leaves |= catch.handler.is_none_or(|handler| self.scope(handler));
        }
        leaves
    }

    fn retry(&mut self, id: NodeId, retry: &Retry) {
        self.expression(id, retry.when);
        self.expression(id, retry.except_when);
        let jitter = retry.jitter.iter().flat_map(|(from, to)| [from, to]);
        let limits = [&retry.attempt_duration, &retry.total_duration].into_iter().flatten();
        for duration in std::iter::once(&retry.delay).chain(jitter).chain(limits) {
            self.duration(id, Some(duration));
        }
    }

    /// An event's expressions run on the event; only what is expected of it is made of the data.
    fn listen(&mut self, id: NodeId, listen: &Listen) {
        self.strategy(id, &listen.to);
        let foreach = listen.foreach.iter();
        for template in foreach.flat_map(|foreach| [&foreach.output_as, &foreach.export_as]).flatten() {
            self.variables(id, template);
        }
    }

    fn strategy(&mut self, id: NodeId, strategy: &Strategy) {
        let correlations = strategy.filters.iter().flat_map(|filter| &filter.correlate);
        correlations.for_each(|correlation| self.template(id, correlation.expect.as_ref()));
        if let Some(Until::Events(strategy)) = &strategy.until {
            self.strategy(id, strategy);
        }
    }

    fn duration(&mut self, id: NodeId, duration: Option<&Duration>) {
        if let Some(Duration::Expression(expression)) = duration {
            self.expression(id, Some(*expression));
        }
    }

    fn template(&mut self, id: NodeId, template: Option<&Template>) {
        match template {
            None | Some(Template::Literal(_)) => {}
            Some(Template::Expression(expression) | Template::Loose(expression, _)) => {
                self.expression(id, Some(*expression));
            }
            Some(Template::Uri(_)) => drop(self.reader.get_or_insert((id, None))),
            Some(Template::Array(items)) => items.iter().for_each(|item| self.template(id, Some(item))),
            Some(Template::Object(members)) => members.iter().for_each(|(_, item)| self.template(id, Some(item))),
        }
    }

    /// A template that runs on something else, but may still name the data.
    fn variables(&mut self, id: NodeId, template: &Template) {
        match template {
            Template::Literal(_) | Template::Uri(_) => {}
            Template::Expression(expression) | Template::Loose(expression, _) => {
                if reads_variables(&self.program.expression(*expression).text) {
                    self.reader.get_or_insert((id, Some(*expression)));
                }
            }
            Template::Array(items) => items.iter().for_each(|item| self.variables(id, item)),
            Template::Object(members) => members.iter().for_each(|(_, item)| self.variables(id, item)),
        }
    }

    fn expression(&mut self, id: NodeId, expression: Option<ExpressionId>) {
        if let Some(expression) = expression
            && reads_data(&self.program.expression(expression).text)
        {
            self.reader.get_or_insert((id, Some(expression)));
        }
    }
}
