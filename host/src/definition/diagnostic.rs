//! What is wrong with a text a person wrote, with its place and its cure. Prints like a compiler. It decides nothing.

use std::fmt;

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The text is refused.
    Error,
    /// The text is taken; something in it is probably not meant.
    Warning,
}

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// A text with the path it is known by, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The path within its pack, `workflows/provision-volume.yaml`.
    pub path: &'a str,
    /// The text.
    pub text: &'a str,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Diagnostic {
    /// A stable name for this kind of finding, `unknown-key`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// The line's text, cut at [`EXCERPT_CHARS_MAX`] characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub excerpt: String,
}

/// Enough for a line that a person wrote; a generated line would flood a terminal.
pub const EXCERPT_CHARS_MAX: usize = 160;

impl Diagnostic {
    /// An error at a place in `source`.
    pub fn error(code: &'static str, source: Source<'_>, position: Position, message: impl Into<String>) -> Self {
        let line = source.text.lines().nth(position.line.saturating_sub(1) as usize).unwrap_or_default();
        Self::error_in_line(code, source.path, line, position, message)
    }

    /// The same for whoever has the line at hand; to look for it costs a pass over the text.
    pub(super) fn error_in_line(
        code: &'static str,
        path: &str,
        line: &str,
        position: Position,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            path: path.to_owned(),
            line: position.line,
            column: position.column,
            message: message.into(),
            cure: None,
            excerpt: line.chars().take(EXCERPT_CHARS_MAX).collect(),
        }
    }

    /// A warning at a place in `source`.
    pub fn warning(code: &'static str, source: Source<'_>, position: Position, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, source, position, message) }
    }

    /// The same finding with its cure.
    #[must_use]
    pub fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(formatter, "{severity}[{}]: {}", self.code, self.message)?;
        let gutter = self.line.to_string();
        let blank = " ".repeat(gutter.len());
        write!(formatter, "{blank}--> {}:{}:{}", self.path, self.line, self.column)?;
        if !self.excerpt.trim().is_empty() {
            write!(formatter, "\n{blank} |\n{gutter} | {}", self.excerpt)?;
            if (self.column as usize) <= EXCERPT_CHARS_MAX {
                write!(formatter, "\n{blank} | {}^", " ".repeat(self.column as usize - 1))?;
            }
        }
        if let Some(cure) = &self.cure {
            write!(formatter, "\n{blank} = help: {cure}")?;
        }
        Ok(())
    }
}

/// So many candidates are compared: a hint is not worth a walk over thousands of names for each finding.
const CANDIDATES_MAX: usize = 256;

/// The candidates that are spelled nearly like `text`, nearest first, at most three. For “did you mean”.
pub fn near<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // Of a name of one character, any other is one slip away.
    let length = text.chars().count();
    let candidates = candidates.into_iter().take(CANDIDATES_MAX);
    let allowed = (length / 3).clamp(1, 3).min(length.saturating_sub(1));
    let mut found: Vec<_> = candidates
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    found.sort();
    found.into_iter().map(|(_, candidate)| candidate).take(3).collect()
}

/// The Levenshtein distance without regard to case, over at most 64 characters: names are no longer.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().take(64).collect();
    let right: Vec<char> = right.to_lowercase().chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (y, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = y + 1;
        for (x, b) in right.iter().enumerate() {
            let cost = diagonal + usize::from(a != b);
            diagonal = row[x + 1];
            row[x + 1] = cost.min(row[x] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_prints_like_a_compilers() {
        let source = Source { path: "workflows/a.yaml", text: "do:\n  - a:\n      sett: {}\n" };
        let found = Diagnostic::error("unknown-key", source, Position { line: 3, column: 7 }, "unknown key `sett`")
            .cure("did you mean `set`?");
        let expected = "error[unknown-key]: unknown key `sett`\n --> workflows/a.yaml:3:7\n  |\n3 |       sett: {}\n  \
                        |       ^\n  = help: did you mean `set`?";
        assert_eq!(found.to_string(), expected);
    }

    #[test]
    fn a_place_outside_the_text_prints_without_excerpt() {
        let source = Source { path: "a.yaml", text: "" };
        let found = Diagnostic::warning("empty", source, Position::START, "nothing here");
        assert_eq!(found.to_string(), "warning[empty]: nothing here\n --> a.yaml:1:1");
    }

    #[test]
    fn near_names_are_the_ones_a_slip_away() {
        assert_eq!(near("swich", ["switch", "set", "wait"]), ["switch"]);
        assert_eq!(near("exceptwhen", ["when", "exceptWhen"]), ["exceptWhen"]);
        assert!(near("zebra", ["switch", "set"]).is_empty());
    }
}
