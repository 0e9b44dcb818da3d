//! What a jq program reads, told from its text: whether it needs the data it runs on (`.`), and which secrets it names.
//! It errs on the side of “reads”: a program that is not understood reads everything.

use crate::definition::expression::name;

/// A piece of a program. Comments and spaces are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// `.` or `..`
    Dot,
    /// `.name`
    Field(&'a str),
    /// `$name`
    Variable(&'a str),
    /// `@name`
    Format,
    Word(&'a str),
    Number,
    /// Text, or a part of one around `\( … )`, which comes as brackets.
    Text(&'a str),
    Symbol(&'a str),
}

/// Symbols of several characters; the longer first.
const SYMBOLS: [&str; 12] = ["?//", "//=", "|=", "//", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/="];

/// Words that give the same on whatever data.
const CONSTANTS: [&str; 7] = ["true", "false", "null", "empty", "now", "nan", "infinite"];

/// What `$task` has that does not come from the data.
const TASK_FACTS: [&str; 4] = ["name", "reference", "definition", "startedAt"];

/// Whether the program's value depends on `.`, `$input` or what `$task` says of them.
pub(in crate::definition) fn reads_data(program: &str) -> bool {
    let tokens = tokens(program);
    reads_input(&tokens) || Walk { tokens: &tokens, levels: vec![Level::default()] }.reads_dot()
}

/// Whether the program reads `$input`, or `$task` beyond the facts about the task itself.
pub(in crate::definition) fn reads_variables(program: &str) -> bool {
    reads_input(&tokens(program))
}

/// The keys behind each `$secrets`, where they are written out: `$secrets.a`, `$secrets."a"`, `$secrets["a"]`.
pub(in crate::definition) fn secret_keys(program: &str) -> Vec<&str> {
    let tokens = tokens(program);
    let mut found = Vec::new();
    for (place, _) in tokens.iter().enumerate().filter(|(_, token)| **token == Token::Variable("secrets")) {
        match tokens.get(place + 1..).unwrap_or_default() {
            [Token::Field(key), ..]
            | [Token::Dot, Token::Text(key), ..]
            | [Token::Symbol("["), Token::Text(key), Token::Symbol("]"), ..]
            | [Token::Dot, Token::Symbol("["), Token::Text(key), Token::Symbol("]"), ..] => found.push(*key),
            _ => {}
        }
    }
    found
}

fn reads_input(tokens: &[Token<'_>]) -> bool {
    tokens.iter().enumerate().any(|(place, token)| match token {
        Token::Variable("input") => true,
        Token::Variable("task") => {
            !matches!(tokens.get(place + 1), Some(Token::Field(field)) if TASK_FACTS.contains(field))
        }
        _ => false,
    })
}

fn tokens(program: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    // For each open text: how many brackets are open in its `\( … )`.
    let mut texts: Vec<usize> = Vec::new();
    let mut rest = program;
    while let Some(char) = rest.chars().next() {
        let after = &rest[char.len_utf8()..];
        rest = match char {
            '"' => text(after, &mut found, &mut texts),
            '#' => after.split_once('\n').map_or("", |(_, after)| after),
            '$' => word(after, &mut found, Token::Variable),
            '@' => word(after, &mut found, |_| Token::Format),
            '.' => dot(after, &mut found),
            '(' => {
                texts.last_mut().into_iter().for_each(|open| *open += 1);
                symbol(rest, &mut found)
            }
            ')' if texts.last() == Some(&0) => {
                texts.pop();
                found.push(Token::Symbol(")"));
                text(after, &mut found, &mut texts)
            }
            ')' => {
                texts.last_mut().into_iter().for_each(|open| *open -= 1);
                symbol(rest, &mut found)
            }
            char if char.is_ascii_digit() => number(rest, &mut found),
            char if char.is_ascii_alphabetic() || char == '_' => word(rest, &mut found, Token::Word),
            char if char.is_whitespace() => after,
            _ => symbol(rest, &mut found),
        };
    }
    found
}

/// Reads on within a text until it ends or `\(` opens.
fn text<'a>(start: &'a str, found: &mut Vec<Token<'a>>, texts: &mut Vec<usize>) -> &'a str {
    let mut rest = start;
    while let Some(place) = rest.find(['"', '\\']) {
        let here = start.len() - rest.len() + place;
        let after = &rest[place + 1..];
        if rest[place..].starts_with('"') {
            found.push(Token::Text(&start[..here]));
            return after;
        }
        if let Some(inside) = after.strip_prefix('(') {
            found.extend([Token::Text(&start[..here]), Token::Symbol("(")]);
            texts.push(0);
            return inside;
        }
        rest = &after[after.chars().next().map_or(0, char::len_utf8)..];
    }
    ""
}

fn word<'a>(text: &'a str, found: &mut Vec<Token<'a>>, token: impl Fn(&'a str) -> Token<'a>) -> &'a str {
    let mut rest = &text[name(text).len()..];
    // `module::name`
    while let Some(after) = rest.strip_prefix("::") {
        rest = &after[name(after).len()..];
    }
    found.push(token(&text[..text.len() - rest.len()]));
    rest
}

fn dot<'a>(after: &'a str, found: &mut Vec<Token<'a>>) -> &'a str {
    match name(after) {
        "" => {
            found.push(Token::Dot);
            after.strip_prefix('.').unwrap_or(after)
        }
        field => {
            found.push(Token::Field(field));
            &after[field.len()..]
        }
    }
}

fn number<'a>(text: &'a str, found: &mut Vec<Token<'a>>) -> &'a str {
    let end = text.find(|char: char| !char.is_ascii_digit() && !matches!(char, '.' | 'e' | 'E')).unwrap_or(text.len());
    found.push(Token::Number);
    &text[end..]
}

fn symbol<'a>(text: &'a str, found: &mut Vec<Token<'a>>) -> &'a str {
    let long = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol)).map(|symbol| symbol.len());
    let length = long.unwrap_or_else(|| text.chars().next().map_or(0, char::len_utf8));
    found.push(Token::Symbol(&text[..length]));
    &text[length..]
}

/// What is known between two brackets, or between `if` and `end`.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// `.` is what something that does not read the data gave.
    fresh: bool,
    /// How it began, and begins again after `;`, `else` or an object's comma.
    at_start: bool,
    /// `as` or `label` stood here: the next `|` passes the same `.` on.
    binds: bool,
    /// `reduce` or `foreach` stood here: its brackets are next.
    folds: bool,
    /// From the first `;` on, `.` is what is accumulated.
    accumulates: bool,
    object: bool,
    condition: bool,
}

/// A walk over a program, token by token.
struct Walk<'a> {
    tokens: &'a [Token<'a>],
    levels: Vec<Level>,
}

