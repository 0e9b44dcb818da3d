//! Completes the document that the handlers' annotations give: with what the layers do for every route, so that nobody
//! has to write it down at each of them, and nobody can forget it.

use serde_json::{Map, Value, json};

use super::{examples, mended};
use crate::api::operations::{JSON, Operation};
use crate::api::problem::{Kind, MEDIA_TYPE};

/// The routes that are for everybody.
const PUBLIC: [&str; 12] = [
    "/",
    "/docs",
    "/livez",
    "/metrics",
    "/problems/{name}",
    "/readyz",
    "/v1/health",
    "/v1/openapi.json",
    "/v1/schemas/workflow.json",
    "/v1/version",
    "/v1/webhooks/jira",
    "/v1beta",
];

/// What a name in a path must look like where it is a label.
const LABEL: &str = "^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$";

/// What names are labels: by the word of the collection before them.
const LABELLED: [&str; 7] = ["packs", "workflows", "connections", "secrets", "schedules", "tenants", "tokens"];

/// What a service's name must look like: printable, without a space at its ends.
const PRINTABLE: &str = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$";

/// What a pack's version must look like (semver.org, in short).
const VERSION: &str =
    r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(-[1-9A-Za-z-][0-9A-Za-z-]*)?(\+[0-9A-Za-z-]+)?$";

/// Completes a document.
pub fn complete(document: &mut Value) {
    mended::mend(document);
    let components = document["components"].clone();
    let paths = document["paths"].as_object().cloned().unwrap_or_default();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if operation.is_object() && is_of_soda(operation) {
                let public = PUBLIC.contains(&path.as_str());
                operation["security"] = if public { json!([]) } else { json!([{ "bearer": [] }, { "authToken": [] }]) };
            } else if operation.is_object() {
                let readable = paths[path].get("get").is_some_and(|get| Operation::of(get).gives_json);
                Completing { path, method, operation, readable }.all();
                examples::fill(operation, &components);
            }
        }
    }
    link(document);
    shared(document);
}

/// Its errors and forms are those of the interface it stands in for.
fn is_of_soda(operation: &Value) -> bool {
    operation["tags"][0] == "soda"
}

/// The elements of a list; none where there is no list. Reaching for it by index would make a `null` of it.
fn members<'a>(operation: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    operation.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// One operation being completed.
struct Completing<'a> {
    path: &'a str,
    method: &'a str,
    operation: &'a mut Value,
    /// Whether `GET` of the same path answers with JSON.
    readable: bool,
}

