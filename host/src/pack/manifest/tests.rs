//! Every mistake in `pack.yaml` with its place and cure.

use serde_json::json;

use super::*;

const FULL: &str = include_str!("../../../tests/fixtures/pack-format-1.yaml");

#[test]
fn a_stored_sample_of_format_1_is_read_in_full() {
    let parsed = parse(FULL, "pack.yaml").unwrap();
    let expected: Manifest = serde_json::from_str(include_str!("../../../tests/fixtures/pack-format-1.json")).unwrap();
    assert_eq!(parsed.manifest, expected);
    assert_eq!(serde_json::to_value(&parsed.manifest).unwrap()["actions"]["create-volume"]["timeout"], "PT1M30S");
    assert_eq!(parsed.warnings, []);
}

/// A sound manifest with one line replaced or, with an empty pattern, added at the end.
fn with(from: &str, to: &str) -> String {
    let base = "format: 1\nname: storage\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\nconnections:\n  backend: {}\n\
                components:\n  main: actions/main.wasm\nactions:\n  create:\n    component: main\n    uses: { connections: [backend] }\n\
                workflows: [workflows/a.yaml]\nservices:\n  - { name: volume provision, group: g, workflow: a }\n";
    match from {
        "" => format!("{base}{to}\n"),
        from => {
            assert!(base.contains(from), "{from}");
            base.replacen(from, to, 1)
        }
    }
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_cure() {
    assert!(parse(&with("", ""), "pack.yaml").is_ok());
    #[rustfmt::skip]
    let cases = [
        ("format: 1", "format: 2", "unknown-format", 1, "known are: 1"),
        ("format: 1\n", "", "missing-key", 1, "add `format: 1`"),
        ("name: storage", "nam: storage", "unknown-key", 2, "did you mean `name`?"),
        ("name: storage", "name: -x", "bad-name", 2, "starting and ending"),
        ("name: storage", "name: [a]", "wrong-type", 2, "found a list"),
        ("version: 1.0.0", "version: 1.0", "wrong-type", 3, "write it as `1.0.0`"),
        ("version: 1.0.0", "version: v1", "bad-version", 3, "three numbers"),
        ("version: 1.0.0", "version: 1.0.0+b", "bad-version", 3, "leave out"),
        ("action@0.1", "action@0.2", "unknown-value", 4, "did you mean `orchestrator:pack/action@0.1`?"),
        ("backend: {}", "backend: {kind: htp}", "unknown-value", 6, "did you mean `http`?"),
        ("[backend] }", "[backend], inbox: 1 }", "wrong-type", 12, "`true` or `false`"),
        ("actions/main.wasm", "../main.wasm", "bad-path", 8, "`..`"),
        ("actions/main.wasm", "/main.wasm", "bad-path", 8, "absolute"),
        ("component: main", "component: man", "undeclared", 11, "did you mean `main`?"),
        ("component: main", "component: main\n    effect: idempotant", "unknown-value", 12, "did you mean `idempotent`?"),
        ("component: main", "component: main\n    timeout: 30s", "bad-duration", 12, "`PT30S`"),
        ("component: main", "component: main\n    timeout: PT25H", "bad-duration", 12, "PT24H"),
        ("component: main", "component: main\n    timeout: PT0S", "bad-duration", 12, "zero"),
        ("component: main", "component: main\n    probe: yes", "wrong-type", 12, "`true` or `false`"),
        ("component: main", "component: main\n    retry: 3", "unknown-key", 12, "known here: component"),
        ("[backend]", "[backnd]", "undeclared", 12, "did you mean `backend`?"),
        ("[backend] }", "[backend], hosts: [a/b] }", "bad-name", 12, "host"),
        ("[workflows/a.yaml]", "[workflows/a.yaml, workflows/a.yaml]", "duplicate", 13, "remove or rename"),
        (", workflow: a", "", "missing-key", 15, "`workflow` is missing"),
        ("", "  - { name: volume provision, group: g, workflow: b }", "duplicate", 16, "remove or rename"),
        ("", "name: again", "yaml-duplicate-key", 16, "remove or rename"),
        ("", "\t- x", "yaml-syntax", 16, ""),
    ];
    for (from, to, code, line, text) in cases {
        let findings = parse(&with(from, to), "pack.yaml").expect_err(to);
        let found = findings.iter().find(|finding| finding.code == code && finding.line == line);
        let found = found.unwrap_or_else(|| panic!("{to}: {findings:#?}"));
        assert!(found.to_string().contains(text), "{found}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_text() {
    let text = with("version: 1.0.0", "version: one")
        .replace("component: main", "componnt: main")
        .replace("group: g", "groop: g");
    let codes: Vec<_> =
        parse(&text, "pack.yaml").unwrap_err().iter().map(|finding| (finding.line, finding.code)).collect();
    assert_eq!(
        codes,
        [(3, "bad-version"), (11, "unknown-key"), (11, "missing-key"), (15, "missing-key"), (15, "unknown-key")]
    );
}

#[test]
fn what_the_workflows_ask_for_stands_beside_the_actions() {
    let text = with("", "secrets: { key: {} }\nuses: { connections: [backend], secrets: [key], hosts: [api.example] }");
    let parsed = parse(&text, "pack.yaml").unwrap();
    let expected = json!({ "connections": ["backend"], "secrets": ["key"], "hosts": ["api.example"] });
    assert_eq!(serde_json::to_value(&parsed.manifest).unwrap()["uses"], expected);
    assert_eq!(parsed.warnings, [], "the secret is used by the workflows");
    for (uses, code, cure) in [
        ("{ secrets: [kee] }", "undeclared", "did you mean `key`?"),
        ("{ connections: [other] }", "undeclared", "declare it under `connections`"),
        ("{ hosts: [a/b] }", "bad-name", ""),
        ("{ host: [a] }", "unknown-key", "did you mean `hosts`?"),
    ] {
        let findings = parse(&with("", &format!("secrets: {{ key: {{}} }}\nuses: {uses}")), "pack.yaml").unwrap_err();
        let found = findings.iter().find(|finding| finding.code == code && finding.line == 17);
        assert!(found.is_some_and(|found| found.to_string().contains(cure)), "{uses}: {findings:#?}");
    }
}

#[test]
fn what_is_asked_for_and_never_used_is_a_warning() {
    let parsed = parse(&with("backend: {}", "backend: {}\n  other: {}"), "pack.yaml").unwrap();
    assert_eq!(parsed.warnings.len(), 1);
    assert!(parsed.warnings[0].message.contains("`other`"));
}

#[test]
fn text_that_is_no_manifest_never_panics() {
    for text in ["", "[]", "format", "format: {}", "format: 1", "format: 1\nactions: []\nservices: {}\ncomponents: 3"] {
        assert!(parse(text, "pack.yaml").is_err(), "{text}");
    }
}
