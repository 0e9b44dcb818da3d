//! The documents in files: found, read and checked, with everything that is wrong told at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::cli::error::Error;
use crate::cli::input;
use crate::cli::output::aside;
use crate::definition::diagnostic::near;
use crate::definition::yaml;
use crate::pack::build as builder;
use crate::pack::manifest;

/// Files below a folder, at most.
const FILES_MAX: usize = 10_000;
/// Documents, at most.
const DOCUMENTS_MAX: usize = 10_000;
/// Folders in folders, at most.
const DEPTH_MAX: usize = 32;
/// Bytes of a pack.yaml that is looked into for the pack's name, at most.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// The format's name and version; may be left out.
const FORMAT: &str = "orchestrator/v1";

/// What a document makes, in the order in which one needs the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Secret,
    Connection,
    Pack,
    Grants,
    Service,
    Schedule,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Secret, Self::Connection, Self::Pack, Self::Grants, Self::Service, Self::Schedule];

    /// As documents write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Connection => "Connection",
            Self::Pack => "Pack",
            Self::Grants => "Grants",
            Self::Service => "Service",
            Self::Schedule => "Schedule",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let known = || Self::ALL.into_iter().map(Self::word);
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| match near(word, known()).first() {
            Some(near) => format!("there is no kind `{word}`; did you mean `{near}`?"),
            None => format!("there is no kind `{word}`; there is {}", known().collect::<Vec<_>>().join(", ")),
        })
    }
}

/// One thing as it should be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub kind: Kind,
    pub name: String,
    pub spec: Json,
    /// Where it stands, for messages.
    pub place: String,
    /// Where relative paths begin.
    pub folder: PathBuf,
}

/// Reads everything; every fault is told.
pub(super) fn read(paths: &[String]) -> Result<Vec<Document>, Error> {
    let mut reading = Reading::default();
    for path in paths {
        match path.as_str() {
            "-" => {
                let text = input::text("@-")?;
                reading.text(&text, "standard input", Path::new("."));
            }
            path => reading.path(Path::new(path), 0, true),
        }
    }
    reading.finished()
}

/// Compiles a pack's components, where its source is a folder.
pub(super) fn build(document: &Document) -> Result<(), Error> {
    let Some(source) = document.source().filter(|source| source.is_dir()) else { return Ok(()) };
    let built = builder::build(&source, &mut |text| aside(text));
    built.map(drop).map_err(|error| Error::Failed(format!("{}: {error}", document.place)))
}

impl Document {
    /// Of a pack: its folder or its archive.
    pub(super) fn source(&self) -> Option<PathBuf> {
        let source = self.spec.get("source").and_then(Json::as_str).filter(|_| self.kind == Kind::Pack)?;
        Some(self.folder.join(source))
    }
}

#[derive(Default)]
struct Reading {
    found: Vec<Document>,
    faults: Vec<String>,
    files: usize,
}

impl Reading {
    fn finished(mut self) -> Result<Vec<Document>, Error> {
        let mut places: BTreeMap<(Kind, &str), &str> = BTreeMap::new();
        for document in &self.found {
            if let Some(first) = places.insert((document.kind, &document.name), &document.place) {
                let (kind, name) = (document.kind.word(), &document.name);
                self.faults.push(format!("{}: {kind} `{name}` is written twice; it is in {first} too", document.place));
            }
        }
        if self.found.is_empty() && self.faults.is_empty() {
            self.faults.push("there are no documents; host/APPLY.md says how they are written".to_owned());
        }
        match self.faults.is_empty() {
            true => Ok(self.found),
            false => Err(Error::Usage(format!("nothing was sent\n  - {}", self.faults.join("\n  - ")))),
        }
    }

    /// A file, a folder with files, a pack's folder or archive. `asked` is what the person named herself.
    fn path(&mut self, path: &Path, depth: usize, asked: bool) {
        self.files += 1;
        if self.files > FILES_MAX || depth > DEPTH_MAX {
            if self.files <= FILES_MAX + 1 {
                self.fault(
                    path,
                    format!("there are more than {FILES_MAX} files or {DEPTH_MAX} folders inside each other"),
                );
            }
            return;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if path.is_dir() {
            match path.join("pack.yaml").is_file() {
                true => self.pack(path),
                false => self.folder(path, depth),
            }
        } else if ends(&[".tar.zst", ".tar.gz", ".tgz"]) {
            self.pack(path);
        } else if asked || ends(&[".yaml", ".yml", ".json"]) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match input::text(&format!("@{}", path.display())) {
                Ok(text) => self.text(&text, &path.display().to_string(), folder),
                Err(Error::Usage(reason)) => self.faults.push(reason),
                Err(error) => self.fault(path, format!("{error:?}")),
            }
        }
    }

