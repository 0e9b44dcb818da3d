//! Holds what came of a case against what was expected: members that are named have to be there and equal.

use serde_json::Value as Json;

use super::case::{Expect, Fault};
use super::script::Script;
use crate::desk::drive::Ended;
use crate::desk::{Outcome, Status};

/// What text stands for the instance's identifier.
const INSTANCE: &str = "${instance}";

/// Differences that are told of one value; more say nothing new.
const DIFFERENCES_MAX: usize = 20;

/// A text as long as this is shown, characters; a listing would bury the rest.
const SHOWN_CHARS_MAX: usize = 600;

/// Puts the instance's identifier into every text.
pub(in crate::desk) fn with_instance(value: &Json, instance: &str) -> Json {
    match value {
        Json::String(text) => Json::String(text.replace(INSTANCE, instance)),
        Json::Array(items) => items.iter().map(|item| with_instance(item, instance)).collect(),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(key, value)| (key.clone(), with_instance(value, instance))).collect())
        }
        other => other.clone(),
    }
}

/// The same for one text.
pub(super) fn text_with_instance(text: &str, instance: &str) -> String {
    text.replace(INSTANCE, instance)
}

/// One difference: where, what was expected, what there is.
pub(super) struct Difference {
    /// A JSON pointer.
    pub(super) pointer: String,
    /// What was named.
    pub(super) expected: String,
    /// What there is instead.
    pub(super) got: String,
}

/// Where `got` is not what `expected` names.
pub(super) fn differences(expected: &Json, got: &Json) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", expected, Some(got), &mut found);
    found.truncate(DIFFERENCES_MAX);
    found
}

fn compare(pointer: &str, expected: &Json, got: Option<&Json>, found: &mut Vec<Difference>) {
    let below = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (expected, got) {
        (Json::Object(members), Some(Json::Object(there))) => {
            members.iter().for_each(|(key, value)| compare(&below(key), value, there.get(key), found));
        }
        (Json::Array(items), Some(Json::Array(there))) if items.len() == there.len() => {
            let pairs = items.iter().zip(there).enumerate();
            pairs.for_each(|(index, (item, there))| compare(&below(&index.to_string()), item, Some(there), found));
        }
        (expected, Some(got)) if is_equal(expected, got) => {}
        (expected, got) => found.push(Difference {
            pointer: pointer.to_owned(),
            expected: shown(expected),
            got: got.map_or_else(|| "nothing".to_owned(), shown),
        }),
    }
}

/// Whether two values are equal; `1` and `1.0` are.
fn is_equal(one: &Json, other: &Json) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one_number), Some(other_number)) => one == other || one_number == other_number,
        _ => one == other,
    }
}

/// A value as it is shown.
pub(super) fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.chars().count() > SHOWN_CHARS_MAX {
        true => text.chars().take(SHOWN_CHARS_MAX).chain("…".chars()).collect(),
        false => text,
    }
}

/// Everything that is not as expected.
pub(super) fn judge(expect: &Expect, ended: &Ended, script: &Script) -> Vec<Fault> {
    let (outcome, instance) = (&ended.outcome, ended.instance());
    let mut faults = script.unexpected();
    faults.extend(end(expect, outcome));
    if outcome.status == expect.status {
        faults.extend(data(expect, outcome, &instance));
    }
    faults.extend(counts(expect, outcome));
    faults.extend(arguments(expect, script, &instance));
    // What was not asked for is only news where the run went as far as it should.
    if faults.is_empty() {
        faults.extend(script.unused());
    }
    faults
}

