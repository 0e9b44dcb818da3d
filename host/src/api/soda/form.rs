//! A JSON Schema as SODA's map of parameters, `{name: {type, description, required, default?}}`, from which its dashboard
//! builds a form. Members of objects become `outer.inner`. The dashboard can show text, whole numbers and required
//! booleans only, and breaks on others, so that what it cannot show is described as text; values are read back by
//! `parameters.rs`, which knows the schema.

use std::collections::BTreeSet;

use serde_json::{Map, json};

use super::settings::Source;
use crate::model::Json;

/// How deep objects are taken apart, and references followed: deeper members are asked for as one JSON text.
pub const DEPTH_MAX: usize = 4;

/// What parameters are called.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a>(pub Option<&'a Source>);

impl Names<'_> {
    /// The input member that a parameter is for, as its source says; the inner nothing: it is never passed on.
    pub fn given(&self, parameter: &str) -> Option<Option<&str>> {
        self.0?.parameters.get(parameter).map(Option::as_deref)
    }

    /// What SODA's clients call an input member; nothing where its name stands for another one.
    pub fn parameter(&self, member: &str) -> Option<String> {
        let Some(source) = self.0 else { return Some(member.to_owned()) };
        let mut of_member = source.parameters.iter().filter(|(_, ours)| ours.as_deref() == Some(member));
        match of_member.next() {
            Some((parameter, _)) => Some(parameter.clone()),
            None if source.parameters.contains_key(member) => None,
            None => Some(member.to_owned()),
        }
    }

    fn requires(&self, parameter: &str) -> bool {
        self.0.is_some_and(|source| source.required.iter().any(|name| name == parameter))
    }

    /// An input with its members called as SODA's clients call them.
    pub fn told(&self, input: &Json) -> Json {
        let Json::Object(members) = input else { return input.clone() };
        let told =
            |(name, value): (&String, &Json)| (self.parameter(name).unwrap_or_else(|| name.clone()), value.clone());
        Json::Object(members.iter().map(told).collect())
    }
}

/// A schema and where its references lead.
#[derive(Debug, Clone, Copy)]
pub struct Schema<'a> {
    root: &'a Json,
    here: &'a Json,
}

impl<'a> Schema<'a> {
    /// A whole schema.
    pub fn of(root: &'a Json) -> Self {
        Self { root, here: root }.resolved()
    }

    fn at(self, here: &'a Json) -> Self {
        Self { here, ..self }.resolved()
    }

    /// Follows references within the document.
    fn resolved(mut self) -> Self {
        for _ in 0..DEPTH_MAX {
            let Some(reference) = self.here.get("$ref").and_then(Json::as_str) else { break };
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            let Some(target) = target else { break };
            self.here = target;
        }
        self
    }

    /// The members that it names, those of `allOf` included, each once.
    pub fn members(self) -> Vec<(&'a str, Schema<'a>)> {
        let mut known = BTreeSet::new();
        let mut members = Vec::new();
        for part in self.parts() {
            for (name, schema) in part.here.get("properties").and_then(Json::as_object).into_iter().flatten() {
                if known.insert(name.as_str()) {
                    members.push((name.as_str(), self.at(schema)));
                }
            }
        }
        members
    }

