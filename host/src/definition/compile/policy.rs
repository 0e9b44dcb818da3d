//! What is written in place or named in `use`: timeouts, durations, retry policies, errors.

use jiff::SignedDuration;

use super::task::Env;
use super::value::{At, Spot};
use super::{Compiler, escape};
use crate::definition::graph::{Backoff, Duration, Raise, Retry, Template};
use crate::definition::yaml::{Tree, Value};
use crate::definition::{duration, expression};
use crate::model::{Json, standard};

const UNITS: [&str; 5] = ["days", "hours", "minutes", "seconds", "milliseconds"];

/// How often and how long: retries, one attempt, all of them.
type Limits = (Option<u32>, Option<Duration>, Option<Duration>);

/// The variables around a retry policy.
#[derive(Clone, Copy)]
pub(super) struct Around<'e> {
    /// Those around the `try`: what its limits see, which hold before there is an error.
    pub(super) task: &'e Env,
    /// With the error's.
    pub(super) catch: &'e Env,
}

impl<'a> Compiler<'a> {
    /// `timeout` of a task or the workflow.
    pub(super) fn timeout(&mut self, owner: &'a Tree, pointer: &str, at: At<'_>) -> Option<Option<Duration>> {
        let Some(tree) = owner.get("timeout") else { return Some(None) };
        match tree.as_text() {
            Some(name) => {
                let (tree, pointer) = self.named("timeouts", name, tree.position, "undeclared-timeout")?;
                self.timeout_after(tree, &pointer, at).map(Some)
            }
            None => self.timeout_after(tree, &format!("{pointer}/timeout"), at).map(Some),
        }
    }

