//! An OpenAPI document as far as a call needs it: its operations, references inside of it, and where its servers are.

use ::http::Method;
use url::Url;

use crate::connection::call::failure;
use crate::connection::call::request::{essence, is_json, text_of};
use crate::model::{Failure, Json};

/// References that lead to references are followed so far; real documents have one or two.
const REFERENCES_MAX: usize = 16;

/// So many operations are named where the asked one is not there.
const NAMED_MAX: usize = 8;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// A document and its place.
pub(super) struct Document<'a> {
    root: &'a Json,
    place: &'a str,
    /// Swagger 2.0.
    pub(super) old: bool,
}

/// One operation of it.
pub(super) struct Operation<'a> {
    pub(super) method: Method,
    /// The template of its path.
    pub(super) path: &'a str,
    pub(super) item: &'a Json,
    pub(super) object: &'a Json,
}

impl<'a> Document<'a> {
    pub(super) fn new(root: &'a Json, place: &'a str) -> Result<Self, Failure> {
        let version = |name: &str| root.get(name).map(text_of).unwrap_or_default();
        let (new, old) = (version("openapi"), version("swagger"));
        match (new.starts_with("3."), old.starts_with("2")) {
            (true, _) => Ok(Self { root, place, old: false }),
            (_, true) => Ok(Self { root, place, old: true }),
            _ => Err(failure::configuration(
                "the document is none of OpenAPI 3.0 or 3.1 or Swagger 2.0: it has no such `openapi` or `swagger` member",
            )),
        }
    }

    /// The operation of that identifier.
    pub(super) fn operation(&self, id: &str) -> Result<Operation<'a>, Failure> {
        let mut known = Vec::new();
        for (path, item) in self.root["paths"].as_object().into_iter().flatten() {
            let item = self.resolved(item);
            for name in METHODS {
                let Some(object) = item.get(name) else { continue };
                let found = object["operationId"].as_str().unwrap_or_default();
                if found == id
                    && let Ok(method) = Method::from_bytes(name.to_ascii_uppercase().as_bytes())
                    && method != Method::TRACE
                {
                    return Ok(Operation { method, path, item, object });
                }
                known.push(found);
            }
        }
        let more = if known.len() > NAMED_MAX { ", …" } else { "" };
        known.truncate(NAMED_MAX);
        let text = format!("the document has no operation `{id}`; it has {}{more}", known.join(", "));
        Err(failure::configuration(text))
    }

    /// What a value stands for, where it is a reference inside the document.
    pub(super) fn resolved(&self, value: &'a Json) -> &'a Json {
        let mut value = value;
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value.get("$ref").and_then(Json::as_str) else { return value };
            let Some(found) = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
                return &Json::Null;
            };
            value = found;
        }
        &Json::Null
    }

    /// The media types that a body of the operation may have (Swagger 2.0).
    pub(super) fn consumes(&self, operation: &Operation<'a>) -> Vec<&'a str> {
        self.types(operation, "consumes")
    }

    fn types(&self, operation: &Operation<'a>, member: &str) -> Vec<&'a str> {
        let own = operation.object.get(member).or_else(|| self.root.get(member));
        own.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
    }

    /// What the call accepts: JSON where the operation gives it.
    pub(super) fn accepted(&self, operation: &Operation<'a>) -> String {
        let types: Vec<&str> = match self.old {
            true => self.types(operation, "produces"),
            false => {
                let responses = operation.object["responses"].as_object().into_iter().flatten();
                let contents = responses.filter_map(|(_, response)| self.resolved(response)["content"].as_object());
                contents.flat_map(|content| content.keys().map(String::as_str)).collect()
            }
        };
        let json = types.iter().find(|kind| is_json(&essence(kind)));
        match (json, types.first()) {
            (Some(kind), _) => format!("{kind}, */*;q=0.5"),
            (None, Some(kind)) => format!("{kind}, */*;q=0.5"),
            (None, None) => "application/json, */*;q=0.5".to_owned(),
        }
    }

    /// The URL in front of the operation's path, without a slash at its end.
    pub(super) fn server(&self, operation: &Operation<'a>) -> Result<String, Failure> {
        let base = Url::parse(self.place).map_err(|_| failure::configuration("the document has no absolute URI"))?;
        let url = match self.old {
            true => self.old_server(&base),
            false => self.new_server(operation),
        };
        let joined =
            base.join(&url).map_err(|_| failure::configuration(format!("the document's server `{url}` is no URL")))?;
        let mut joined = joined;
        joined.set_query(None);
        joined.set_fragment(None);
        Ok(joined.as_str().trim_end_matches('/').to_owned())
    }

    fn new_server(&self, operation: &Operation<'a>) -> String {
        let of = |object: &'a Json| object["servers"].as_array().and_then(|servers| servers.first());
        let Some(server) = of(operation.object).or_else(|| of(operation.item)).or_else(|| of(self.root)) else {
            return "/".to_owned();
        };
        let url = server["url"].as_str().unwrap_or("/").to_owned();
        let variables = server["variables"].as_object().into_iter().flatten();
        variables.fold(url, |url, (name, variable)| {
            url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default())
        })
    }

    fn old_server(&self, base: &Url) -> String {
        let path = self.root["basePath"].as_str().unwrap_or("/");
        let path = format!("/{}", path.trim_start_matches('/'));
        let Some(host) = self.root["host"].as_str() else { return path };
        let schemes: Vec<_> = self.root["schemes"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let scheme = match schemes.first() {
            _ if schemes.contains(&"https") => "https",
            Some(first) => first,
            None if matches!(base.scheme(), "http" | "https") => base.scheme(),
            None => "https",
        };
        format!("{scheme}://{host}{path}")
    }
}
