//! How results are printed: tables for people, JSON or YAML as the API answered it for programs.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value as Json;

use super::error::Error;
use crate::definition::yaml;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[value(alias = "text")]
    Table,
    /// As the API answers.
    Json,
    /// The same as YAML.
    Yaml,
    /// Findings for code scanners; of `workflow check`.
    Sarif,
    /// A flowchart; of `workflow show`.
    Mermaid,
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
}

/// A column: its heading and the JSON pointers of its value, the first that is there.
pub(super) type Column = (&'static str, &'static [&'static str]);

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// How results are printed.
    pub(super) fn format(self) -> Format {
        self.format
    }

    /// Whether people read it.
    pub(super) fn is_for_people(self) -> bool {
        self.format == Format::Table
    }

    /// Prints the `items` of a list.
    pub(super) fn list(self, list: &Json, columns: &[Column]) -> Result<(), Error> {
        match self.format {
            Format::Table => line(&table(items(list), columns)),
            _ => self.data(list),
        }
    }

    /// Prints one thing, with these members first and the rest after.
    pub(super) fn thing(self, thing: &Json, columns: &[Column]) -> Result<(), Error> {
        match self.format {
            Format::Table => line(&card(thing, columns)),
            _ => self.data(thing),
        }
    }

    /// Says something to people; programs get `data`.
    pub(super) fn said(self, text: &str, data: &Json) -> Result<(), Error> {
        match self.format {
            Format::Table => line(text),
            _ => self.data(data),
        }
    }

    /// Prints data as data; a table's stand-in is JSON.
    pub(super) fn data(self, data: &Json) -> Result<(), Error> {
        match self.format {
            Format::Yaml => line(yaml::to_yaml(data).map_err(Error::Failed)?.trim_end()),
            _ => line(&serde_json::to_string_pretty(data).expect("JSON can always be written as text")),
        }
    }
}

/// Prints a line, or several.
pub(super) fn line(text: &str) -> Result<(), Error> {
    writeln!(std::io::stdout().lock(), "{}", printable(text)).map_err(Error::Output)
}

/// Whether somebody watches standard error.
pub(super) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Text without what steers a terminal: names and messages come from servers, packs and outside systems.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\n' && char != '\t' { '\u{fffd}' } else { char }).collect()
}

/// The items of a list.
pub(super) fn items(list: &Json) -> &[Json] {
    list.get("items").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn table(items: &[Json], columns: &[Column]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for item in items {
        table.add_row(columns.iter().map(|(_, pointers)| printable(&cell(item, pointers))));
    }
    trimmed(&table.to_string())
}

fn card(thing: &Json, columns: &[Column]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    for (heading, pointers) in columns {
        let value = cell(thing, pointers);
        if value != "-" {
            table.add_row([format!("{heading}:"), printable(&value)]);
        }
    }
    trimmed(&table.to_string())
}

fn trimmed(text: &str) -> String {
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}

/// A value as people read it; `-` where there is none.
pub(super) fn cell(item: &Json, pointers: &[&str]) -> String {
    let value = pointers.iter().find_map(|pointer| item.pointer(pointer).filter(|value| !value.is_null()));
    match value {
        None => "-".to_owned(),
        Some(Json::String(text)) => shortened_time(text),
        Some(Json::Array(items)) if items.iter().all(Json::is_string) => {
            items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", ")
        }
        Some(value) => value.to_string(),
    }
}

/// A timestamp without its fraction of a second; other text as it is.
fn shortened_time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_becomes_a_table() {
        let list = [
            json!({"name": "storage", "version": "1.0.0", "at": "2026-01-12T10:00:00.123456Z", "tags": ["a", "b"]}),
            json!({"name": "bucket-migration", "version": null}),
        ];
        let columns: &[Column] =
            &[("NAME", &["/name"]), ("VERSION", &["/version"]), ("AT", &["/when", "/at"]), ("TAGS", &["/tags"])];
        let expected = "NAME              VERSION  AT                    TAGS\n\
                        storage           1.0.0    2026-01-12T10:00:00Z  a, b\n\
                        bucket-migration  -        -                     -";
        assert_eq!(table(&list, columns), expected);
    }

    #[test]
    fn one_thing_becomes_a_card_without_what_it_lacks() {
        let columns: &[Column] = &[("Name", &["/name"]), ("Title", &["/title"]), ("Input", &["/input"])];
        let card = card(&json!({"name": "a", "input": {"x": 1}}), columns);
        assert_eq!(card, "Name:   a\nInput:  {\"x\":1}");
    }

    #[test]
    fn nothing_printed_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\r"), "a\u{fffd}[2Jb\nc\u{fffd}");
    }
}