impl Completing<'_> {
    fn all(&mut self) {
        let written = Operation::of(self.operation);
        let is_ours = self.path.starts_with("/v1/");
        self.parameters_in_path();
        self.problems_of_all();
        match self.method {
            "get" if written.gives_json => self.shown(&written, is_ours),
            "get" => {}
            "post" if is_ours && !self.path.starts_with("/v1/webhooks/") => self.keyed(&written),
            "put" | "patch" | "delete" if self.readable => self.conditional(),
            _ => {}
        }
        if self.operation["requestBody"].is_object() {
            self.with_body();
        }
        if written.gives_json {
            self.problem("not-acceptable", "`Accept` names none of the forms");
        }
        self.as_yaml();
        self.problem_bodies();
        self.response_headers();
    }

    fn parameters_in_path(&mut self) {
        let collection =
            |name: &str| self.path.split(&format!("/{{{name}}}")).next()?.rsplit('/').next().map(str::to_owned);
        let places: Vec<Option<String>> = self.operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| collection(parameter["name"].as_str().unwrap_or_default()))
            .collect();
        for (parameter, place) in members(self.operation, "parameters").zip(places) {
            if parameter["in"] != "path" || parameter["schema"]["type"] != "string" {
                continue;
            }
            let name = parameter["name"].as_str().unwrap_or_default();
            let is_label =
                place.as_deref().is_some_and(|place| LABELLED.contains(&place)) || ["pack", "workflow"].contains(&name);
            let pattern = match place.as_deref() {
                _ if is_label => Some(LABEL),
                _ if name == "version" => Some(VERSION),
                Some("services") => Some(PRINTABLE),
                _ => None,
            };
            parameter["schema"]["minLength"] = json!(1);
            parameter["schema"]["maxLength"] = json!(if is_label { 63 } else { 255 });
            if let Some(pattern) = pattern.filter(|_| !self.path.contains("follow-ups")) {
                parameter["schema"]["pattern"] = json!(pattern);
            }
        }
    }

    fn problems_of_all(&mut self) {
        self.problem("invalid-parameter", "a part of the path, the query or a header breaks its rule");
        self.problem("cross-origin", "a page of another site sent it");
        self.problem("misdirected-request", "it names another host");
        self.problem("rate-limited", "this caller sends too many");
        self.problem("internal", "a fault of the server");
        self.problem("store-unavailable", "the data cannot be read or written");
        self.problem("stopping", "the server is being stopped");
        if !PUBLIC.contains(&self.path) {
            self.operation["security"] = json!([{ "bearer": [] }]);
            self.problem("unauthenticated", "it does not prove who sends it");
            self.problem("forbidden", "the caller may not do this");
            self.problem("too-many-attempts", "too many failed proofs");
            self.problem("authentication-unavailable", "who would know the caller cannot be asked");
            self.problem("unknown-tenant", "`Orchestrator-Tenant` names none");
        } else {
            self.operation["security"] = json!([]);
        }
    }

    fn shown(&mut self, written: &Operation, is_ours: bool) {
        if is_ours && written.gives_whole_list {
            let limit = "Items on the page; without it the list is answered whole.";
            self.parameter("limit", "query", limit, json!({ "type": "integer", "minimum": 1, "maximum": 200 }), 50);
            let cursor = "The `next` of the page before.";
            self.parameter("cursor", "query", cursor, json!({ "type": "string", "maxLength": 2000 }), Value::Null);
            let sort = "Members to sort by, with commas in between; one behind a `-` falls.";
            self.parameter(
                "sort",
                "query",
                sort,
                json!({ "type": "string", "maxLength": 2000, "pattern": "^-?[^,/-][^,/]*([,/][^,/]+)*$" }),
                "-name",
            );
        }
        let known = "The `ETag` of an earlier answer: where nothing changed since, nothing is sent.";
        self.parameter("If-None-Match", "header", known, json!({ "type": "string" }), Value::Null);
        self.response("304", "Nothing changed since the answer that `If-None-Match` names.");
    }

    fn keyed(&mut self, written: &Operation) {
        if !written.has_own_key {
            let text = "1 to 255 visible ASCII characters. For a day the same request under the same key gets the first \
                        answer again, with `Idempotency-Replayed: true`.";
            let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" });
            self.parameter("Idempotency-Key", "header", text, schema, "order-2026-01-01-7");
            self.problem("idempotency-key-in-use", "the first request under this key has not been answered yet");
            let lost = "the server ended before it answered the first request under this key";
            self.problem("idempotency-answer-lost", lost);
        }
        self.problem("idempotency-key-reused", "the key belongs to another request");
    }

    fn conditional(&mut self) {
        if let Some(made) = self.operation["responses"].get_mut("201").filter(|_| self.method == "put") {
            let place = json!({ "description": "The path of what was made.", "schema": { "type": "string" } });
            made["headers"]["Location"] = place;
        }
        let state = "Change it only where it still has this `ETag`.";
        self.parameter("If-Match", "header", state, json!({ "type": "string" }), Value::Null);
        let absent = "`*`: make it only where there is none yet.";
        self.parameter("If-None-Match", "header", absent, json!({ "type": "string" }), Value::Null);
        self.problem("precondition-failed", "it is not in the state that the request names; nothing was changed");
        self.problem("body-too-large", "above 1 MiB");
        self.problem("request-timeout", "the body came too slowly");
        self.problem("broken-body", "the body ended early");
    }

    fn with_body(&mut self) {
        self.problem("broken-body", "the body ended early");
        self.problem("request-timeout", "the body came too slowly");
        self.problem("body-too-large", "the body is larger than the route takes");
        self.problem("unsupported-media-type", "the body is of another type");
        if self.operation["requestBody"]["content"].get(JSON).is_some() {
            self.problem("malformed-json", "the body is not JSON");
            self.problem("malformed-yaml", "the body is not YAML");
            self.problem("invalid-body", "the body has another shape");
        }
    }

    /// Whatever is answered as JSON is answered as YAML too where that is accepted, and JSON bodies may be YAML.
    fn as_yaml(&mut self) {
        const YAML: &str = "application/yaml";
        let takes_yaml = self.path.starts_with("/v1/") && !self.path.starts_with("/v1/webhooks/");
        let content = self.operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
        if let Some(content) = content.filter(|_| takes_yaml)
            && let Some(body) = content.get(JSON)
        {
            let schema = json!({ "schema": body["schema"] });
            content.entry(YAML).or_insert(schema);
        }
        for (status, response) in self.operation["responses"].as_object_mut().into_iter().flatten() {
            if let Some(content) = response.get_mut("content").and_then(Value::as_object_mut)
                && status.starts_with('2')
                && let Some(body) = content.get(JSON)
            {
                let schema = json!({ "schema": body["schema"] });
                content.entry(YAML).or_insert(schema);
            }
        }
    }

    fn problem_bodies(&mut self) {
        for (status, response) in self.operation["responses"].as_object_mut().into_iter().flatten() {
            if status.starts_with(['4', '5']) {
                let body = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
                response["content"] = json!({ MEDIA_TYPE: body });
            }
        }
    }

    fn response_headers(&mut self) {
        for (status, response) in self.operation["responses"].as_object_mut().into_iter().flatten() {
            let mut headers = response["headers"].as_object().cloned().unwrap_or_default();
            let mut add =
                |name: &str| headers.insert(name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
            add("X-Request-Id");
            let has_tag =
                status == "304" || (status == "200" && response["content"].get(JSON).is_some() && self.method == "get");
            if has_tag {
                add("ETag");
            }
            if ["429", "503"].contains(&status.as_str()) {
                add("Retry-After");
            }
            response["headers"] = Value::Object(headers);
        }
    }

    fn parameter(&mut self, name: &str, place: &str, description: &str, schema: Value, example: impl Into<Value>) {
        let parameters = &mut self.operation["parameters"];
        if parameters.is_null() {
            *parameters = json!([]);
        }
        let Some(parameters) = parameters.as_array_mut() else { return };
        if parameters.iter().any(|known| known["name"] == name && known["in"] == place) {
            return;
        }
        let mut parameter =
            json!({ "name": name, "in": place, "description": description, "required": false, "schema": schema });
        let example = example.into();
        if !example.is_null() {
            parameter["example"] = example;
        }
        parameters.push(parameter);
    }

    fn response(&mut self, status: &str, description: &str) {
        if let Some(responses) = self.operation["responses"].as_object_mut() {
            responses.entry(status).or_insert_with(|| json!({ "description": description }));
        }
    }

    /// Adds a problem to the response of its status, where this server has such a problem.
    fn problem(&mut self, name: &str, when: &str) {
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else { return };
        let status = kind.status().as_str().to_owned();
        let Some(responses) = self.operation["responses"].as_object_mut() else { return };
        let response = responses.entry(status).or_insert_with(|| json!({ "description": "" }));
        let known = response["description"].as_str().unwrap_or_default();
        if known.contains(&format!("`{name}`")) {
            return;
        }
        let known = known.trim_end_matches('.');
        let joined =
            if known.is_empty() { format!("`{name}`: {when}.") } else { format!("{known}; `{name}`: {when}.") };
        response["description"] = json!(joined);
    }
}

