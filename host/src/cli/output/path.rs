//! JSON paths (RFC 9535) as people type them: `$.items[*].name`, the same without `$`, or text with paths in braces.

use serde_json::Value as Json;
use serde_json_path::JsonPath;

use super::format::plain;

/// A path, or text with paths in it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Template {
    parts: Vec<Part>,
    /// Whether the paths stand in braces; then what one finds is put on one line.
    braces: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(JsonPath),
}

impl Template {
    /// Reads a path, or a template.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.contains('{') {
            return Ok(Self { parts: vec![Part::Path(path(text)?)], braces: false });
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let end = closing(after).ok_or_else(|| format!("`{text}` has a `{{` without its `}}`"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(inside(&after[..end])?);
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts, braces: true })
    }

    /// What it gives of a value.
    pub(super) fn apply(&self, value: &Json) -> String {
        let found = |path: &JsonPath| path.query(value).iter().map(|value| plain(value)).collect::<Vec<_>>();
        let separator = if self.braces { " " } else { "\n" };
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Path(path) => found(path).join(separator),
            })
            .collect()
    }
}

/// Where the brace closes; one in quotes does not.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '}') => return Some(at),
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

/// A path, or text in quotes such as `{"\n"}`.
fn inside(text: &str) -> Result<Part, String> {
    let text = text.trim();
    if text.starts_with('"') {
        let read = serde_json::from_str(text).map_err(|error| format!("`{text}` is no text: {error}"))?;
        return Ok(Part::Text(read));
    }
    path(text).map(Part::Path)
}

fn path(text: &str) -> Result<JsonPath, String> {
    let whole = match text.chars().next() {
        Some('$') => text.to_owned(),
        Some('.' | '[') => format!("${text}"),
        _ => format!("$.{text}"),
    };
    JsonPath::parse(whole.trim_end_matches('.')).map_err(|error| {
        let cure = "write a path of RFC 9535 such as `$.items[*].name`";
        format!("`{text}` is no JSON path: {error}; {cure}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_taken_however_it_is_typed() {
        let list = json!({"items": [{"name": "a", "size": 1}, {"name": "b}", "size": 2}]});
        #[rustfmt::skip]
        let cases = [
            ("$.items[*].name", "a\nb}"),
            (".items[*].name", "a\nb}"),
            ("items[0].size", "1"),
            ("{.items[*].name}", "a b}"),
            ("first: {.items[0].name}{\"\\n\"}", "first: a\n"),
            ("{.items[?@.name=='b}'].size}", "2"),
            ("$", "{\"items\":[{\"name\":\"a\",\"size\":1},{\"name\":\"b}\",\"size\":2}]}"),
            ("$.none", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(Template::parse(text).unwrap().apply(&list), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for text in ["$..[", "{.a", "a b", "{\"x}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