impl Walk<'_> {
    fn reads_dot(mut self) -> bool {
        let tokens = self.tokens;
        // Whether a term has just ended: a `.` behind it goes into that term.
        let mut ended = false;
        let mut before = Token::Symbol("(");
        for (place, token) in tokens.iter().enumerate() {
            let after = tokens.get(place + 1).copied();
            let fresh = self.top().fresh;
            let in_key_place = self.top().object && matches!(before, Token::Symbol("{" | ","));
            ended = match *token {
                Token::Dot | Token::Field(_) if !ended && !fresh => return true,
                Token::Word(_) if in_key_place => {
                    if after != Some(Token::Symbol(":")) && !fresh {
                        return true;
                    }
                    true
                }
                Token::Word("def" | "import" | "include") => return true,
                Token::Word(word) => match self.word(word, after) {
                    Some(ended) => ended,
                    None if !fresh => return true,
                    None => true,
                },
                Token::Format => {
                    if !fresh && !matches!(after, Some(Token::Text(_))) {
                        return true;
                    }
                    false
                }
                Token::Symbol(symbol) => self.symbol(symbol, ended),
                _ => true,
            };
            before = *token;
        }
        false
    }

    fn top(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        self.levels.last_mut().expect("just filled")
    }

    fn push(&mut self, level: Level) {
        let fresh = self.top().fresh;
        self.levels.push(Level { fresh, at_start: fresh, ..level });
    }

    fn restart(&mut self) {
        let top = self.top();
        (top.fresh, top.binds) = (top.at_start, false);
    }

    /// Whether a term ends with the word; nothing for a function of `.`.
    fn word(&mut self, word: &str, after: Option<Token<'_>>) -> Option<bool> {
        match word {
            "if" => self.push(Level { condition: true, ..Level::default() }),
            "then" | "elif" | "else" => self.restart(),
            "end" => {
                if self.top().condition {
                    self.levels.pop();
                }
                return Some(true);
            }
            "as" | "label" => self.top().binds = true,
            "reduce" | "foreach" => self.top().folds = true,
            "and" | "or" | "try" | "catch" => {}
            "error" | "range" if after == Some(Token::Symbol("(")) => return Some(true),
            constant if CONSTANTS.contains(&constant) => return Some(true),
            _ => return None,
        }
        Some(false)
    }

    /// Whether a term ends with the symbol.
    fn symbol(&mut self, symbol: &str, ended: bool) -> bool {
        match symbol {
            "(" | "[" | "{" => {
                let top = self.top();
                let accumulates = symbol == "(" && top.folds && top.binds;
                if accumulates {
                    (top.folds, top.binds) = (false, false);
                }
                self.push(Level { accumulates, object: symbol == "{", ..Level::default() });
                false
            }
            ")" | "]" | "}" => {
                while self.levels.pop().is_some_and(|level| level.condition) {}
                true
            }
            "|" => {
                let top = self.top();
                if !std::mem::take(&mut top.binds) {
                    top.fresh = true;
                }
                false
            }
            ";" => {
                self.restart();
                let top = self.top();
                top.fresh |= top.accumulates;
                false
            }
            "," if self.top().object => {
                self.restart();
                false
            }
            "?" => ended,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn programs_that_need_their_data_are_told_from_those_that_do_not() {
        for program in [
            ".",
            ".a",
            "..",
            "$item + .a",
            "length",
            "$item | . as $x | $x, ($context | 1) | length + 1 | $input",
            "{a}",
            "{a: $x | .b, c: .d}",
            "[.a]",
            "$x[.i]",
            "if $x then $y | .z else .w end",
            "$x as $y | .z",
            "\"\\(.a)\"",
            "@base64",
            "map($x)",
            "$input.x",
            "$task.input",
            "$task",
            "def f: 1; f",
            "reduce .[] as $x (0; . + $x)",
            "reduce $y[] as $x (.a; . + $x)",
            "label $out | .a",
            "$x, .y",
            "error",
            ". + 1 | 2",
            "$x | .a | $y; .b",
            "$x // .b",
            "range(.n)",
            "reduce $y[] as $x (0; .) | . as $z | 1, ($x as $y | length)",
        ] {
            // The last ones read on a side path; what matters is that they are not let through.
            let harmless = program.starts_with("$item | .") || program.starts_with("reduce $y[] as $x (0; .) |");
            assert!(reads_data(program) || harmless && !program.contains("$input"), "{program}");
        }
        for program in [
            "$item",
            "$item.a.b[0]",
            "$item | .a",
            "$item | .a, .b",
            "{a: $item.b, \"c\": 1, (\"d\"): $context.x}",
            "{a: ($item | .b), c: $index}",
            "{$item}",
            "[$item.a, 1.5]",
            "\"x \\($item.a) y\"",
            "\"x \\($item | .a | \"\\(.b)\") y.z\"",
            "if $item.a then 1 else $item | .c end",
            "$task.name",
            "@base64 \"\\($item)\"",
            "reduce $item.xs[] as $x (0; . + $x)",
            "$item as $x | $x.a | length",
            "$item.a // null | not",
            "1 + 2 # .a",
            "$item?.a",
            "$item | map(.a) | {b}",
            "now",
            "range(3)",
        ] {
            assert!(!reads_data(program), "{program}");
        }
    }

    #[test]
    fn keys_of_secrets_are_found_where_they_are_written_out() {
        assert_eq!(secret_keys("\"\\($secrets.a)\" + $secrets[\"b-c\"] + $secrets.\"d\""), ["a", "b-c", "d"]);
        assert!(secret_keys("$secrets | keys, $secrets[$x], \"$secrets.a\"").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_walk_panic(text in r#"[a-z.$@|,;:(){}\[\]"\\# \n0-9é]{0,60}"#) {
            let _ = (reads_data(&text), reads_variables(&text), secret_keys(&text));
        }
    }
}
