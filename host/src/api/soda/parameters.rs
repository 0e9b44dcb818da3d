//! SODA's parameters as the input of a workflow: renamed, `null` dropped, texts turned into what the schema asks for.
//! What no schema knows is left out and named. Whether the input fits is decided where the instance starts.

use serde_json::{Map, Number};

use super::form::{DEPTH_MAX, Names, Schema};
use super::settings::NEVER_TAKEN;
use crate::model::Json;

/// What was taken of a request's parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// The workflow's input.
    pub input: Map<String, Json>,
    /// The names of parameters that the workflow does not know.
    pub ignored: Vec<String>,
}

/// Takes parameters for a workflow with this input schema.
pub fn take(parameters: &Map<String, Json>, schema: Option<&Json>, names: Names<'_>) -> Taken {
    let schema = schema.map(Schema::of);
    let mut taken = Taken::default();
    for (name, value) in parameters {
        if value.is_null() || NEVER_TAKEN.contains(&name.as_str()) {
            continue;
        }
        match place(name, schema, names) {
            Some(path) => taken.put(&path, value, schema),
            None => taken.ignored.push(name.clone()),
        }
    }
    taken
}

impl Taken {
    fn put(&mut self, path: &[String], value: &Json, schema: Option<Schema<'_>>) {
        let schema = schema.and_then(|schema| path.iter().try_fold(schema, |schema, name| schema.member(name)));
        if value == "" && schema.is_some_and(|schema| !schema.takes_empty_text()) {
            return; // A field of a form that nobody filled in.
        }
        let value = schema.map_or_else(|| value.clone(), |schema| fitted(value, schema, 0));
        if let Some((last, outer)) = path.split_last() {
            let mut members = &mut self.input;
            for name in outer {
                let inner = members.entry(name.clone()).or_insert_with(|| Json::Object(Map::new()));
                if !inner.is_object() {
                    *inner = Json::Object(Map::new());
                }
                let Json::Object(inner) = inner else { return };
                members = inner;
            }
            members.insert(last.clone(), value);
        }
    }
}

/// Where in the input a parameter belongs.
fn place(parameter: &str, schema: Option<Schema<'_>>, names: Names<'_>) -> Option<Vec<String>> {
    if let Some(given) = names.given(parameter) {
        return given.map(|member| vec![member.to_owned()]);
    }
    let Some(schema) = schema else { return Some(vec![parameter.to_owned()]) };
    let camel = camel_case(parameter);
    let known = [parameter, &camel].into_iter().find(|name| schema.member(name).is_some());
    if let Some(known) = known {
        return Some(vec![known.to_owned()]);
    }
    nested(parameter, schema).or_else(|| schema.is_open().then(|| vec![parameter.to_owned()]))
}

/// `outer.inner`, where the schema has that.
fn nested(parameter: &str, schema: Schema<'_>) -> Option<Vec<String>> {
    let path: Vec<String> = parameter.split('.').map(str::to_owned).collect();
    let known = path.iter().try_fold(schema, |schema, name| schema.member(name)).is_some();
    (path.len() > 1 && path.len() <= DEPTH_MAX && known).then_some(path)
}

/// `snapshot_from_cloud` as `snapshotFromCloud`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let head = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &head.into_iter().chain(letters).collect::<String>()
    })
}