/// What leads from an answer to the next request: the operation, a member of its answer, the operation that takes it, and
/// its parameter.
const LINKS: [(&str, &str, &str, &str); 22] = [
    ("start_instance", "id", "get_instance", "id"),
    ("start_instance", "id", "list_tasks", "id"),
    ("start_instance", "id", "list_history", "id"),
    ("start_instance", "id", "list_logs", "id"),
    ("start_instance", "id", "cancel_instance", "id"),
    ("start_instance", "id", "suspend_instance", "id"),
    ("start_instance", "id", "resume_instance", "id"),
    ("start_instance", "id", "retry_instance", "id"),
    ("start_instance", "id", "rerun_instance", "id"),
    ("start_instance", "id", "prefill_instance", "id"),
    ("start_instance", "id", "list_follow_ups", "id"),
    ("start_instance", "id", "delete_instance", "id"),
    ("list_instances", "items/0/id", "get_instance", "id"),
    ("create_service", "name", "get_service", "name"),
    ("create_service", "name", "patch_service", "name"),
    ("create_service", "name", "delete_service", "name"),
    ("create_schedule", "name", "get_schedule", "name"),
    ("create_schedule", "name", "delete_schedule", "name"),
    ("put_connection", "name", "get_connection", "name"),
    ("put_connection", "name", "delete_connection", "name"),
    ("post_notification", "id", "get_notification", "id"),
    ("post_notification", "id", "delete_notification", "id"),
];