    fn folder(&mut self, folder: &Path, depth: usize) {
        let entries = match std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(error) => return self.fault(folder, error.to_string()),
        };
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        paths.into_iter().filter(|path| !hidden(path)).for_each(|path| self.path(&path, depth + 1, false));
    }

    /// A pack that lies there is a document by itself.
    fn pack(&mut self, path: &Path) {
        let spec = json!({ "source": path.file_name().map(|name| name.to_string_lossy()) });
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        // `.` and `..` have no name of their own.
        let spec = if spec["source"].is_null() { json!({ "source": path }) } else { spec };
        let folder = if path.file_name().is_none() { PathBuf::new() } else { folder };
        match name_of_pack(path) {
            Ok(name) => self.add(Document { kind: Kind::Pack, name, spec, place: path.display().to_string(), folder }),
            Err(reason) => self.fault(path, reason),
        }
    }

    /// The documents of a text. Three dashes at the beginning of a line end one, in YAML wherever they stand.
    fn text(&mut self, text: &str, path: &str, folder: &Path) {
        let (mut start, mut lines) = (0, Vec::new());
        for (number, line) in text.lines().enumerate() {
            if line == "---" || line.starts_with("--- ") {
                self.one(&lines.join("\n"), start, path, folder);
                (start, lines) = (number, vec![line.get(3..).unwrap_or_default()]);
            } else {
                lines.push(line);
            }
        }
        self.one(&lines.join("\n"), start, path, folder);
    }

    fn one(&mut self, text: &str, start: usize, path: &str, folder: &Path) {
        // Empty lines before it keep the positions.
        let padded = format!("{}{text}", "\n".repeat(start));
        match yaml::parse(&padded, path) {
            Err(finding) => self.faults.push(finding.to_string()),
            Ok(tree) if tree.value == yaml::Value::Null => {}
            Ok(tree) => {
                let place = format!("{path}:{}", tree.position.line);
                match document(&tree.to_json(), &place, folder) {
                    Ok(document) => self.add(document),
                    Err(reason) => self.faults.push(format!("{place}: {reason}")),
                }
            }
        }
    }

    fn add(&mut self, document: Document) {
        match self.found.len() < DOCUMENTS_MAX {
            true => self.found.push(document),
            false => self.faults.push(format!("{}: there are more than {DOCUMENTS_MAX} documents", document.place)),
        }
    }

    fn fault(&mut self, path: &Path, reason: String) {
        self.faults.push(format!("{}: {reason}", path.display()));
    }
}

fn document(value: &Json, place: &str, folder: &Path) -> Result<Document, String> {
    const MEMBERS: &[&str] = &["apiVersion", "kind", "metadata", "spec"];
    let members = value.as_object().ok_or("a document is a mapping with `kind`, `metadata` and `spec`")?;
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(format!("a document has no member `{unknown}`; it has kind, metadata and spec"));
    }
    if let Some(other) = members.get("apiVersion").filter(|version| **version != json!(FORMAT)) {
        return Err(format!(
            "`apiVersion: {}` is not known; write `{FORMAT}` or leave it out",
            super::super::output::plain(other)
        ));
    }
    let kind = members
        .get("kind")
        .and_then(Json::as_str)
        .ok_or("`kind` is missing: Pack, Secret, Connection, Grants, Service or Schedule")?;
    let kind = Kind::parse(kind)?;
    let metadata = members.get("metadata").and_then(Json::as_object);
    if let Some(unknown) = metadata.and_then(|metadata| metadata.keys().find(|name| *name != "name")) {
        return Err(format!("`metadata` has no member `{unknown}`; it has name"));
    }
    let name = metadata.and_then(|metadata| metadata.get("name")?.as_str()).filter(|name| !name.is_empty());
    let spec = members.get("spec").filter(|spec| spec.is_object()).ok_or("`spec` is missing, or no mapping")?;
    let mut document =
        Document { kind, name: String::new(), spec: spec.clone(), place: place.to_owned(), folder: folder.to_owned() };
    document.name = name_for(&document, name)?;
    check(&document)?;
    Ok(document)
}

/// The name that is written; a pack says its own.
fn name_for(document: &Document, written: Option<&str>) -> Result<String, String> {
    if document.kind != Kind::Pack {
        return written.map(str::to_owned).ok_or_else(|| "`metadata.name` is missing".to_owned());
    }
    let source = document.source().ok_or("a Pack's spec is `source`: its folder or its archive")?;
    let own = name_of_pack(&source)?;
    match written {
        Some(written) if written != own => {
            Err(format!("`metadata.name` is `{written}`, and the pack in `source` is `{own}`"))
        }
        _ => Ok(own),
    }
}

