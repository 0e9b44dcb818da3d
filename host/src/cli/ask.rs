//! Questions on a terminal for what an input still needs: made from the schema, which is data and tested as such; only
//! [`complete`] talks to a person.

use dialoguer::{Confirm, Input, Password, Select};
use serde_json::{Value as Json, json};

use super::error::Error;
use super::input;
use super::output::{plain, printable};
use crate::definition::schema;

/// How deep objects in objects are asked for; deeper ones are asked for as JSON.
const DEPTH_MAX: usize = 4;
/// Steps from reference to reference in a schema, at most.
const REFERENCES_MAX: usize = 16;

/// Something to ask for.
#[derive(Debug, Clone, PartialEq)]
struct Question {
    /// The way to the member.
    steps: Vec<String>,
    /// What it is called, and what is said about it.
    title: String,
    description: Option<String>,
    kind: Kind,
    default: Option<Json>,
    /// Whether it may be left out.
    optional: bool,
    /// What the answer has to fit.
    schema: Json,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// One of these.
    Choice(Vec<Json>),
    /// Yes or no.
    Confirm,
    /// Text that is not shown.
    Hidden,
    /// Text, or whatever the schema reads of it.
    Line,
}

/// Whether somebody sits there.
pub(super) fn is_possible() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks yes or no; nobody there means no.
pub(super) fn confirmed(question: &str) -> Result<bool, Error> {
    match is_possible() {
        true => Confirm::new().with_prompt(printable(question)).default(false).interact().map_err(left),
        false => Ok(false),
    }
}

/// Asks for text that is not shown.
pub(super) fn hidden(question: &str) -> Result<String, Error> {
    Password::new().with_prompt(printable(question)).interact().map_err(left)
}

/// Asks for what the input lacks: what is required, or everything.
pub(super) fn complete(input: &mut Json, schema: &Json, everything: bool) -> Result<(), Error> {
    for question in questions(schema, input, everything) {
        if let Some(answer) = question.ask()? {
            let steps: Vec<&str> = question.steps.iter().map(String::as_str).collect();
            input::set(input, &steps, answer).map_err(Error::Usage)?;
        }
    }
    Ok(())
}

fn left(error: dialoguer::Error) -> Error {
    let dialoguer::Error::IO(error) = error;
    match error.kind() {
        std::io::ErrorKind::Interrupted => Error::Interrupted("nothing was sent".to_owned()),
        _ => Error::Failed(format!("ask: {error}; give what is missing as KEY=VALUE")),
    }
}

/// What has to be asked for, in the schema's order.
fn questions(schema: &Json, input: &Json, everything: bool) -> Vec<Question> {
    let mut found = Vec::new();
    below(schema, schema, Some(input), everything, &mut Vec::new(), &mut found);
    found
}

fn below(
    root: &Json,
    schema: &Json,
    given: Option<&Json>,
    everything: bool,
    steps: &mut Vec<String>,
    found: &mut Vec<Question>,
) {
    let schema = resolved(root, schema);
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let (property, is_required) = (resolved(root, property), required.contains(&name.as_str()));
        let given = given.and_then(|given| given.get(name));
        if property.get("const").is_some() || !(everything || is_required) && given.is_none() {
            continue;
        }
        steps.push(name.clone());
        let is_object = property.get("properties").is_some() && steps.len() < DEPTH_MAX;
        match (is_object, given) {
            (true, given) => below(root, property, given, everything, steps, found),
            (false, None) => found.push(question(root, property, steps, is_required)),
            (false, Some(_)) => {}
        }
        steps.pop();
    }
}

/// What a schema refers to, within itself.
fn resolved<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    let mut schema = schema;
    for _ in 0..REFERENCES_MAX {
        let reference = schema.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
        match reference.and_then(|pointer| root.pointer(pointer)) {
            Some(target) => schema = target,
            None => return schema,
        }
    }
    schema
}

fn question(root: &Json, property: &Json, steps: &[String], required: bool) -> Question {
    let text = |key: &str| property.get(key).and_then(Json::as_str).map(str::to_owned);
    let hidden = text("format").as_deref() == Some("password") || property.get("writeOnly") == Some(&json!(true));
    let kind = match property.get("enum").and_then(Json::as_array) {
        Some(choices) => Kind::Choice(choices.clone()),
        None if hidden => Kind::Hidden,
        None if property.get("type") == Some(&json!("boolean")) => Kind::Confirm,
        None => Kind::Line,
    };
    // References within the property need the definitions beside it.
    let mut schema = property.clone();
    for key in ["$defs", "definitions"] {
        if let (Some(definitions), Some(members)) = (root.get(key), schema.as_object_mut()) {
            members.entry(key).or_insert_with(|| definitions.clone());
        }
    }
    Question {
        steps: steps.to_vec(),
        title: text("title").unwrap_or_else(|| steps.join(".")),
        description: text("description"),
        kind,
        default: property.get("default").cloned(),
        optional: !required,
        schema,
    }
}

