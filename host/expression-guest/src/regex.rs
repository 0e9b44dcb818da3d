//! jq's regular expressions: one native filter that cuts a text at the matches. `definitions.jq` makes `match`, `sub`,
//! `split` and the others of it. The engine takes linear time, so it knows neither look-around nor `\p{…}`.

use std::cell::RefCell;
use std::rc::Rc;

use jaq_core::Error;
use jaq_json::Val;
use jaq_std::ValT as _;
use regex_bites::bytes::{CaptureNames, Captures, Regex, RegexBuilder};

use crate::value::Value;

/// Expressions that are kept compiled: a program applies one to each item of a list.
const KEPT_MAX: usize = 8;

thread_local! {
    /// What was compiled last, with its flags.
    static KEPT: RefCell<Vec<(String, Flags, Rc<Regex>)>> = const { RefCell::new(Vec::new()) };
}

/// The text between matches and the matches, in turns: `[text, match, text, match, text]`.
///
/// # Errors
/// The input is no text, or the expression or its flags are wrong.
pub fn pieces(input: &Value, expression: &Value, flags: &Value) -> Result<Value, Error<Value>> {
    let flags = Flags::parse(flags)?;
    let regex = flags.compile(text(expression)?)?;
    let input = text(input)?;
    let (mut pieces, mut done) = (Vec::new(), 0);
    let mut characters = Characters { text: input, byte: 0, count: 0 };
    for captures in regex.captures_iter(input.as_bytes()) {
        let Some(whole) = captures.get(0) else { continue };
        if flags.skip_empty && whole.is_empty() {
            continue;
        }
        pieces.push(Value::text(&input[done..whole.start()]).0);
        pieces.push(found(&mut characters, input, &captures, regex.capture_names()));
        done = whole.end();
        if !flags.global {
            break;
        }
    }
    pieces.push(Value::text(&input[done..]).0);
    Ok(Value::array(pieces))
}

fn text(value: &Value) -> Result<&str, Error<Value>> {
    let bytes = value.as_utf8_bytes().ok_or_else(|| Error::typ(value.clone(), "text to match"))?;
    std::str::from_utf8(bytes).map_err(Error::str)
}

/// jq's object of one match.
fn found(characters: &mut Characters<'_>, input: &str, captures: &Captures<'_>, names: CaptureNames<'_>) -> Val {
    let mut parts = (0..captures.len()).map(|group| part(characters, input, captures, group));
    let whole = parts.next().unwrap_or_default();
    let name = |name: Option<&str>| name.map_or(Val::Null, |name| Value::text(name).0);
    let groups = parts.zip(names.skip(1)).map(|([offset, length, string], group)| {
        Value::object([("offset", offset), ("length", length), ("string", string), ("name", name(group))]).0
    });
    let groups = Value::array(groups.collect()).0;
    let [offset, length, string] = whole;
    Value::object([("offset", offset), ("length", length), ("string", string), ("captures", groups)]).0
}

/// Offset, length and text of one group; a group that took no part is at -1.
fn part(characters: &mut Characters<'_>, input: &str, captures: &Captures<'_>, group: usize) -> [Val; 3] {
    match captures.get(group) {
        None => [Val::from(-1_isize), Val::from(0_usize), Val::Null],
        Some(part) => {
            let string = &input[part.start()..part.end()];
            let length = string.chars().count();
            [Val::from(characters.before(part.start())), Val::from(length), Value::text(string).0]
        }
    }
}

/// Counts characters up to a byte; going forwards it goes on from where it was.
struct Characters<'a> {
    text: &'a str,
    byte: usize,
    count: usize,
}

impl Characters<'_> {
    fn before(&mut self, byte: usize) -> usize {
        if byte < self.byte {
            return self.text[..byte].chars().count();
        }
        self.count += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.count
    }
}

/// What the letters after an expression ask for.
#[derive(Default, Clone, PartialEq)]
struct Flags {
    global: bool,
    skip_empty: bool,
    case_insensitive: bool,
    extended: bool,
    dot_all: bool,
}

impl Flags {
    fn parse(flags: &Value) -> Result<Self, Error<Value>> {
        let mut parsed = Self::default();
        if flags.0 == Val::Null {
            return Ok(parsed);
        }
        for letter in text(flags)?.chars() {
            match letter {
                'g' => parsed.global = true,
                'n' => parsed.skip_empty = true,
                'i' => parsed.case_insensitive = true,
                'x' => parsed.extended = true,
                'p' => parsed.dot_all = true,
                // Single line and longest match: the first holds here anyway, the second cannot be had in linear time.
                's' | 'l' => {}
                letter => return Err(Error::str(format_args!("`{letter}` is not a flag of regular expressions"))),
            }
        }
        Ok(parsed)
    }

    fn compile(&self, expression: &str) -> Result<Rc<Regex>, Error<Value>> {
        KEPT.with_borrow_mut(|kept| {
            if let Some((_, _, regex)) = kept.iter().find(|(text, flags, _)| text == expression && flags == self) {
                return Ok(regex.clone());
            }
            let regex = Rc::new(self.build(expression)?);
            kept.truncate(KEPT_MAX - 1);
            kept.insert(0, (expression.to_owned(), self.clone(), regex.clone()));
            Ok(regex)
        })
    }

    fn build(&self, expression: &str) -> Result<Regex, Error<Value>> {
        let told = |error| format!("`{expression}` is no regular expression that is known here: {error}");
        RegexBuilder::new(expression)
            .case_insensitive(self.case_insensitive)
            .ignore_whitespace(self.extended)
            .dot_matches_new_line(self.dot_all)
            .build()
            .map_err(|error| Error::str(told(error)))
    }
}
