//! What only a look at the machine can tell about settings: files, folders, addresses, certificates. It changes nothing.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{Access, access};

use super::found::{Fault, Found, Origin, Sources};
use super::{Config, SECTIONS};
use crate::definition::diagnostic::near;
use crate::door::certificate::Urgency;
use crate::door::tls::Tls;

/// Variables that begin like the server's settings and are none.
const OTHER_VARIABLES: [&str; 2] = ["ORCHESTRATOR_CONFIG", "ORCHESTRATOR_SERVER"];

/// Variables that are nearly settings.
pub(super) fn variables(sources: &Sources) -> Vec<Fault> {
    let known: Vec<String> = SECTIONS.iter().flat_map(|section| section.settings).map(|one| one.variable()).collect();
    let known = || known.iter().map(String::as_str).chain(OTHER_VARIABLES);
    let note = |name: &String| {
        let message = format!("it sets nothing; did you mean `{}`?", near(name, known()).first()?);
        Some(Fault { origin: Some(Origin::Environment(name.clone())), key: None, message })
    };
    sources.environment.keys().filter(|name| !known().any(|known| known == *name)).filter_map(note).collect()
}

/// Looks at what the settings name; keeps in `found` what is wrong, and gives back what is only worth knowing.
pub(super) fn inspect(config: &Config, found: &mut Found) -> Vec<Fault> {
    folders(config, found);
    let mut notes = Vec::new();
    for address in &config.listening.addresses(false) {
        match bind(address) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                notes.push(note(
                    "listen",
                    format!("somebody listens on {address} already; if it is this server, all is well"),
                ));
            }
            Err(error) => found.fault("listen", format!("{address} cannot be listened on: {error}")),
        }
    }
    notes.extend(certificate(config, found));
    notes
}

fn note(key: &str, message: String) -> Fault {
    Fault { origin: None, key: Some(key.to_owned()), message }
}

fn bind(address: &SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(address).map(drop)
}

fn folders(config: &Config, found: &mut Found) {
    let general = &config.general;
    for (key, path) in [("data", Some(&general.data)), ("cache", general.cache.as_ref())] {
        if let Some(fault) = path.and_then(|path| folder(path)) {
            found.fault(key, fault);
        }
    }
    for (key, path) in [("readyFile", general.ready_file.as_ref()), ("listenUnix", config.listening.unix.as_ref())] {
        if let Some(fault) = path.and_then(|path| folder(beside(path))) {
            found.fault(key, fault);
        }
    }
}

/// The folder that a file is in.
fn beside(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why a folder can be neither used nor made.
fn folder(path: &Path) -> Option<String> {
    let shown = path.display();
    if path.is_dir() {
        let writable = access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        return (!writable)
            .then(|| format!("this user may not write to `{shown}`: give it access, or name another folder"));
    }
    if path.exists() {
        return Some(format!("`{shown}` is no folder: name another one"));
    }
    let above = path.ancestors().skip(1).map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let above = above.into_iter().find(|above| above.exists())?;
    folder(above).map(|fault| format!("`{shown}` cannot be made: {fault}"))
}

fn certificate(config: &Config, found: &mut Found) -> Option<Fault> {
    let tls = match Tls::open(config.tls.files()?) {
        Ok(tls) => tls,
        Err(error) => {
            found.fault("tls.certificate", format!("cannot {error}"));
            return None;
        }
    };
    let until = tls.expires()?;
    match tls.urgency(Timestamp::now()) {
        Urgency::None => None,
        Urgency::Expired => {
            found.fault("tls.certificate", format!("it is valid no more since {until}: renew it"));
            None
        }
        _ => Some(note("tls.certificate", format!("it is valid until {until}: renew it soon"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_there_or_can_be_made() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        assert_eq!(folder(path), None);
        assert_eq!(folder(&path.join("a/b/c")), None);
        std::fs::write(path.join("file"), "").unwrap();
        assert!(folder(&path.join("file")).unwrap().contains("is no folder"));
        assert!(folder(&path.join("file/a")).is_some());
        assert_eq!(beside(Path::new("ready")), Path::new("."));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o200, 0o200);
    }

    #[test]
    fn a_variable_that_is_nearly_a_setting_is_noted() {
        let names = ["ORCHESTRATOR_LISTN", "ORCHESTRATOR_SERVER", "ORCHESTRATOR_DATA", "ORCHESTRATOR_SOMETHING_ELSE"];
        let environment = names.map(|name| (name.to_owned(), "x".to_owned())).into();
        let notes = variables(&Sources { environment, ..Sources::default() });
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(notes, ["ORCHESTRATOR_LISTN: it sets nothing; did you mean `ORCHESTRATOR_LISTEN`?"]);
    }
}
