//! Holds the tree to its own rules: layering, one door per third-party crate, module docs, frozen WIT, file sizes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate stands in the workspace").to_owned()
}

/// Every file below `dir` with one of the endings, as (path from the root, text).
fn files(dir: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                if !matches!(path.file_name().and_then(|name| name.to_str()), Some("target" | "node_modules")) {
                    open.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                let name = path.strip_prefix(root()).expect("it is below the root").to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).expect("sources are UTF-8")));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    [
        "host/src",
        "host/expression-guest/src",
        "sdk/src",
        "actions",
        "tests/src",
        "tests/tests",
        "tests/guest-programs/src",
    ]
    .iter()
    .flat_map(|dir| files(dir, ".rs"))
    .collect()
}

/// The rooms in reading order, and which of the earlier ones each may not use all the same. The sandbox may use
/// `definition` because the evaluator of expressions lives in it; `cli` may use the sandbox for checks without a server.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("door", &[]),
    ("definition", &[]),
    ("machine", &["clock"]),
    ("journal", &[]),
    ("notification", &["definition", "machine"]),
    ("connection", &["definition", "machine"]),
    ("identity", &["definition", "machine", "notification"]),
    ("capability", &["definition", "machine", "identity"]),
    ("sandbox", &["machine", "identity"]),
    ("pack", &["machine", "identity"]),
    ("service", &["machine", "identity"]),
    ("coordinator", &["identity"]),
    ("api", &[]),
    ("desk", &["api", "identity"]),
    ("cli", &["coordinator", "api", "machine", "journal"]),
];

fn room_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("host/src/")?;
    let room = rest.split(['/', '.']).next()?;
    ROOMS.iter().map(|(name, _)| *name).find(|name| *name == room)
}

/// The rooms that a text names in `crate::<room>` or `crate::{<room>…, <room>…}`, comments left out.
fn uses(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join(" ");
    let word = |part: &str| -> String {
        part.trim_start().chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    };
    let mut rooms = Vec::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => rooms.extend(top_level_items(list).iter().map(|item| word(item))),
            None => rooms.push(word(part)),
        }
    }
    rooms
}

/// The items of a use list up to its closing brace; inner lists stay whole.
fn top_level_items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn may_use(room: &str, other: &str) -> bool {
    let place = |name: &str| ROOMS.iter().position(|(room, _)| *room == name);
    let (Some(own), Some(theirs)) = (place(room), place(other)) else { return true };
    theirs <= own && !ROOMS[own].1.contains(&other)
}

/// The code of a file up to its tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn each_room_uses_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for (path, text) in files("host/src", ".rs") {
        let Some(room) = room_of(&path) else { continue };
        for other in uses(production(&text)) {
            if !may_use(room, &other) {
                wrong.push(format!("{path}: `{room}` uses `{other}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "the directions of host/ARCHITECTURE.md are broken:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_of_layers_sees_what_it_must() {
    assert_eq!(
        uses("use crate::{model::{Json, Failure},\n    api};\n// crate::cli\nlet x = crate::pack::y();"),
        ["model", "api", "pack"]
    );
    assert!(
        !may_use("machine", "journal") && !may_use("connection", "machine") && !may_use("capability", "definition")
    );
    assert!(may_use("sandbox", "definition") && !may_use("capability", "coordinator") && may_use("api", "coordinator"));
}

/// Whether a line names the crate itself and not one of our modules with its name (`journal::sled::`).
fn names(line: &str, door: &str) -> bool {
    line.match_indices(door).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter == ':' || letter == '_' || letter.is_ascii_alphanumeric())
    })
}

#[test]
fn each_third_party_door_is_where_it_belongs() {
    let doors: &[(&str, &[&str])] = &[
        ("sled::", &["host/src/journal/"]),
        ("wasmtime::", &["host/src/sandbox/", "host/src/capability/", "host/benches/", "host/examples/"]),
        ("axum::", &["host/src/api/", "tests/"]),
        ("serde_yaml::", &["host/src/definition/yaml.rs", "tests/"]),
        ("saphyr_parser::", &["host/src/definition/yaml.rs", "host/src/definition/yaml/"]),
        ("lettre::", &["host/src/connection/mail/"]),
        ("cap_std::", &["host/src/pack/", "host/src/sandbox/"]),
        // In the last two it stands on generated code only.
        (
            "unsafe_code",
            &[
                "host/src/sandbox/",
                "host/src/journal/",
                "host/expression-guest/src/component.rs",
                "tests/guest-programs/src/lib.rs",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (door, rooms) in doors {
            let used = text.lines().any(|line| !line.trim_start().starts_with("//") && names(line, door));
            if used && path != "tests/tests/tidy.rs" && !rooms.iter().any(|room| path.starts_with(room)) {
                wrong.push(format!("{path} uses `{door}`; its place is {rooms:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "these files do not open with a module doc: {silent:#?}");
}

#[test]
fn no_file_hides_a_second_noun() {
    const LINES_MAX: usize = 750;
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(path, text)| format!("{path}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split these by their nouns: {long:#?}");
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_to_do() {
    let marks = [concat!("#[", "ignore"), concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME")];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for mark in marks {
            if text.contains(mark) {
                wrong.push(format!("{path}: {mark}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The digest of every released WIT package. A released folder is never changed: add a folder for the next version.
const RELEASED_WIT: &str = include_str!("../fixtures/wit.sha256");

#[test]
fn released_wit_is_frozen() {
    let mut digests = BTreeMap::new();
    for (path, text) in files("wit", ".wit") {
        digests.insert(path, hex::encode(Sha256::digest(text.as_bytes())));
    }
    let found: String = digests.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
    assert_eq!(found, RELEASED_WIT, "a released WIT package has changed; put the change into a new folder beside it");
}