/// A value as its schema asks for it, where it can be read so; else as it is.
fn fitted(value: &Json, schema: Schema<'_>, depth: usize) -> Json {
    if depth > DEPTH_MAX {
        return value.clone();
    }
    let types = schema.types();
    match value {
        Json::String(text) => read(text, schema, &types).unwrap_or_else(|| value.clone()),
        Json::Number(_) | Json::Bool(_) if types == ["string"] => value.to_string().into(),
        Json::Object(members) => {
            let filled = members.iter().filter(|(_, value)| !value.is_null());
            let fit = |(name, value): (&String, &Json)| {
                let of_member = schema.member(name);
                (name.clone(), of_member.map_or_else(|| value.clone(), |schema| fitted(value, schema, depth + 1)))
            };
            Json::Object(filled.map(fit).collect())
        }
        Json::Array(items) => match schema.items() {
            Some(schema) => items.iter().map(|item| fitted(item, schema, depth + 1)).collect(),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// A text as one of the types that its schema allows; nothing where it may stay a text or cannot be read.
fn read(text: &str, schema: Schema<'_>, types: &[&str]) -> Option<Json> {
    if let Some(choices) = schema.choices() {
        let same = |choice: &&Json| !choice.is_string() && choice.to_string().eq_ignore_ascii_case(text);
        let is_text = choices.iter().any(|choice| choice == text);
        return if is_text { None } else { choices.iter().find(same).cloned() };
    }
    if types.contains(&"string") {
        return None;
    }
    types.iter().find_map(|kind| match *kind {
        "boolean" => boolean(text),
        "integer" | "number" => number(text),
        "array" => list(text),
        "object" => serde_json::from_str(text).ok().filter(Json::is_object),
        _ => None,
    })
}

fn boolean(text: &str) -> Option<Json> {
    let text = text.trim();
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    (is("true") || is("false")).then(|| Json::Bool(is("true")))
}

/// A number; `10.0` counts as whole, so that nothing outside has to.
fn number(text: &str) -> Option<Json> {
    let number: Number = serde_json::from_str(text.trim()).ok()?;
    let whole = number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0 && value.abs() < 1e15);
    Some(Json::Number(whole.map_or(number, |value| Number::from(value as i64))))
}

/// A JSON list, or words with commas between them.
fn list(text: &str) -> Option<Json> {
    match serde_json::from_str(text) {
        Ok(list @ Json::Array(_)) => Some(list),
        Ok(_) | Err(_) if text.trim_start().starts_with(['[', '{']) => None,
        _ => Some(text.split(',').map(|word| Json::from(word.trim())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::soda::settings::SodaSettings;

    fn taken(schema: Json, parameters: Json) -> (Json, Vec<String>) {
        let settings = SodaSettings::default();
        let names = Names(settings.source("opensds.provision-volume"));
        let taken = take(parameters.as_object().unwrap(), Some(&schema), names);
        (Json::Object(taken.input), taken.ignored)
    }

    fn check(schema: Json, given: Json, expected: Json) {
        let schema = json!({ "additionalProperties": false, "properties": { "a": schema } });
        assert_eq!(taken(schema, json!({ "a": given.clone() })).0, json!({ "a": expected }), "{given}");
    }

    #[test]
    fn texts_become_what_the_schema_asks_for() {
        for (text, value) in [("true", true), ("False", false), (" TRUE ", true)] {
            check(json!({ "type": "boolean" }), json!(text), json!(value));
        }
        check(json!({ "type": ["boolean", "null"] }), json!("true"), json!(true));
        check(json!({ "type": "boolean" }), json!("yes"), json!("yes"));
        check(json!({ "type": "integer" }), json!("10"), json!(10));
        check(json!({ "type": "integer" }), json!("10.0"), json!(10));
        check(json!({ "type": "integer" }), json!("ten"), json!("ten"));
        check(json!({ "type": "number" }), json!("0.5"), json!(0.5));
        check(json!({ "type": "string" }), json!("10"), json!("10"));
        check(json!({ "type": "string" }), json!(10), json!("10"));
        check(json!({ "type": ["string", "integer"] }), json!("10"), json!("10"));
        check(json!({ "type": "array" }), json!("[1]"), json!([1]));
        check(json!({ "type": "array" }), json!("a, b"), json!(["a", "b"]));
        check(json!({ "type": "array", "items": { "type": "integer" } }), json!(["1"]), json!([1]));
        check(json!({ "type": "object" }), json!("{\"x\": 1}"), json!({ "x": 1 }));
        check(
            json!({ "type": "object", "properties": { "x": { "type": "boolean" } } }),
            json!({ "x": "true", "y": null }),
            json!({ "x": true }),
        );
        check(json!({ "enum": [1, "2", null] }), json!("1"), json!(1));
        check(json!({ "enum": [1, "2", null] }), json!("2"), json!("2"));
        check(json!(true), json!("x"), json!("x"));
    }

    #[test]
    fn parameters_find_their_member_and_others_are_named() {
        let schema = json!({ "additionalProperties": false, "properties": {
            "hostId": { "type": "string" }, "poolId": { "type": "string" }, "deadlineMinutes": { "type": "number" },
            "size": { "type": "integer" }, "name": { "type": "string", "minLength": 1 }, "note": { "type": "string" },
            "host": { "type": "object", "properties": { "ip": { "type": "string" } } },
        }});
        let given = json!({
            "host_id": "h", "deadline_minutes": "5", "size": "2", "name": "", "note": "", "poolId": null,
            "host.ip": "192.0.2.1", "auth_token": "t", "ip_addr": "1.2.3.4", "port": "50040", "tenant_id": "x",
            "hypervisor": "kvm", "host_info": { "ip": "x" },
        });
        let (input, ignored) = taken(schema, given);
        let expected =
            json!({ "hostId": "h", "deadlineMinutes": 5, "size": 2, "note": "", "host": { "ip": "192.0.2.1" } });
        assert_eq!(input, expected);
        assert_eq!(ignored, ["hypervisor", "host_info"]);
    }

    #[test]
    fn an_open_schema_takes_every_parameter_but_those_of_the_wire() {
        let (input, ignored) = taken(json!({}), json!({ "x": 1, "a.b": 2, "auth_token": "t" }));
        assert_eq!((input, ignored), (json!({ "x": 1, "a.b": 2 }), vec![]));
    }

    #[test]
    fn a_parameter_can_be_set_to_be_never_passed_on() {
        let settings: SodaSettings =
            crate::definition::yaml::from_yaml("sources: {a.b: {pack: a, workflow: b, parameters: {timeout: null}}}")
                .unwrap();
        let given = json!({ "timeout": 60 });
        let taken = take(given.as_object().unwrap(), None, Names(settings.source("a.b")));
        assert_eq!((taken.input.len(), taken.ignored), (0, vec!["timeout".to_owned()]));
    }
}
