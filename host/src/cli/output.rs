//! How results are printed: tables for people; JSON, YAML, names, comma-separated values or what a path finds for programs.

mod format;
mod path;
mod table;

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use serde_json::Value as Json;

use super::error::Error;
use crate::definition::yaml;

pub(super) use format::{Format, plain};

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where results go.
#[derive(Debug, Clone)]
pub(super) struct Output {
    format: Format,
    colour: bool,
    headings: bool,
    quiet: bool,
}

/// A column: its heading and the JSON pointers of its value, the first that is there.
pub(super) type Column = (&'static str, &'static [&'static str]);

impl Output {
    /// Results in this format. Quiet ones are names only where no format is asked for, and nothing is said about them.
    pub(super) fn new(format: Option<Format>, colour: Colour, headings: bool, quiet: bool) -> Self {
        let usual = if quiet { Format::Name } else { Format::Table };
        Self { format: format.unwrap_or(usual), colour: colour.wanted(), headings, quiet }
    }

    /// How results are printed.
    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    /// Whether people read it.
    pub(super) fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Whether nothing is to be said beside the results.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints the `items` of a list.
    pub(super) fn list(&self, list: &Json, columns: &[Column]) -> Result<(), Error> {
        self.list_wide(list, columns, &[])
    }

    /// Prints the `items` of a list; the second columns only where there is room for them.
    pub(super) fn list_wide(&self, list: &Json, columns: &[Column], more: &[Column]) -> Result<(), Error> {
        let all = || columns.iter().chain(more).copied().collect::<Vec<_>>();
        match self.format {
            Format::Table => drawn(&table::table(items(list), columns, self.headings, self.colour)),
            Format::Wide => drawn(&table::table(items(list), &all(), self.headings, self.colour)),
            Format::Csv => lines(table::csv(items(list), &all(), self.headings)),
            Format::Name => lines(items(list).iter().map(|item| table::identity(item, columns))),
            _ => self.data(list),
        }
    }

    /// Prints one thing, with these members first and the rest after.
    pub(super) fn thing(&self, thing: &Json, columns: &[Column]) -> Result<(), Error> {
        match self.format {
            Format::Table | Format::Wide => drawn(&table::card(thing, columns, self.colour)),
            Format::Csv => lines(table::csv(std::slice::from_ref(thing), columns, self.headings)),
            Format::Name => line(&table::identity(thing, columns)),
            _ => self.data(thing),
        }
    }

    /// Says something to people; programs get `data`.
    pub(super) fn said(&self, text: &str, data: &Json) -> Result<(), Error> {
        match self.format {
            _ if self.quiet => Ok(()),
            Format::Table | Format::Wide => line(text),
            Format::Name => line(&table::identity(data, &[])),
            _ => self.data(data),
        }
    }

    /// Says something to people, beside the results.
    pub(super) fn hint(&self, text: &str) -> Result<(), Error> {
        match self.is_for_people() && !self.quiet {
            true => line(text),
            false => Ok(()),
        }
    }

    /// Prints data as data; a table's stand-in is JSON.
    pub(super) fn data(&self, data: &Json) -> Result<(), Error> {
        match &self.format {
            Format::Yaml => line(yaml::to_yaml(data).map_err(Error::Failed)?.trim_end()),
            Format::JsonPath(template) => line(&template.apply(data)),
            _ => line(&serde_json::to_string_pretty(data).expect("JSON can always be written as text")),
        }
    }

    /// Prints data of a stream, one value on a line.
    pub(super) fn datum(&self, data: &Json) -> Result<(), Error> {
        match &self.format {
            Format::Yaml => line(&format!("---\n{}", yaml::to_yaml(data).map_err(Error::Failed)?.trim_end())),
            Format::JsonPath(template) => line(&template.apply(data)),
            _ => line(&data.to_string()),
        }
    }
}

impl Colour {
    fn wanted(self) -> bool {
        let asked_not = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => std::io::stdout().is_terminal() && !asked_not(),
        }
    }
}

/// Prints a line, or several.
pub(super) fn line(text: &str) -> Result<(), Error> {
    writeln!(std::io::stdout().lock(), "{}", printable(text)).map_err(Error::Output)
}

/// Tells people something on standard error, beside the results; it is no fault when nobody listens.
pub(super) fn aside(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
}

/// Prints what was made of printable cells, with its colours.
fn drawn(text: &str) -> Result<(), Error> {
    writeln!(std::io::stdout().lock(), "{text}").map_err(Error::Output)
}

fn lines(all: impl IntoIterator<Item = String>) -> Result<(), Error> {
    all.into_iter().try_for_each(|text| line(&text))
}

/// Whether somebody watches standard error, on a terminal that can be drawn on.
pub(super) fn is_watched() -> bool {
    std::io::stderr().is_terminal() && !is_dumb()
}

/// Whether the terminal can only print, as in an editor's shell.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}

/// Text without what steers a terminal: names and messages come from servers, packs and outside systems.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\n' && char != '\t' { '\u{fffd}' } else { char }).collect()
}

/// The items of a list.
pub(super) fn items(list: &Json) -> &[Json] {
    list.get("items").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// A value as people read it; `-` where there is none.
pub(super) fn cell(item: &Json, pointers: &[&str]) -> String {
    let value = pointers.iter().find_map(|pointer| item.pointer(pointer).filter(|value| !value.is_null()));
    match value {
        None => "-".to_owned(),
        Some(Json::Array(items)) if items.is_empty() => "-".to_owned(),
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
    use super::*;

    #[test]
    fn nothing_printed_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\r"), "a\u{fffd}[2Jb\nc\u{fffd}");
    }

    #[test]
    fn quiet_output_is_names_unless_a_format_is_asked_for() {
        assert_eq!(Output::new(None, Colour::Never, true, true).format(), &Format::Name);
        assert_eq!(Output::new(Some(Format::Json), Colour::Never, true, true).format(), &Format::Json);
        assert!(Output::new(None, Colour::Never, true, false).is_for_people());
    }
}
