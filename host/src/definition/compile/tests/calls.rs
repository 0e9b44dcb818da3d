//! Requests, other workflows and functions: what they become, and what is refused.

use serde_json::json;

use super::{check, check_task, program};
use crate::definition::graph::{Act, Callee, Flow, NodeId, NodeKind, Program, Template};
use crate::model::{Effect, Json};

fn act(program: &Program, id: u32) -> &Act {
    match &program.node(NodeId(id)).kind {
        NodeKind::Act(act) => act,
        other => panic!("{other:?}"),
    }
}

fn member<'a>(template: &'a Template, name: &str) -> &'a Template {
    match template {
        Template::Object(members) => &members.iter().find(|(key, _)| key == name).expect(name).1,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_compiled_with_its_defaults() {
    let program = program(
        "\
use:
  secrets: [ jira, token ]
  authentications:
    service: { oauth2: { authority: 'https://id.example', grant: client_credentials, client: { id: a, secret: '${ $secrets.jira }' } } }
    stored: { basic: { use: jira } }
do:
  - literal: { call: http, with: { method: get, endpoint: 'https://a.example/x' } }
  - template:
      call: http
      with:
        method: post
        endpoint: { uri: 'https://a.example/{id}', authentication: { use: service } }
        headers: { x: '${ $secrets.token }' }
        query: '${ .query }'
        body: { a: '${ .a }' }
        output: response
        redirect: true
  - described:
      call: openapi
      with:
        document: { endpoint: '${ $context.api }' }
        operationId: getPet
        parameters: { id: '${ .id }' }
        authentication: { use: stored }
      metadata: { effect: idempotent }
",
    );
    let literal = act(&program, 0);
    assert_eq!((&literal.callee, literal.effect), (&Callee::Http, Effect::Idempotent));
    let expected = json!({"method": "GET", "endpoint": "https://a.example/x", "headers": {}, "query": {},
        "output": "content", "redirect": false});
    assert!(matches!(&literal.arguments, Template::Literal(value) if *value == expected), "{:?}", literal.arguments);
    let template = act(&program, 1);
    assert_eq!(template.effect, Effect::Once);
    assert!(matches!(member(&template.arguments, "endpoint"), Template::Uri(uri) if uri == "https://a.example/{id}"));
    assert!(matches!(member(&template.arguments, "query"), Template::Expression(_)));
    let authority = member(member(member(&template.arguments, "authentication"), "oauth2"), "authority");
    assert!(matches!(authority, Template::Literal(Json::String(uri)) if uri == "https://id.example"));
    let described = act(&program, 2);
    assert_eq!((&described.callee, described.effect), (&Callee::OpenApi, Effect::Idempotent));
    assert!(matches!(member(member(&described.arguments, "document"), "endpoint"), Template::Expression(_)));
    assert!(matches!(member(&described.arguments, "authentication"), Template::Literal(value)
            if *value == json!({"basic": {"use": "jira"}})));
    assert_eq!(program.secrets, ["jira", "token"]);
}

#[test]
fn a_request_is_checked_in_place() {
    let http = |with: &str| format!("call: http\nwith: {{ {with} }}");
    check_task("call: http", &["3:7 missing-key"]);
    check_task(&http("method: get"), &["4:13 missing-key"]);
    check_task(&http("endpoint: 'https://a.example'"), &["4:13 missing-key"]);
    check_task(&http("method: 'g t', endpoint: 'https://a.example'"), &["4:23 wrong-type"]);
    check_task(&http("method: get, endpoint: 'https://a.example', boddy: 1"), &["4:59 unknown-key"]);
    check_task(&http("method: get, endpoint: 'https://a.example', output: all"), &["4:67 wrong-type"]);
    check_task(&http("method: get, endpoint: 'https://a.example', redirect: no"), &["4:69 wrong-type"]);
    check_task(&http("method: get, endpoint: 'https://a.example', headers: [ a ]"), &["4:68 wrong-type"]);
    for uri in [
        "/relative",
        "ftp://a.example",
        "https://a.example/{+x}",
        "https://a.example/{x",
        "https://a.example/x}",
        "https://a.example/${ .x }",
        "https://a.example/{}",
    ] {
        check_task(&http(&format!("method: get, endpoint: '{uri}'")), &["4:38 uri"]);
    }
    for uri in ["connection://store/{id}?a=1", "{base}/x", "https://{host}/x", "https://a.example/{a.b}?q={c}"] {
        check_task(&http(&format!("method: get, endpoint: '{uri}'")), &[]);
    }
}

#[test]
fn an_authentication_is_one_scheme_with_its_properties() {
    let with = |policy: &str| {
        format!(
            "call: http\nwith:\n  method: get\n  endpoint: {{ uri: 'https://a.example', authentication: {policy} }}"
        )
    };
    check_task(&with("{ bearer: { token: x } }"), &[]);
    check_task(&with("{ digest: { username: a, password: b } }"), &[]);
    check_task(&with("{ oidc: { authority: 'https://id.example', grant: password, username: a, password: b } }"), &[]);
    check_task(&with("{ use: service }"), &["6:63 undeclared-authentication"]);
    check_task(&with("{ bearer: { use: jira } }"), &["6:80 undeclared-secret"]);
    check_task(&with("{ basic: { username: a } }"), &["6:72 missing-key"]);
    check_task(&with("{ bearer: { token: x }, basic: { username: a, password: b } }"), &["6:63 wrong-type"]);
    check_task(&with("{ certificate: {} }"), &["6:65 unsupported"]);
    check_task(
        &with("{ oauth2: { authority: 'https://id.example', grant: authorization_code } }"),
        &["6:115 unsupported"],
    );
    check_task(
        &with("{ oidc: { authority: 'https://id.example', grant: password, endpoints: {} } }"),
        &["6:123 unknown-key"],
    );
    check(
        "use: { authentications: { a: { bearer: { tokn: x } } } }\ndo: [ { a: { set: {} } } ]",
        &["1:40 missing-key", "1:42 unknown-key"],
    );
}

#[test]
fn secrets_are_named_in_requests_alone() {
    let refused = |task: &str, expected: &str| {
        let body: String = task.lines().map(|line| format!("      {line}\n")).collect();
        check(&format!("use: {{ secrets: [ jira ] }}\ndo:\n  - a:\n{body}"), &[expected]);
    };
    refused("set: { a: '${ $secrets.jira }' }", "4:17 secret-leaves");
    refused("set: {}\nexport: { as: '$context + $secrets' }", "5:21 secret-leaves");
    refused("set: {}\noutput: { as: $secrets.jira }", "5:21 secret-leaves");
    refused("call: noop\nwith: { a: '${ $secrets.jira }' }", "5:18 secret-leaves");
    refused("emit: { event: { with: { type: a, data: '${ $secrets }' } } }", "4:47 secret-leaves");
    refused("raise: { error: { type: a, status: 500, title: '${ $secrets.jira }' } }", "4:54 secret-leaves");
    refused(
        "run: { workflow: { namespace: a, name: b, version: '1.0.0', input: { a: '${ $secrets.jira }' } } }",
        "4:79 secret-leaves",
    );
    let http = |value: &str| {
        format!("call: http\nwith: {{ method: get, endpoint: 'https://a.example', headers: {{ x: '{value}' }} }}")
    };
    check_task(&http("${ $secrets.jira }"), &["4:73 undeclared-secret"]);
    refused(&http("${ $secrets.jra }"), "5:73 undeclared-secret");
    refused(&http("${ \"Bearer \\($secrets[\"jra\"])\" }"), "5:73 undeclared-secret");
    check_task("set: { a: '${ $authorization.x | length }' }", &["3:17 unsupported"]);
}

#[test]
fn another_workflow_is_called_by_its_names() {
    let program = program(
        "\
do:
  - newest: { run: { workflow: { namespace: a, name: b, version: latest, input: { x: '${ .x }' } } } }
  - exact: { run: { workflow: { namespace: a, name: b, version: '1.2.3' }, await: false } }
",
    );
    let (newest, exact) = (act(&program, 0), act(&program, 1));
    let Callee::Workflow { namespace, name, version } = &newest.callee else { panic!("a workflow") };
    assert_eq!((namespace.as_str(), name.as_str(), version), ("a", "b", &None));
    assert!(!newest.detached && exact.detached);
    assert!(matches!(&exact.callee, Callee::Workflow { version: Some(version), .. } if version.minor == 2));
    assert!(matches!(&exact.arguments, Template::Literal(value) if *value == json!({})));
}

#[test]
fn processes_are_refused_with_the_reason() {
    for process in ["container: { image: a }", "script: { language: js, code: '1' }", "shell: { command: ls }"] {
        check_task(&format!("run: {{ {process} }}"), &["3:14 unsupported"]);
    }
    check_task("run: {}", &["3:12 missing-key"]);
    check_task("run: { workflow: { namespace: a, name: '${ .x }' } }", &["3:46 bad-name"]);
    check_task("run: { workflow: { namespace: a, name: b, version: '1' } }", &["3:58 bad-version"]);
    check_task("run: { workflow: { namespace: a, name: b, input: .x } }", &["3:56 wrong-type"]);
    check_task("run: { workflow: { namespace: a, name: b }, await: 1 }", &["3:58 wrong-type"]);
    check_task("run: { workflow: { namespace: a, name: b }, return: stdout }", &["3:51 unsupported"]);
}

#[test]
fn a_function_is_a_block_of_its_arguments_and_its_task() {
    let program = program(
        "\
use:
  functions:
    notify: { input: { schema: { document: { type: object } } }, call: noop, with: { text: '${ .text }' } }
    twice: { do: [ { one: { call: notify, with: { text: a } } }, { two: { call: notify } } ] }
do:
  - tell: { call: twice, with: { text: '${ .x }' }, then: end }
",
    );
    let tell = program.node(NodeId(0));
    let NodeKind::Scope(block) = &tell.kind else { panic!("a block") };
    assert_eq!((tell.hidden, tell.then), (false, Flow::End));
    let first = program.scope(block.body).first;
    let with = program.node(first);
    assert!(with.hidden && matches!(with.kind, NodeKind::Eval(Template::Object(_))));
    let Flow::To(body) = with.then else { panic!("the function follows") };
    let function = program.node(body);
    assert_eq!((function.hidden, function.reference.as_str()), (true, "/use/functions/twice"));
    assert!(matches!(function.then, Flow::Exit) && matches!(function.kind, NodeKind::Scope(_)));
    let references: Vec<_> = program.nodes.iter().map(|node| node.reference.as_str()).collect();
    assert_eq!(references.iter().filter(|reference| **reference == "/use/functions/notify").count(), 2);
    assert!(references.contains(&"/use/functions/twice/do/1/two"));
}

#[test]
fn functions_are_checked_even_when_nothing_calls_them() {
    let with = |functions: &str, call: &str| {
        format!("use:\n  functions:\n    {functions}\ndo: [ {{ a: {{ call: {call} }} }} ]")
    };
    check(&with("f: { call: nop }", "noop"), &["3:16 unknown-action"]);
    check(&with("f: { sett: {} }", "noop"), &["3:10 unknown-key"]);
    check(&with("f: { call: f }", "f"), &["3:16 recursive-function"]);
    check(&with("f: { do: [ { b: { call: g } } ] }\n    g: { call: f }", "noop"), &["4:16 recursive-function"]);
    check(&with("http: { set: {} }", "noop"), &["3:11 bad-name"]);
    check(&with("f: { set: { x: '${ $item }' } }", "f"), &["3:20 variable-out-of-scope"]);
    check(&with("f: { set: {}, then: a }", "f"), &["3:25 jump-out-of-scope"]);
    check(&with("notify: { set: {} }", "notfy"), &["4:20 unknown-action"]);
}

#[test]
fn a_catalog_is_a_pack() {
    let with = |catalog: &str, call: &str| {
        format!("use: {{ catalogs: {{ disks: {catalog} }} }}\ndo: [ {{ a: {{ call: '{call}' }} }} ]")
    };
    check(&with("{ endpoint: 'pack://storage' }", "noop:1.2.0@disks"), &[]);
    check(&with("{ endpoint: { uri: 'pack://storage' } }", "noop:1.2.0@disks"), &[]);
    check(&with("{ endpoint: 'pack://storag' }", "noop:1.2.0@disks"), &["2:20 unknown-action"]);
    check(&with("{ endpoint: 'https://example.com/catalog' }", "noop"), &["1:39 unsupported"]);
    check(&with("{ endpoint: 'pack://acme/storage' }", "noop"), &["1:39 bad-name"]);
    check(&with("{}", "noop"), &["1:27 missing-key"]);
    check(&with("{ endpoint: 'pack://storage' }", "noop:1.2.0@disk"), &["2:20 undeclared-catalog"]);
}
