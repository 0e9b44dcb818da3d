//! How what is there differs from what is wanted, member by member.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value as Json, json};

/// Characters of a value in a line, at most; the whole is in the files and on the server.
const SHOWN_MAX: usize = 80;
/// Names of members whose values are not shown wherever they stand in an input.
const SECRET: &[&str] = &["password", "passwd", "secret", "token", "credential", "privatekey", "apikey"];

/// One member that differs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    path: String,
    from: Json,
    to: Json,
}

/// Which members count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum How<'h> {
    /// All of both.
    Whole,
    /// Those that are wanted; and of what is there only these, whose absence is wanted too.
    Wanted(&'h [&'h str]),
}

/// What differs; nothing, null, an empty list and an empty object are the same.
pub(super) fn differences(wanted: &Json, there: &Json, how: How<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    below(wanted, there, how, "", &mut found);
    found
}

fn below(wanted: &Json, there: &Json, how: How<'_>, path: &str, found: &mut Vec<Difference>) {
    match (wanted, there) {
        (Json::Object(wanted), Json::Object(there)) => {
            let also = |name: &&String| match how {
                How::Whole => true,
                How::Wanted(more) => path.is_empty() && more.contains(&name.as_str()),
            };
            let names: BTreeSet<&String> = wanted.keys().chain(there.keys().filter(also)).collect();
            for name in names {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let value = |members: &serde_json::Map<String, Json>| members.get(name).cloned().unwrap_or_default();
                below(&value(wanted), &value(there), how, &inner, found);
            }
        }
        (Json::Array(wanted), Json::Array(there)) if wanted.len() == there.len() && !wanted.is_empty() => {
            for (index, (wanted, there)) in wanted.iter().zip(there).enumerate() {
                below(wanted, there, how, &format!("{path}[{index}]"), found);
            }
        }
        // Inside of what is new, too, members are told one by one: their names say what is not shown.
        (Json::Object(members), Json::Null) if !members.is_empty() && !path.is_empty() => {
            for (name, value) in members {
                below(value, &Json::Null, how, &format!("{path}.{name}"), found);
            }
        }
        (wanted, there) if is_nothing(wanted) && is_nothing(there) || same(wanted, there) => {}
        (wanted, there) => found.push(Difference { path: path.to_owned(), from: there.clone(), to: wanted.clone() }),
    }
}

/// Numbers are the same where they count the same.
fn same(left: &Json, right: &Json) -> bool {
    left == right || left.as_f64().is_some_and(|left| Some(left) == right.as_f64())
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    }
}

impl Difference {
    /// One that is known without comparing.
    pub(super) fn new(path: &str, from: Json, to: Json) -> Self {
        Self { path: path.to_owned(), from, to }
    }

    /// As data, without what is secret.
    pub(super) fn told(&self) -> Json {
        match self.is_secret() {
            true => json!({ "path": self.path, "from": "…", "to": "…" }),
            false => json!({ "path": self.path, "from": self.from, "to": self.to }),
        }
    }

    /// Connections name their secrets, so that only inputs can hold values.
    fn is_secret(&self) -> bool {
        let path = self.path.to_ascii_lowercase().replace(['-', '_'], "");
        path.starts_with("input.") && SECRET.iter().any(|word| path.contains(word))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret() {
            return write!(formatter, "{}: (a value that is not shown)", self.path);
        }
        write!(formatter, "{}: {} -> {}", self.path, brief(&self.from), brief(&self.to))
    }
}

fn brief(value: &Json) -> String {
    if value.is_null() {
        return "nothing".to_owned();
    }
    let text = value.to_string();
    match text.chars().count() > SHOWN_MAX {
        true => format!("{}…", text.chars().take(SHOWN_MAX).collect::<String>()),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(wanted: &Json, there: &Json, how: How<'_>) -> Vec<String> {
        differences(wanted, there, how).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn members_are_compared_one_by_one() {
        let wanted = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": [], "n": null});
        let there = json!({"a": 1.0, "b": {"c": [1, 3], "d": "x"}, "more": true, "old": 1});
        assert_eq!(paths(&wanted, &there, How::Whole), ["b.c[1]", "more", "old"]);
        assert_eq!(paths(&wanted, &there, How::Wanted(&["old"])), ["b.c[1]", "old"]);
        assert_eq!(paths(&wanted, &there, How::Wanted(&[])), ["b.c[1]"]);
        assert_eq!(paths(&json!({"c": [1]}), &json!({"c": [1, 2]}), How::Whole), ["c"]);
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let found = differences(&json!({"input": {"db_password": "x"}}), &json!({}), How::Whole);
        let nested =
            differences(&json!({"input": {"db_password": "x"}}), &json!({"input": {"db_password": "y"}}), How::Whole);
        assert_eq!(nested[0].to_string(), "input.db_password: (a value that is not shown)");
        assert!(!nested[0].told().to_string().contains('x'));
        assert!(!found[0].to_string().contains("\"x\""), "{}", found[0]);
    }

    #[test]
    fn a_long_value_is_cut() {
        let found = differences(&json!({"a": "x".repeat(500)}), &json!({}), How::Whole);
        assert!(found[0].to_string().len() < 120 && found[0].to_string().starts_with("a: nothing -> \"xxx"));
    }
}
