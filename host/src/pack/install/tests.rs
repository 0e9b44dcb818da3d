//! What an installation refuses, and that it leaves nothing behind.

use std::collections::BTreeMap;

use super::*;
use crate::definition::evaluate::{Bindings, ExpressionError};
use crate::definition::graph::Expression;

/// Lets every expression pass; what expressions mean is tested where they are evaluated.
pub(in crate::pack) struct AnyExpression;

impl Evaluate for AnyExpression {
    fn evaluate(&self, _: &Program, _: &Expression, _: &Bindings<'_>) -> Result<Json, ExpressionError> {
        Ok(Json::Null)
    }
    fn check(&self, _: &str, _: &[&str]) -> Result<(), String> {
        Ok(())
    }
}

const MANIFEST_TEXT: &str = "format: 1
name: storage
version: 1.0.0
world: orchestrator:pack/action@0.1
connections: { backend: {} }
components: { main: actions/main.wasm }
actions:
  create:
    component: main
    input: schemas/create.json
    uses: { connections: [backend] }
workflows: [workflows/a.yaml]
services:
  - { name: volume provision, group: g, workflow: a }
";

const WORKFLOW: &str = "document: { dsl: '1.0.0', namespace: storage, name: a, version: '1.0.0' }
do:
  - make: { call: create, with: { size: 1 } }
";

/// A sound pack's files; a component's text is the list of its imports.
fn files() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("pack.yaml", MANIFEST_TEXT.to_owned()),
        ("workflows/a.yaml", WORKFLOW.to_owned()),
        ("schemas/create.json", r#"{"type": "object"}"#.to_owned()),
        ("actions/main.wasm", "orchestrator:http/client@0.1.0 wasi:io/error@0.2.6".to_owned()),
    ])
}

fn check_files(files: &BTreeMap<&'static str, String>, built: bool) -> Result<Sound, CheckError> {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let imports = |bytes: &[u8]| match std::str::from_utf8(bytes).unwrap() {
        "garbage" => Err("it is not a component".to_owned()),
        text => Ok(text.split_whitespace().map(str::to_owned).collect()),
    };
    let directory = Directory::open(folder.path()).unwrap();
    check(&directory, &Rules { installed: &Beside::default(), evaluator: &AnyExpression, imports: &imports, built })
}

fn findings(result: Result<Sound, CheckError>) -> Vec<Diagnostic> {
    match result {
        Err(CheckError::Findings(findings)) => findings,
        other => panic!("expected findings, got {other:?}"),
    }
}

#[test]
fn a_sound_pack_is_taken_apart_into_what_it_brings() {
    let sound = check_files(&files(), true).unwrap();
    assert_eq!(sound.workflows.keys().map(WorkflowName::as_str).collect::<Vec<_>>(), ["a"]);
    assert_eq!(sound.components.len(), 1);
    assert!(sound.requires.is_empty());
    let actions: Vec<_> = sound.workflows.values().flat_map(|workflow| workflow.program.actions()).collect();
    assert_eq!(actions[0].component, *sound.components.values().next().unwrap());
}

#[test]
fn what_does_not_fit_together_is_told_with_its_place_and_cure() {
    #[rustfmt::skip]
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        // file, from, to, code, text
        ("actions/main.wasm", "client@0.1.0", "client@0.1.0 orchestrator:secrets/store@0.1.0", "unrequested-import", "uses: { secrets: [NAME] }"),
        ("actions/main.wasm", "client@0.1.0", "client@0.1.0 orchestrator:mail/mail@0.1.0", "unrequested-import", "`kind: smtp`"),
        ("actions/main.wasm", "client@0.1.0", "client@0.1.0 orchestrator:notification/inbox@0.1.0", "unrequested-import", "uses: { inbox: true }"),
        ("pack.yaml", "backend: {}", "backend: {kind: smtp}", "unrequested-import", "`orchestrator:http/client@0.1.0`"),
        ("actions/main.wasm", "http/client", "files/all", "unrequested-import", "this world does not have"),
        ("actions/main.wasm", "orchestrator:http/client@0.1.0 wasi:io/error@0.2.6", "garbage", "bad-component", "orchctl pack build"),
        ("pack.yaml", "    uses: { connections: [backend] }\n", "", "unrequested-import", "uses: { connections: [NAME] }"),
        ("pack.yaml", "actions/main.wasm", "actions/man.wasm", "missing-file", "orchctl pack build"),
        ("pack.yaml", "schemas/create.json", "schemas/crate.json", "missing-file", "did you mean `schemas/create.json`?"),
        ("pack.yaml", "workflows/a.yaml", "workflows/b.yaml", "missing-file", "did you mean `workflows/a.yaml`?"),
        ("pack.yaml", "workflow: a", "workflow: b", "undeclared", "`document.name`"),
        ("workflows/a.yaml", "'1.0.0' }", "'1.0.0', metadata: { onCancel: b } }", "on-cancel", "the pack has no such workflow"),
        ("workflows/a.yaml", "'1.0.0' }", "'1.0.0', metadata: { onCancel: a } }", "on-cancel", "names itself"),
        ("workflows/a.yaml", "'1.0.0' }", "'1.0.0', metadata: { onCancel: [a] } }", "on-cancel", "is no text"),
        ("schemas/create.json", "}", "", "bad-json", "schemas/create.json:1:"),
        ("schemas/create.json", "\"object\"", "\"objct\"", "bad-schema", "schemas/create.json:1:10"),
        ("schemas/create.json", "\"type\": \"object\"", "\"$ref\": \"https://elsewhere.example/s.json\"", "bad-schema", "same file"),
    ];
    for (file, from, to, code, text) in cases {
        let mut files = files();
        let content = files.get_mut(file).unwrap();
        assert!(content.contains(from), "{file}: {from}");
        *content = content.replacen(from, to, 1);
        let findings = findings(check_files(&files, true));
        let found = findings.iter().find(|finding| finding.code == *code);
        let found = found.unwrap_or_else(|| panic!("{to}: {findings:#?}"));
        assert!(found.to_string().contains(text), "{found}");
    }
}

#[test]
fn a_workflow_s_own_mistakes_are_told_too() {
    let mut files = files();
    files.insert("workflows/a.yaml", WORKFLOW.replace("call: create", "call: craete"));
    let findings = findings(check_files(&files, true));
    assert!(findings.iter().any(|finding| finding.path == "workflows/a.yaml" && finding.line == 3), "{findings:#?}");
}

#[test]
fn an_author_may_check_before_building() {
    let mut files = files();
    files.remove("actions/main.wasm");
    let sound = check_files(&files, false).unwrap();
    assert!(sound.warnings.iter().any(|warning| warning.code == "missing-file"));
}

#[test]
fn a_folder_without_a_manifest_is_refused() {
    let error = check_files(&BTreeMap::from([("a.yaml", String::new())]), true).unwrap_err();
    assert!(matches!(error, CheckError::Files(FilesError::Refused { ref path, .. }) if path == "pack.yaml"), "{error}");
}
