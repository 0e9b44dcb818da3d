//! Plain text as Jira wants it: Cloud takes Atlassian Document Format, Server and Data Center take text.

use orchestrator_sdk::{Json, json};

use crate::api::Site;

/// The text in the form that the site takes.
pub(crate) fn body(site: &Site, text: &str) -> Json {
    if site.is_cloud() { document(text) } else { json!(text) }
}

/// A document: a paragraph for each block between empty lines, a break for each line, a link for each address.
pub(crate) fn document(text: &str) -> Json {
    let text = text.replace("\r\n", "\n");
    let content: Vec<Json> = text.split("\n\n").filter(|block| !block.trim().is_empty()).map(paragraph).collect();
    json!({ "type": "doc", "version": 1, "content": content })
}

fn paragraph(block: &str) -> Json {
    let mut content = Vec::new();
    for (number, line) in block.trim_matches('\n').split('\n').enumerate() {
        if number > 0 {
            content.push(json!({ "type": "hardBreak" }));
        }
        words(line, &mut content);
    }
    json!({ "type": "paragraph", "content": content })
}

/// The pieces of a line; a piece is never empty, because the format refuses empty text.
fn words(line: &str, content: &mut Vec<Json>) {
    let mut plain = String::new();
    for word in line.split_inclusive(' ') {
        let link = word.trim_end_matches([' ', '.', ',', ';', ')']);
        if !link.starts_with("https://") && !link.starts_with("http://") {
            plain.push_str(word);
            continue;
        }
        if !plain.is_empty() {
            content.push(json!({ "type": "text", "text": std::mem::take(&mut plain) }));
        }
        let mark = json!({ "type": "link", "attrs": { "href": link } });
        content.push(json!({ "type": "text", "text": link, "marks": [mark] }));
        plain.push_str(&word[link.len()..]);
    }
    if !plain.is_empty() {
        content.push(json!({ "type": "text", "text": plain }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Json) {
        assert_eq!(document(text)["content"], expected, "{text:?}");
    }

    #[test]
    fn text_becomes_paragraphs_breaks_and_links() {
        let plain = |text: &str| json!({ "type": "text", "text": text });
        let paragraph = |content: Json| json!({ "type": "paragraph", "content": content });
        check("", json!([]));
        check(" \n\n\n", json!([]));
        check("one", json!([paragraph(json!([plain("one")]))]));
        check("a\r\n\r\nb", json!([paragraph(json!([plain("a")])), paragraph(json!([plain("b")]))]));
        check("a\nb", json!([paragraph(json!([plain("a"), { "type": "hardBreak" }, plain("b")]))]));
        let mark = json!({ "type": "link", "attrs": { "href": "https://a.example/x" } });
        let link = json!({ "type": "text", "text": "https://a.example/x", "marks": [mark] });
        check("see https://a.example/x.", json!([paragraph(json!([plain("see "), link, plain(".")]))]));
        check("https://a.example/x", json!([paragraph(json!([link]))]));
    }
}