/// What can be told without the server.
fn check(document: &Document) -> Result<(), String> {
    let members: Vec<&str> = document.spec.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let only = |known: &[&str]| match members.iter().find(|name| !known.contains(name)) {
        Some(unknown) => {
            Err(format!("{}'s spec has no member `{unknown}`; it has {}", document.kind.word(), known.join(", ")))
        }
        None => Ok(()),
    };
    match document.kind {
        Kind::Secret if members.len() != 1 || !matches!(members[0], "fromEnv" | "fromFile") => {
            Err("a Secret's spec is `fromEnv: NAME` or `fromFile: PATH`; values do not belong into files".to_owned())
        }
        Kind::Pack => only(&["source"]),
        Kind::Grants => only(&["connections", "secrets", "hosts"]),
        Kind::Service | Kind::Schedule
            if document.spec.get("name").is_some_and(|name| *name != json!(document.name)) =>
        {
            Err("`spec.name` is another one than `metadata.name`; leave it out".to_owned())
        }
        _ => Ok(()),
    }
}

/// The name in a pack's manifest.
fn name_of_pack(source: &Path) -> Result<String, String> {
    manifest_of(source).map(|(name, _)| name)
}

/// The name and the version in a pack's manifest.
pub(super) fn manifest_of(source: &Path) -> Result<(String, String), String> {
    let text = match source.is_dir() {
        true => {
            let path = source.join("pack.yaml").display().to_string();
            String::from_utf8_lossy(&input::bytes_of(&path, MANIFEST_BYTES_MAX)?).into_owned()
        }
        false => super::live::manifest_in(source)?,
    };
    let parsed = manifest::parse(&text, &source.display().to_string());
    let parsed = parsed.map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok((parsed.manifest.name.to_string(), parsed.manifest.version.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(folder: &tempfile::TempDir) -> Result<Vec<String>, String> {
        match read(&[folder.path().display().to_string()]) {
            Ok(found) => {
                Ok(found.iter().map(|document| format!("{} {}", document.kind.word(), document.name)).collect())
            }
            Err(Error::Usage(text)) => Err(text),
            Err(error) => panic!("{error:?}"),
        }
    }

    const PACK: &str = "format: 1\nname: p\nversion: 1.0.0\ndescription: d\nworld: orchestrator:pack/action@0.1\n";

    #[test]
    fn a_folder_s_files_and_packs_are_documents() {
        let folder = folder(&[
            (
                "a.yaml",
                "kind: Secret\nmetadata: { name: s }\nspec: { fromEnv: X }\n---\n# nothing\n---\nkind: Grants\nmetadata: { name: p }\nspec: {}\n",
            ),
            ("sub/b.json", r#"{"kind": "Connection", "metadata": {"name": "c"}, "spec": {"baseUrl": "http://a"}}"#),
            ("packs/p/pack.yaml", PACK),
            ("packs/p/workflows/w.yaml", "document: {}"),
            (".git/config.yaml", "x: 1"),
            ("notes.md", "text"),
        ]);
        assert_eq!(names(&folder).unwrap(), ["Secret s", "Grants p", "Pack p", "Connection c"]);
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_place() {
        let folder = folder(&[
            (
                "a.yaml",
                "kind: Servce\nmetadata: { name: s }\nspec: {}\n---\nkind: Secret\nmetadata: { name: s }\nspec: { value: x }\n",
            ),
            ("b.yaml", "kind: Connection\nspec: {}\n"),
            ("c.yaml", "kind: Grants\nmetadata: { name: p }\nspec: { conections: {} }\n---\nfoo: 1\n"),
            (
                "d.yaml",
                "kind: Service\nmetadata: { name: x }\nspec: {}\n---\nkind: Service\nmetadata: { name: x }\nspec: {}\n",
            ),
            ("e.yaml", "apiVersion: v9\nkind: Service\nmetadata: { name: y }\nspec: {}\n"),
        ]);
        let told = names(&folder).unwrap_err();
        for expected in [
            "a.yaml:1: there is no kind `Servce`; did you mean `Service`?",
            "a.yaml:5: a Secret's spec is",
            "b.yaml:1: `metadata.name` is missing",
            "c.yaml:1: Grants's spec has no member `conections`",
            "c.yaml:5: a document has no member `foo`",
            "Service `x` is written twice",
            "`apiVersion: v9` is not known",
        ] {
            assert!(told.contains(expected), "`{expected}` is not in\n{told}");
        }
    }

    #[test]
    fn nothing_to_do_is_told() {
        assert!(names(&folder(&[("a.txt", "x")])).is_err_and(|told| told.contains("there are no documents")));
    }
}
