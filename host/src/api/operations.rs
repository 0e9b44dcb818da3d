//! What the OpenAPI document says about each route, in the form in which the layers ask for it: so that what they do for a
//! route is what is documented for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi as Document;

use super::problem::Fault;
use super::shape;

/// The media type of most answers.
pub const JSON: &str = "application/json";

/// All operations, by path and method.
#[derive(Debug, Default)]
pub struct Operations {
    paths: BTreeMap<String, BTreeMap<String, Operation>>,
}

/// One operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// Its name in the document.
    pub id: String,
    /// The parameters of its query that its handler reads.
    pub query: BTreeSet<String>,
    /// Whether it answers with JSON where it succeeds.
    pub gives_json: bool,
    /// Whether it answers with a list that its handler does not page.
    pub gives_whole_list: bool,
    /// Whether its handler knows `Idempotency-Key`.
    pub has_own_key: bool,
    /// The members that its answer may have, or of a list the items; nothing where they cannot be told.
    pub members: Option<BTreeSet<String>>,
}

impl Operations {
    /// The operations of a document.
    pub fn of(document: &Document) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let items = document["paths"].as_object().into_iter().flatten();
        let whole = |operation: &Value| {
            let members = shape::members(&operation["responses"]["200"]["content"][JSON]["schema"], &document);
            Operation { members, ..Operation::of(operation) }
        };
        let methods = |item: &Value| {
            let known = item.as_object().into_iter().flatten().filter(|(_, operation)| operation.is_object());
            known.map(|(method, operation)| (method.to_ascii_uppercase(), whole(operation))).collect()
        };
        Self { paths: items.map(|(path, item)| (path.clone(), methods(item))).collect() }
    }

    /// The operation that a request is routed to; `HEAD` is answered as `GET` is.
    pub fn find(&self, request: &Request) -> Option<&Operation> {
        let method = match request.method() {
            &Method::HEAD => "GET",
            method => method.as_str(),
        };
        self.methods(request)?.get(method)
    }

    /// Whether what a request changes can be read at the same path.
    pub fn can_be_read(&self, request: &Request) -> bool {
        self.methods(request).is_some_and(|methods| methods.get("GET").is_some_and(|operation| operation.gives_json))
    }

    /// The methods of a request's route, as `Allow` has them; nothing where there is no such route.
    pub fn allowed(&self, request: &Request) -> Option<String> {
        let mut methods: Vec<&str> = self.methods(request)?.keys().map(String::as_str).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        Some(methods.join(", "))
    }

    fn methods(&self, request: &Request) -> Option<&BTreeMap<String, Operation>> {
        self.paths.get(request.extensions().get::<MatchedPath>()?.as_str())
    }
}

impl Operation {
    /// Whether the layer keeps the answers of this operation under their keys. Webhooks are left out: nobody has proved to be
    /// anybody before their handler looks. So are tokens: they are kept nowhere, and a name is taken only once anyway.
    pub fn is_keyed_here(&self, request: &Request) -> bool {
        let path = request.uri().path();
        let is_apart = !path.starts_with("/v1/") || path.starts_with("/v1/webhooks/") || path == "/v1/tokens";
        *request.method() == Method::POST && !self.has_own_key && !is_apart
    }

    /// What an operation of the document says.
    pub fn of(operation: &Value) -> Self {
        let parameters = || operation["parameters"].as_array().into_iter().flatten();
        let has_own_key = parameters().any(|parameter| parameter["name"] == "Idempotency-Key");
        let in_query = parameters().filter(|parameter| parameter["in"] == "query");
        let query: BTreeSet<_> =
            in_query.filter_map(|parameter| parameter["name"].as_str()).map(str::to_owned).collect();
        let answers = operation["responses"].as_object().into_iter().flatten();
        let mut bodies = answers
            .filter(|(status, _)| status.starts_with('2'))
            .filter_map(|(_, response)| response["content"].get(JSON))
            .peekable();
        let gives_json = bodies.peek().is_some();
        let is_list = bodies.any(|body| {
            let name = body["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
            name.is_some_and(|name| name.starts_with("List_"))
        });
        let pages = ["cursor", "after"].iter().any(|name| query.contains(*name));
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        Self { id, gives_whole_list: is_list && !pages, query, gives_json, has_own_key, members: None }
    }
}

type Checks = Mutex<BTreeMap<String, Option<Arc<jsonschema::Validator>>>>;

/// Every fault that the documented schema finds in the body of an operation. It is asked only once a body was refused, so
/// that all of its faults are told and not the first one alone.
pub fn faults(method: &Method, path: &str, body: &Value) -> Vec<Fault> {
    // As many as there are operations with bodies, each made once.
    static CHECKS: LazyLock<Checks> = LazyLock::new(Checks::default);
    let mut checks = CHECKS.lock().expect("no holder of this lock panics");
    let check =
        checks.entry(format!("{method} {path}")).or_insert_with(|| validator(super::openapi::document(), method, path));
    let Some(check) = check.clone() else { return Vec::new() };
    drop(checks);
    check.iter_errors(body).map(|error| Fault::at(error.instance_path().to_string(), error.to_string())).collect()
}

fn validator(document: &Value, method: &Method, path: &str) -> Option<Arc<jsonschema::Validator>> {
    let method = method.as_str().to_ascii_lowercase();
    let schema = document["paths"][path][method]["requestBody"]["content"][JSON].get("schema")?;
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::options().with_draft(jsonschema::Draft::Draft202012).build(&whole).ok().map(Arc::new)
}