    /// `{after: …}`.
    pub(super) fn timeout_after(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Duration> {
        self.map(tree, "a timeout")?;
        self.keys(tree, "a timeout", &["after"], &[]);
        let after = self.required(tree, "after", "a timeout")?;
        self.duration(after, &format!("{pointer}/after"), at)
    }

    /// An object of units, ISO 8601 text or an expression that gives one of them.
    pub(super) fn duration(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Duration> {
        if let Some(program) = tree.as_text().and_then(expression::wrapped) {
            return self.expression(program, tree, pointer, at).map(Duration::Expression);
        }
        self.fixed_duration(tree).map(Duration::Fixed)
    }

    /// A duration without expressions.
    pub(super) fn fixed_duration(&mut self, tree: &'a Tree) -> Option<SignedDuration> {
        if let Some(entries) = tree.as_map() {
            let before = self.findings.len();
            self.keys(tree, "a duration", &UNITS, &[]);
            if self.findings.len() > before {
                return None;
            }
            if entries.is_empty() {
                self.error("duration", tree.position, "the duration names no unit");
                return None;
            }
        }
        match duration::read(&tree.to_json()) {
            Ok(duration) => Some(duration),
            Err(message) => {
                let cure = "write `{ seconds: 5 }` or ISO 8601 text, `PT5S`";
                self.error_with_cure("duration", tree.position, message, cure);
                None
            }
        }
    }

    /// The duration under a key, where there is one.
    fn duration_in(&mut self, tree: &'a Tree, key: &str, pointer: &str, at: At<'_>) -> Option<Option<Duration>> {
        match tree.get(key) {
            Some(value) => self.duration(value, &format!("{pointer}/{key}"), at).map(Some),
            None => Some(None),
        }
    }

    /// `retry`: a policy in place, or the name of one.
    pub(super) fn retry(&mut self, tree: &'a Tree, pointer: &str, around: Around<'_>) -> Option<Retry> {
        match tree.as_text() {
            Some(name) => {
                let (tree, pointer) = self.named("retries", name, tree.position, "undeclared-retry")?;
                self.retry_policy(tree, &pointer, around)
            }
            None => self.retry_policy(tree, pointer, around),
        }
    }

    pub(super) fn retry_policy(&mut self, tree: &'a Tree, pointer: &str, around: Around<'_>) -> Option<Retry> {
        let env = around.catch;
        self.map(tree, "a retry policy")?;
        let known = ["when", "exceptWhen", "delay", "backoff", "limit", "jitter"];
        self.keys(tree, "a retry policy", &known, &[]);
        let when = self.optional_condition(tree, "when", pointer, env);
        let except_when = self.optional_condition(tree, "exceptWhen", pointer, env);
        let delay = self.duration_in(tree, "delay", pointer, (Spot::Body, env));
        let backoff = tree.get("backoff").map_or(Some(Backoff::Constant), |backoff| self.backoff(backoff));
        let jitter = tree.get("jitter").map_or(Some(None), |jitter| {
            self.jitter(jitter, &format!("{pointer}/jitter"), (Spot::Body, env)).map(Some)
        });
        let limits = tree.get("limit").map_or(Some((None, None, None)), |limit| {
            self.limit(limit, &format!("{pointer}/limit"), (Spot::Body, around.task))
        });
        let (count, attempt_duration, total_duration) = limits?;
        if count.is_none() && total_duration.is_none() && tree.get("when").is_none() {
            let message = "this policy retries for ever";
            self.warning("retry-without-limit", tree.position, message, "add `limit: { attempt: { count: 5 } }`");
        }
        Some(Retry {
            when: when?,
            except_when: except_when?,
            delay: delay?.unwrap_or(Duration::Fixed(SignedDuration::ZERO)),
            backoff: backoff?,
            jitter: jitter?,
            count,
            attempt_duration,
            total_duration,
        })
    }

    pub(super) fn optional_condition(
        &mut self,
        tree: &'a Tree,
        key: &str,
        pointer: &str,
        env: &Env,
    ) -> Option<Option<crate::definition::graph::ExpressionId>> {
        match tree.get(key) {
            Some(value) => self.condition(value, &format!("{pointer}/{key}"), (Spot::Body, env)).map(Some),
            None => Some(None),
        }
    }

    fn backoff(&mut self, tree: &'a Tree) -> Option<Backoff> {
        self.map(tree, "`backoff`")?;
        self.keys(tree, "`backoff`", &["constant", "linear", "exponential"], &[]);
        let Some([entry]) = tree.as_map() else {
            self.error(
                "wrong-type",
                tree.position,
                "`backoff` is one of `constant: {}`, `linear: {}`, `exponential: {}`",
            );
            return None;
        };
        match &entry.value.value {
            Value::Null => {}
            Value::Map(entries) if entries.is_empty() => {}
            _ => {
                let message = format!("`{}` takes nothing inside in this version", entry.key);
                self.error_with_cure(
                    "unsupported",
                    entry.value.position,
                    message,
                    format!("write `{}: {{}}`", entry.key),
                );
                return None;
            }
        }
        match entry.key.as_str() {
            "constant" => Some(Backoff::Constant),
            "linear" => Some(Backoff::Linear),
            "exponential" => Some(Backoff::Exponential),
            _ => None,
        }
    }

    fn jitter(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<(Duration, Duration)> {
        self.map(tree, "`jitter`")?;
        self.keys(tree, "`jitter`", &["from", "to"], &[]);
        self.required(tree, "from", "`jitter`");
        self.required(tree, "to", "`jitter`");
        let from = self.duration_in(tree, "from", pointer, at);
        let to = self.duration_in(tree, "to", pointer, at);
        let (from, to) = (from??, to??);
        if from.fixed().zip(to.fixed()).is_some_and(|(from, to)| from > to) {
            self.error("duration", tree.position, "`jitter.from` is longer than `jitter.to`");
            return None;
        }
        Some((from, to))
    }

    fn limit(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Limits> {
        self.map(tree, "`limit`")?;
        self.keys(tree, "`limit`", &["attempt", "duration"], &[]);
        let total = self.duration_in(tree, "duration", pointer, at);
        let Some(attempt) = tree.get("attempt") else { return Some((None, None, total?)) };
        self.map(attempt, "`limit.attempt`")?;
        self.keys(attempt, "`limit.attempt`", &["count", "duration"], &[]);
        let duration = self.duration_in(attempt, "duration", &format!("{pointer}/attempt"), at);
        let count = match attempt.get("count") {
            None => None,
            Some(count) => {
                let number = count.to_json().as_u64().and_then(|number| u32::try_from(number).ok());
                if number.is_none() {
                    self.error("wrong-type", count.position, "`count` is a whole number from 0");
                }
                Some(number?)
            }
        };
        Some((count, duration?, total?))
    }

    /// `raise: {error}`: written out, named, or `${ … }` that gives one.
    pub(super) fn raise(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Raise> {
        self.map(tree, "`raise`")?;
        self.keys(tree, "`raise`", &["error"], &[]);
        let error = self.required(tree, "error", "`raise`")?;
        let pointer = format!("{pointer}/error");
        let Some(text) = error.as_text() else {
            return self.error_template(error, &pointer, at).map(Raise::Error);
        };
        if let Some(program) = expression::wrapped(text) {
            return self.expression(program, error, &pointer, at).map(Raise::Again);
        }
        let (tree, pointer) = self.named("errors", text, error.position, "undeclared-error")?;
        self.error_template(tree, &pointer, at).map(Raise::Error)
    }

    /// An error written out. Its type, where it is one of the standard, becomes canonical.
    pub(super) fn error_template(&mut self, tree: &'a Tree, pointer: &str, at: At<'_>) -> Option<Template> {
        let entries = self.map(tree, "an error")?;
        self.keys(tree, "an error", &["type", "status", "title", "detail", "instance"], &[]);
        self.required(tree, "type", "an error");
        self.required(tree, "status", "an error");
        let mut members = Vec::with_capacity(entries.len());
        for entry in entries {
            let pointer = format!("{pointer}/{}", escape(&entry.key));
            let member = match entry.key.as_str() {
                "status" => self.status(&entry.value).map(|status| Template::Literal(Json::from(status))),
                _ => {
                    self.text(&entry.value, &format!("an error's `{}`", entry.key));
                    self.template(&entry.value, &pointer, at)
                }
            };
            members.push(member.map(|member| match (entry.key.as_str(), member) {
                ("type", Template::Literal(Json::String(kind))) => {
                    (entry.key.clone(), Template::Literal(Json::from(canonical(&kind))))
                }
                (_, member) => (entry.key.clone(), member),
            }));
        }
        members.into_iter().collect::<Option<Vec<_>>>().map(Template::Object)
    }

    /// An HTTP status written out.
    pub(super) fn status(&mut self, tree: &'a Tree) -> Option<u16> {
        let status = tree.to_json().as_u64().filter(|status| (100..600).contains(status));
        if status.is_none() {
            let message = "`status` is a whole number from 100 to 599";
            let cure = "to raise a caught error again with its own status, write `error: '${ $error }'`";
            self.error_with_cure("wrong-type", tree.position, message, cure);
        }
        u16::try_from(status?).ok()
    }
}

/// The error types of the specification, by their last segment.
const STANDARD: [&str; 8] = [
    standard::CONFIGURATION.0,
    standard::VALIDATION.0,
    standard::EXPRESSION.0,
    standard::AUTHENTICATION.0,
    standard::AUTHORIZATION.0,
    standard::TIMEOUT.0,
    standard::COMMUNICATION.0,
    standard::RUNTIME.0,
];

/// The bases under which they were published over time.
const BASES: [&str; 4] = [
    standard::BASE,
    "https://serverlessworkflow.io/spec/1.0.0/errors/",
    "https://serverlessworkflow.io/dsl/errors/types/",
    "https://open-workflow-specification.org/dsl/errors/types/",
];

/// The type under `standard::BASE`, if it is a standard one under any base; else itself.
pub(super) fn canonical(kind: &str) -> String {
    let segment = BASES.iter().find_map(|base| kind.strip_prefix(base));
    match segment.filter(|segment| STANDARD.contains(segment)) {
        Some(segment) => format!("{}{segment}", standard::BASE),
        None => kind.to_owned(),
    }
}