    /// One member.
    pub fn member(self, name: &str) -> Option<Schema<'a>> {
        self.parts().into_iter().find_map(|part| Some(self.at(part.here.get("properties")?.get(name)?)))
    }

    /// What the items of an array have to be.
    pub fn items(self) -> Option<Schema<'a>> {
        self.here.get("items").map(|items| self.at(items))
    }

    /// Whether it takes members that it does not name.
    pub fn is_open(self) -> bool {
        self.here.get("additionalProperties") != Some(&Json::Bool(false))
    }

    fn parts(self) -> Vec<Schema<'a>> {
        let all_of = self.here.get("allOf").and_then(Json::as_array).into_iter().flatten();
        std::iter::once(self).chain(all_of.map(|part| self.at(part))).collect()
    }

    fn requires(self, name: &str) -> bool {
        let names = |part: Schema<'a>| part.here.get("required").and_then(Json::as_array).into_iter().flatten();
        self.parts().into_iter().flat_map(names).any(|required| required.as_str() == Some(name))
    }

    /// The types that it allows, `null` left out; nothing: any.
    pub fn types(self) -> Vec<&'a str> {
        let types = match self.here.get("type") {
            Some(Json::String(one)) => vec![one.as_str()],
            Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        types.into_iter().filter(|kind| *kind != "null").collect()
    }

    /// The values that it allows, where it lists them.
    pub fn choices(self) -> Option<&'a Vec<Json>> {
        self.here.get("enum").and_then(Json::as_array)
    }

    /// Whether an empty text is a value that somebody may mean.
    pub fn takes_empty_text(self) -> bool {
        let types = self.types();
        let text = types.is_empty() || types.contains(&"string");
        let long = self.here.get("minLength").and_then(Json::as_u64).is_some_and(|least| least > 0);
        text && !long && self.choices().is_none_or(|choices| choices.iter().any(|choice| choice == ""))
    }

    fn text(self, member: &str) -> Option<&'a str> {
        self.here.get(member).and_then(Json::as_str)
    }
}

/// The map of parameters of a workflow with this input schema.
pub fn form(schema: Option<&Json>, names: Names<'_>) -> Map<String, Json> {
    let mut form = Map::new();
    if let Some(schema) = schema {
        let frame = Frame { prefix: "", required: true, depth: 0 };
        add_members(&mut form, Schema::of(schema), names, &frame);
    }
    form
}

/// Where in the input the members stand.
struct Frame<'a> {
    prefix: &'a str,
    required: bool,
    depth: usize,
}

fn add_members(form: &mut Map<String, Json>, schema: Schema<'_>, names: Names<'_>, frame: &Frame<'_>) {
    for (member, of_member) in schema.members() {
        let parameter = match frame.prefix {
            "" => names.parameter(member),
            prefix => Some(format!("{prefix}.{member}")),
        };
        let Some(parameter) = parameter else { continue };
        let required = frame.required && (schema.requires(member) || names.requires(&parameter));
        let inner = Frame { prefix: &parameter, required, depth: frame.depth + 1 };
        match of_member.types().as_slice() {
            ["object"] if inner.depth < DEPTH_MAX && !of_member.members().is_empty() => {
                add_members(form, of_member, names, &inner);
            }
            types => {
                let field = field(of_member, types, required);
                form.insert(parameter, field);
            }
        }
    }
}

fn field(schema: Schema<'_>, types: &[&str], required: bool) -> Json {
    let mut field = Map::new();
    let shown = shown_as(types, required);
    field.insert("type".to_owned(), shown.into());
    field.insert("description".to_owned(), description(schema, types, shown).into());
    field.insert("required".to_owned(), required.into());
    if let Some(default) = schema.here.get("default").filter(|default| !default.is_null()) {
        field.insert("default".to_owned(), default.clone());
    }
    if let Some(choices) = schema.choices() {
        let choices = choices.iter().filter(|choice| !choice.is_null()).cloned().collect();
        field.insert("enum".to_owned(), Json::Array(choices));
    }
    Json::Object(field)
}

/// What the dashboard is told that a value is: see the module's text.
fn shown_as<'a>(types: &[&'a str], required: bool) -> &'a str {
    match types {
        ["boolean"] if !required => "string",
        ["number" | "array" | "object"] if required => "string",
        [one] => one,
        _ => "string",
    }
}

