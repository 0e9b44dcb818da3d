//! What Cloud accepts as a document, as far as plain documents go.

use serde_json::Value;

/// Whether a value is a document of paragraphs, breaks, texts and links.
pub(super) fn is_document(value: &Value) -> bool {
    let outer = value["type"] == "doc" && value["version"] == 1 && value.as_object().is_some_and(|doc| doc.len() == 3);
    let blocks = value["content"].as_array();
    outer && blocks.is_some_and(|blocks| blocks.iter().all(is_paragraph))
}

fn is_paragraph(block: &Value) -> bool {
    block["type"] == "paragraph" && block["content"].as_array().is_some_and(|content| content.iter().all(is_inline))
}

fn is_inline(inline: &Value) -> bool {
    match inline["type"].as_str() {
        Some("hardBreak") => inline.get("text").is_none(),
        Some("text") => {
            let marks = inline["marks"].as_array().map(Vec::as_slice).unwrap_or_default();
            inline["text"].as_str().is_some_and(|text| !text.is_empty())
                && marks.iter().all(|mark| mark["type"] == "link" && mark["attrs"]["href"].is_string())
        }
        _ => false,
    }
}

/// The text of a document or of plain text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Object(members) => match members.get("type").and_then(Value::as_str) {
            Some("text") => members.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
            Some("hardBreak") => "\n".to_owned(),
            Some("paragraph") => members.get("content").map(text).unwrap_or_default() + "\n",
            _ => members.get("content").map(text).unwrap_or_default(),
        },
        _ => String::new(),
    }
}
