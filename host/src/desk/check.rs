//! Checks a workflow's text as an installation would, as far as that can be known on the desk: an action of a pack that
//! is not at hand draws a warning and stops nothing.

use std::sync::Arc;

use super::SharedActions;
use super::actions::DeskActions;
use crate::definition::evaluate::Evaluate;
use crate::definition::{Compiled, Diagnostic, Severity, Source, compile};
use crate::model::PackName;

/// What the compiler calls an action that it cannot find, or whose pack it cannot find.
const UNKNOWN: [&str; 2] = ["unknown-action", "undeclared-catalog"];

/// What such an action draws where its pack is not at hand.
pub const UNCHECKED: &str = "unknown-action-unchecked";

/// All findings in a text, in the order of the text.
pub fn check(
    source: Source<'_>,
    packs: &SharedActions,
    own: Option<&PackName>,
    evaluator: &dyn Evaluate,
) -> Vec<Diagnostic> {
    let found = |lenient| {
        let actions = DeskActions::new(Arc::clone(packs), own.cloned(), lenient);
        match compile(source, &actions, evaluator) {
            Ok(Compiled { warnings, .. }) => warnings,
            Err(findings) => findings,
        }
    };
    let mut findings = found(true);
    let unknown =
        found(false).into_iter().filter(|finding| UNKNOWN.contains(&finding.code) && !findings.contains(finding));
    let unchecked: Vec<_> = unknown.map(unchecked).collect();
    findings.extend(unchecked);
    findings.sort_by(|a, b| (a.line, a.column, a.code, &a.message).cmp(&(b.line, b.column, b.code, &b.message)));
    findings.dedup();
    findings
}

fn unchecked(finding: Diagnostic) -> Diagnostic {
    let cure = "name the folder of its pack with `--pack DIR` to check the call".to_owned();
    let message = "this call is not checked: the pack of its action is not at hand".to_owned();
    Diagnostic { code: UNCHECKED, severity: Severity::Warning, message, cure: Some(cure), ..finding }
}
