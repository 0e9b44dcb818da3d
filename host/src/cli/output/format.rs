//! The formats of results, as `-o` names them.

use std::str::FromStr;

use serde_json::Value as Json;

use super::path::Template;

/// How results are printed.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) enum Format {
    /// For people.
    Table,
    /// For people with wide terminals: more columns.
    Wide,
    /// As the API answers.
    Json,
    /// The same as YAML.
    Yaml,
    /// One name or identifier per line, as the other commands take them.
    Name,
    /// Comma-separated values (RFC 4180) with the columns of `wide`.
    Csv,
    /// What a JSON path (RFC 9535) finds in the API's answer.
    JsonPath(Box<Template>),
    /// Findings for code scanners; of `workflow check`.
    Sarif,
    /// A flowchart; of `workflow show`.
    Mermaid,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("jsonpath=") {
            return Template::parse(path).map(|template| Self::JsonPath(Box::new(template)));
        }
        Ok(match text {
            "table" | "text" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "csv" => Self::Csv,
            "sarif" => Self::Sarif,
            "mermaid" => Self::Mermaid,
            _ => {
                return Err(
                    "write table, wide, json, yaml, name, csv, jsonpath=PATH, or sarif and mermaid where findings or \
                            pictures are printed"
                        .to_owned(),
                );
            }
        })
    }
}

/// A field of a comma-separated line.
pub(super) fn csv_field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A value as plain text: text without quotes, anything else as JSON.
pub(in crate::cli) fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_by_their_names() {
        assert_eq!("text".parse(), Ok(Format::Table));
        assert_eq!("wide".parse(), Ok(Format::Wide));
        assert!(matches!("jsonpath=.a".parse(), Ok(Format::JsonPath(_))));
        assert!("jsonpath={.a".parse::<Format>().is_err());
        assert!("xml".parse::<Format>().is_err_and(|reason| reason.contains("jsonpath=PATH")));
    }

    #[test]
    fn a_field_is_quoted_where_it_must_be() {
        assert_eq!(csv_field("a b"), "a b");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
