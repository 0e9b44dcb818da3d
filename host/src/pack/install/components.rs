//! The components of a pack: what each really imports is held against what its actions ask for in the manifest.

use std::collections::BTreeMap;

use super::{Check, CheckError};
use crate::model::{ComponentName, Digest};
use crate::pack::manifest::{Action, Component, ConnectionKind};

/// What an import asks of the manifest.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    /// Nothing: logs, progress, types, and WASI, which is empty here.
    Nothing,
    /// An action that uses a connection of kind `http`, or `uses.hosts`.
    Http,
    /// An action with `uses.secrets`.
    Secrets,
    /// An action that uses a connection of kind `smtp`.
    Mail,
    /// An action with `uses.inbox`.
    Inbox,
    /// There is no such capability in this world.
    Unknown,
}

/// Sorts an import, `namespace:package/interface@version`. Versions are those that semver links to what this host has.
fn need(import: &str) -> Need {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    if interface.starts_with("wasi:") {
        return if version.starts_with("0.2.") { Need::Nothing } else { Need::Unknown };
    }
    if !version.starts_with("0.1.") {
        return Need::Unknown;
    }
    match interface {
        "orchestrator:http/client" => Need::Http,
        "orchestrator:secrets/store" => Need::Secrets,
        "orchestrator:mail/mail" => Need::Mail,
        "orchestrator:notification/inbox" => Need::Inbox,
        "orchestrator:log/log" | "orchestrator:progress/progress" | "orchestrator:action/types" => Need::Nothing,
        _ => Need::Unknown,
    }
}

impl Check<'_> {
    /// Reads every component, and gives the digests of those that are there.
    pub(super) fn components(&mut self) -> Result<BTreeMap<ComponentName, Digest>, CheckError> {
        let mut digests = BTreeMap::new();
        let components = self.manifest().components.clone();
        for (name, component) in &components {
            let pointer = format!("/components/{name}");
            let Some(content) = self.directory.read(&component.path)? else {
                self.not_built(&pointer, component);
                continue;
            };
            digests.insert(name.clone(), Digest::of(&content));
            match (self.rules.imports)(&content) {
                Ok(imports) => self.imports(&pointer, name, &imports),
                Err(reason) => self.error(
                    "bad-component",
                    &pointer,
                    format!("`{}` is no component: {reason}", component.path),
                    "build it with `orchctl pack build`",
                ),
            }
        }
        self.idle(&components);
        Ok(digests)
    }

    fn not_built(&mut self, pointer: &str, component: &Component) {
        let message = format!("the component `{}` is not there", component.path);
        let cure = "build it with `orchctl pack build`";
        match self.rules.built {
            true => self.error("missing-file", pointer, message, cure),
            false => self.warning("missing-file", pointer, message, cure),
        }
    }

    fn imports(&mut self, pointer: &str, name: &ComponentName, imports: &[String]) {
        let asks = |pick: &dyn Fn(&Action) -> bool| {
            self.manifest().actions.values().any(|action| action.component == *name && pick(action))
        };
        let of_kind = |action: &Action, kind: ConnectionKind| {
            let known = &self.manifest().connections;
            action.uses.connections.iter().any(|name| known.get(name).is_some_and(|request| request.kind == kind))
        };
        let http = asks(&|action| of_kind(action, ConnectionKind::Http) || !action.uses.hosts.is_empty());
        let mail = asks(&|action| of_kind(action, ConnectionKind::Smtp));
        let secrets = asks(&|action| !action.uses.secrets.is_empty());
        let inbox = asks(&|action| action.uses.inbox);
        for import in imports {
            let (message, cure) = match need(import) {
                Need::Http if !http => (
                    "which no action of it requests",
                    "add `uses: { connections: [NAME] }` to the action that needs it",
                ),
                Need::Secrets if !secrets => {
                    ("which no action of it requests", "add `uses: { secrets: [NAME] }` to the action that needs it")
                }
                Need::Mail if !mail => (
                    "which no action of it requests",
                    "give a connection of the pack `kind: smtp`, and add `uses: { connections: [NAME] }` to the action",
                ),
                Need::Inbox if !inbox => {
                    ("which no action of it requests", "add `uses: { inbox: true }` to the action that needs it")
                }
                Need::Unknown => ("which this world does not have", "build it against the world that `world` names"),
                _ => continue,
            };
            let message = format!("the component `{name}` imports `{import}`, {message}");
            self.error("unrequested-import", pointer, message, cure);
        }
    }

    /// Warns of components that no action is served by.
    fn idle(&mut self, components: &BTreeMap<ComponentName, Component>) {
        for name in components.keys() {
            if !self.manifest().actions.values().any(|action| action.component == *name) {
                let message = format!("no action is served by the component `{name}`");
                self.warning("unused", &format!("/components/{name}"), message, "add an action, or remove it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_sorted_by_what_they_ask_of_the_manifest() {
        let cases = [
            ("wasi:io/streams@0.2.6", Need::Nothing),
            ("wasi:http/outgoing-handler@0.3.0", Need::Unknown),
            ("orchestrator:log/log@0.1.0", Need::Nothing),
            ("orchestrator:action/types@0.1.0", Need::Nothing),
            ("orchestrator:http/client@0.1.2", Need::Http),
            ("orchestrator:http/client@0.2.0", Need::Unknown),
            ("orchestrator:secrets/store@0.1.0", Need::Secrets),
            ("orchestrator:mail/mail@0.1.0", Need::Mail),
            ("orchestrator:notification/inbox@0.1.0", Need::Inbox),
            ("orchestrator:files/all@0.1.0", Need::Unknown),
            ("env", Need::Unknown),
        ];
        for (import, expected) in cases {
            assert_eq!(need(import), expected, "{import}");
        }
    }
}
