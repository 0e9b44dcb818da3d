//! Lengths of time that expressions give: ISO 8601 text, or an object of `days` … `milliseconds`. Years and months have
//! no fixed length and are refused. Durations written out in a definition never come here.

use jiff::{SignedDuration, Span};

use crate::model::Json;

/// Longer than any wait that makes sense; keeps every sum of a time and a duration far from the calendar's edge.
pub const DURATION_MAX: SignedDuration = SignedDuration::from_hours(24 * 365 * 100);

/// The units of the object form, with their milliseconds.
const UNITS: [(&str, i64); 5] =
    [("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("seconds", 1_000), ("milliseconds", 1)];

/// Reads a duration.
///
/// # Errors
/// It is neither form, negative, longer than [`DURATION_MAX`], or uses years or months; the text says the cure.
pub fn read(value: &Json) -> Result<SignedDuration, String> {
    let duration = match value {
        Json::String(text) => from_text(text)?,
        Json::Object(members) => from_members(members)?,
        _ => return Err(format!("`{value}` is no duration: give ISO 8601 text such as \"PT5M\"")),
    };
    match duration {
        negative if negative < SignedDuration::ZERO => Err(format!("the duration `{value}` is negative")),
        long if long > DURATION_MAX => Err(format!("the duration `{value}` is longer than 100 years")),
        fine => Ok(fine),
    }
}

fn from_text(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|error| format!("`{text}` is no ISO 8601 duration: {error}"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(format!("`{text}` uses years or months, which have no fixed length: use days"));
    }
    let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let clock = Span::new()
        .try_hours(span.get_hours())
        .and_then(|clock| clock.try_minutes(span.get_minutes()))
        .and_then(|clock| clock.try_seconds(span.get_seconds()))
        .and_then(|clock| clock.try_milliseconds(span.get_milliseconds()))
        .and_then(|clock| clock.try_microseconds(span.get_microseconds()))
        .and_then(|clock| clock.try_nanoseconds(span.get_nanoseconds()))
        .and_then(SignedDuration::try_from)
        .map_err(|error| format!("`{text}` is no duration: {error}"))?;
    Ok(SignedDuration::from_hours(days * 24).saturating_add(clock))
}

fn from_members(members: &serde_json::Map<String, Json>) -> Result<SignedDuration, String> {
    let mut sum = SignedDuration::ZERO;
    for (name, value) in members {
        let Some((_, factor)) = UNITS.iter().find(|(unit, _)| unit == name) else {
            return Err(format!("`{name}` is no unit of a duration: use days, hours, minutes, seconds, milliseconds"));
        };
        let amount = value.as_i64().ok_or_else(|| format!("`{name}` of a duration must be a whole number"))?;
        sum = sum.saturating_add(SignedDuration::from_millis(amount.saturating_mul(*factor)));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_give_a_length() {
        for (value, milliseconds) in [
            (json!("PT5S"), 5_000),
            (json!("PT0.25S"), 250),
            (json!("P1DT1H"), 90_000_000),
            (json!("P2W"), 1_209_600_000),
            (json!({"minutes": 1, "milliseconds": 5}), 60_005),
            (json!({}), 0),
        ] {
            assert_eq!(read(&value), Ok(SignedDuration::from_millis(milliseconds)), "{value}");
        }
    }

    #[test]
    fn what_has_no_length_is_refused_with_a_cure() {
        for (value, cure) in [
            (json!("P1M"), "use days"),
            (json!("soon"), "ISO 8601"),
            (json!(5), "ISO 8601"),
            (json!("-PT5S"), "negative"),
            (json!({"weeks": 1}), "use days"),
            (json!({"seconds": 1.5}), "whole number"),
            (json!({"days": i64::MAX}), "100 years"),
        ] {
            let refusal = read(&value).unwrap_err();
            assert!(refusal.contains(cure), "{value}: {refusal}");
        }
    }
}
