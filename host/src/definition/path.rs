//! Plain paths, `.a."b c"[0]` or `$context.x`: recognised in the text and computed natively, with jq's own answers, so
//! that the most common expressions never enter the sandbox.

use super::expression::name;
use super::graph::{PathStep, PlainPath};
use crate::model::Json;

/// More steps than anybody writes; a longer program goes the ordinary way.
const STEPS_MAX: usize = 64;

/// The path, if the program is nothing else.
pub fn parse(program: &str) -> Option<PlainPath> {
    let program = program.trim();
    if program == "." {
        return Some(PlainPath { root: None, steps: Vec::new() });
    }
    let (root, mut rest) = match program.strip_prefix('$') {
        None => (None, program),
        Some(after) => match name(after) {
            "" => return None,
            root => (Some(root.to_owned()), &after[root.len()..]),
        },
    };
    // `.[0]` is a path, `.a.[0]` as well; `[0]` alone is an array.
    if root.is_none() && !rest.starts_with('.') {
        return None;
    }
    let mut steps = Vec::new();
    while !rest.is_empty() && steps.len() < STEPS_MAX {
        let (step, after) = step(rest)?;
        steps.push(step);
        rest = after;
    }
    rest.is_empty().then_some(PlainPath { root, steps })
}

fn step(text: &str) -> Option<(PathStep, &str)> {
    let (dot, text) = match text.strip_prefix('.') {
        Some(after) => (true, after),
        None => (false, text),
    };
    if let Some(inside) = text.strip_prefix('[') {
        let (inside, after) = inside.split_once(']')?;
        return match inside.strip_prefix('"') {
            Some(key) => Some((PathStep::Key(plain_key(key.strip_suffix('"')?)?.to_owned()), after)),
            None => Some((PathStep::Index(index(inside)?), after)),
        };
    }
    if !dot {
        return None;
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let (key, after) = quoted.split_once('"')?;
        return Some((PathStep::Key(plain_key(key)?.to_owned()), after));
    }
    match name(text) {
        "" => None,
        key => Some((PathStep::Key(key.to_owned()), &text[key.len()..])),
    }
}

/// A quoted key without any escape or interpolation.
fn plain_key(key: &str) -> Option<&str> {
    (!key.contains(['\\', '"', ']']) && !key.chars().any(char::is_control)).then_some(key)
}

/// A small index written with digits alone: jq has other thoughts on `1.0` or `01`.
fn index(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = !digits.is_empty()
        && digits.len() <= 9
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// What the path leads to. Absence is `null`, as in jq.
///
/// # Errors
/// A step does not fit its value, `"x" | .a`; the message is jq's.
pub fn walk<'a>(steps: &[PathStep], start: &'a Json) -> Result<Option<&'a Json>, String> {
    let mut here = Some(start);
    for step in steps {
        here = match (here, step) {
            (None | Some(Json::Null), _) => None,
            (Some(Json::Object(members)), PathStep::Key(key)) => members.get(key),
            (Some(Json::Array(items)), PathStep::Index(index)) => {
                let index = if *index < 0 { i64::try_from(items.len()).unwrap_or(i64::MAX) + *index } else { *index };
                usize::try_from(index).ok().and_then(|index| items.get(index))
            }
            (Some(value), step) => return Err(format!("cannot index {value} with {}", shown(step))),
        };
    }
    Ok(here)
}

fn shown(step: &PathStep) -> String {
    match step {
        PathStep::Key(key) => Json::from(key.as_str()).to_string(),
        PathStep::Index(index) => index.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_paths_are_told_from_programs() {
        for plain in [
            ".",
            ".a",
            ".a.b",
            ".a[0].b",
            ".[0]",
            ".[-1]",
            ".\"x y\"",
            ".[\"x\"]",
            "$context",
            "$context.x[0]",
            " .a ",
            ".a.[0]",
            "$a[0]",
            ".a.\"b\"",
        ] {
            assert!(parse(plain).is_some(), "{plain}");
        }
        for program in [
            "",
            "a",
            "..",
            ".a?",
            ".a | .b",
            ".a .b",
            ".[]",
            ".[1:2]",
            ".[01]",
            ".[1.0]",
            ".[$i]",
            ".a-b",
            "$",
            "$a::b",
            "[0]",
            ".\"a\\u0041\"",
            ".\"\\(1)\"",
            "a.b",
            ".a + 1",
            ".a#",
            ".1",
            "-.a",
            ".[\"a\",\"b\"]",
        ] {
            assert_eq!(parse(program), None, "{program}");
        }
    }

    #[test]
    fn a_walk_answers_as_jq_does() {
        let data = json!({"a": {"b": [1, {"c": 2}]}, "x y": null, "s": "text"});
        for (program, expected) in [
            (".a.b[1].c", Ok(json!(2))),
            (".a.b[-1].c", Ok(json!(2))),
            (".a.b[5]", Ok(json!(null))),
            (".a.b[-5]", Ok(json!(null))),
            (".missing.b[0]", Ok(json!(null))),
            (".\"x y\".z", Ok(json!(null))),
            (".s.x", Err("cannot index \"text\" with \"x\"".to_owned())),
            (".a[0]", Err("cannot index {\"b\":[1,{\"c\":2}]} with 0".to_owned())),
            (".s[0]", Err("cannot index \"text\" with 0".to_owned())),
            (".a.b.c", Err("cannot index [1,{\"c\":2}] with \"c\"".to_owned())),
        ] {
            let path = parse(program).expect(program);
            let found = walk(&path.steps, &data).map(|value| value.cloned().unwrap_or(Json::Null));
            assert_eq!(found, expected, "{program}");
        }
    }
}
