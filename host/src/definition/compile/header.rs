//! `document`, `evaluate` and the shape of `use`.

use super::Compiler;
use crate::definition::yaml::Tree;
use crate::model::WorkflowName;

/// The versions of the DSL whose documents are read; what its main branch adds is understood in each of them.
const DSL_VERSIONS: [&str; 5] = ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "main"];

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
        if !DSL_VERSIONS.contains(&text) {
            let message = format!("documents of DSL version `{text}` are not read");
            let cure = format!("versions that are: {}", DSL_VERSIONS.join(", "));
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

    /// `evaluate: {language: jq, mode: strict}`, which is what happens anyway.
    pub(super) fn evaluate_block(&mut self, workflow: &'a Tree) {
        let Some(tree) = workflow.get("evaluate") else { return };
        if self.map(tree, "`evaluate`").is_none() {
            return;
        }
        self.keys(tree, "`evaluate`", &["language", "mode"], &[]);
        for (key, supported) in [("language", "jq"), ("mode", "strict")] {
            if let Some(value) = tree.get(key)
                && value.as_text() != Some(supported)
            {
                let message = format!("`evaluate.{key}` can only be `{supported}` in this version");
                self.error_with_cure("unsupported", value.position, message, format!("write `{key}: {supported}`"));
            }
        }
    }

    /// The blocks of `use`. Each declaration is read where it stands as well, so that an unused one is checked too.
    pub(super) fn use_block(&mut self, workflow: &'a Tree) {
        let Some(tree) = workflow.get("use") else { return };
        if self.map(tree, "`use`").is_none() {
            return;
        }
        let later = ["authentications", "catalogs", "extensions", "functions", "secrets"];
        self.keys(tree, "`use`", &["errors", "retries", "timeouts"], &later);
        for block in ["errors", "retries", "timeouts"] {
            let Some(block_tree) = tree.get(block) else { continue };
            for entry in self.map(block_tree, &format!("`use.{block}`")).unwrap_or_default() {
                self.declaration(block, &entry.key, &entry.value);
            }
        }
    }

    fn declaration(&mut self, block: &str, name: &str, tree: &'a Tree) {
        use super::task::Env;
        use super::value::Spot;
        let pointer = format!("/use/{block}/{}", super::escape(name));
        match block {
            "errors" => drop(self.error_template(tree, &pointer, (Spot::Body, &Env::unknown()))),
            "retries" => drop(self.retry_policy(tree, &pointer, &Env::unknown())),
            _ => drop(self.timeout_after(tree, &pointer, (Spot::Before, &Env::unknown()))),
        }
    }
}
