//! A case with its workflows compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::definition::graph::{NodeKind, Program};
use orchestrator_host::definition::{Diagnostic, Severity, Source, compile};

use super::case::{Case, Finding, whole};
use super::declared::Declared;

/// A case that can be run.
#[derive(Clone)]
pub struct Prepared {
    /// The case.
    pub case: Arc<Case>,
    /// Its workflow.
    pub program: Arc<Program>,
    /// The workflows that it runs, by `namespace/name`.
    pub children: BTreeMap<String, Arc<Program>>,
}

/// What the front end said about a case.
pub enum Looked {
    /// It is taken.
    Taken(Prepared),
    /// It is refused, as the case wants it.
    Refused,
}

/// Compiles a case and holds what the front end says to what the case expects of it.
///
/// # Errors
/// The front end says something else.
pub fn prepare(case: &Case, evaluator: &dyn Evaluate) -> anyhow::Result<Looked> {
    let title = case.title();
    let compiled =
        match (compile(Source { path: "case.yaml", text: &case.text() }, &Declared, evaluator), &case.expect.refused) {
            (Ok(_), Some(_)) => bail!("{title}: it is taken and must be refused"),
            (Err(findings), Some(wanted)) => {
                return expect(&title, &findings, Severity::Error, wanted).map(|()| Looked::Refused);
            }
            (Err(findings), None) => bail!("{title}: refused\n{}", listed(&findings)),
            (Ok(compiled), None) => compiled,
        };
    if let Some(wanted) = &case.expect.warned {
        expect(&title, &compiled.warnings, Severity::Warning, wanted)?;
    }
    let mut children = BTreeMap::new();
    for text in &case.workflows {
        let child = compile(Source { path: "child.yaml", text: &whole(text) }, &Declared, evaluator);
        let child =
            child.map_err(|findings| anyhow::anyhow!("{title}: a child is refused\n{}", listed(&findings)))?.program;
        children.insert(format!("{}/{}", child.namespace, child.name), Arc::new(child));
    }
    Ok(Looked::Taken(Prepared { case: Arc::new(case.clone()), program: Arc::new(compiled.program), children }))
}

fn expect(title: &str, findings: &[Diagnostic], severity: Severity, wanted: &[Finding]) -> anyhow::Result<()> {
    let found = findings.iter().filter(|finding| finding.severity == severity);
    let mut found: Vec<_> = found.map(|one| Finding { code: one.code.to_owned(), line: one.line }).collect();
    let mut wanted = wanted.to_vec();
    found.sort();
    wanted.sort();
    if found != wanted {
        bail!("{title}: expected the findings {wanted:?} and got {found:?}\n{}", listed(findings));
    }
    Ok(())
}

fn listed(findings: &[Diagnostic]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

impl Prepared {
    /// Whether several tasks may run at one time, so that the order in which they start is nobody's promise.
    pub fn is_concurrent(&self) -> bool {
        self.program.nodes.iter().any(|node| match &node.kind {
            NodeKind::Fork(_) => true,
            NodeKind::Each(each) => each.parallel.is_some(),
            _ => false,
        })
    }
}
