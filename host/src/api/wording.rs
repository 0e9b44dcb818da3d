//! What readers of paths, queries and bodies say of a fault, in words that say what to send instead. The readers' own texts
//! are made for programmers; a text that is not known here is told as it is.

/// Characters of a sent value or of an unknown text that are told, at most: a sentence and a name.
const SHOWN_CHARACTERS_MAX: usize = 240;

/// The query parameters that are times. A test holds this list against the documented ones.
const TIMES: [&str; 4] = ["createdAfter", "createdBefore", "since", "until"];

/// What the standard library's readers say of a text that is no whole number.
const NO_NUMBER: [&str; 4] = [
    "invalid digit found in string",
    "cannot parse integer from empty string",
    "number too large to fit in target type",
    "number too small to fit in target type",
];

/// What Rust calls whole numbers.
const WHOLE_NUMBERS: [&str; 8] = ["u8", "u16", "u32", "u64", "usize", "i32", "i64", "isize"];

/// The fault of a query parameter.
pub(super) fn of_query(text: &str) -> String {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    if let Some(rest) = text.strip_prefix("duplicate field ") {
        return format!("give {rest} once");
    }
    let named = text.split_once(": ").filter(|(name, _)| name.chars().all(char::is_alphanumeric));
    let Some((name, fault)) = named else { return shortened(text) };
    if TIMES.contains(&name) {
        return format!("set `{name}` to a time such as `2026-11-22T06:30:00Z`; a `+` is written `%2B`");
    }
    if NO_NUMBER.contains(&fault) {
        return format!("set `{name}` to a whole number");
    }
    if fault == "provided string was not `true` or `false`" {
        return format!("set `{name}` to `true` or `false`");
    }
    match (fault.strip_prefix("unknown variant "), fault.strip_prefix("unknown field ")) {
        (Some(rest), _) => expected(rest).map(|choice| format!("set `{name}` to {choice}")),
        (_, Some(rest)) => expected(rest).map(|known| format!("this route has no parameter `{name}`; it has {known}")),
        _ => None,
    }
    .unwrap_or_else(|| shortened(&format!("`{name}`: {fault}")))
}

/// The fault of a part of the path.
pub(super) fn of_path(text: &str) -> String {
    let text = text.strip_prefix("Invalid URL: ").unwrap_or(text);
    if let Some(name) = text.strip_prefix("Invalid UTF-8 in ") {
        return format!("write {name} in UTF-8, with `%` and two hexadecimal digits for what a path cannot hold");
    }
    let parsed = text.strip_prefix("Cannot parse `").and_then(|rest| rest.split_once("` with value `"));
    let Some((name, rest)) = parsed else { return shortened(text) };
    match (name, rest.rsplit_once("`: UUID parsing failed")) {
        (_, Some((value, _))) => format!("`{}` is no id: give a UUID as the lists show it", shortened(value)),
        ("version", None) => {
            let value = rest.split_once("`: ").map_or(rest, |(value, _)| value);
            format!("`{}` is no version: give one such as `1.2.0`", shortened(value))
        }
        _ => shortened(text),
    }
}

/// The fault of a member of a body.
pub(super) fn of_body(text: &str) -> String {
    if text.contains(" while parsing ") && text.contains(" version number") {
        return format!("give a version such as `1.2.0`: {text}");
    }
    if text.starts_with("UUID parsing failed") {
        return "give a UUID as the lists show it".to_owned();
    }
    if text.starts_with("relative URL without a base") {
        return "write a URL that starts with `https://` (or `http://`) and a host".to_owned();
    }
    match text.rsplit_once(", expected ") {
        Some((found, wanted)) if wanted.starts_with("struct ") || wanted == "a map" => {
            format!("{found}, expected an object")
        }
        Some((found, wanted)) if WHOLE_NUMBERS.contains(&wanted) => format!("{found}, expected a whole number"),
        _ => text.to_owned(),
    }
}

