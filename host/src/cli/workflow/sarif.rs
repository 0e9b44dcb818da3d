//! Findings as SARIF 2.1.0 (OASIS), for code scanners and editors.

use std::env;
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

/// What follows the part of a line that a finding is about.
const ENDS: [char; 8] = [' ', '\t', ',', ']', '}', ')', ';', '#'];

/// The findings as a log with one run. Scanners know files by their path below the folder they look at, so paths below
/// the current one are told from there.
pub(super) fn log(findings: &[Diagnostic]) -> Json {
    let here = env::current_dir().unwrap_or_default();
    log_from(findings, &here)
}

fn log_from(findings: &[Diagnostic], here: &Path) -> Json {
    let mut codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<_> = codes.iter().map(|code| rule(code, findings)).collect();
    let results: Vec<_> = findings.iter().map(|finding| result(finding, &codes, here)).collect();
    let version = env!("CARGO_PKG_VERSION");
    let driver = json!({ "name": "orchctl", "version": version, "semanticVersion": version, "rules": rules });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "columnKind": "unicodeCodePoints", "results": results }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A rule is a code; its name is the code without the dashes, as names of rules are written.
fn rule(code: &str, findings: &[Diagnostic]) -> Json {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    let name: String = code.split('-').filter(|word| !word.is_empty()).map(capital).collect();
    let severity = findings.iter().find(|finding| finding.code == code).map(|finding| finding.severity);
    let short = format!("`{code}` of the workflow language");
    json!({
        "id": code,
        "name": name,
        "shortDescription": { "text": short },
        "defaultConfiguration": { "level": level(severity.unwrap_or(Severity::Error)) },
    })
}

fn result(finding: &Diagnostic, codes: &[&str], here: &Path) -> Json {
    let text = match &finding.cure {
        Some(cure) => format!("{}; {cure}", finding.message),
        None => finding.message.clone(),
    };
    let mut place = json!({ "artifactLocation": { "uri": uri(&finding.path, here) }, "region": region(finding) });
    if !finding.excerpt.is_empty() {
        let line = finding.line.max(1);
        place["contextRegion"] = json!({ "startLine": line, "endLine": line, "snippet": { "text": finding.excerpt } });
    }
    json!({
        "ruleId": finding.code,
        "ruleIndex": codes.iter().position(|code| *code == finding.code),
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": [{ "physicalLocation": place }],
    })
}

/// What the finding is about: from its column to the end of the word, or of the quoted text, that begins there.
fn region(finding: &Diagnostic) -> Json {
    let (line, column) = (finding.line.max(1), finding.column.max(1));
    let before = usize::try_from(column - 1).unwrap_or(usize::MAX);
    let text: Vec<char> = finding.excerpt.chars().skip(before).collect();
    let end = match text.first() {
        Some(quote @ ('"' | '\'')) => {
            text.iter().skip(1).position(|char| char == quote).map_or(text.len(), |place| place + 2)
        }
        Some(_) => text.iter().position(|char| ENDS.contains(char)).unwrap_or(text.len()).max(1),
        None => return json!({ "startLine": line, "startColumn": column }),
    };
    let snippet: String = text[..end].iter().collect();
    json!({
        "startLine": line,
        "startColumn": column,
        "endLine": line,
        "endColumn": before + end + 1,
        "snippet": { "text": snippet },
    })
}

/// A path as a URI reference, relative where it is below `here`.
fn uri(path: &str, here: &Path) -> String {
    let path = Path::new(path);
    let path = path.strip_prefix(here).ok().filter(|below| !below.as_os_str().is_empty()).unwrap_or(path);
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(utf8_percent_encode(&name.to_string_lossy(), IN_PATH).to_string()),
            Component::ParentDir => Some("..".to_owned()),
            Component::RootDir | Component::Prefix(_) | Component::CurDir => None,
        })
        .collect();
    let start = if path.is_absolute() { "file:///" } else { "" };
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
        let whole = json!({ "startLine": positive, "startColumn": positive, "endLine": positive, "endColumn": positive,
            "snippet": message });
        let region = closed(json!(["startLine"]), whole);
        let artifact = closed(json!(["uri"]), json!({ "uri": { "type": "string", "pattern": "^[^ ]+$" } }));
        let physical =
            closed(json!([]), json!({ "artifactLocation": artifact, "region": region, "contextRegion": region }));
        let location = closed(json!([]), json!({ "physicalLocation": physical }));
        let levels = json!({ "enum": ["none", "note", "warning", "error"] });
        let result = closed(
            json!(["message"]),
            json!({ "ruleId": text, "ruleIndex": { "type": "integer", "minimum": -1 }, "message": message,
                "level": levels,
                "locations": { "type": "array", "items": location } }),
        );
        let configuration = closed(json!([]), json!({ "level": levels }));
        let rule = closed(
            json!(["id"]),
            json!({ "id": text, "name": text, "shortDescription": message, "defaultConfiguration": configuration }),
        );
        let rules = json!({ "type": "array", "uniqueItems": true, "items": rule });
        let driver =
            closed(json!(["name"]), json!({ "name": text, "version": text, "semanticVersion": text, "rules": rules }));
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
        let region =
            json!({ "startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 7, "snippet": { "text": "a:" } });
        assert_eq!(place["region"], region);
        assert_eq!(place["contextRegion"]["snippet"]["text"], "  - a: 1");
        let index = usize::try_from(first["ruleIndex"].as_u64().unwrap()).unwrap();
        let rule = &log["runs"][0]["tool"]["driver"]["rules"][index];
        assert_eq!((rule["id"].as_str(), rule["name"].as_str()), (Some("unknown-key"), Some("UnknownKey")));
        assert_eq!(rule["defaultConfiguration"]["level"], "error");
        let outside = &log["runs"][0]["results"][1]["locations"][0]["physicalLocation"];
        assert_eq!(outside["region"], json!({ "startLine": 9, "startColumn": 1 }), "the text has no such line");
    }

    #[test]
    fn a_region_ends_with_the_word_or_the_quoted_text() {
        #[rustfmt::skip]
        let cases = [
            ("a: { b: soon }", 9, 13, "soon"), ("a: 'x y'", 4, 9, "'x y'"), ("a: \"open", 4, 9, "\"open"),
            ("a: [b, c]", 5, 6, "b"), ("ü: é", 4, 5, "é"), ("a: }", 4, 5, "}"),
        ];
        for (text, column, end, snippet) in cases {
            let source = Source { path: "f.yaml", text };
            let region = region(&Diagnostic::error("c", source, Position { line: 1, column }, "m"));
            assert_eq!(
                (region["endColumn"].as_u64(), &region["snippet"]["text"]),
                (Some(end), &json!(snippet)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_path_is_relative_where_it_can_be_and_always_escaped() {
        let here = Path::new("/work/my flows");
        #[rustfmt::skip]
        let cases = [
            ("/x/ü#.yaml", "file:///x/%C3%BC%23.yaml"), ("/work/my flows/a/b c.yaml", "a/b%20c.yaml"),
            ("./a/../b.yaml", "a/../b.yaml"), ("C:f.yaml", "C%3Af.yaml"),
        ];
        for (path, expected) in cases {
            assert_eq!(uri(path, here), expected, "{path}");
        }
    }
}