fn link(document: &mut Value) {
    let known: Vec<String> =
        operations(document).filter_map(|operation| operation["operationId"].as_str().map(str::to_owned)).collect();
    for item in document["paths"].as_object_mut().into_iter().flatten().map(|(_, item)| item) {
        for operation in item.as_object_mut().into_iter().flatten().map(|(_, operation)| operation) {
            let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
            let mut links = Map::new();
            for (_, member, to, parameter) in
                LINKS.into_iter().filter(|(from, _, to, _)| *from == id && known.iter().any(|id| id == to))
            {
                let value = format!("$response.body#/{member}");
                links.insert(to.to_owned(), json!({ "operationId": to, "parameters": { parameter: value } }));
            }
            if links.is_empty() {
                continue;
            }
            for status in ["200", "201"] {
                if let Some(response) = operation["responses"].get_mut(status) {
                    response["links"] = Value::Object(links.clone());
                }
            }
        }
    }
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let items = document["paths"].as_object().into_iter().flatten();
    items.flat_map(|(_, item)| item.as_object().into_iter().flatten().map(|(_, operation)| operation))
}

/// What is the same for all operations.
fn shared(document: &mut Value) {
    document["servers"] = json!([{ "url": "/", "description": "This server." }]);
    document["jsonSchemaDialect"] = json!("https://json-schema.org/draft/2020-12/schema");
    document["info"]["license"] = json!({ "name": "Apache-2.0", "identifier": "Apache-2.0" });
    let text = |description: &str, example: Value| json!({ "description": description, "schema": { "type": "string" }, "example": example });
    document["components"]["headers"] = json!({
        "ETag": text("Names this state of the resource; send it as `If-Match` or `If-None-Match`.", json!("\"0199c1f0aa6b77e1d9a2c3d4\"")),
        "Retry-After": text("Seconds after which another attempt may succeed.", json!("5")),
        "X-Request-Id": text("The request's identifier: the caller's own where it sent one.", json!("0199c1f0-2a")),
    });
    let bearer = json!({ "type": "http", "scheme": "bearer", "description": "An API token (`orc_…`) or a token of an OIDC issuer that the server trusts. A server in development mode asks for none." });
    let key = json!({ "type": "apiKey", "in": "header", "name": "X-Auth-Token", "description": "An API token, or a token of the Keystone that the server trusts; what SODA's clients send." });
    document["components"]["securitySchemes"] = json!({ "bearer": bearer, "authToken": key });
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if let Some(schema) = schema.as_object_mut() {
            schema.entry("title").or_insert(json!(name.replace('_', " of ")));
        }
    }
}
