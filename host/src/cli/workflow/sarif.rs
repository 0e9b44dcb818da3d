//! Findings as SARIF 2.1.0 (OASIS), for code scanners and editors.

use std::path::{Component, Path};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value as Json, json};

use crate::definition::{Diagnostic, Severity};

/// What a path of a URI cannot hold as it is; `/` divides its parts.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b':');

/// The findings as a log with one run.
pub(super) fn log(findings: &[Diagnostic]) -> Json {
    let mut codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<_> = codes.iter().map(|code| json!({ "id": code, "name": code })).collect();
    let results: Vec<_> = findings.iter().map(|finding| result(finding, &codes)).collect();
    let driver = json!({ "name": "orchctl", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "columnKind": "unicodeCodePoints", "results": results }],
    })
}

fn result(finding: &Diagnostic, codes: &[&str]) -> Json {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let text = match &finding.cure {
        Some(cure) => format!("{}; {cure}", finding.message),
        None => finding.message.clone(),
    };
    let mut region = json!({ "startLine": finding.line.max(1), "startColumn": finding.column.max(1) });
    if !finding.excerpt.is_empty() {
        region["snippet"] = json!({ "text": finding.excerpt });
    }
    let place = json!({ "artifactLocation": { "uri": uri(&finding.path) }, "region": region });
    json!({
        "ruleId": finding.code,
        "ruleIndex": codes.iter().position(|code| *code == finding.code),
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": place }],
    })
}

/// A path as a URI reference: relative ones stay so, for whoever knows where the sources are.
fn uri(path: &str) -> String {
    let parts: Vec<_> = Path::new(path)
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(utf8_percent_encode(&name.to_string_lossy(), IN_PATH).to_string()),
            Component::ParentDir => Some("..".to_owned()),
            Component::RootDir | Component::Prefix(_) | Component::CurDir => None,
        })
        .collect();
    let start = if Path::new(path).is_absolute() { "file:///" } else { "" };
    format!("{start}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Position, Source, schema};

    fn sample() -> Vec<Diagnostic> {
        let source = Source { path: "./a folder/f.yaml", text: "do:\n  - a: 1\n" };
        let at = |line, column| Position { line, column };
        vec![
            Diagnostic::error("unknown-key", source, at(2, 5), "unknown key `a`").cure("did you mean `b`?"),
            Diagnostic::warning("unreachable-task", source, at(9, 1), "nobody comes here"),
        ]
    }

    /// The part of the specification that these logs use, with its closed objects.
    fn specification() -> Json {
        let text = json!({ "type": "string" });
        let message = json!({ "type": "object", "required": ["text"], "properties": { "text": text } });
        let closed = |required: Json, properties: Json| json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
        let positive = json!({ "type": "integer", "minimum": 1 });
        let region = closed(json!([]), json!({ "startLine": positive, "startColumn": positive, "snippet": message }));
        let artifact = closed(json!(["uri"]), json!({ "uri": { "type": "string", "pattern": "^[^ ]+$" } }));
        let physical = closed(json!([]), json!({ "artifactLocation": artifact, "region": region }));
        let location = closed(json!([]), json!({ "physicalLocation": physical }));
        let result = closed(
            json!(["message"]),
            json!({ "ruleId": text, "ruleIndex": { "type": "integer", "minimum": -1 }, "message": message,
                "level": { "enum": ["none", "note", "warning", "error"] },
                "locations": { "type": "array", "items": location } }),
        );
        let rule = closed(json!(["id"]), json!({ "id": text, "name": text }));
        let rules = json!({ "type": "array", "uniqueItems": true, "items": rule });
        let driver = closed(json!(["name"]), json!({ "name": text, "version": text, "rules": rules }));
        let tool = closed(json!(["driver"]), json!({ "driver": driver }));
        let run = closed(
            json!(["tool"]),
            json!({ "tool": tool, "columnKind": { "enum": ["utf16CodeUnits", "unicodeCodePoints"] },
                "results": { "type": "array", "items": result } }),
        );
        closed(
            json!(["version", "runs"]),
            json!({ "$schema": text, "version": { "const": "2.1.0" }, "runs": { "type": "array", "items": run } }),
        )
    }

    #[test]
    fn a_log_has_the_shape_of_the_specification() {
        let validator = schema::compile(&specification()).unwrap();
        for findings in [sample(), Vec::new()] {
            let log = log(&findings);
            let wrong: Vec<_> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }

    #[test]
    fn a_finding_keeps_its_rule_place_and_cure() {
        let log = log(&sample());
        let first = &log["runs"][0]["results"][0];
        assert_eq!((first["ruleId"].as_str(), first["level"].as_str()), (Some("unknown-key"), Some("error")));
        assert_eq!(first["message"]["text"], "unknown key `a`; did you mean `b`?");
        let place = &first["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20folder/f.yaml");
        assert_eq!(place["region"], json!({ "startLine": 2, "startColumn": 5, "snippet": { "text": "  - a: 1" } }));
        let index = usize::try_from(first["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][index]["id"], "unknown-key");
        assert_eq!(uri("/x/ü#.yaml"), "file:///x/%C3%BC%23.yaml");
    }
}
