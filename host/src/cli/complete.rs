//! What Tab offers: names and identifiers that the server knows, and the profiles of this machine. The shell asks this
//! program (`complete -- orchctl service show …`), and this program asks the server: for a moment only, and without a
//! word where that fails, because somebody is typing.

mod bash;

use std::ffi::OsString;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Arg, CommandFactory, Parser};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Elvish, Fish, Powershell, Shells, Zsh};
use serde_json::Value as Json;

use super::Arguments;
use super::client::Client;
use super::error::Error;
use super::output::{items, printable};
use super::settings::{Configuration, Flags, Settings};

/// The variable by which a shell asks for completions; it holds the shell's name.
const ASKED_BY: &str = "ORCHCTL_COMPLETE";
/// How long somebody who pressed Tab waits for the server.
const WAIT: Duration = Duration::from_secs(1);
/// Things of one kind that are offered, at most: the newest instances and notifications, and more names than anybody
/// reads.
const NEWEST: &str = "50";
const OFFERED_MAX: usize = 1_000;
/// The flags that choose whom to ask; each takes a value.
const WHOM: [&str; 5] = ["--server", "--profile", "--tenant", "--token-file", "--ca-file"];

/// Answers a shell that asks for completions. Whether one did.
pub(super) fn answered() -> bool {
    // What cannot be completed is not told either: the line that is typed would be spoilt.
    let asked = std::env::var_os(ASKED_BY).is_some_and(|shell| !shell.is_empty());
    asked && {
        let _ = CompleteEnv::with_factory(command)
            .var(ASKED_BY)
            .bin("orchctl")
            .completer("orchctl")
            .shells(shells())
            .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref());
        true
    }
}

/// What makes a shell ask, as `orchctl completions` prints it.
pub(super) fn registration(shell: &str) -> Result<Vec<u8>, Error> {
    let (shells, mut script) = (shells(), Vec::new());
    let shell =
        shells.completer(shell).ok_or_else(|| Error::Usage(format!("there are no completions for `{shell}`")))?;
    shell.write_registration(ASKED_BY, "orchctl", "orchctl", "orchctl", &mut script).map_err(Error::Output)?;
    Ok(script)
}

fn shells() -> Shells<'static> {
    Shells(&[&bash::Bash, &Zsh, &Fish, &Elvish, &Powershell])
}

/// A kind of thing that has names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of this collection of the server, by name.
    Named(&'static str),
    Workflows,
    Instances,
    Notifications,
    Profiles,
    /// One of these.
    Words(&'static [&'static str]),
}

/// The roles that a token may have.
const ROLES: Kind = Kind::Words(&["viewer", "operator", "approver", "pack-admin", "tenant-admin", "server-admin"]);
/// How results are printed.
const FORMATS: Kind = Kind::Words(&["table", "wide", "json", "yaml", "name", "csv", "jsonpath="]);

/// What an argument takes, by the command's words and the argument's own name; nothing for what is new or free text.
fn kind_of(path: &str, argument: &str) -> Option<Kind> {
    let (group, verb) = path.split_once(' ').unwrap_or((path, ""));
    let kind = match (group, verb, argument) {
        ("pack", "new", _) | ("schedule", "add", "name") | ("token", "create", "name") => return None,
        ("instance" | "task", _, "id" | "ids" | "soda_id" | "instance") | (_, _, "from") => Kind::Instances,
        ("notification", _, "id" | "ids") => Kind::Notifications,
        ("workflow", _, "workflow") | ("schedule", _, "workflow") => Kind::Workflows,
        ("token", "create", "roles") => ROLES,
        (_, _, "output" | "format") => FORMATS,
        ("profile", _, "name") | (_, _, "profile") => Kind::Profiles,
        ("service", _, "name") | (_, _, "service" | "services") => Kind::Named("services"),
        ("pack", _, "name") | (_, _, "pack") => Kind::Named("packs"),
        ("tenant", _, "name") | (_, _, "tenant") => Kind::Named("tenants"),
        ("schedule", _, "name") => Kind::Named("schedules"),
        ("connection", _, "name") => Kind::Named("connections"),
        ("secret", _, "name") => Kind::Named("secrets"),
        ("token", _, "name") => Kind::Named("tokens"),
        _ => return None,
    };
    Some(kind)
}

/// The command line, with what is offered for its arguments.
fn command() -> clap::Command {
    offering(Arguments::command(), "")
}

