//! The reader of format 1. It goes on after each finding, so that one look shows them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use jiff::SignedDuration;

use super::{
    Action, Component, ConnectionKind, ConnectionRequest, FORMATS, Manifest, SecretRequest, Service, TIMEOUT_DEFAULT,
    TIMEOUT_MAX, Uses, WORLDS,
};
use crate::definition::diagnostic::near;
use crate::definition::yaml::{Entry, Tree, Value};
use crate::definition::{Diagnostic, Position, Severity, Source};
use crate::model::Effect;
use crate::pack::directory::PackPath;

const KEYS: &[&str] = &[
    "format",
    "name",
    "version",
    "description",
    "world",
    "connections",
    "secrets",
    "components",
    "actions",
    "uses",
    "workflows",
    "services",
];
const ACTION_KEYS: &[&str] =
    &["component", "description", "input", "output", "effect", "timeout", "uses", "probe", "undo"];

/// The manifest, if nothing is wrong with it, and the findings in the order of the text.
pub(super) fn manifest(tree: &Tree, source: Source<'_>) -> (Option<Manifest>, Vec<Diagnostic>) {
    let mut reader = Reader { source, findings: Vec::new() };
    let manifest = reader.format(tree).then(|| reader.manifest(tree)).flatten();
    let mut findings = reader.findings;
    findings.sort_by_key(|finding| (finding.line, finding.column));
    let sound = findings.iter().all(|finding| finding.severity == Severity::Warning);
    (manifest.filter(|_| sound), findings)
}

