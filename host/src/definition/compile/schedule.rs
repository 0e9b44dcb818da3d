//! `schedule`: what starts instances by itself. Exactly one of `every`, `cron`, `after` and `on`.

use jiff::SignedDuration;

use super::Compiler;
use super::task::Env;
use super::value::Spot;
use crate::definition::graph::{Duration, Schedule};
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
        let read = self.read(tree.get("read"))?;
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
        match check_cron(text) {
            Ok(()) => Some(text.to_owned()),
            Err(message) => {
                let cure = "write five fields, minute hour day-of-month month day-of-week, such as `0 6 * * mon-fri`";
                self.error_with_cure("cron", tree.position, format!("`{text}` is no cron expression: {message}"), cure);
                None
            }
        }
    }
}

/// A field: its name, its bounds, and words for its numbers from the lower bound on.
type Field = (&'static str, u32, u32, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    // Sunday is 0 and 7.
    ("day of week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

fn check_cron(text: &str) -> Result<(), String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("it has {} fields instead of five", fields.len()));
    }
    FIELDS.iter().zip(fields).try_for_each(|(field, text)| text.split(',').try_for_each(|part| check_part(field, part)))
}

/// `*`, `a`, `a-b`, and a step behind the first and the last.
fn check_part(field: &Field, part: &str) -> Result<(), String> {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let spans = match range.split_once('-') {
        _ if range == "*" => true,
        Some((first, last)) => {
            let (first, last) = (number(field, first)?, number(field, last)?);
            if first > last {
                return Err(format!("the {} `{range}` runs backwards", field.0));
            }
            true
        }
        None => number(field, range).map(|_| false)?,
    };
    match step {
        None => Ok(()),
        Some(step) if spans && step.parse::<u8>().is_ok_and(|step| step > 0) && !step.starts_with('+') => Ok(()),
        Some(_) => Err(format!("the step of the {} `{part}` is not `*/n` or `a-b/n`", field.0)),
    }
}

fn number((name, low, high, words): &Field, text: &str) -> Result<u32, String> {
    let word =
        words.iter().position(|word| word.eq_ignore_ascii_case(text)).and_then(|place| u32::try_from(place).ok());
    let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.map(|place| low + place).or_else(|| text.parse().ok().filter(|_| digits));
    number
        .filter(|number| (*low..=*high).contains(number))
        .ok_or_else(|| format!("`{text}` is no {name}, {low} to {high}"))
}