fn offering(command: clap::Command, path: &str) -> clap::Command {
    let below = |command: clap::Command| {
        let path = format!("{path} {}", command.get_name());
        offering(command, path.trim_start())
    };
    command.mut_args(|argument| offered(argument, path)).mut_subcommands(below)
}

fn offered(argument: Arg, path: &str) -> Arg {
    // A folder or a file of the same name is not meant.
    let is_file = argument.get_value_names().is_some_and(|names| names.iter().any(|name| *name == "DIR"));
    match kind_of(path, argument.get_id().as_str()).filter(|_| argument.get_action().takes_values() && !is_file) {
        Some(kind) => argument.add(ArgValueCandidates::new(move || candidates(kind))),
        None => argument,
    }
}

fn candidates(kind: Kind) -> Vec<CompletionCandidate> {
    let found = match kind {
        Kind::Profiles => profiles(),
        Kind::Words(words) => Some(words.iter().map(|word| ((*word).to_owned(), None)).collect()),
        kind => asked(kind, bash::words().unwrap_or_else(|| std::env::args_os().collect())),
    };
    let shown = |(name, about): (String, Option<String>)| {
        CompletionCandidate::new(name).help(about.map(|text| printable(&text).into()))
    };
    let all = found.unwrap_or_default().into_iter().take(OFFERED_MAX);
    // What would steer the terminal is not offered.
    let fine = all.filter(|(name, _)| !name.is_empty() && !name.chars().any(char::is_control));
    fine.enumerate().map(|(place, item)| shown(item).display_order(Some(place))).collect()
}

/// Names, each with what a shell may show beside it.
type Found = Vec<(String, Option<String>)>;

fn profiles() -> Option<Found> {
    let all = Configuration::read().ok()?.profiles;
    Some(all.into_iter().map(|(name, profile)| (name, profile.server)).collect())
}

/// What the server knows; nothing when it takes too long, also where a command for a token hangs.
fn asked(kind: Kind, words: Vec<OsString>) -> Option<Found> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more where it took too long.
        let _ = tell.send(known(kind, &words));
    });
    told.recv_timeout(WAIT).ok().flatten()
}

