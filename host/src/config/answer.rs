//! What `orchestrator config …` prints: what is wrong, what holds, and the reference.

use std::fmt::Write as _;

use super::command::{Invocation, Task};
use super::found::{Found, Given, Origin};
use super::setting::{SectionTable, Setting, Shape};
use super::{Config, SECTIONS, inspection};

impl Invocation {
    /// The text that answers the invocation, and whether all is well.
    pub fn answer(&self) -> (String, bool) {
        match self.task {
            Task::Check => self.check(),
            Task::Show => (self.show(), true),
            Task::Reference => (reference(), true),
            Task::Serve | Task::ResetAdminToken => (String::new(), true),
        }
    }

    fn check(&self) -> (String, bool) {
        let mut found = Found::collect(SECTIONS, &self.sources);
        let mut notes = inspection::variables(&self.sources);
        if let Some(config) = Config::read_checked(&mut found) {
            notes.extend(inspection::inspect(&config, &mut found));
        }
        let (faults, mut text) = (found.faults(), String::new());
        for fault in faults {
            line(&mut text, &format!("wrong  {fault}"));
        }
        for note in &notes {
            line(&mut text, &format!("note   {note}"));
        }
        match faults.len() {
            0 => line(&mut text, "the settings are right"),
            1 => line(&mut text, "1 setting is wrong"),
            count => line(&mut text, &format!("{count} settings are wrong")),
        }
        (text, faults.is_empty())
    }

    /// A settings file that says what holds, with who says so behind each line.
    fn show(&self) -> String {
        let found = Found::collect(SECTIONS, &self.sources);
        let mut text = String::new();
        for section in SECTIONS {
            line(&mut text, &format!("# {}", section.title));
            for setting in section.settings {
                line(&mut text, &shown(setting, found.given(setting.key)));
            }
        }
        for fault in found.faults() {
            line(&mut text, &format!("# wrong: {fault}"));
        }
        text
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn shown(setting: &Setting, given: Option<&Given>) -> String {
    let Some(Given { texts, origin }) = given else { return format!("# {}:", setting.key) };
    let value = match setting.shape {
        _ if setting.secret => "\"(hidden)\"".to_owned(),
        Shape::Many => format!("[{}]", texts.iter().map(|text| scalar(text)).collect::<Vec<_>>().join(", ")),
        Shape::Json | Shape::Switch => texts.concat(),
        Shape::One => texts.iter().map(|text| scalar(text)).collect(),
    };
    // A hidden value is not one to start a server with.
    let hidden = if setting.secret { "# " } else { "" };
    match origin {
        Origin::Default => format!("{hidden}{}: {value}  # default", setting.key),
        origin => format!("{hidden}{}: {value}  # from {origin}", setting.key),
    }
}

/// A scalar that YAML reads back as the same text.
fn scalar(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    let word =
        text.chars().all(plain) && text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/');
    let reserved = ["true", "false", "null"].contains(&text);
    if word && !reserved { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// The reference of all settings, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        describe(&mut text, section);
    }
    text
}

const INTRODUCTION: &str = "\
# Settings of the server

Printed by `orchestrator config reference`.

Every setting may be given as an argument, as an environment variable, or in the YAML file that `--config FILE` (or
`ORCHESTRATOR_CONFIG`) names. An argument goes before the environment, the environment before the file, the file before
the default. In the file, `tls.key` may be written with its point or as `key` in a mapping `tls`. Lists are lists in the
file, repeated flags, and text separated by commas or spaces in the environment (URLs by spaces only). An empty variable
sets nothing.

`orchestrator config check` says everything that is wrong, with its place; `orchestrator config show` prints what holds
and who says so. Wrong settings end the server with code 2.
";

fn describe(text: &mut String, section: &SectionTable) {
    let about = section.about.split_whitespace().collect::<Vec<_>>().join(" ");
    line(text, &format!("\n## {}\n{about}", section.title));
    for setting in section.settings {
        let (key, flag, word, variable) = (setting.key, setting.flag(), setting.word, setting.variable());
        let word = if setting.shape == Shape::Switch { String::new() } else { format!(" {word}") };
        // Writing into a `String` never fails.
        let _ = write!(text, "\n### `{key}`\n`--{flag}{word}` · `{variable}`");
        if let Some(default) = setting.default {
            let _ = write!(text, " · default `{default}`");
        }
        line(text, &format!("\n\n{}", setting.help_line()));
    }
}
