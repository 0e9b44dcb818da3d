//! The JSON Schemas of a pack: each must be there, be JSON, compile as 2020-12, and refer to nothing outside itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Check, CheckError};
use crate::definition::{Diagnostic, Position, Source, yaml};
use crate::model::Json;
use crate::pack::directory::PackPath;

impl Check<'_> {
    /// Reads and compiles every schema that the manifest names, each once.
    pub(super) fn schemas(&mut self) -> Result<BTreeMap<PackPath, Arc<Json>>, CheckError> {
        let mut schemas = BTreeMap::new();
        for (pointer, path) in self.named_schemas() {
            if schemas.contains_key(&path) {
                continue;
            }
            let Some(content) = self.directory.read(&path)? else {
                self.missing(&pointer, &path);
                continue;
            };
            match compile(&content, &path) {
                Ok(schema) => drop(schemas.insert(path, Arc::new(schema))),
                Err(finding) => self.findings.push(*finding),
            }
        }
        Ok(schemas)
    }

    fn named_schemas(&self) -> Vec<(String, PackPath)> {
        let actions = self.manifest().actions.iter().flat_map(|(name, action)| {
            let input = action.input.clone().map(|path| (format!("/actions/{name}/input"), path));
            let output = action.output.clone().map(|path| (format!("/actions/{name}/output"), path));
            input.into_iter().chain(output)
        });
        let services = self.manifest().services.iter().enumerate().filter_map(|(index, service)| {
            service.input.clone().map(|path| (format!("/services/{index}/input"), path))
        });
        actions.chain(services).collect()
    }
}

fn compile(content: &[u8], path: &PackPath) -> Result<Json, Box<Diagnostic>> {
    let text = String::from_utf8_lossy(content);
    let source = Source { path: path.as_str(), text: &text };
    let refuse = |code, position, message: String, cure: &str| {
        Box::new(Diagnostic::error(code, source, position, message).cure(cure))
    };
    let schema: Json = serde_json::from_slice(content).map_err(|error| {
        let at = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).max(1);
        let position = Position { line: at(error.line()), column: at(error.column()) };
        refuse("bad-json", position, format!("this is not JSON: {error}"), "a schema's file is one JSON document")
    })?;
    // Offline: a schema that is fetched would make the pack mean something else tomorrow.
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).offline();
    match options.build(&schema) {
        Ok(_) => Ok(schema),
        Err(error) => {
            let pointer = error.instance_path().to_string();
            let position = yaml::parse(&text, path.as_str()).map_or(Position::START, |tree| tree.position_at(&pointer));
            let cure = "write JSON Schema 2020-12; a `$ref` may only lead to a place in the same file";
            Err(refuse("bad-schema", position, format!("this schema does not compile: {error}"), cure))
        }
    }
}
