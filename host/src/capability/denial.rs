//! The texts of denials: what is missing, the line to request it in `pack.yaml`, and the command that grants it.

use super::Granted;

/// A guest's own words are shown at most this long, characters.
const SHOWN_CHARS_MAX: usize = 100;

pub(super) fn connection(granted: &Granted, name: &str) -> String {
    let name = shown(name);
    text(granted, &format!("connection `{name}`"), &format!("connections: [{name}]"), &format!("{name}=<connection>"))
}

pub(super) fn host(granted: &Granted, host: &str) -> String {
    let host = shown(host);
    text(granted, &format!("host `{host}`"), &format!("hosts: [\"{host}\"]"), &format!("--host {host}"))
}

pub(super) fn secret(granted: &Granted, name: &str) -> String {
    let name = shown(name);
    text(granted, &format!("secret `{name}`"), &format!("secrets: [{name}]"), &format!("--secret {name}=<secret>"))
}

pub(super) fn inbox(granted: &Granted) -> String {
    let Granted { pack, action, .. } = granted;
    format!(
        "the server's notifications are not open to action `{action}` of pack `{pack}`; request them in pack.yaml under \
         `actions: {action}:` with `uses: {{ inbox: true }}`"
    )
}

fn text(granted: &Granted, what: &str, line: &str, option: &str) -> String {
    let Granted { pack, action, .. } = granted;
    format!(
        "{what} is not granted to action `{action}` of pack `{pack}`; request it in pack.yaml under `actions: {action}:` \
         with `uses: {{ {line} }}`, then grant it with `orchctl pack grant {pack} {option}`"
    )
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}
