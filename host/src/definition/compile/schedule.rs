//! `schedule`: what starts instances by itself. Exactly one of `every`, `cron`, `after` and `on`.

use jiff::{SignedDuration, Timestamp};

use super::Compiler;
use super::task::Env;
use super::value::Spot;
use crate::definition::cron;
use crate::definition::graph::{Duration, Read, Schedule};
use crate::definition::yaml::Tree;

/// Each firing starts an instance; more often than this, it is a loop that was meant.
const EVERY_MIN: SignedDuration = SignedDuration::from_secs(1);

impl<'a> Compiler<'a> {
    pub(super) fn schedule(&mut self, workflow: &'a Tree) -> Option<Option<Schedule>> {
        let Some(tree) = workflow.get("schedule") else { return Some(None) };
        let entries = self.map(tree, "`schedule`")?;
        self.keys(tree, "`schedule`", &["every", "cron", "after", "on", "read"], &[]);
        let kinds = ["every", "cron", "after", "on"];
        let present: Vec<_> = entries.iter().filter(|entry| kinds.contains(&entry.key.as_str())).collect();
        let [kind] = present[..] else {
            let message = "a schedule has exactly one of `every`, `cron`, `after` and `on`";
            let cure = "keep one; for several, use several workflows that `run` this one";
            self.error_with_cure("schedule", tree.position, message, cure);
            return None;
        };
        // The documentation's examples read whole events, `$workflow.input[0].data`.
        let read = tree.get("read").map_or(Some(Read::Envelope), |read| self.read(Some(read)))?;
        if let Some(read) = tree.get("read").filter(|_| kind.key != "on") {
            self.error_with_cure("schedule", read.position, "`read` belongs to `on`", "remove it");
        }
        let schedule = match kind.key.as_str() {
            "every" => self.every(&kind.value).map(Schedule::Every),
            "cron" => self.cron(&kind.value).map(Schedule::Cron),
            "after" => self.fixed(&kind.value).map(Schedule::After),
            _ => {
                let at = (Spot::Trigger, &Env::default());
                self.strategy(&kind.value, "/schedule/on", at).map(|strategy| Schedule::On(strategy, read))
            }
        };
        schedule.map(Some)
    }

    fn every(&mut self, tree: &'a Tree) -> Option<SignedDuration> {
        let every = self.fixed(tree)?;
        if every < EVERY_MIN {
            let message = "a schedule fires once a second at most";
            self.error_with_cure("schedule", tree.position, message, "write `{ seconds: 1 }` or more");
            return None;
        }
        Some(every)
    }

    /// A duration that is known before there is an instance.
    fn fixed(&mut self, tree: &'a Tree) -> Option<SignedDuration> {
        if tree.as_text().is_some_and(|text| crate::definition::expression::wrapped(text).is_some()) {
            let message = "a schedule's duration is not an expression: there is no instance yet to compute it";
            self.error_with_cure("unsupported", tree.position, message, "write the duration out");
            return None;
        }
        match self.duration(tree, "/schedule", (Spot::Trigger, &Env::default()))? {
            Duration::Fixed(duration) => Some(duration),
            Duration::Expression(_) => None,
        }
    }

    fn cron(&mut self, tree: &'a Tree) -> Option<String> {
        let text = self.text(tree, "`cron`")?;
        match cron::next(text, Timestamp::UNIX_EPOCH) {
            Ok(Some(_)) => Some(text.to_owned()),
            Ok(None) => {
                let message = format!("`{text}` never fires: there is no such day");
                self.error_with_cure("cron", tree.position, message, "look at its day and month");
                None
            }
            Err(cure) => {
                self.error_with_cure("cron", tree.position, format!("`{text}` is no cron expression"), cure);
                None
            }
        }
    }
}