/// What was expected, `one of` left out.
fn expected(text: &str) -> Option<&str> {
    let (_, known) = text.split_once(", expected ")?;
    Some(known.strip_prefix("one of ").unwrap_or(known))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::FromRequestParts;
    use axum::http::Request;
    use jiff::Timestamp;
    use serde::Deserialize;

    use super::super::extract::{InPath, InQuery};
    use super::*;

    #[derive(Debug, Deserialize)]
    enum Order {
        #[serde(rename = "name")]
        _Name,
        #[serde(rename = "-name")]
        _Descending,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Asked {
        #[serde(rename = "limit")]
        _limit: Option<u32>,
        #[serde(rename = "mine")]
        _mine: Option<bool>,
        #[serde(rename = "sort")]
        _sort: Option<Order>,
        #[serde(rename = "createdAfter")]
        _created_after: Option<Timestamp>,
    }

    #[tokio::test]
    async fn a_wrong_query_is_told_what_to_send() {
        for (query, told) in [
            ("limit=abc", "set `limit` to a whole number"),
            ("limit=-1", "set `limit` to a whole number"),
            ("limit=", "set `limit` to a whole number"),
            ("limit=99999999999999999999", "set `limit` to a whole number"),
            ("limit=1&limit=2", "give `limit` once"),
            ("mine=maybe", "set `mine` to `true` or `false`"),
            ("sort=size", "set `sort` to `name` or `-name`"),
            ("createdAfter=yesterday", "set `createdAfter` to a time such as"),
            ("createdAfter=2026-11-22T00:00:00+02:00", "a `+` is written `%2B`"),
            ("foo=1", "this route has no parameter `foo`; it has `limit`, `mine`, `sort`, `createdAfter`"),
        ] {
            let (mut parts, ()) = Request::builder().uri(format!("/x?{query}")).body(()).unwrap().into_parts();
            let problem = InQuery::<Asked>::from_request_parts(&mut parts, &()).await.unwrap_err();
            assert!(problem.detail.contains(told), "{query}: {}", problem.detail);
        }
    }

    #[tokio::test]
    async fn a_wrong_path_is_told_what_to_send() {
        use tower::ServiceExt;
        async fn id(id: Result<InPath<uuid::Uuid>, crate::api::problem::Problem>) -> String {
            id.map_or_else(|problem| problem.detail, |_| String::new())
        }
        async fn version(version: Result<InPath<(String, semver::Version)>, crate::api::problem::Problem>) -> String {
            version.map_or_else(|problem| problem.detail, |_| String::new())
        }
        #[derive(Deserialize)]
        struct At {
            #[serde(rename = "name")]
            _name: String,
            version: semver::Version,
        }
        async fn named(at: Result<InPath<At>, crate::api::problem::Problem>) -> String {
            at.map_or_else(|problem| problem.detail, |InPath(at)| at.version.to_string())
        }
        let router = axum::Router::new()
            .route("/id/{id}", axum::routing::get(id))
            .route("/pair/{name}/{version}", axum::routing::get(version))
            .route("/named/{name}/{version}", axum::routing::get(named));
        for (path, told) in [
            ("/id/greeting", "`greeting` is no id: give a UUID"),
            ("/id/%ff", "write `id` in UTF-8"),
            ("/named/a/1", "`1` is no version: give one such as `1.2.0`"),
            ("/named/a/%00", "is no version"),
            ("/pair/a/1", "version"),
            ("/named/a/1.0.0", "1.0.0"),
        ] {
            let request = Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains(told), "{path}: {text}");
        }
        let long = format!("/id/{}", "a".repeat(5_000));
        let request = Request::builder().uri(long).body(axum::body::Body::empty()).unwrap();
        let body = router.oneshot(request).await.unwrap().into_body();
        assert!(axum::body::to_bytes(body, 1 << 16).await.unwrap().len() < 400);
    }

    #[test]
    fn a_body_is_told_in_the_words_of_json() {
        for (said, told) in [
            ("invalid type: null, expected struct Template", "invalid type: null, expected an object"),
            ("invalid type: integer `1`, expected a map", "invalid type: integer `1`, expected an object"),
            ("invalid type: integer `5`, expected a string", "invalid type: integer `5`, expected a string"),
            ("invalid value: integer `-1`, expected u64", "invalid value: integer `-1`, expected a whole number"),
        ] {
            assert_eq!(of_body(said), told);
        }
        let id = serde_json::from_str::<uuid::Uuid>("\"x\"").unwrap_err().to_string();
        assert_eq!(of_body(&id), "give a UUID as the lists show it");
        let url = serde_json::from_str::<url::Url>("\"not a url\"").unwrap_err().to_string();
        assert!(of_body(&url).starts_with("write a URL"), "{url}");
        let version = "zz".parse::<semver::Version>().unwrap_err().to_string();
        assert!(of_body(&version).starts_with("give a version such as `1.2.0`: "), "{}", of_body(&version));
    }

    #[test]
    fn every_time_in_a_query_is_known_here() {
        let document = serde_json::to_value(crate::api::openapi::as_written()).unwrap();
        let operations = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
        let parameters = operations.filter_map(|(_, operation)| operation["parameters"].as_array()).flatten();
        let times: Vec<&str> = parameters
            .filter(|parameter| parameter["in"] == "query" && parameter["schema"]["format"] == "date-time")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert!(times.len() >= 4, "{times:?}");
        assert!(times.iter().all(|name| TIMES.contains(name)), "{times:?}");
    }
}
