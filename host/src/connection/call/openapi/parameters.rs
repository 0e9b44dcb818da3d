//! Places a call's parameters as the document says: in path, query, fields, cookies and body, with arrays and objects
//! written in the parameter's style (OpenAPI 3.1, 4.8.12; Swagger 2.0, `collectionFormat`).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Map;

use super::document::{Document, Operation};
use crate::connection::call::failure;
use crate::connection::call::request::{essence, is_json, text_of};
use crate::model::{Failure, Json};

/// Everything but the unreserved characters (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const FORM: &str = "application/x-www-form-urlencoded";

/// Where everything went.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Placed {
    /// The operation's path, filled.
    pub(super) path: String,
    /// Encoded.
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    /// `name=value`.
    pub(super) cookies: Vec<String>,
    /// With its media type.
    pub(super) body: Option<(String, Json)>,
}

/// Places the given parameters.
pub(super) fn place(document: &Document<'_>, operation: &Operation<'_>, given: &Json) -> Result<Placed, Failure> {
    let given = match given {
        Json::Null => Map::new(),
        Json::Object(members) => members.clone(),
        _ => return Err(failure::configuration("write `parameters` as an object")),
    };
    let mut placing = Placing {
        placed: Placed { path: operation.path.to_owned(), ..Placed::default() },
        left: given,
        form: Map::new(),
        query: Vec::new(),
    };
    let declared = declared(document, operation);
    for parameter in &declared {
        placing.one(document, operation, parameter)?;
    }
    if !document.old {
        placing.new_body(document, operation)?;
    }
    placing.finish(document, operation, &declared)
}

/// The operation's parameters and those of its path that it does not declare again.
fn declared<'a>(document: &Document<'a>, operation: &Operation<'a>) -> Vec<&'a Json> {
    let list =
        |object: &'a Json| object["parameters"].as_array().into_iter().flatten().map(|one| document.resolved(one));
    let own: Vec<_> = list(operation.object).collect();
    let same = |one: &Json, other: &Json| one["name"] == other["name"] && one["in"] == other["in"];
    let mut all: Vec<_> = list(operation.item).filter(|one| !own.iter().any(|other| same(one, other))).collect();
    all.extend(own);
    all
}

struct Placing {
    placed: Placed,
    /// What was given and has no place yet.
    left: Map<String, Json>,
    /// `in: formData`.
    form: Map<String, Json>,
    /// Pairs, encoded.
    query: Vec<String>,
}

impl Placing {
    fn one(&mut self, document: &Document<'_>, operation: &Operation<'_>, parameter: &Json) -> Result<(), Failure> {
        let Some(name) = parameter["name"].as_str() else { return Ok(()) };
        let place = parameter["in"].as_str().unwrap_or_default();
        let schema = if document.old { parameter } else { schema_of(document, parameter) };
        let given = self.left.remove(name).filter(|value| !value.is_null());
        let Some(value) = given.or_else(|| schema.get("default").cloned()) else {
            return match parameter["required"] == true || place == "path" {
                true => {
                    Err(failure::validation(format!("the parameter `{name}` is missing: the operation requires it")))
                }
                false => Ok(()),
            };
        };
        let style = Style::of(document.old, parameter, place);
        let value = if place == "body" { value } else { split_text(value, schema, parameter) };
        match place {
            "path" => {
                let text = style.path(name, &value, &encoded);
                self.placed.path = self.placed.path.replace(&format!("{{{name}}}"), &text);
            }
            "query" => self.query.extend(style.query(name, &value)),
            "header" => self.placed.headers.push((name.to_owned(), style.path(name, &value, &str::to_owned))),
            "cookie" => self.placed.cookies.extend(style.query(name, &value)),
            "formData" => {
                let joined = match style.separator {
                    Some(separator) if value.is_array() => Json::String(list(&value).join(separator)),
                    _ => value,
                };
                self.form.insert(name.to_owned(), joined);
            }
            "body" => {
                let consumes = document.consumes(operation);
                let kind = consumes.iter().find(|kind| is_json(&essence(kind))).or(consumes.first());
                self.placed.body = Some((kind.unwrap_or(&"application/json").to_string(), value));
            }
            _ => {}
        }
        Ok(())
    }

