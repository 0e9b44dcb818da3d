//! `call: openapi` from the document to the request.

use jiff::SignedDuration;

use super::double::{json as answer, status};
use super::*;

/// The document at `/doc/openapi.json`, and an echo everywhere else.
async fn service(document: impl Fn(&str) -> String + Send + Sync + 'static) -> Double {
    Double::start(move |asked| match asked.target.as_str() {
        "/doc/openapi.json" => status(200).body(document(&asked.field("host"))),
        "/v2/fails" => status(409),
        _ => answer(json!({ "line": format!("{} {}", asked.method, asked.target), "body": asked.body,
            "type": asked.field("content-type"), "accept": asked.field("accept"), "cookie": asked.field("cookie"),
            "trace": asked.field("x-trace"), "authorization": asked.field("authorization") })),
    })
    .await
}

fn arguments(double: &Double, operation: &str, parameters: Json) -> Json {
    json!({ "document": { "endpoint": double.url("/doc/openapi.json") }, "operationId": operation, "parameters": parameters })
}

fn old(host: &str) -> String {
    let operation = |id: &str, parameters: Json| json!({ "operationId": id, "parameters": parameters });
    json!({
        "swagger": "2.0", "host": host, "basePath": "/v2", "schemes": ["http"],
        "consumes": ["application/json"], "produces": ["application/xml", "application/json"],
        "parameters": { "trace": { "name": "x-trace", "in": "header", "type": "string" } },
        "paths": {
            "/pet/findByStatus": { "get": operation("findPetsByStatus", json!([
                { "name": "status", "in": "query", "required": true, "type": "array", "collectionFormat": "multi" },
                { "$ref": "#/parameters/trace" }])) },
            "/pet": { "post": operation("addPet", json!([{ "name": "body", "in": "body", "required": true }])) },
            "/pet/{petId}": { "post": { "operationId": "updatePetWithForm", "consumes": ["application/x-www-form-urlencoded"],
                "parameters": [{ "name": "petId", "in": "path", "required": true }, { "name": "name", "in": "formData" }] } },
            "/fails": { "get": operation("fails", json!([])) },
        },
    })
    .to_string()
}

fn new(servers: &Json) -> String {
    json!({
        "openapi": "3.1.0", "servers": servers,
        "paths": { "/things/{id}": {
            "parameters": [{ "name": "id", "in": "path", "required": true }],
            "put": { "operationId": "replace",
                "parameters": [{ "name": "session", "in": "cookie" }, { "name": "X-Trace", "in": "header" }],
                "requestBody": { "content": { "application/vnd.thing+json": {} } },
                "responses": { "200": { "content": { "application/json": {} } } } } } },
    })
    .to_string()
}

#[tokio::test]
async fn an_operation_of_swagger_2_is_called() {
    let double = service(old).await;
    let bench = Bench::new(&[&double]).await;
    let check = async |operation: &str, parameters: Json, expected: Json| {
        let output = bench.call(Kind::OpenApi, arguments(&double, operation, parameters)).await.unwrap();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(output[name], *value, "{operation} {name}");
        }
    };
    let line = |line: &str| json!({ "line": line, "accept": "application/json, */*;q=0.5" });
    check("findPetsByStatus", json!({ "status": "available" }), line("GET /v2/pet/findByStatus?status=available"))
        .await;
    let several = json!({ "status": ["a", "b"], "x-trace": "t" });
    check("findPetsByStatus", several, json!({ "line": "GET /v2/pet/findByStatus?status=a&status=b", "trace": "t" }))
        .await;
    let body = json!({ "line": "POST /v2/pet", "type": "application/json", "body": "{\"name\":\"x\"}" });
    check("addPet", json!({ "body": { "name": "x" } }), body).await;
    let form = json!({ "line": "POST /v2/pet/7", "type": "application/x-www-form-urlencoded", "body": "name=a+b" });
    check("updatePetWithForm", json!({ "petId": 7, "name": "a b" }), form).await;
    let documents = double.requests().iter().filter(|asked| asked.target.starts_with("/doc")).count();
    assert_eq!(documents, 1, "the document is kept");
    bench.clock.advance(SignedDuration::from_mins(5));
    check("addPet", json!({ "body": 1 }), json!({ "body": "1" })).await;
    let documents = double.requests().iter().filter(|asked| asked.target.starts_with("/doc")).count();
    assert_eq!(documents, 2, "but not for ever");
}

