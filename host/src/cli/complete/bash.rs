//! How bash asks for completions. Bash takes a line to pieces at `:` and `=` and leaves quotes in them; here the line is
//! read as the shell itself reads it, so that a name with a space or a colon is completed like any other.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap_complete::engine;
use clap_complete::env::EnvCompleter;

/// The line up to the cursor.
const LINE: &str = "ORCHCTL_COMPLETE_LINE";
/// What bash will put the completion in the place of: the end of the line's last word.
const PIECE: &str = "ORCHCTL_COMPLETE_PIECE";

const SCRIPT: &str = r#"_orchctl() {
    local reply
    COMPREPLY=()
    while IFS= read -r reply; do
        COMPREPLY+=("$reply")
    done < <(VAR=bash ORCHCTL_COMPLETE_LINE="${COMP_LINE:0:COMP_POINT}" ORCHCTL_COMPLETE_PIECE="$2" COMPLETER -- "" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o default -o nosort -F _orchctl BIN 2>/dev/null || complete -o bashdefault -o default -F _orchctl BIN
"#;

/// The words typed so far, where bash asks.
pub(super) fn words() -> Option<Vec<OsString>> {
    let line = std::env::var(LINE).ok()?;
    Some(Line::read(&line).words.into_iter().map(OsString::from).collect())
}

/// Bash, from version 3.2 on.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        var: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let script = SCRIPT.replace("COMPLETER", completer).replace("VAR", var).replace("BIN", bin);
        out.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        _words: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let given = |name: &str| std::env::var(name).unwrap_or_default();
        let line = Line::read(&given(LINE));
        let (piece, words) = (given(PIECE), line.words.iter().map(OsString::from).collect());
        let candidates = engine::complete(command, words, line.words.len() - 1, folder)?;
        let shown = candidates.iter().filter(|candidate| !candidate.is_hide_set());
        let values: Vec<&str> = shown.filter_map(|candidate| candidate.get_value().to_str()).collect();
        for value in line.wanted(&values) {
            writeln!(out, "{}", line.replacement(value, &piece))?;
        }
        Ok(())
    }
}

/// A line as bash reads it.
#[derive(Debug, PartialEq)]
struct Line {
    /// Its words, without their quotes; the last one is being typed.
    words: Vec<String>,
    /// The quote that the last word is in.
    quote: Option<char>,
    /// The last word as it is typed.
    typed: String,
}

impl Line {
    fn read(line: &str) -> Self {
        let mut read = Self { words: vec![String::new()], quote: None, typed: String::new() };
        let mut letters = line.trim_start().chars();
        while let Some(letter) = letters.next() {
            if read.quote.is_none() && letter.is_whitespace() {
                if !read.typed.is_empty() {
                    read.words.push(String::new());
                    read.typed.clear();
                }
                continue;
            }
            read.typed.push(letter);
            match (read.quote, letter) {
                (None, '\'' | '"') => read.quote = Some(letter),
                (Some(quote), letter) if quote == letter => read.quote = None,
                (None | Some('"'), '\\') => {
                    let Some(escaped) = letters.next() else { break };
                    read.typed.push(escaped);
                    read.append(escaped);
                }
                (_, letter) => read.append(letter),
            }
        }
        read
    }

    fn append(&mut self, letter: char) {
        if let Some(word) = self.words.last_mut() {
            word.push(letter);
        }
    }

    /// Flags only where one is begun, or where there is nothing else.
    fn wanted<'v>(&self, values: &[&'v str]) -> Vec<&'v str> {
        let is_flag = |value: &&str| value.starts_with('-');
        let begun = self.words.last().is_some_and(|word| word.starts_with('-'));
        match begun || values.iter().all(is_flag) {
            true => values.to_vec(),
            false => values.iter().copied().filter(|value| !is_flag(value)).collect(),
        }
    }

    /// What stands in the place of the last word's end when this is its value.
    fn replacement(&self, value: &str, piece: &str) -> String {
        let kept = self.typed.strip_suffix(piece).unwrap_or_default();
        let kept = Self::read(kept).words.pop().unwrap_or_default();
        let rest = value.strip_prefix(&kept).unwrap_or(value);
        match self.quote {
            Some(_) => rest.to_owned(),
            None => escaped(rest),
        }
    }
}

/// A value as one types it without quotes.
fn escaped(value: &str) -> String {
    let special = |letter: char| letter.is_whitespace() || r#"\'"`$&|;<>()*?[]{}!#~"#.contains(letter);
    let escape = |letter: char| special(letter).then_some('\\').into_iter().chain([letter]);
    value.chars().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, words: &[&str], typed: &str) {
        let read = Line::read(line);
        assert_eq!((read.words, read.typed.as_str()), (words.iter().map(|word| (*word).to_owned()).collect(), typed));
    }

    #[test]
    fn a_line_is_read_as_the_shell_reads_it() {
        check("orchctl service sh", &["orchctl", "service", "sh"], "sh");
        check("  orchctl  run ", &["orchctl", "run", ""], "");
        check("o run 'volume pr", &["o", "run", "volume pr"], "'volume pr");
        check(r"o run volume\ pr", &["o", "run", "volume pr"], r"volume\ pr");
        check(r#"o "a\"b" c"#, &["o", "a\"b", "c"], "c");
        check(r"o a\", &["o", "a"], r"a\");
        check("", &[""], "");
    }

    #[test]
    fn flags_are_offered_where_one_is_begun() {
        let wanted = |line: &str, values: &[&'static str]| Line::read(line).wanted(values);
        assert_eq!(wanted("o show ", &["a", "--b"]), ["a"]);
        assert_eq!(wanted("o list ", &["--b"]), ["--b"]);
        assert_eq!(wanted("o show -", &["--b"]), ["--b"]);
    }

    #[test]
    fn only_the_piece_that_bash_replaces_is_given() {
        let cases = [
            ("o x vol", "vol", "volume provision", r"volume\ provision"),
            (r"o x volume\ p", r"volume\ p", "volume provision", r"volume\ provision"),
            ("o x 'volume p", "volume p", "volume provision", "volume provision"),
            ("o x 'volume p", "'volume p", "volume provision", "volume provision"),
            ("o x user:def", "def", "user:default/ann", "default/ann"),
            ("o --server=ht", "ht", "--server=http", "http"),
            ("o x ", "", "a(b)", r"a\(b\)"),
        ];
        for (line, piece, value, expected) in cases {
            assert_eq!(Line::read(line).replacement(value, piece), expected, "{line}");
        }
    }
}