    /// The `requestBody`: the parameter `body`, or all parameters that have no other place.
    fn new_body(&mut self, document: &Document<'_>, operation: &Operation<'_>) -> Result<(), Failure> {
        let Some(request) = operation.object.get("requestBody").map(|body| document.resolved(body)) else {
            return Ok(());
        };
        let body = match self.left.remove("body") {
            Some(body) => body,
            None if !self.left.is_empty() => Json::Object(std::mem::take(&mut self.left)),
            None if request["required"] == true => {
                return Err(failure::validation("the operation requires a body; give it as the parameter `body`"));
            }
            None => return Ok(()),
        };
        let kinds: Vec<&str> =
            request["content"].as_object().into_iter().flatten().map(|(kind, _)| kind.as_str()).collect();
        let preferred = kinds
            .iter()
            .find(|kind| is_json(&essence(kind)))
            .or_else(|| kinds.iter().find(|kind| essence(kind) == FORM));
        // A range such as `*/*` is none that could be sent.
        let kind = preferred.or(kinds.first()).filter(|kind| !kind.contains('*'));
        self.placed.body = Some((kind.unwrap_or(&"application/json").to_string(), body));
        Ok(())
    }

    fn finish(
        mut self,
        document: &Document<'_>,
        operation: &Operation<'_>,
        declared: &[&Json],
    ) -> Result<Placed, Failure> {
        if let Some(name) = self.left.keys().next() {
            let known: Vec<_> = declared.iter().filter_map(|one| one["name"].as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(failure::validation(format!("the operation has no parameter `{name}`; it has {known}")));
        }
        if !self.form.is_empty() {
            let consumes = document.consumes(operation);
            let kind = consumes.iter().find(|kind| essence(kind) == FORM).or(consumes.first()).unwrap_or(&FORM);
            self.placed.body = Some((kind.to_string(), Json::Object(self.form)));
        }
        self.placed.query = self.query.join("&");
        if let Some((_, name)) = self.placed.path.split_once('{') {
            let name = name.split('}').next().unwrap_or_default();
            return Err(failure::configuration(format!("the document does not declare the path's parameter `{name}`")));
        }
        Ok(self.placed)
    }
}

/// The schema of a parameter, also where it is given by its content.
fn schema_of<'a>(document: &Document<'a>, parameter: &'a Json) -> &'a Json {
    document.resolved(&parameter["schema"])
}

/// An array given as text: `[…]` is JSON, everything else one item.
fn split_text(value: Json, schema: &Json, parameter: &Json) -> Json {
    if parameter.get("content").is_some() {
        return Json::String(value.to_string());
    }
    let array =
        schema["type"] == "array" || schema["type"].as_array().is_some_and(|types| types.contains(&"array".into()));
    match (value, array) {
        (Json::String(text), true) => match serde_json::from_str(&text) {
            Ok(items @ Json::Array(_)) => items,
            _ => Json::Array(vec![Json::String(text)]),
        },
        (value, _) => value,
    }
}

/// How arrays and objects are written.
struct Style<'a> {
    name: &'a str,
    explode: bool,
    /// Between items, where they are not each a pair of their own.
    separator: Option<&'static str>,
}

impl<'a> Style<'a> {
    fn of(old: bool, parameter: &'a Json, place: &str) -> Self {
        if old {
            let separator = match parameter["collectionFormat"].as_str().unwrap_or("csv") {
                "ssv" => Some(" "),
                "tsv" => Some("\t"),
                "pipes" => Some("|"),
                "multi" => None,
                _ => Some(","),
            };
            return Self { name: "form", explode: separator.is_none(), separator };
        }
        let usual = if matches!(place, "query" | "cookie") { "form" } else { "simple" };
        let name = parameter["style"].as_str().unwrap_or(usual);
        let explode = parameter["explode"].as_bool().unwrap_or(name == "form");
        let separator = match name {
            "spaceDelimited" => " ",
            "pipeDelimited" => "|",
            _ => ",",
        };
        Self { name, explode, separator: (!explode).then_some(separator) }
    }

