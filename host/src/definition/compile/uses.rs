//! `use`: what is declared by name. Each declaration is read where it stands as well, so that an unused one is checked too.

use super::policy::Around;
use super::task::Env;
use super::value::Spot;
use super::{Compiler, NAMED_BLOCKS, escape};
use crate::definition::yaml::{Tree, Value};
use crate::model::{PackName, SecretName};

impl<'a> Compiler<'a> {
    pub(super) fn use_block(&mut self, workflow: &'a Tree) {
        let Some(tree) = workflow.get("use") else { return };
        if self.map(tree, "`use`").is_none() {
            return;
        }
        let known =
            ["authentications", "catalogs", "errors", "extensions", "functions", "retries", "secrets", "timeouts"];
        self.keys(tree, "`use`", &known, &[]);
        // Secrets and functions first: what follows may name them.
        if let Some(secrets) = tree.get("secrets") {
            self.declare_secrets(secrets);
        }
        for block in NAMED_BLOCKS {
            let Some(block_tree) = tree.get(block) else { continue };
            for entry in self.map(block_tree, &format!("`use.{block}`")).unwrap_or_default() {
                self.declaration(block, &entry.key, &entry.value);
            }
        }
        if let Some(extensions) = tree.get("extensions") {
            self.declare_extensions(extensions);
        }
    }

    fn declaration(&mut self, block: &str, name: &'a str, tree: &'a Tree) {
        let pointer = format!("/use/{block}/{}", escape(name));
        let env = Env::unknown();
        match block {
            "authentications" => drop(self.rehearse(|compiler| compiler.policy(tree, &pointer, (Spot::Request, &env)))),
            "catalogs" => drop(self.catalog_declaration(tree)),
            "errors" => drop(self.rehearse(|compiler| compiler.error_template(tree, &pointer, (Spot::Body, &env)))),
            "functions" => self.declare_function(name, tree),
            "retries" => drop(
                self.rehearse(|compiler| compiler.retry_policy(tree, &pointer, Around { task: &env, catch: &env })),
            ),
            _ => drop(self.rehearse(|compiler| compiler.timeout_after(tree, &pointer, (Spot::Before, &env)))),
        }
    }

    /// Reads something for its faults alone: what it adds to the program is taken away again.
    pub(super) fn rehearse<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let (nodes, scopes) = (self.nodes.len(), self.scopes.len());
        let (expressions, schemas) = (self.expressions.len(), self.schemas.len());
        let found = read(self);
        self.nodes.truncate(nodes);
        self.places.truncate(nodes);
        self.scopes.truncate(scopes);
        self.expressions.truncate(expressions);
        self.schemas.truncate(schemas);
        let kept = |schema: &Option<crate::definition::graph::SchemaId>| {
            schema.is_none_or(|schema| (schema.0 as usize) < schemas)
        };
        self.action_schemas.retain(|_, (input, output)| kept(input) && kept(output));
        found
    }

    fn declare_secrets(&mut self, tree: &'a Tree) {
        let Some(items) = tree.as_list() else {
            let message = format!("`use.secrets` is a list of names, not {}", tree.kind());
            self.error("wrong-type", tree.position, message);
            return;
        };
        for item in items {
            let Some(text) = self.text(item, "a secret's name") else { continue };
            match SecretName::parse(text) {
                Ok(name) => self.secrets.push(name.to_string()),
                Err(error) => {
                    self.error_with_cure("bad-name", item.position, error.to_string(), error.rule);
                    // Its uses are no faults of their own.
                    self.secrets.push(text.to_owned());
                }
            }
        }
    }

    /// The pack that a declared catalog stands for; a fault was told where it is declared.
    pub(super) fn catalog(&mut self, name: &'a str) -> Option<PackName> {
        let tree = *self.named.get(&("catalogs", name))?;
        self.catalog_declaration(tree)
    }

    /// `endpoint: pack://<pack>`, also as `endpoint: {uri}`.
    fn catalog_declaration(&mut self, tree: &'a Tree) -> Option<PackName> {
        self.map(tree, "a catalog")?;
        self.keys(tree, "a catalog", &["endpoint"], &[]);
        let endpoint = self.required(tree, "endpoint", "a catalog")?;
        let uri = match &endpoint.value {
            Value::Map(_) => {
                self.keys(endpoint, "a catalog's `endpoint`", &["uri"], &["authentication"]);
                self.required(endpoint, "uri", "a catalog's `endpoint`")?
            }
            _ => endpoint,
        };
        let text = self.text(uri, "a catalog's `endpoint`")?;
        let Some(pack) = text.strip_prefix("pack://") else {
            let message = format!("the catalog `{text}` is not a pack, and functions are not loaded from URLs");
            let cure = "install a pack that has the functions, and write `endpoint: pack://<its name>`";
            self.error_with_cure("unsupported", uri.position, message, cure);
            return None;
        };
        PackName::parse(pack)
            .map_err(|error| {
                let last = pack.rsplit('/').next().unwrap_or_default();
                let cure = match PackName::parse(last) {
                    Ok(last) => format!("a pack has one name: write `pack://{last}`"),
                    Err(_) => error.rule.to_owned(),
                };
                self.error_with_cure("bad-name", uri.position, error.to_string(), cure);
            })
            .ok()
    }
}
