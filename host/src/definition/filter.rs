//! Filters of events, and what an attribute of an event must be. One judgement for all who look at events: `listen` and `schedule.on`.

use regex::{Regex, RegexBuilder};

use super::graph::{ExpressionId, Template};
use crate::model::Json;

/// A compiled pattern takes no more memory than this, so that no pattern is a way to fill it.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// One filter of events.
#[derive(Debug)]
pub struct Filter {
    /// Attributes (`type`, `source`, `subject`, `data`, extensions), all of which must fit.
    pub with: Vec<(String, Match)>,
    /// Values that all events of this listening must share.
    pub correlate: Vec<Correlation>,
}

/// `correlate: {<key>: {from, expect}}`.
#[derive(Debug)]
pub struct Correlation {
    /// The key; filters of one strategy with the same key share the expectation.
    pub key: String,
    /// Over the event (envelope as `.`).
    pub from: ExpressionId,
    /// Evaluated once when listening begins, over the task's input. Absent: the first event's value is expected of the
    /// others.
    pub expect: Option<Template>,
}

/// What a value must be.
#[derive(Debug)]
pub enum Match {
    /// Equal to this.
    Equals(Json),
    /// Text that is this, or that the regular expression fits as a whole.
    Pattern(Pattern),
    /// An object whose members fit; a member that is absent counts as `null`.
    Members(Vec<(String, Match)>),
    /// An expression over the value: `true` fits, `false` and `null` do not, any other result must be equal.
    Expression(ExpressionId),
}

/// A text that is a regular expression as well.
#[derive(Debug)]
pub struct Pattern {
    /// As written.
    pub text: String,
    regex: Regex,
}

impl Pattern {
    /// Whether a text is meant as a regular expression, as far as one can tell: it has something in it that hardly stands
    /// in a plain one. A lone point is no sign, because each type of an event has points.
    pub fn is_meant(text: &str) -> bool {
        let inside = |open, close| text.find(open).is_some_and(|place| text[place..].contains(close));
        text.starts_with('^')
            || text.ends_with('$')
            || [".*", ".+", "\\", "|"].iter().any(|sign| text.contains(sign))
            || inside('[', ']')
            || inside('(', ')')
    }

    /// The pattern; nothing where the text is no regular expression, or one that would take too much memory.
    pub fn read(text: &str) -> Option<Self> {
        let whole = format!("^(?:{text})$");
        let regex = RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build().ok()?;
        Some(Self { text: text.to_owned(), regex })
    }

    fn fits(&self, value: &Json) -> bool {
        value.as_str().is_some_and(|value| value == self.text || self.regex.is_match(value))
    }
}

impl Match {
    /// Whether the value is what it must be; `evaluate` gives an expression's result over a value, nothing where it fails.
    pub fn fits(&self, value: &Json, evaluate: &dyn Fn(ExpressionId, &Json) -> Option<Json>) -> bool {
        match self {
            Self::Equals(wanted) => wanted == value,
            Self::Pattern(pattern) => pattern.fits(value),
            Self::Members(members) => members.iter().all(|(name, wanted)| wanted.fits(&value[name.as_str()], evaluate)),
            Self::Expression(id) => match evaluate(*id, value) {
                Some(Json::Bool(fits)) => fits,
                None | Some(Json::Null) => false,
                Some(wanted) => wanted == *value,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_a_pattern_where_it_looks_like_one() {
        #[rustfmt::skip]
        let cases = [
            ("com.example.order.placed.v1", false), ("https://example.com/a?b=c", false), ("com.example.*", true),
            (r"com\.example\.a", true), ("^a", true), ("a$", true), ("a|b", true), ("v[12]", true), ("(a)", true),
            ("a.+", true), ("a)(b", false), ("]a[", false),
        ];
        for (text, meant) in cases {
            assert_eq!(Pattern::is_meant(text), meant, "{text}");
        }
    }

    #[test]
    fn a_pattern_fits_the_whole_text_or_the_very_one() {
        #[rustfmt::skip]
        let cases = [
            (r"com\.example\..*", json!("com.example.a"), true), (r"com\.example\..*", json!("org.com.example.a"), false),
            ("a|b", json!("b"), true), ("a|b", json!("a|b"), true), ("a|b", json!("ab"), false), ("a.*", json!(1), false),
        ];
        for (text, value, fits) in cases {
            assert_eq!(Pattern::read(text).unwrap().fits(&value), fits, "{text}: {value}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_a_huge_one_is_none() {
        for text in ["a(b", "[", "(a{1000}){1000}"] {
            assert!(Pattern::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn members_are_judged_one_by_one_and_an_absent_one_is_null() {
        let wanted = Match::Members(vec![
            ("kind".to_owned(), Match::Equals(json!("a"))),
            ("gone".to_owned(), Match::Equals(Json::Null)),
            ("deep".to_owned(), Match::Members(vec![("n".to_owned(), Match::Expression(ExpressionId(0)))])),
        ]);
        let large = |_: ExpressionId, value: &Json| Some(json!(value.as_i64()? > 3));
        assert!(wanted.fits(&json!({ "kind": "a", "deep": { "n": 4 }, "more": 1 }), &large));
        for wrong in [json!({ "kind": "a", "deep": { "n": 3 } }), json!({ "kind": "a" }), json!("a")] {
            assert!(!wanted.fits(&wrong, &large), "{wrong}");
        }
    }
}