    /// One text, for a path segment or a field.
    fn path(&self, name: &str, value: &Json, encode: &dyn Fn(&str) -> String) -> String {
        let separator = self.separator.unwrap_or(",");
        let (prefix, between, named) = match (self.name, self.explode) {
            ("label", true) => (".", ".", false),
            ("label", false) => (".", ",", false),
            ("matrix", true) => (";", ";", true),
            ("matrix", false) => (";", ",", false),
            _ => ("", separator, false),
        };
        let pair = |name: &str, value: &Json| format!("{}={}", encode(name), encode(&text_of(value)));
        let joined = match value {
            Json::Array(items) if named => items.iter().map(|item| pair(name, item)).collect::<Vec<_>>().join(between),
            Json::Array(items) => items.iter().map(|item| encode(&text_of(item))).collect::<Vec<_>>().join(between),
            Json::Object(members) if self.explode => {
                members.iter().map(|(name, value)| pair(name, value)).collect::<Vec<_>>().join(between)
            }
            Json::Object(members) => flat(members).map(|text| encode(&text)).collect::<Vec<_>>().join(between),
            plain if named => pair(name, plain),
            plain => encode(&text_of(plain)),
        };
        match self.name == "matrix" && !named {
            true => format!("{prefix}{}={joined}", encode(name)),
            false => format!("{prefix}{joined}"),
        }
    }

    /// Pairs, encoded.
    fn query(&self, name: &str, value: &Json) -> Vec<String> {
        let pair = |name: &str, text: &str| format!("{}={}", encoded(name), encoded(text));
        match (value, self.separator) {
            (Json::Object(members), _) if self.name == "deepObject" => {
                members.iter().map(|(key, value)| pair(&format!("{name}[{key}]"), &text_of(value))).collect()
            }
            (Json::Array(items), None) => items.iter().map(|item| pair(name, &text_of(item))).collect(),
            (Json::Object(members), None) => members.iter().map(|(key, value)| pair(key, &text_of(value))).collect(),
            // A comma between items stands as it is; one inside an item is encoded.
            (Json::Array(_), Some(",")) => vec![delimited(name, list(value).into_iter())],
            (Json::Object(members), Some(",")) => vec![delimited(name, flat(members))],
            (Json::Array(_), Some(separator)) => vec![pair(name, &list(value).join(separator))],
            (Json::Object(members), Some(separator)) => {
                vec![pair(name, &flat(members).collect::<Vec<_>>().join(separator))]
            }
            (plain, _) => vec![pair(name, &text_of(plain))],
        }
    }
}

fn delimited(name: &str, texts: impl Iterator<Item = String>) -> String {
    format!("{}={}", encoded(name), texts.map(|text| encoded(&text)).collect::<Vec<_>>().join(","))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn list(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text_of).collect()
}