fn description(schema: Schema<'_>, types: &[&str], shown: &str) -> String {
    let text = schema.text("description").or_else(|| schema.text("title")).unwrap_or_default();
    let plain = |choice: &Json| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned);
    let choices = schema.choices().map(|choices| {
        let choices: Vec<_> = choices.iter().filter(|choice| !choice.is_null()).map(plain).collect();
        format!("one of: {}", choices.join(", "))
    });
    let form = match types {
        ["boolean"] if shown == "string" => Some("true or false".to_owned()),
        ["array" | "object"] if shown == "string" => Some("as JSON".to_owned()),
        _ => None,
    };
    match choices.or(form) {
        Some(hint) if text.is_empty() => hint,
        Some(hint) => format!("{text} ({hint})"),
        None => text.to_owned(),
    }
}

/// The documentation's example of a map of parameters.
pub fn example() -> Json {
    json!({
        "name": { "type": "string", "description": "1 to 255 letters, digits, spaces, `_` and `-`.", "required": true },
        "size": { "type": "integer", "description": "In GB.", "required": true },
        "host_id": { "type": "string", "description": "The identifier of a registered host.", "required": true },
        "attach_mode": { "type": "string", "description": "`ro` or `rw`. (one of: ro, rw)", "required": false,
            "default": "rw", "enum": ["ro", "rw"] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::soda::settings::SodaSettings;

    fn check(schema: Json, expected: Json) {
        assert_eq!(Json::Object(form(Some(&schema), Names::default())), expected);
    }

    #[test]
    fn a_schema_becomes_a_map_that_the_dashboard_can_show() {
        check(json!({}), json!({}));
        check(
            json!({ "required": ["a", "n", "l"], "properties": {
                "a": { "type": "integer", "description": "A.", "default": 3 },
                "b": { "type": ["boolean", "null"], "title": "B" },
                "n": { "type": "number" },
                "l": { "type": "array", "description": "L." },
                "m": { "enum": ["ro", "rw", null] },
                "o": { "type": "array" },
                "null": { "type": "string", "default": null },
            }}),
            json!({
                "a": { "type": "integer", "description": "A.", "required": true, "default": 3 },
                "b": { "type": "string", "description": "B (true or false)", "required": false },
                "n": { "type": "string", "description": "", "required": true },
                "l": { "type": "string", "description": "L. (as JSON)", "required": true },
                "m": { "type": "string", "description": "one of: ro, rw", "required": false, "enum": ["ro", "rw"] },
                "o": { "type": "array", "description": "", "required": false },
                "null": { "type": "string", "description": "", "required": false },
            }),
        );
    }

    #[test]
    fn members_of_objects_references_and_parts_are_found() {
        check(
            json!({
                "required": ["host"],
                "properties": { "host": { "$ref": "#/$defs/host" } },
                "allOf": [{ "properties": { "x": { "type": "boolean" } }, "required": ["x"] }],
                "$defs": { "host": { "type": "object", "required": ["ip"], "properties": {
                    "ip": { "type": "string" }, "port": { "type": "integer" } } } },
            }),
            json!({
                "host.ip": { "type": "string", "description": "", "required": true },
                "host.port": { "type": "integer", "description": "", "required": false },
                "x": { "type": "boolean", "description": "", "required": true },
            }),
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema =
            json!({ "type": "object", "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#/properties/b" } } });
        let form = form(Some(&schema), Names::default());
        assert!(form.keys().all(|name| name.matches('.').count() < DEPTH_MAX), "{form:?}");
    }

    #[test]
    fn parameters_are_called_as_soda_calls_them() {
        let settings = SodaSettings::default();
        let names = Names(settings.source("opensds.migration-bucket"));
        let schema = json!({ "properties": {
            "sourceBucket": { "type": "string" }, "srcBucketName": { "type": "string" }, "remainSource": { "type": "boolean" },
        }});
        let form = Json::Object(form(Some(&schema), names));
        let field = |kind: &str| json!({ "type": kind, "description": "", "required": true });
        assert_eq!(form, json!({ "srcBucketName": field("string"), "remainSource": field("boolean") }));
        assert_eq!(
            names.told(&json!({ "sourceBucket": "a", "prefix": "p" })),
            json!({ "srcBucketName": "a", "prefix": "p" })
        );
    }
}
