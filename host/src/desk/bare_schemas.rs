//! Fields that a form could not explain: those of a pack's schemas without a title or a description. A workflow runs
//! without them; whoever orders it sees bare names.

use serde_json::Value as Json;

use crate::definition::yaml;
use crate::definition::{Diagnostic, Position, Source};
use crate::pack::directory::{Directory, PackPath};
use crate::pack::manifest::Manifest;

/// So many fields are named in one finding.
const NAMED_MAX: usize = 8;

/// A warning for each schema that has such fields.
pub(super) fn look(directory: &Directory, manifest: &Manifest) -> Vec<Diagnostic> {
    let actions = manifest.actions.values().flat_map(|action| action.input.iter().chain(&action.output));
    let services = manifest.services.iter().filter_map(|service| service.input.as_ref());
    let mut files: Vec<&PackPath> = actions.chain(services).collect();
    files.sort();
    files.dedup();
    let of_files = files.into_iter().filter_map(|path| of_file(directory, path));
    of_files.chain(manifest.workflows.iter().filter_map(|path| of_workflow(directory, path))).collect()
}

fn text_of(directory: &Directory, path: &PackPath) -> Option<String> {
    String::from_utf8(directory.read(path).ok()??).ok()
}

fn of_file(directory: &Directory, path: &PackPath) -> Option<Diagnostic> {
    let text = text_of(directory, path)?;
    let bare = bare(&serde_json::from_str(&text).ok()?);
    told(&bare, Source { path: path.as_str(), text: &text }, Position::START)
}

fn of_workflow(directory: &Directory, path: &PackPath) -> Option<Diagnostic> {
    let text = text_of(directory, path)?;
    let tree = yaml::parse(&text, path.as_str()).ok()?;
    let schema = tree.get("input")?.get("schema")?.get("document")?;
    let bare = bare(&schema.to_json());
    let first = bare.first().map_or(schema.position, |pointer| schema.position_at(pointer));
    told(&bare, Source { path: path.as_str(), text: &text }, first)
}

fn told(bare: &[String], source: Source<'_>, place: Position) -> Option<Diagnostic> {
    if bare.is_empty() {
        return None;
    }
    let more = if bare.len() > NAMED_MAX { format!(" and {} more", bare.len() - NAMED_MAX) } else { String::new() };
    let named: Vec<String> = bare.iter().take(NAMED_MAX).map(|pointer| format!("`{pointer}`")).collect();
    let message = format!("fields without a `title` and a `description`: {}{more}", named.join(", "));
    let finding = Diagnostic::warning("bare-schema", source, place, message);
    Some(finding.cure("add both to each, so that a form can be drawn from the schema"))
}

/// The pointers of the fields of an object schema, at any depth, that lack one of the two.
fn bare(schema: &Json) -> Vec<String> {
    let mut found = Vec::new();
    below(schema, "", &mut found);
    found
}

fn below(schema: &Json, pointer: &str, found: &mut Vec<String>) {
    for (name, field) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let at = format!("{pointer}/properties/{}", name.replace('~', "~0").replace('/', "~1"));
        let has = |key: &str| field.get(key).is_some_and(Json::is_string);
        // A reference has them where it leads to.
        if !(has("title") && has("description")) && field.get("$ref").is_none() {
            found.push(at.clone());
        }
        below(field, &at, found);
    }
    if let Some(items) = schema.get("items") {
        below(items, &format!("{pointer}/items"), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_needs_a_title_and_a_description() {
        let full = json!({"title": "A", "description": "B"});
        let cases = [
            (json!({"properties": {"a": full}}), vec![]),
            (json!({"properties": {"a": {"title": "A"}, "b": full}}), vec!["/properties/a"]),
            (json!({"properties": {"a": {"$ref": "#/x"}}}), vec![]),
            (json!({"items": {"properties": {"a": {}}}}), vec!["/items/properties/a"]),
            (json!(true), vec![]),
        ];
        for (schema, expected) in cases {
            assert_eq!(bare(&schema), expected, "{schema}");
        }
    }
}