fn flat(members: &Map<String, Json>) -> impl Iterator<Item = String> {
    members.iter().flat_map(|(name, value)| [name.clone(), text_of(value)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn placed(document: &Json, given: Json) -> Result<Placed, Failure> {
        let document = Document::new(document, "https://api.example/openapi.json").unwrap();
        let operation = document.operation("go").unwrap();
        place(&document, &operation, &given)
    }

    fn new(parameter: Json) -> Json {
        json!({ "openapi": "3.1.0", "paths": { "/x/{p}": {
            "parameters": [{ "name": "p", "in": "path", "required": true, "schema": { "default": 0 } }],
            "get": { "operationId": "go", "parameters": [parameter] },
        } } })
    }

    #[test]
    fn each_style_of_version_3_is_written_as_its_table_says() {
        let check = |place: &str, style: Json, value: Json, expected: &str| {
            let mut parameter = json!({ "name": "color", "in": place, "schema": {} });
            parameter.as_object_mut().unwrap().extend(style.as_object().unwrap().clone());
            let placed = placed(&new(parameter), json!({ "color": value })).unwrap();
            assert_eq!(placed.query, expected, "{style} {value}");
        };
        let (array, object) = (json!(["blue", "a b,c"]), json!({ "R": 100, "G": 200 }));
        check("query", json!({}), array.clone(), "color=blue&color=a%20b%2Cc");
        check("query", json!({ "explode": false }), array.clone(), "color=blue,a%20b%2Cc");
        check("query", json!({ "style": "spaceDelimited" }), array.clone(), "color=blue%20a%20b%2Cc");
        check("query", json!({ "style": "pipeDelimited" }), array.clone(), "color=blue%7Ca%20b%2Cc");
        check("query", json!({}), object.clone(), "R=100&G=200");
        check("query", json!({ "explode": false }), object.clone(), "color=R,100,G,200");
        check(
            "query",
            json!({ "style": "deepObject", "explode": true }),
            object.clone(),
            "color%5BR%5D=100&color%5BG%5D=200",
        );
        check("query", json!({ "schema": { "type": "array" } }), json!("one, two"), "color=one%2C%20two");
        check("query", json!({ "schema": { "type": "array" } }), json!("[1, 2]"), "color=1&color=2");
        check(
            "query",
            json!({ "content": { "application/json": {} } }),
            object,
            "color=%7B%22R%22%3A100%2C%22G%22%3A200%7D",
        );
        check("query", json!({}), json!(true), "color=true");
    }

    #[test]
    fn a_path_is_filled_in_its_style_and_encoded() {
        let check = |style: Json, value: Json, expected: &str| {
            let mut parameter = json!({ "name": "p", "in": "path", "required": true });
            parameter.as_object_mut().unwrap().extend(style.as_object().unwrap().clone());
            assert_eq!(placed(&new(parameter), json!({ "p": value })).unwrap().path, expected, "{style} {value}");
        };
        let (array, object) = (json!([3, "a/b"]), json!({ "a": 1, "b": 2 }));
        check(json!({}), json!("ä/.."), "/x/%C3%A4%2F..");
        check(json!({}), array.clone(), "/x/3,a%2Fb");
        check(json!({}), object.clone(), "/x/a,1,b,2");
        check(json!({ "explode": true }), object.clone(), "/x/a=1,b=2");
        check(json!({ "style": "label" }), array.clone(), "/x/.3,a%2Fb");
        check(json!({ "style": "label", "explode": true }), array.clone(), "/x/.3.a%2Fb");
        check(json!({ "style": "matrix" }), array.clone(), "/x/;p=3,a%2Fb");
        check(json!({ "style": "matrix", "explode": true }), array, "/x/;p=3;p=a%2Fb");
        check(json!({ "style": "matrix", "explode": true }), json!(5), "/x/;p=5");
        check(json!({ "style": "matrix" }), object, "/x/;p=a,1,b,2");
    }

    #[test]
    fn each_collection_format_of_version_2_is_written() {
        let check = |format: &str, place: &str, expected: Placed| {
            let document = json!({ "swagger": "2.0", "paths": { "/x": { "get": { "operationId": "go", "parameters": [
                { "name": "s", "in": place, "type": "array", "collectionFormat": format }] } } } });
            let expected = Placed { path: "/x".to_owned(), ..expected };
            assert_eq!(placed(&document, json!({ "s": ["a", "b c"] })).unwrap(), expected, "{format}");
        };
        let query = |query: &str| Placed { query: query.to_owned(), ..Placed::default() };
        check("csv", "query", query("s=a,b%20c"));
        check("ssv", "query", query("s=a%20b%20c"));
        check("tsv", "query", query("s=a%09b%20c"));
        check("pipes", "query", query("s=a%7Cb%20c"));
        check("multi", "query", query("s=a&s=b%20c"));
        let form = |value: Json| Placed { body: Some((FORM.to_owned(), json!({ "s": value }))), ..Placed::default() };
        check("pipes", "formData", form(json!("a|b c")));
        check("multi", "formData", form(json!(["a", "b c"])));
        check("csv", "header", Placed { headers: vec![("s".to_owned(), "a,b c".to_owned())], ..Placed::default() });
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        let check = |parameter: Json, given: Json, expected: &str| {
            let failure = placed(&new(parameter), given).unwrap_err();
            assert!(failure.problem.detail.contains(expected), "{}", failure.problem.detail);
        };
        let required = json!({ "name": "q", "in": "query", "required": true });
        check(required.clone(), json!({}), "the parameter `q` is missing");
        check(required.clone(), json!({ "q": 1, "r": 2 }), "no parameter `r`; it has p, q");
        check(required, json!([]), "as an object");
    }

    #[test]
    fn a_body_is_what_is_called_body_or_what_has_no_other_place() {
        let document = json!({ "openapi": "3.0.3", "paths": { "/x": { "get": { "operationId": "go",
            "parameters": [{ "name": "id", "in": "cookie" }],
            "requestBody": { "$ref": "#/components/requestBodies/B" } } } },
            "components": { "requestBodies": { "B": { "required": true, "content": { "text/xml": {}, "application/json": {} } } } } });
        let check = |given: Json, body: Json| {
            let placed = placed(&document, given).unwrap();
            assert_eq!(placed.body, Some(("application/json".to_owned(), body)));
            assert_eq!(placed.cookies, ["id=7"]);
        };
        check(json!({ "id": 7, "body": [1] }), json!([1]));
        check(json!({ "id": 7, "name": "x" }), json!({ "name": "x" }));
        assert!(placed(&document, json!({ "id": 7 })).unwrap_err().problem.detail.contains("requires a body"));
    }
}
