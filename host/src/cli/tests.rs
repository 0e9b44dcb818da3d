//! The command line as a whole: it is consistent, and what its help says is true.

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

/// Calls this with each command that has no commands below it.
fn each(look: &mut dyn FnMut(&clap::Command)) {
    fn walk(command: &clap::Command, look: &mut dyn FnMut(&clap::Command)) {
        if command.get_subcommands().next().is_none() {
            look(command);
        }
        command
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
            .for_each(|command| walk(command, look));
    }
    walk(&Arguments::command(), look);
}

/// The command lines in a help text.
fn examples(help: &str) -> Vec<String> {
    let joined = help.replace("\\\n", " ");
    let from = |line: &str| line.find("orchctl ").map(|at| line[at..].to_owned());
    let given = joined.lines().map(|line| line.trim_start().trim_start_matches("Example: "));
    given.filter(|line| !line.contains('`')).filter_map(from).collect()
}

/// A command line's words as a shell makes them, up to what is for the shell itself.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for letter in line.chars() {
        match (quote, letter) {
            (None, '|' | '>' | '<' | ';' | '#') => break,
            (None, '\'' | '"') => (quote, begun) = (Some(letter), true),
            (Some(open), letter) if open == letter => quote = None,
            (None, letter) if letter.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (_, letter) => {
                word.push(letter);
                begun = true;
            }
        }
    }
    words.extend(begun.then_some(word));
    words
}

#[test]
fn every_command_shows_an_example_and_every_example_is_a_command() {
    let mut wrong = Vec::new();
    each(&mut |command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        if examples.is_empty() {
            wrong.push(format!("{} has no example", command.get_name()));
        }
        for example in examples {
            // Some values stand in files, which are not here.
            let no_file = |error: &clap::Error| {
                error.kind() == ErrorKind::ValueValidation && error.to_string().contains("read `")
            };
            if let Some(error) = Arguments::try_parse_from(words(&example)).err().filter(|error| !no_file(error)) {
                wrong.push(format!("{example}\n{error}"));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let help = Arguments::command().render_long_help().to_string();
    assert!((0..=9).chain([130]).all(|code| help.contains(&format!("  {code}  "))), "{help}");
}

#[test]
fn a_command_that_is_nearly_right_is_named() {
    let said = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap_err().to_string();
    assert!(said("orchctl instnce list").contains("'instance'"));
    assert!(said("orchctl instance lst").contains("'list'"));
    assert!(said("orchctl run x --wiat").contains("'--wait'"));
}

#[test]
fn soda_s_flags_are_for_soda_s_commands() {
    let is_soda = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap().command.is_soda();
    for line in
        ["orchctl -t p service list", "orchctl instance run -d {}", "orchctl task get -i x", "orchctl workflow get"]
    {
        assert!(is_soda(line), "{line}");
    }
    for line in ["orchctl pack list", "orchctl instance tasks x", "orchctl run x"] {
        assert!(!is_soda(line), "{line}");
    }
}

mod operations;
