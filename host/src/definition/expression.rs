//! What can be told about an expression from its text: whether a text is one, and which variables it reads. Whether it is
//! a jq program is for the evaluator to say.

use std::collections::BTreeSet;

use crate::model::Json;

/// The variables that mean something to the language; no loop or catch may take one of these names.
pub const RESERVED: [&str; 10] =
    ["context", "input", "output", "workflow", "runtime", "task", "secrets", "authorization", "ENV", "__loc__"];

/// The program inside `${ … }`, if the whole text is that (`^\s*\$\{.+\}\s*$`). A text that only contains such a thing
/// is text.
pub fn wrapped(text: &str) -> Option<&str> {
    let inside = text.trim().strip_prefix("${")?.strip_suffix('}')?;
    (!inside.is_empty()).then(|| inside.trim())
}

/// The names behind each `$` of a jq program, without it: outside of text and comments, but within `\( … )`. Names that
/// the program binds itself are among them.
pub fn variables(program: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    // For each open string interpolation: how many parentheses are open inside.
    let mut interpolations: Vec<usize> = Vec::new();
    let mut in_text = false;
    let mut rest = program;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match (in_text, char) {
            (true, '\\') => {
                let escaped = rest.chars().next().map_or(0, char::len_utf8);
                if rest.starts_with('(') {
                    interpolations.push(0);
                    in_text = false;
                }
                rest = &rest[escaped..];
            }
            (_, '"') => in_text = !in_text,
            (true, _) => {}
            (false, '#') => rest = rest.split_once('\n').map_or("", |(_, after)| after),
            (false, '$') => {
                let name = name(rest);
                rest = &rest[name.len()..];
                if !name.is_empty() {
                    found.insert(name);
                }
            }
            (false, '(') => interpolations.last_mut().into_iter().for_each(|open| *open += 1),
            (false, ')') => match interpolations.last_mut() {
                Some(0) => {
                    interpolations.pop();
                    in_text = true;
                }
                Some(open) => *open -= 1,
                None => {}
            },
            (false, _) => {}
        }
    }
    found
}

/// The value of a program that is written as JSON. Minus is an operator in jq (`-0` is `0`), so it is left to it.
pub fn literal(program: &str) -> Option<Json> {
    let program = program.trim();
    let may_be = program.starts_with(|char: char| char.is_ascii_digit() || "\"[{tfn".contains(char));
    if !may_be || program.contains('-') || program.contains("\\(") {
        return None;
    }
    serde_json::from_str(program).ok().map(plain_numbers)
}

/// A number that is written with a fraction or exponent but has none is an integer to jq.
fn plain_numbers(value: Json) -> Json {
    /// Up to here a float holds each integer exactly.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < EXACT_MAX => Json::from(float as i64),
            _ => Json::Number(number),
        },
        Json::Array(items) => items.into_iter().map(plain_numbers).collect(),
        Json::Object(members) => members.into_iter().map(|(key, value)| (key, plain_numbers(value))).collect(),
        value => value,
    }
}

/// The identifier at the start of the text; empty when there is none.
pub fn name(text: &str) -> &str {
    let starts = text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    let end = text.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(text.len());
    if starts { &text[..end] } else { "" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_whole_text_is_an_expression() {
        for (text, expected) in [
            ("${ .a }", Some(".a")),
            (" ${.a}\n", Some(".a")),
            ("${\n.a |\n.b }", Some(".a |\n.b")),
            ("${ .a } and ${ .b }", Some(".a } and ${ .b")),
            ("${ }", Some("")),
            ("${}", None),
            ("Hello ${ .name }", None),
            ("${ .a } !", None),
            (".a", None),
            ("", None),
        ] {
            assert_eq!(wrapped(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_found_where_jq_reads_them() {
        for (program, expected) in [
            ("$a + $b.c", vec!["a", "b"]),
            (". as $x | $x + $y", vec!["x", "y"]),
            ("\"$no \\($yes) $no\"", vec!["yes"]),
            ("\"\\(\"\\($in) $no\" + ($x))$no\" | $z", vec!["in", "x", "z"]),
            ("\"\\\"$no\" | $yes", vec!["yes"]),
            (". # $no\n| $yes", vec!["yes"]),
            ("$__loc__", vec!["__loc__"]),
            ("$ \"é$", vec![]),
            ("$é", vec![]),
        ] {
            assert_eq!(variables(program).into_iter().collect::<Vec<_>>(), expected, "{program}");
        }
    }

    #[test]
    fn a_literal_is_json_with_jq_s_numbers() {
        for (program, expected) in [
            ("\"a\"", Some(json!("a"))),
            (" [1, {\"a\": 2.0}] ", Some(json!([1, {"a": 2}]))),
            ("1e3", Some(json!(1000))),
            ("1.5", Some(json!(1.5))),
            ("null", Some(json!(null))),
            ("-1", None),
            ("\"\\(1)\"", None),
            ("{a: 1}", None),
            (".a", None),
            ("1 + 1", None),
        ] {
            assert_eq!(literal(program), expected, "{program}");
        }
    }
}