#[tokio::test]
async fn a_document_is_kept_for_each_tenant_by_itself() {
    let double = service(old).await;
    let mut bench = Bench::new(&[&double]).await;
    for (tenant, fetched) in [("default", 1), ("default", 1), ("red", 2), ("red", 2), ("default", 2)] {
        bench.allowed.tenant = TenantName::parse(tenant).unwrap();
        bench.call(Kind::OpenApi, arguments(&double, "addPet", json!({ "body": 1 }))).await.unwrap();
        let documents = double.requests().iter().filter(|asked| asked.target.starts_with("/doc")).count();
        assert_eq!(documents, fetched, "{tenant}");
    }
}

#[tokio::test]
async fn an_operation_of_openapi_3_is_called_at_its_server() {
    for (servers, base) in [
        (json!([{ "url": "http://HOST/{v}/", "variables": { "v": { "default": "v7" } } }]), "/v7"),
        (json!([{ "url": "../api" }]), "/api"),
        (json!([{ "url": "/root" }]), "/root"),
        (json!([]), ""),
    ] {
        let double = service(move |host| new(&servers).replace("HOST", host)).await;
        let bench = Bench::new(&[&double]).await;
        let given = json!({ "id": "a/b", "session": sealed("key"), "X-Trace": 1, "body": { "n": 1 } });
        let mut call = arguments(&double, "replace", given);
        call["authentication"] = json!({ "bearer": { "token": sealed("key") } });
        let output = bench.call(Kind::OpenApi, call).await.unwrap();
        assert_eq!(output["line"], format!("PUT {base}/things/a%2Fb"));
        assert_eq!((&output["type"], &output["body"]), (&json!("application/vnd.thing+json"), &json!("{\"n\":1}")));
        assert_eq!((&output["cookie"], &output["trace"]), (&json!("session=***"), &json!("1")));
        assert_eq!(output["authorization"], "Bearer ***");
        assert!(double.requests()[0].field("authorization").is_empty(), "the document has its own authentication");
    }
}

#[tokio::test]
async fn a_document_in_yaml_is_read_and_one_that_is_none_is_told() {
    let double = service(|_| format!("yaml {}", new(&json!([])))).await;
    let bench = Bench::new(&[&double]).await;
    let output = bench.call(Kind::OpenApi, arguments(&double, "replace", json!({ "id": 1, "body": {} }))).await;
    assert_eq!(output.unwrap()["line"], "PUT /things/1");
    for (text, expected) in [("no document", "it is no YAML"), ("{}", "none of OpenAPI"), ("[]", "none of OpenAPI")] {
        let double = service(move |_| text.to_owned()).await;
        let bench = Bench::new(&[&double]).await;
        let (kind, status, detail, _) = bench.fails(Kind::OpenApi, arguments(&double, "x", json!({}))).await;
        assert_eq!((kind.as_str(), status, detail.contains(expected)), ("configuration", 400, true), "{detail}");
    }
}

#[tokio::test]
async fn what_the_document_does_not_have_is_told_before_anything_is_sent() {
    let double = service(old).await;
    let bench = Bench::new(&[&double]).await;
    let check = async |operation: &str, parameters: Json, kind: &str, status: u16, text: &str| {
        let found = bench.fails(Kind::OpenApi, arguments(&double, operation, parameters)).await;
        assert_eq!((found.0.as_str(), found.1), (kind, status), "{}", found.2);
        assert!(found.2.contains(text), "{}", found.2);
    };
    check("findPets", json!({}), "configuration", 400, "it has findPetsByStatus, addPet").await;
    check("findPetsByStatus", json!({}), "validation", 400, "`status` is missing").await;
    check("fails", json!({ "x": 1 }), "validation", 400, "no parameter `x`; it has none").await;
    assert_eq!(double.requests().len(), 1);
    check("fails", json!({}), "communication", 409, "GET http://").await;
}

#[tokio::test]
async fn the_server_in_a_document_has_to_be_granted_like_the_document() {
    let double = service(|_| new(&json!([{ "url": "https://other.example" }]))).await;
    let bench = Bench::new(&[&double]).await;
    let call = arguments(&double, "replace", json!({ "id": 1, "body": {} }));
    let (_, status, detail, _) = bench.fails(Kind::OpenApi, call.clone()).await;
    assert_eq!((status, detail.contains("host `other.example`")), (403, true), "{detail}");
    let none = Bench { allowed: Allowed { hosts: Arc::new(|_| None), ..bench.allowed.clone() }, ..bench };
    assert_eq!(none.fails(Kind::OpenApi, call).await.1, 403, "a kept document is not given to whom it is not granted");
}
