//! Reading dates: jaq's own `strptime` looks for a database of time zones, and in here there is none.

use jaq_core::Error;
use jaq_json::Val;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;

use crate::value::Value;

/// jq's broken down time of a text: year, month from 0, day, hour, minute, second, day of the week, day of the year. An
/// offset in the text is read and ignored, as in jq.
///
/// # Errors
/// The text does not have this form.
pub fn strptime(text: &Value, form: &Value) -> Result<Value, Error<Value>> {
    let fail = |reason: String| Error::str(format_args!("{text} does not have the form {form}: {reason}"));
    let (Val::TStr(date), Val::TStr(wanted)) = (&text.0, &form.0) else {
        return Err(fail("both must be text".to_owned()));
    };
    let parsed = BrokenDownTime::parse(&wanted[..], &date[..]).and_then(|parsed| parsed.to_datetime());
    parsed.map(broken_down).map_err(|error| fail(error.to_string()))
}

fn broken_down(date: DateTime) -> Value {
    let second = f64::from(date.second()) + f64::from(date.subsec_nanosecond()) / 1e9;
    let number = |number: i16| Value::from(isize::from(number));
    [
        number(date.year()),
        number(i16::from(date.month()) - 1),
        number(i16::from(date.day())),
        number(i16::from(date.hour())),
        number(i16::from(date.minute())),
        Value::from(second),
        number(i16::from(date.weekday().to_sunday_zero_offset())),
        number(date.day_of_year() - 1),
    ]
    .into_iter()
    .collect()
}