impl Question {
    fn prompt(&self) -> String {
        let description = self.description.as_ref().filter(|text| **text != self.title);
        let description = description.map(|text| format!(" ({text})")).unwrap_or_default();
        let may = if self.optional && self.default.is_none() { ", may be left out" } else { "" };
        printable(&format!("{}{description}{may}", self.title))
    }

    /// What the answer is, or why it is none. Nothing at all is an answer to what may be left out.
    fn read(&self, text: &str) -> Result<Option<Json>, String> {
        if text.is_empty() && (self.optional || self.default.is_some()) {
            return Ok(None);
        }
        let value = input::typed(text, &self.schema)?;
        let validator = schema::compile(&self.schema).map_err(|error| error.to_string())?;
        let fault = validator.iter_errors(&value).next().map(|error| error.to_string());
        fault.map_or(Ok(Some(value)), Err)
    }

    fn ask(&self) -> Result<Option<Json>, Error> {
        match &self.kind {
            Kind::Choice(choices) => self.choose(choices),
            Kind::Confirm => {
                let usual = self.default.as_ref().and_then(Json::as_bool).unwrap_or_default();
                let answer = Confirm::new().with_prompt(self.prompt()).default(usual).interact();
                answer.map(|answer| Some(json!(answer))).map_err(left)
            }
            Kind::Hidden => {
                let answer = Password::new().with_prompt(self.prompt()).allow_empty_password(self.optional);
                let answer =
                    answer.validate_with(|text: &String| self.read(text).map(drop)).interact().map_err(left)?;
                self.read(&answer).map_err(Error::Usage)
            }
            Kind::Line => {
                let mut line = Input::<String>::new().with_prompt(self.prompt()).allow_empty(self.optional);
                if let Some(default) = &self.default {
                    line = line.default(plain(default));
                }
                let answer = line.validate_with(|text: &String| self.read(text).map(drop)).interact_text();
                self.read(&answer.map_err(left)?).map_err(Error::Usage)
            }
        }
    }

    fn choose(&self, choices: &[Json]) -> Result<Option<Json>, Error> {
        let mut shown: Vec<String> = choices.iter().map(|choice| printable(&plain(choice))).collect();
        if self.optional {
            shown.push("(leave it out)".to_owned());
        }
        let usual = self.default.as_ref().and_then(|default| choices.iter().position(|choice| choice == default));
        let usual = usual.unwrap_or(if self.optional { shown.len() - 1 } else { 0 });
        let chosen = Select::new().with_prompt(self.prompt()).items(&shown).default(usual).interact().map_err(left)?;
        Ok(choices.get(chosen).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Json {
        json!({
            "required": ["size", "target", "mode", "key", "keep"],
            "$defs": {"size": {"type": "integer", "minimum": 1, "title": "Size in GiB", "default": 10}},
            "properties": {
                "size": {"$ref": "#/$defs/size"},
                "note": {"type": "string"},
                "mode": {"enum": ["a", "b"], "description": "How"},
                "key": {"type": "string", "format": "password"},
                "keep": {"type": "boolean"},
                "target": {"required": ["bucket"], "properties": {"bucket": {"type": "string"}, "region": {}}},
            },
        })
    }

    fn asked(input: Json, everything: bool) -> Vec<String> {
        questions(&schema(), &input, everything).iter().map(|question| question.steps.join(".")).collect()
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        assert_eq!(asked(json!({}), false), ["size", "mode", "key", "keep", "target.bucket"]);
        assert_eq!(
            asked(json!({"size": 1, "mode": "a", "key": "x", "keep": true, "target": {"bucket": "b"}}), false),
            Vec::<String>::new()
        );
        assert_eq!(asked(json!({"size": 1, "keep": false, "target": {}}), false), ["mode", "key", "target.bucket"]);
        assert_eq!(asked(json!({}), true), ["size", "note", "mode", "key", "keep", "target.bucket", "target.region"]);
    }

    #[test]
    fn a_question_is_put_as_its_schema_says() {
        let all = questions(&schema(), &json!({}), true);
        let kinds: Vec<_> = all.iter().map(|question| question.kind.clone()).collect();
        let choice = Kind::Choice(vec![json!("a"), json!("b")]);
        assert_eq!(kinds[..5], [Kind::Line, Kind::Line, choice, Kind::Hidden, Kind::Confirm]);
        assert_eq!(all[0].prompt(), "Size in GiB");
        assert_eq!(all[1].prompt(), "note, may be left out");
        assert_eq!(all[2].prompt(), "mode (How)");
    }

    #[test]
    fn an_answer_fits_the_schema_or_says_why_not() {
        let all = questions(&schema(), &json!({}), true);
        assert_eq!(all[0].read("12"), Ok(Some(json!(12))));
        assert_eq!(all[0].read(""), Ok(None), "the default is the server's to fill in");
        assert!(all[0].read("0").is_err_and(|reason| reason.contains('1')));
        assert!(all[0].read("ten").is_err());
        assert_eq!(all[1].read(""), Ok(None));
    }
}