fn known(kind: Kind, words: &[OsString]) -> Option<Found> {
    let settings = Settings::read(whom(words)?).ok()?;
    let client = Client::new(&settings.access_unattended().ok()?).ok()?;
    let (segments, query): (&[&str], &[(&str, &str)]) = match &kind {
        Kind::Named(collection) => (&[collection], &[]),
        Kind::Workflows => (&["workflows"], &[]),
        Kind::Instances => (&["instances"], &[("limit", NEWEST)]),
        Kind::Notifications => (&["notifications"], &[("limit", NEWEST)]),
        Kind::Profiles | Kind::Words(_) => return None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let list = runtime.block_on(client.get(segments, query)).ok()?;
    Some(items(&list).iter().filter_map(|item| named(kind, item)).collect())
}

/// What an item is called, and what is said about it.
fn named(kind: Kind, item: &Json) -> Option<(String, Option<String>)> {
    let text = |member: &str| item.get(member).and_then(Json::as_str).map(str::to_owned);
    match kind {
        Kind::Instances => {
            let about = [text("status"), text("name").or_else(|| text("service")).or_else(|| text("workflow"))];
            Some((text("id")?, Some(about.into_iter().flatten().collect::<Vec<_>>().join(" "))))
        }
        Kind::Notifications => Some((text("id")?, text("title"))),
        Kind::Workflows => Some((format!("{}/{}", text("pack")?, text("name")?), text("title"))),
        Kind::Named(_) | Kind::Profiles | Kind::Words(_) => Some((text("name")?, text("description"))),
    }
}

/// The flags among the words typed so far that say whom to ask; the environment is read beside them, as ever.
fn whom(words: &[OsString]) -> Option<Flags> {
    #[derive(Parser)]
    struct Whom {
        #[command(flatten)]
        flags: Flags,
    }
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let mut chosen = vec!["orchctl"];
    for (place, word) in words.iter().enumerate() {
        match WHOM.iter().find(|flag| word.strip_prefix(**flag).is_some_and(|rest| rest.starts_with('='))) {
            Some(_) => chosen.push(word),
            None if WHOM.contains(word) => chosen.extend(words.get(place..place + 2)?),
            None if *word == "--insecure-skip-verify" => chosen.push(word),
            None => {}
        }
    }
    Whom::try_parse_from(chosen).ok().map(|whom| whom.flags)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is offered for which arguments of a command.
    fn kinds(path: &str) -> Vec<(String, Kind)> {
        let mut command = command();
        command.build();
        let found = path.split(' ').try_fold(&command, |command, word| command.find_subcommand(word)).unwrap();
        let arguments = found.get_arguments().filter(|argument| argument.get::<ArgValueCandidates>().is_some());
        let mut kinds: Vec<_> = arguments
            .filter(|argument| !argument.is_global_set())
            .filter_map(|argument| Some((argument.get_id().to_string(), kind_of(path, argument.get_id().as_str())?)))
            .collect();
        kinds.sort_by(|left, right| left.0.cmp(&right.0));
        kinds
    }

    #[test]
    fn arguments_take_what_the_server_knows() {
        let cases: &[(&str, &[(&str, Kind)])] = &[
            ("service show", &[("name", Kind::Named("services"))]),
            ("service get", &[("id", Kind::Named("services")), ("name", Kind::Named("services"))][1..]),
            ("run", &[("from", Kind::Instances), ("service", Kind::Named("services"))]),
            ("pack show", &[("name", Kind::Named("packs"))]),
            ("pack grant", &[("pack", Kind::Named("packs"))]),
            ("pack new", &[]),
            ("workflow run", &[("workflow", Kind::Workflows)]),
            ("connection show", &[("name", Kind::Named("connections"))]),
            ("secret delete", &[("name", Kind::Named("secrets"))]),
            ("schedule add", &[("service", Kind::Named("services")), ("workflow", Kind::Workflows)]),
            ("schedule run", &[("name", Kind::Named("schedules"))]),
            ("tenant show", &[("name", Kind::Named("tenants"))]),
            ("token create", &[("roles", ROLES), ("services", Kind::Named("services"))]),
            ("token revoke", &[("name", Kind::Named("tokens"))]),
            ("instance watch", &[("id", Kind::Instances)]),
            ("instance cancel", &[("ids", Kind::Instances)]),
            ("task list", &[("instance", Kind::Instances)]),
            ("notification show", &[("id", Kind::Notifications)]),
            ("profile use", &[("name", Kind::Profiles)]),
        ];
        for (path, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
            assert_eq!(kinds(path), expected, "{path}");
        }
    }

    #[test]
    fn items_are_called_as_commands_take_them() {
        let cases = [
            (Kind::Named("packs"), json!({"name": "a", "description": "b"}), Some(("a", Some("b")))),
            (Kind::Workflows, json!({"pack": "a", "name": "b"}), Some(("a/b", None))),
            (Kind::Instances, json!({"id": "i", "status": "s", "service": "v"}), Some(("i", Some("s v")))),
            (Kind::Instances, json!({}), None),
            (Kind::Notifications, json!({"id": "i", "title": "t"}), Some(("i", Some("t")))),
        ];
        for (kind, item, expected) in cases {
            let expected = expected.map(|(name, about)| (name.to_owned(), about.map(str::to_owned)));
            assert_eq!(named(kind, &item), expected, "{item}");
        }
    }

    #[test]
    fn the_server_that_the_line_names_is_asked() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let server = |line: &str| {
            let access = Settings::read(whom(&words(line)).unwrap()).unwrap().access_unattended().unwrap();
            (access.server, access.tenant)
        };
        let named = ("http://a:1".to_owned(), Some("blue".to_owned()));
        assert_eq!(server("orchctl -- orchctl --server http://a:1 --tenant=blue service show "), named);
        assert_eq!(whom(&words("orchctl -- orchctl service show --server")).map(drop), None, "its value is missing");
    }

    #[test]
    fn a_server_that_does_not_answer_is_not_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("--server=http://{}", listener.local_addr().unwrap());
        let start = std::time::Instant::now();
        assert_eq!(asked(Kind::Instances, ["orchctl", &server].map(OsString::from).to_vec()), None);
        assert!(start.elapsed() < WAIT * 10, "{:?}", start.elapsed());
    }

    #[test]
    fn every_shell_is_made_to_ask() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = String::from_utf8(registration(shell).unwrap()).unwrap();
            assert!(script.contains(ASKED_BY) && script.contains("orchctl"), "{shell}: {script}");
        }
        assert_eq!(registration("tcsh").unwrap_err().exit_code(), 2);
    }
}