fn end(expect: &Expect, outcome: &Outcome) -> Option<Fault> {
    let wanted = expect.status;
    if outcome.status == wanted && (outcome.stopped.is_none() || wanted == Status::Waiting) {
        return None;
    }
    let mut got = outcome.status.as_str().to_owned();
    if let Some(reason) = &outcome.stopped {
        got.push_str(&format!(": {}", reason.replace("; feed events with --events", "; give it `events`")));
    }
    if let Some(error) = &outcome.error {
        let title = error.title.as_deref().unwrap_or(&error.kind);
        let detail = error.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let place = error.instance.as_deref().map(|place| format!(", at {place}")).unwrap_or_default();
        got.push_str(&format!(": {title} ({}){detail}; type {}{place}", error.status, error.kind));
    }
    if let (Status::Completed, Some(output)) = (outcome.status, &outcome.output) {
        got.push_str(&format!(" with {}", shown(output)));
    }
    Some(Fault::differs("the instance's end", wanted.as_str(), got))
}

fn data(expect: &Expect, outcome: &Outcome, instance: &str) -> Vec<Fault> {
    let error = outcome.error.as_ref().map(crate::model::ErrorObject::to_json);
    let parts = [("output", &expect.output, outcome.output.clone()), ("error", &expect.error, error)];
    let parts = parts.into_iter().filter_map(|(name, wanted, got)| Some((name, wanted.as_ref()?, got)));
    let told = |(name, wanted, got): (&str, &Json, Option<Json>)| -> Vec<Fault> {
        let all = differences(&with_instance(wanted, instance), &got.unwrap_or_default());
        all.into_iter().map(|one| Fault::differs(format!("{name} {}", one.pointer), one.expected, one.got)).collect()
    };
    parts.flat_map(told).collect()
}

fn counts(expect: &Expect, outcome: &Outcome) -> Vec<Fault> {
    let entered = |name: &str| outcome.tasks.iter().filter(|task| task.name == name).count() as u64;
    let wrong = expect.tasks.iter().filter(|(name, count)| entered(name) != **count);
    wrong
        .map(|(name, count)| Fault::differs(format!("how often the task `{name}` is entered"), count, entered(name)))
        .collect()
}

fn arguments(expect: &Expect, script: &Script, instance: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (label, wanted) in &expect.arguments {
        let Some(got) = script.last_arguments(label) else {
            faults.push(Fault::differs(format!("the last call of `{label}`"), "a call", "none"));
            continue;
        };
        let all = differences(&with_instance(wanted, instance), &got);
        faults
            .extend(all.into_iter().map(|one| {
                Fault::differs(format!("what `{label}` is passed, {}", one.pointer), one.expected, one.got)
            }));
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_named_has_to_be_there_and_equal() {
        /// What is expected, what came, and the differences.
        type Case = (Json, Json, &'static [(&'static str, &'static str, &'static str)]);
        #[rustfmt::skip]
        let cases: &[Case] = &[
            (json!({}), json!({"a": 1}), &[]),
            (json!({"a": {"b": 1}}), json!({"a": {"b": 1.0, "c": 2}, "d": 3}), &[]),
            (json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), &[("/a/b", "1", "2")]),
            (json!({"a/b": null}), json!({}), &[("/a~1b", "null", "nothing")]),
            (json!({"a": null}), json!({"a": null}), &[]),
            (json!([{"a": 1}, 2]), json!([{"a": 1, "b": 2}, 2]), &[]),
            (json!([1]), json!([1, 2]), &[("", "[1]", "[1,2]")]),
            (json!([1, 2]), json!([1, 3]), &[("/1", "2", "3")]),
            (json!("1"), json!(1), &[("", "\"1\"", "1")]),
        ];
        for (expected, got, wanted) in cases {
            let found = differences(expected, got);
            let found: Vec<_> =
                found.iter().map(|one| (one.pointer.as_str(), one.expected.as_str(), one.got.as_str())).collect();
            assert_eq!(found, *wanted, "{expected} {got}");
        }
    }

    #[test]
    fn the_instance_stands_in_any_text() {
        let value = json!({"a": ["x-${instance}-y"], "b": 1});
        assert_eq!(with_instance(&value, "i"), json!({"a": ["x-i-y"], "b": 1}));
    }
}
