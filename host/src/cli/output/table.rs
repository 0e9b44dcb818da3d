//! Tables and cards for people, and the same columns for programs.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value as Json;

use super::format::csv_field;
use super::{Column, cell, printable};

/// Columns that a terminal has to have for a table to be fitted into it: into fewer it would come out letter by letter.
const WIDTH_MIN: u16 = 60;

/// A list as a table.
pub(super) fn table(items: &[Json], columns: &[Column], headings: bool, colour: bool) -> String {
    let mut table = plain(colour);
    if headings {
        table.set_header(columns.iter().map(|(heading, _)| match colour {
            true => Cell::new(heading).add_attribute(Attribute::Bold),
            false => Cell::new(heading),
        }));
    }
    for item in items {
        table.add_row(columns.iter().map(|(heading, pointers)| styled(heading, &cell(item, pointers), colour)));
    }
    trimmed(table)
}

/// One thing, a member on a line; what it lacks is left out.
pub(super) fn card(thing: &Json, columns: &[Column], colour: bool) -> String {
    let mut table = plain(colour);
    for (heading, pointers) in columns {
        let value = cell(thing, pointers);
        if value != "-" {
            table.add_row([Cell::new(format!("{heading}:")), styled(heading, &value, colour)]);
        }
    }
    trimmed(table)
}

/// A list as comma-separated lines.
pub(super) fn csv(items: &[Json], columns: &[Column], headings: bool) -> Vec<String> {
    let first = headings.then(|| columns.iter().map(|(heading, _)| csv_field(heading)).collect::<Vec<_>>().join(","));
    let row = |item: &Json| {
        let value = |(_, pointers): &Column| match cell(item, pointers) {
            none if none == "-" => String::new(),
            value => csv_field(&printable(&value)),
        };
        columns.iter().map(value).collect::<Vec<_>>().join(",")
    };
    first.into_iter().chain(items.iter().map(row)).collect()
}

/// What other commands call it: its first column where that is a name, else its name or identifier.
pub(super) fn identity(item: &Json, columns: &[Column]) -> String {
    const USUAL: &[&str] = &["/name", "/id"];
    let first = columns.first().filter(|(heading, _)| {
        matches!(heading.to_ascii_uppercase().as_str(), "ID" | "NAME" | "WORKFLOW" | "SEQ" | "TASK" | "NUMBER")
    });
    first.map_or_else(|| cell(item, USUAL), |(_, pointers)| cell(item, pointers))
}

fn plain(colour: bool) -> Table {
    let mut table = Table::new();
    let arrangement = match table.width() {
        Some(width) if width >= WIDTH_MIN => ContentArrangement::Dynamic,
        _ => ContentArrangement::Disabled,
    };
    table.load_style(presets::NOTHING).set_content_arrangement(arrangement);
    if colour {
        table.enforce_styling().style_text_only();
    }
    table
}

/// A cell; what says how something stands has the colour of that.
fn styled(heading: &str, text: &str, colour: bool) -> Cell {
    let shown = Cell::new(printable(text));
    let told = matches!(heading.to_ascii_uppercase().as_str(), "STATUS" | "SEVERITY" | "ENABLED");
    match colour_of(text).filter(|_| colour && told) {
        Some(colour) => shown.fg(colour),
        None => shown,
    }
}

fn colour_of(text: &str) -> Option<Color> {
    match text {
        "completed" | "true" | "ok" => Some(Color::Green),
        "faulted" | "critical" => Some(Color::Red),
        "running" | "pending" => Some(Color::Cyan),
        "waiting" => Some(Color::Blue),
        "suspended" | "cancelled" | "high" | "false" => Some(Color::Yellow),
        _ => None,
    }
}

fn trimmed(mut table: Table) -> String {
    // Names and identifiers are copied, so they stay in one piece.
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let text = table.to_string();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] =
        &[("NAME", &["/name"]), ("VERSION", &["/version"]), ("AT", &["/when", "/at"]), ("TAGS", &["/tags"])];

    fn list() -> [Json; 2] {
        [
            json!({"name": "storage", "version": "1.0.0", "at": "2026-01-12T10:00:00.123456Z", "tags": ["a", "b"]}),
            json!({"name": "bucket-migration", "version": null}),
        ]
    }

    #[test]
    fn a_list_becomes_a_table() {
        let expected = "NAME              VERSION  AT                    TAGS\n\
                        storage           1.0.0    2026-01-12T10:00:00Z  a, b\n\
                        bucket-migration  -        -                     -";
        assert_eq!(table(&list(), COLUMNS, true, false), expected);
        assert!(!table(&list(), COLUMNS, false, false).contains("NAME"));
    }

    #[test]
    fn a_list_becomes_comma_separated_lines() {
        let expected = ["NAME,VERSION,AT,TAGS", "storage,1.0.0,2026-01-12T10:00:00Z,\"a, b\"", "bucket-migration,,,"];
        assert_eq!(csv(&list(), COLUMNS, true), expected);
    }

    #[test]
    fn one_thing_becomes_a_card_without_what_it_lacks() {
        let columns: &[Column] = &[("Name", &["/name"]), ("Title", &["/title"]), ("Input", &["/input"])];
        let card = card(&json!({"name": "a", "input": {"x": 1}}), columns, false);
        assert_eq!(card, "Name:   a\nInput:  {\"x\":1}");
    }

    #[test]
    fn a_status_has_its_colour_and_other_words_have_none() {
        let columns: &[Column] = &[("STATUS", &["/status"]), ("NAME", &["/name"])];
        let items = [json!({"status": "faulted", "name": "completed"})];
        let told = table(&items, columns, false, true);
        assert!(told.contains("\u{1b}[38;5;9mfaulted"), "{told:?}");
        assert!(!told.contains("mcompleted"), "{told:?}");
        assert!(!table(&items, columns, true, false).contains('\u{1b}'));
    }

    #[test]
    fn a_thing_is_called_by_what_commands_take() {
        assert_eq!(identity(&json!({"id": "i", "name": "n"}), &[("ID", &["/id"])]), "i");
        assert_eq!(identity(&json!({"id": "i", "name": "n"}), &[("Connections", &["/c"])]), "n");
    }
}
