//! `document` and `evaluate`.

use super::Compiler;
use crate::definition::yaml::Tree;
use crate::model::WorkflowName;

/// What `document` says.
pub(super) struct Header {
    pub(super) namespace: String,
    pub(super) name: WorkflowName,
    pub(super) version: semver::Version,
    pub(super) title: Option<String>,
    pub(super) summary: Option<String>,
}

impl<'a> Compiler<'a> {
    pub(super) fn header(&mut self, workflow: &'a Tree) -> Option<Header> {
        let tree = self.required(workflow, "document", "a workflow")?;
        self.map(tree, "`document`")?;
        let known = ["dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"];
        self.keys(tree, "`document`", &known, &[]);
        self.dsl_version(tree);
        let namespace = self.label(tree, "namespace");
        let name = self.label(tree, "name");
        let version = self.document_version(tree);
        let title = self.optional_text(tree, "title");
        let summary = self.optional_text(tree, "summary");
        for key in ["tags", "metadata"] {
            if let Some(value) = tree.get(key) {
                self.map(value, &format!("`document.{key}`"));
            }
        }
        let namespace = namespace?.to_string();
        Some(Header { namespace, name: name?, version: version?, title, summary })
    }

    fn dsl_version(&mut self, document: &'a Tree) {
        let Some(tree) = self.required(document, "dsl", "`document`") else { return };
        let Some(text) = self.text(tree, "`document.dsl`") else { return };
        if !is_known(text) {
            let message = format!("documents of DSL version `{text}` are not read");
            let cure = match text.starts_with("0.") {
                true => "0.x is another language, with states for tasks: rewrite the workflow in DSL `'1.0.3'`",
                false => "write `dsl: '1.0.3'`; versions that are read: each 1.0, and the pre-releases of 1.1.0",
            };
            self.error_with_cure("dsl-version", tree.position, message, cure);
        }
    }

    fn label(&mut self, document: &'a Tree, key: &str) -> Option<WorkflowName> {
        let tree = self.required(document, key, "`document`")?;
        let text = self.text(tree, &format!("`document.{key}`"))?;
        match WorkflowName::parse(text) {
            Ok(name) => Some(name),
            Err(error) => {
                let message = format!("`{text}` is not a valid {key}");
                self.error_with_cure("bad-name", tree.position, message, error.rule);
                None
            }
        }
    }

    fn document_version(&mut self, document: &'a Tree) -> Option<semver::Version> {
        let tree = self.required(document, "version", "`document`")?;
        let text = self.text(tree, "`document.version`")?;
        match text.parse() {
            Ok(version) => Some(version),
            Err(error) => {
                let message = format!("`{text}` is not a semantic version: {error}");
                self.error_with_cure("bad-version", tree.position, message, "write three numbers, `'1.0.0'`");
                None
            }
        }
    }

    fn optional_text(&mut self, tree: &'a Tree, key: &str) -> Option<String> {
        let value = tree.get(key)?;
        self.text(value, &format!("`document.{key}`")).map(str::to_owned)
    }

    /// `evaluate: {language: jq, mode: strict | loose}`.
    pub(super) fn evaluate_block(&mut self, workflow: &'a Tree) {
        let Some(tree) = workflow.get("evaluate") else { return };
        if self.map(tree, "`evaluate`").is_none() {
            return;
        }
        self.keys(tree, "`evaluate`", &["language", "mode"], &[]);
        if let Some(language) = tree.get("language")
            && language.as_text() != Some("jq")
        {
            let message = "`evaluate.language` can only be `jq`";
            self.error_with_cure("unsupported", language.position, message, "write `language: jq`");
        }
        if let Some(mode) = tree.get("mode") {
            let loose = self.word(mode, "`evaluate.mode`", &[("strict", false), ("loose", true)]);
            self.loose = loose.unwrap_or(false);
        }
    }
}

/// Whether documents of this DSL version are read: each 1.0, and what comes before 1.1 is released. What the main branch
/// of the specification adds is understood in each of them.
fn is_known(text: &str) -> bool {
    match text.parse::<semver::Version>() {
        Ok(version) => match (version.major, version.minor) {
            (1, 0) => true,
            (1, 1) => version.patch == 0 && !version.pre.is_empty(),
            _ => false,
        },
        Err(_) => text == "main",
    }
}
