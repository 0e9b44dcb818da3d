//! JSON Schema 2020-12 for data: compiled without reaching outside, with a regular-expression engine whose time is
//! linear, because patterns come from packs.

use jsonschema::{PatternOptions, Validator};

use crate::model::Json;

/// Compiles a schema.
///
/// # Errors
/// It is no valid schema, refers to something outside of itself, or has a pattern that needs look-around; the error
/// names the JSON pointer within the schema.
pub fn compile(schema: &Json) -> Result<Validator, SchemaError> {
    let refused = |error: jsonschema::ValidationError<'_>| SchemaError {
        pointer: error.instance_path().to_string(),
        message: error.to_string(),
    };
    jsonschema::draft202012::meta::validate(schema).map_err(refused)?;
    jsonschema::draft202012::options().with_pattern_options(PatternOptions::regex()).build(schema).map_err(refused)
}

/// So many violations are told where somebody waits for the answer: a form with everything wrong in it.
pub const VIOLATIONS_MAX: usize = 100;

/// So many characters of one violation are told: it may quote the whole value.
const VIOLATION_CHARS_MAX: usize = 300;

/// What is wrong with a value, one sentence each, at most `max`, none longer than 300 characters.
pub fn violations(validator: &Validator, value: &Json, max: usize) -> Vec<String> {
    let sentence = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "/" } else { &place };
        format!("`{place}`: {error}").chars().take(VIOLATION_CHARS_MAX).collect()
    };
    validator.iter_errors(value).take(max).map(sentence).collect()
}

/// Why a schema is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_checked_before_it_is_used() {
        let good = compile(&json!({"type": "object", "required": ["a"]})).expect("a schema");
        assert!(good.is_valid(&json!({"a": 1})) && !good.is_valid(&json!({})));
        let wrong = compile(&json!({"properties": {"a": {"type": "strin"}}})).expect_err("no type");
        assert_eq!(wrong.pointer, "/properties/a/type");
    }

    #[test]
    fn a_schema_cannot_reach_outside_nor_burn_time() {
        for outside in ["https://example.com/s.json", "file:///etc/passwd", "other.json"] {
            assert!(compile(&json!({"$ref": outside})).is_err(), "{outside}");
        }
        assert!(compile(&json!({"pattern": "(?=a)b"})).is_err());
    }
}