struct Reader<'a> {
    source: Source<'a>,
    findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Whether the text is of a format that can be read at all; if not, nothing else in it can be judged.
    fn format(&mut self, tree: &Tree) -> bool {
        if tree.as_map().is_none() {
            self.error("wrong-type", tree.position, format!("a manifest is a mapping, and this is {}", tree.kind()));
            return false;
        }
        let known = FORMATS.map(|format| format.to_string()).join(", ");
        match tree.get("format") {
            None => {
                self.error("missing-key", tree.position, "`format` is missing").cure = Some("add `format: 1`".into());
                false
            }
            Some(format) if matches!(&format.value, Value::Number(number) if number.as_u64().is_some_and(|number| FORMATS.contains(&number))) => {
                true
            }
            Some(format) => {
                let message = format!("this format of `pack.yaml` is not known; known are: {known}");
                self.error("unknown-format", format.position, message).cure =
                    Some("write the pack in a known format, or use a newer server".into());
                false
            }
        }
    }

    fn manifest(&mut self, tree: &Tree) -> Option<Manifest> {
        self.mapping(tree, "the manifest", KEYS);
        let name = self.required(tree, "name", Self::parsed);
        let version = self.required(tree, "version", Self::version);
        let world = self.required(tree, "world", Self::world);
        let manifest = Manifest {
            description: self.optional(tree, "description", Self::text),
            connections: self.named(tree, "connections", Self::connection),
            secrets: self.named(tree, "secrets", Self::secret),
            components: self.named(tree, "components", Self::component),
            actions: self.named(tree, "actions", Self::action),
            uses: self.optional(tree, "uses", Self::uses).unwrap_or_default(),
            workflows: self.list(tree, "workflows", Self::parsed_path),
            services: self.list(tree, "services", Self::service),
            name: name?,
            version: version?,
            world: world?,
        };
        self.references(tree, &manifest);
        Some(manifest)
    }

    fn version(&mut self, tree: &Tree) -> Option<semver::Version> {
        let text = match &tree.value {
            Value::Number(number) => {
                let message = format!("`{number}` is a number, and a version is text with three parts");
                self.error("wrong-type", tree.position, message).cure = Some("write it as `1.0.0`".into());
                return None;
            }
            _ => self.text(tree)?,
        };
        match semver::Version::parse(&text) {
            Ok(version) if version.build.is_empty() => Some(version),
            Ok(_) => {
                let message = format!("`{text}` has build metadata, which does not tell versions apart");
                self.error("bad-version", tree.position, message).cure = Some("leave out the `+…`".into());
                None
            }
            Err(error) => {
                let message = format!("`{text}` is not a version: {error}");
                self.error("bad-version", tree.position, message).cure =
                    Some("write three numbers, `1.0.0` (semver.org)".into());
                None
            }
        }
    }

    fn world(&mut self, tree: &Tree) -> Option<String> {
        self.one_of(tree, &WORLDS, |text| text.to_owned())
    }

    fn connection(&mut self, tree: &Tree) -> Option<ConnectionRequest> {
        self.mapping(tree, "a connection", &["description", "kind"])?;
        Some(ConnectionRequest {
            description: self.optional(tree, "description", Self::text).unwrap_or_default(),
            kind: self
                .optional(tree, "kind", |reader, tree| {
                    reader.one_of(tree, &["http", "smtp"], |text| {
                        if text == "smtp" { ConnectionKind::Smtp } else { ConnectionKind::Http }
                    })
                })
                .unwrap_or_default(),
        })
    }

    fn secret(&mut self, tree: &Tree) -> Option<SecretRequest> {
        self.mapping(tree, "a secret", &["description"])?;
        Some(SecretRequest { description: self.optional(tree, "description", Self::text).unwrap_or_default() })
    }

    /// A path, or a mapping of `path` and `crate`.
    fn component(&mut self, tree: &Tree) -> Option<Component> {
        if tree.as_map().is_none() {
            return Some(Component { path: self.parsed_path(tree)?, package: None, build: None });
        }
        self.mapping(tree, "a component", &["path", "crate", "build"])?;
        let path = self.required(tree, "path", Self::parsed_path);
        let package = self.optional(tree, "crate", Self::text);
        let build = self.optional(tree, "build", Self::text);
        if let (Some(_), Some(build)) = (&package, tree.get("build")) {
            let message = "a component is built by cargo from a `crate`, or by a command under `build`";
            self.error("conflict", build.position, message).cure = Some("remove one of the two".to_owned());
        }
        Some(Component { path: path?, package, build })
    }

    fn action(&mut self, tree: &Tree) -> Option<Action> {
        self.mapping(tree, "an action", ACTION_KEYS)?;
        let component = self.required(tree, "component", Self::parsed);
        let action = Action {
            description: self.optional(tree, "description", Self::text),
            input: self.optional(tree, "input", Self::parsed_path),
            output: self.optional(tree, "output", Self::parsed_path),
            effect: self.optional(tree, "effect", Self::effect).unwrap_or_default(),
            timeout: self.optional(tree, "timeout", Self::timeout).unwrap_or(TIMEOUT_DEFAULT),
            uses: self.optional(tree, "uses", Self::uses).unwrap_or_default(),
            probe: self.optional(tree, "probe", Self::boolean).unwrap_or_default(),
            undo: self.optional(tree, "undo", Self::boolean).unwrap_or_default(),
            component: component?,
        };
        Some(action)
    }

    fn effect(&mut self, tree: &Tree) -> Option<Effect> {
        self.one_of(tree, &["idempotent", "resumable", "once"], |text| match text {
            "idempotent" => Effect::Idempotent,
            "resumable" => Effect::Resumable,
            _ => Effect::Once,
        })
    }

    fn timeout(&mut self, tree: &Tree) -> Option<SignedDuration> {
        let text = self.text(tree)?;
        let parsed =
            Some(&text).filter(|text| text.starts_with('P')).and_then(|text| text.parse::<SignedDuration>().ok());
        match parsed {
            Some(timeout) if timeout > SignedDuration::ZERO && timeout <= TIMEOUT_MAX => Some(timeout),
            Some(_) => {
                self.error("bad-duration", tree.position, format!("`{text}` is not between zero and `PT24H`")).cure =
                    Some("let longer work store checkpoints and continue in another attempt".into());
                None
            }
            None => {
                let message = format!("`{text}` is not an ISO 8601 duration of hours, minutes and seconds");
                self.error("bad-duration", tree.position, message).cure =
                    Some("write `PT30S`, `PT5M` or `PT1H30M`".into());
                None
            }
        }
    }

    fn uses(&mut self, tree: &Tree) -> Option<Uses> {
        self.mapping(tree, "`uses`", &["connections", "secrets", "hosts", "inbox"])?;
        Some(Uses {
            connections: self.list(tree, "connections", Self::parsed),
            secrets: self.list(tree, "secrets", Self::parsed),
            hosts: self.list(tree, "hosts", Self::parsed),
            inbox: self.optional(tree, "inbox", Self::boolean).unwrap_or_default(),
        })
    }

    fn service(&mut self, tree: &Tree) -> Option<Service> {
        self.mapping(tree, "a service", &["name", "group", "description", "tags", "icon", "workflow", "input"])?;
        let name = self.required(tree, "name", Self::parsed);
        let group = self.required(tree, "group", Self::text);
        let workflow = self.required(tree, "workflow", Self::parsed);
        let description = self.optional(tree, "description", Self::text);
        let tags = self.list(tree, "tags", Self::text);
        let icon = self.optional(tree, "icon", Self::text);
        let input = self.optional(tree, "input", Self::parsed_path);
        Some(Service { name: name?, group: group?, description, tags, icon, workflow: workflow?, input })
    }

    /// Whether what is named inside the manifest is declared in it.
    fn references(&mut self, tree: &Tree, manifest: &Manifest) {
        for (name, action) in &manifest.actions {
            let Some(entry) = tree.get("actions").and_then(|actions| actions.get(name.as_str())) else { continue };
            let at = entry.position_at("/component");
            self.declared(at, "component", action.component.as_str(), manifest.components.keys());
            self.uses_declared(entry, &action.uses, manifest);
        }
        self.uses_declared(tree, &manifest.uses, manifest);
        let twice = |index: usize, kind: &str| tree.position_at(&format!("/{kind}/{index}"));
        self.distinct("service", manifest.services.iter().map(|service| service.name.as_str()), |at| {
            twice(at, "services")
        });
        self.distinct("workflow", manifest.workflows.iter().map(PackPath::as_str), |at| twice(at, "workflows"));
        self.unused(tree, manifest);
    }

    /// Whether what `entry` has under `uses` is declared.
    fn uses_declared(&mut self, entry: &Tree, uses: &Uses, manifest: &Manifest) {
        let at = |kind: &str, index: usize| entry.position_at(&format!("/uses/{kind}/{index}"));
        for (index, connection) in uses.connections.iter().enumerate() {
            let known = manifest.connections.keys();
            self.declared(at("connections", index), "connection", connection.as_str(), known);
        }
        for (index, secret) in uses.secrets.iter().enumerate() {
            self.declared(at("secrets", index), "secret", secret.as_str(), manifest.secrets.keys());
        }
    }

    fn declared<'b, T: Display + 'b>(
        &mut self,
        at: Position,
        kind: &str,
        name: &str,
        known: impl Iterator<Item = &'b T>,
    ) {
        let known: Vec<String> = known.map(ToString::to_string).collect();
        if known.iter().any(|known| known == name) {
            return;
        }
        let cure = match near(name, known.iter().map(String::as_str)).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it under `{kind}s`"),
        };
        self.error("undeclared", at, format!("the {kind} `{name}` is not declared in this manifest")).cure = Some(cure);
    }

    fn distinct<'b>(&mut self, kind: &str, names: impl Iterator<Item = &'b str>, at: impl Fn(usize) -> Position) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            if !seen.insert(name) {
                self.error("duplicate", at(index), format!("the {kind} `{name}` is listed twice")).cure =
                    Some("remove or rename one of the two".into());
            }
        }
    }

    /// Warns of what is asked for and never used: an admin should not be asked to grant it.
    fn unused(&mut self, tree: &Tree, manifest: &Manifest) {
        let all = || manifest.actions.values().map(|action| &action.uses).chain([&manifest.uses]);
        let connections = manifest.connections.keys().map(|name| ("connections", name.as_str()));
        let secrets = manifest.secrets.keys().map(|name| ("secrets", name.as_str()));
        for (kind, name) in connections.chain(secrets) {
            let used = match kind {
                "connections" => all().any(|uses| uses.connections.iter().any(|used| used.as_str() == name)),
                _ => all().any(|uses| uses.secrets.iter().any(|used| used.as_str() == name)),
            };
            if !used {
                let at = tree.position_at(&format!("/{kind}/{name}"));
                let message = format!("no action uses `{name}`, and no workflow");
                let cure = format!(
                    "add it to an action's `uses: {{{kind}: [{name}]}}`, or to the manifest's own, or remove it"
                );
                self.findings.push(Diagnostic::warning("unused", self.source, at, message).cure(cure));
            }
        }
    }

    // The small readers: each gives the value or notes what is wrong.

    fn error(&mut self, code: &'static str, at: Position, message: impl Into<String>) -> &mut Diagnostic {
        self.findings.push(Diagnostic::error(code, self.source, at, message));
        self.findings.last_mut().expect("one was just pushed")
    }

    fn wrong_type(&mut self, tree: &Tree, expected: &str) {
        self.error("wrong-type", tree.position, format!("expected {expected}, found {}", tree.kind()));
    }

    fn mapping<'t>(&mut self, tree: &'t Tree, what: &str, known: &[&str]) -> Option<&'t [Entry]> {
        let Some(entries) = tree.as_map() else {
            self.wrong_type(tree, "a mapping");
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let cure = match near(&entry.key, known.iter().copied()).first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.error("unknown-key", entry.position, format!("{what} has no key `{}`", entry.key)).cure = Some(cure);
        }
        Some(entries)
    }

    fn required<T>(&mut self, tree: &Tree, key: &str, read: impl Fn(&mut Self, &Tree) -> Option<T>) -> Option<T> {
        match tree.get(key) {
            Some(value) => read(self, value),
            None => {
                self.error("missing-key", tree.position, format!("`{key}` is missing"));
                None
            }
        }
    }

    fn optional<T>(&mut self, tree: &Tree, key: &str, read: impl Fn(&mut Self, &Tree) -> Option<T>) -> Option<T> {
        tree.get(key).and_then(|value| read(self, value))
    }

    fn list<T>(&mut self, tree: &Tree, key: &str, read: impl Fn(&mut Self, &Tree) -> Option<T>) -> Vec<T> {
        let Some(value) = tree.get(key) else { return Vec::new() };
        let Some(items) = value.as_list() else {
            self.wrong_type(value, "a list");
            return Vec::new();
        };
        items.iter().filter_map(|item| read(self, item)).collect()
    }

    fn named<K: FromStr + Ord, T>(
        &mut self,
        tree: &Tree,
        key: &str,
        read: impl Fn(&mut Self, &Tree) -> Option<T>,
    ) -> BTreeMap<K, T>
    where
        K::Err: Display,
    {
        let Some(value) = tree.get(key) else { return BTreeMap::new() };
        let Some(entries) = value.as_map() else {
            self.wrong_type(value, "a mapping of names");
            return BTreeMap::new();
        };
        let mut named = BTreeMap::new();
        for entry in entries {
            let name = entry
                .key
                .parse()
                .map_err(|error: K::Err| self.error("bad-name", entry.position, error.to_string()).code);
            if let (Ok(name), Some(value)) = (name, read(self, &entry.value)) {
                named.insert(name, value);
            }
        }
        named
    }

    fn text(&mut self, tree: &Tree) -> Option<String> {
        match tree.as_text() {
            Some(text) if !text.trim().is_empty() => Some(text.to_owned()),
            Some(_) => {
                self.error("wrong-type", tree.position, "this text is empty");
                None
            }
            None => {
                self.wrong_type(tree, "text");
                None
            }
        }
    }

    fn boolean(&mut self, tree: &Tree) -> Option<bool> {
        match tree.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.wrong_type(tree, "`true` or `false`");
                None
            }
        }
    }

    fn parsed<T: FromStr>(&mut self, tree: &Tree) -> Option<T>
    where
        T::Err: Display,
    {
        // A name made of digits, `404`, is a number to YAML; quoting it is the cure.
        let text = self.text(tree)?;
        text.parse().map_err(|error: T::Err| self.error("bad-name", tree.position, error.to_string()).code).ok()
    }

    fn parsed_path(&mut self, tree: &Tree) -> Option<PackPath> {
        let text = self.text(tree)?;
        let path = PackPath::parse(&text);
        path.map_err(|error| self.error("bad-path", tree.position, error.to_string()).code).ok()
    }

    fn one_of<T>(&mut self, tree: &Tree, known: &[&str], read: impl Fn(&str) -> T) -> Option<T> {
        let text = self.text(tree)?;
        if known.contains(&text.as_str()) {
            return Some(read(&text));
        }
        let cure = match near(&text, known.iter().copied()).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.error("unknown-value", tree.position, format!("`{text}` is not known here")).cure = Some(cure);
        None
    }
}
