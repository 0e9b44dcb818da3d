//! Bodies that people write: a template in JSON or YAML, and a partial change of one (RFC 7396).

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::extract::{JSON_BYTES_MAX, parse, read, require_media_type};
use super::problem::{Fault, Kind, Problem};
use crate::definition::yaml;
use crate::model::Json as Data;

/// How long a body may take to arrive: a mebibyte on a very slow line.
const DEADLINE: Duration = Duration::from_secs(30);

/// Times a partial change is tried where somebody else changes the same thing at the same time.
const TRIES_MAX: usize = 5;

/// The media types of YAML: the registered one (RFC 9512) and those that were used before it.
const YAML: [&str; 4] = ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];

/// The media types of JSON, for a template and for a change of one.
const JSON: [&str; 2] = ["application/json", "application/merge-patch+json"];

/// A body in JSON or YAML.
#[derive(Debug)]
pub struct InTemplate<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for InTemplate<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let allowed = ["application/json", "application/merge-patch+json", YAML[0], YAML[1], YAML[2], YAML[3]];
        require_media_type(request.headers(), &allowed)?;
        let (head, body) = request.into_parts();
        let bytes = read(body, JSON_BYTES_MAX, DEADLINE).await?;
        any(&head.headers, &bytes).map(Self)
    }
}

/// Reads a body in JSON where its headers say so, else in YAML.
///
/// # Errors
/// It is neither, or has another shape.
pub fn any<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Problem> {
    if is_json(headers) { parse(bytes) } else { from_yaml(bytes) }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub struct InJsonIfAny<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for InJsonIfAny<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        if typed {
            require_media_type(request.headers(), &["application/json"])?;
        }
        let bytes = read(request.into_body(), JSON_BYTES_MAX, DEADLINE).await?;
        match bytes.is_empty() {
            true => Ok(Self(T::default())),
            false if typed => parse(&bytes).map(Self),
            false => Err(Problem::new(Kind::UnsupportedMediaType, "set `Content-Type` to application/json")),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    require_media_type(headers, &JSON).is_ok()
}

/// Reads YAML as the workflows' own reader does: no tags, no duplicate keys, bounded aliases.
fn from_yaml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::new(Kind::MalformedYaml, format!("the body is not UTF-8: {error}")))?;
    let tree = yaml::parse(text, "the body").map_err(|found| {
        let (line, column) = (Some(found.line.into()), Some(found.column.into()));
        let fault =
            Fault { line, column, message: found.message.clone(), cure: found.cure.clone(), ..Fault::default() };
        let detail = format!("the body is not YAML that is read: line {}: {}", found.line, found.message);
        Problem::new(Kind::MalformedYaml, detail).with([fault])
    })?;
    let data = serde_json::to_vec(&tree.to_json()).map_err(Problem::internal)?;
    parse(&data)
}

/// What becomes of something by a merge patch (RFC 7396), read into its type again.
///
/// # Errors
/// `invalid-body` where the patch is no object or the outcome does not have the shape.
pub fn patched<T: Serialize + DeserializeOwned>(value: &T, patch: &Data) -> Result<T, Problem> {
    if !patch.is_object() {
        let message = "give the members that change as an object; `null` takes one out";
        return Err(Problem::new(Kind::InvalidBody, message).with([Fault::at("", message)]));
    }
    let mut data = serde_json::to_value(value).map_err(Problem::internal)?;
    merge(&mut data, patch);
    parse(&serde_json::to_vec(&data).map_err(Problem::internal)?)
}

/// Makes a partial change, again from the start where somebody else changed the same thing at the same time.
///
/// # Errors
/// Those of the change; `conflict` only after so many tries that something else is wrong.
pub async fn settled<T, F>(change: impl Fn() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    for _ in 1..TRIES_MAX {
        match change().await {
            Err(problem) if problem.kind == Kind::Conflict => {}
            settled => return settled,
        }
    }
    change().await
}

/// Applies a merge patch. Its depth is that of the body it came in, which the reader bounds.
pub fn merge(target: &mut Data, patch: &Data) {
    let Data::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Data::Object(serde_json::Map::new());
    }
    let Data::Object(members) = target else { return };
    for (name, value) in patch {
        match value {
            Data::Null => drop(members.remove(name)),
            value => merge(members.entry(name).or_insert(Data::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_does_what_the_standard_s_examples_say() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} {patch}");
        }
    }

    #[test]
    fn yaml_is_read_like_json_and_its_faults_have_a_place() {
        let read = |text: &str| from_yaml::<std::collections::BTreeMap<String, Data>>(text.as_bytes());
        assert_eq!(read("a: 1\nb: [x, true]\n").unwrap()["b"], json!(["x", true]));
        let problem = read("a: 1\na: 2\n").unwrap_err();
        assert_eq!((problem.kind, problem.errors[0].line), (Kind::MalformedYaml, Some(2)));
        assert_eq!(read("- 1").unwrap_err().kind, Kind::InvalidBody);
        assert_eq!(read("!x 1").unwrap_err().kind, Kind::MalformedYaml);
    }
}
