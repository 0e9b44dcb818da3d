//! What is on the server: compared with a document, changed to be like it, removed.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::Change;
use super::compare::{Difference, How, differences};
use super::document::{Document, Kind, manifest_of};
use super::reference::resolved;
use crate::cli::client::{Client, Page};
use crate::cli::error::Error;
use crate::cli::output::items;
use crate::connection::declaration::Connection;
use crate::pack::archive;
use crate::pack::directory::{Directory, FilesError};

/// The members of a connection's declaration; a view may have more.
const CONNECTION: &[&str] = &[
    "baseUrl",
    "authentication",
    "caCertificates",
    "timeoutMs",
    "responseBytesMax",
    "exchangesMax",
    "idempotencyHeader",
    "mail",
];
/// Members of a service and of a schedule that are taken away by not being written; the others have a default, or are
/// made by the server from what is written.
const SERVICE: &[&str] =
    &["description", "tags", "icon", "uiSchema", "inputDefaults", "lockedInputs", "constraint", "annotations"];
const SCHEDULE: &[&str] = &["description", "at", "cron", "every", "input", "service"];

/// What has to be done so that the server is as the document says.
pub(super) async fn change(client: &Client, document: &Document, rewrite_secrets: bool) -> Result<Change, Error> {
    match document.kind {
        Kind::Secret => secret(client, document, rewrite_secrets).await,
        Kind::Pack => pack(client, document).await,
        _ => member(client, document).await,
    }
}

async fn secret(client: &Client, document: &Document, rewrite: bool) -> Result<Change, Error> {
    let list = client.all(&["secrets"], &[], Page::WHOLE).await?;
    let there = items(&list).iter().any(|item| item.get("name") == Some(&json!(document.name)));
    if !there || rewrite {
        // A value that is not at hand is told before anything is changed.
        resolved(&document.spec, &document.folder).map_err(|reason| wrong(document, reason))?;
    }
    Ok(match (there, rewrite) {
        (false, _) => Change::Create,
        (true, true) => Change::Alter(vec![Difference::new("value", json!("…"), json!("…"))]),
        (true, false) => Change::Kept,
    })
}

async fn pack(client: &Client, document: &Document) -> Result<Change, Error> {
    let source = source_of(document)?;
    let (name, version) = manifest_of(&source).map_err(|reason| wrong(document, reason))?;
    let Some(installed) = found(client.get(&["packs", &name], &[]).await)? else { return Ok(Change::Create) };
    let Some(same) = found(client.get(&["packs", &name, &version], &[]).await)? else {
        let latest = installed.get("latest").cloned().unwrap_or_default();
        return Ok(Change::Alter(vec![Difference::new("version", latest, json!(version))]));
    };
    let digest = json!(digest_of(&source).map_err(|error| wrong(document, error))?);
    let there = same.get("digest").cloned().unwrap_or_default();
    Ok(match there == digest {
        true => Change::Unchanged,
        false => Change::Alter(vec![Difference::new("digest", there, digest)]),
    })
}

async fn member(client: &Client, document: &Document) -> Result<Change, Error> {
    let wanted = body(document)?;
    let path = path_of(document.kind, &document.name);
    let Some(there) = found(client.get(&path, &[]).await)? else { return Ok(Change::Create) };
    let found = match document.kind {
        Kind::Connection => differences(&wanted, &only(&there, CONNECTION), How::Whole),
        Kind::Grants => {
            let nothing = json!({ "connections": {}, "secrets": {}, "hosts": [] });
            differences(&filled(wanted, &nothing), &filled(only(&there, GRANTS), &nothing), How::Whole)
        }
        Kind::Service => differences(&enabled(wanted), &there, How::Wanted(SERVICE)),
        _ => differences(&enabled(wanted), &there, How::Wanted(SCHEDULE)),
    };
    Ok(if found.is_empty() { Change::Unchanged } else { Change::Alter(found) })
}

const GRANTS: &[&str] = &["connections", "secrets", "hosts"];

/// Makes it so.
pub(super) async fn put(client: &Client, document: &Document) -> Result<(), Error> {
    match document.kind {
        Kind::Pack => {
            let source = source_of(document)?;
            let archive = archive_of(&source).map_err(|error| wrong(document, error))?;
            client.install(archive).await.map(drop)
        }
        Kind::Secret => {
            let value = resolved(&document.spec, &document.folder).map_err(|reason| wrong(document, reason))?;
            client.put(&["secrets", &document.name], &json!({ "value": value })).await.map(drop)
        }
        kind => client.put(&path_of(kind, &document.name), &body(document)?).await.map(drop),
    }
}

/// Removes it.
pub(super) async fn remove(client: &Client, kind: Kind, name: &str, versions: &[String]) -> Result<(), Error> {
    if kind != Kind::Pack {
        return client.delete(&path_of(kind, name), &[]).await.map(drop);
    }
    for version in versions {
        client.delete(&["packs", name, version], &[]).await?;
    }
    Ok(())
}

/// What is on the server and in no document, of the kinds that the documents have. What packs bring goes with them.
pub(super) async fn others(client: &Client, documents: &[Document]) -> Result<Vec<(Kind, String, Vec<String>)>, Error> {
    let mut found = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Grants) {
        let wanted: Vec<&str> =
            documents.iter().filter(|document| document.kind == kind).map(|document| document.name.as_str()).collect();
        if wanted.is_empty() {
            continue;
        }
        let list = client.all(&[collection(kind)], &[], Page::WHOLE).await?;
        for item in items(&list) {
            let own = !matches!(kind, Kind::Service | Kind::Schedule) || item.get("origin") == Some(&json!("api"));
            let name = item.get("name").and_then(Json::as_str).filter(|name| own && !wanted.contains(name));
            if let Some(name) = name {
                let versions = if kind == Kind::Pack { versions(client, name).await? } else { Vec::new() };
                found.push((kind, name.to_owned(), versions));
            }
        }
    }
    found.dedup();
    Ok(found)
}

async fn versions(client: &Client, pack: &str) -> Result<Vec<String>, Error> {
    let installed = client.get(&["packs", pack], &[]).await?;
    let versions = installed.get("versions").and_then(Json::as_array).into_iter().flatten();
    Ok(versions.filter_map(|version| Some(version.get("version")?.as_str()?.to_owned())).collect())
}

/// The body that is put.
fn body(document: &Document) -> Result<Json, Error> {
    let mut spec = resolved(&document.spec, &document.folder).map_err(|reason| wrong(document, reason))?;
    match document.kind {
        // As the server keeps it: with every default.
        Kind::Connection => {
            let read = serde_json::from_value::<Connection>(spec).map_err(|error| wrong(document, error))?;
            serde_json::to_value(read).map_err(|error| wrong(document, error))
        }
        Kind::Service | Kind::Schedule => {
            spec["name"] = json!(document.name);
            Ok(spec)
        }
        _ => Ok(spec),
    }
}

fn enabled(mut wanted: Json) -> Json {
    if wanted.get("enabled").is_none() {
        wanted["enabled"] = json!(true);
    }
    wanted
}

fn only(there: &Json, members: &[&str]) -> Json {
    let there = there.as_object().into_iter().flatten();
    Json::Object(
        there
            .filter(|(name, _)| members.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// The value with these members where it has none.
fn filled(mut value: Json, usual: &Json) -> Json {
    for (name, usual) in usual.as_object().into_iter().flatten() {
        if value.get(name).is_none_or(Json::is_null) {
            value[name] = usual.clone();
        }
    }
    if let Some(hosts) = value.get_mut("hosts").and_then(Json::as_array_mut) {
        hosts.sort_by_key(ToString::to_string);
    }
    value
}

fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "secrets",
        Kind::Connection => "connections",
        Kind::Pack | Kind::Grants => "packs",
        Kind::Service => "services",
        Kind::Schedule => "schedules",
    }
}

fn path_of(kind: Kind, name: &str) -> Vec<&str> {
    match kind {
        Kind::Grants => vec!["packs", name, "grants"],
        kind => vec![collection(kind), name],
    }
}

/// Nothing where the server knows no such thing.
fn found(answer: Result<Json, Error>) -> Result<Option<Json>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::Answered(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn wrong(document: &Document, reason: impl std::fmt::Display) -> Error {
    Error::Usage(format!("{}: {reason}", document.place))
}

fn source_of(document: &Document) -> Result<std::path::PathBuf, Error> {
    document.source().ok_or_else(|| wrong(document, "a Pack's spec is `source`: its folder or its archive"))
}

fn digest_of(source: &Path) -> Result<String, String> {
    match source.is_dir() {
        true => Directory::open(source).map(|directory| directory.digest().to_string()).map_err(|error| chain(&error)),
        false => unpacked(source, |directory| Ok(directory.digest().to_string())),
    }
}

fn archive_of(source: &Path) -> Result<Vec<u8>, String> {
    let packed = match source.is_dir() {
        true => Directory::open(source).and_then(|directory| archive::write(&directory)),
        false => return bytes_of(source),
    };
    packed.map_err(|error| chain(&error))
}

fn bytes_of(source: &Path) -> Result<Vec<u8>, String> {
    crate::cli::input::bytes_of(&source.display().to_string(), archive::ARCHIVE_BYTES_MAX as u64)
}

/// The manifest in an archive.
pub(super) fn manifest_in(source: &Path) -> Result<String, String> {
    let manifest = unpacked(source, |directory| {
        let path = directory.files().keys().find(|path| path.as_str() == "pack.yaml").cloned();
        path.map_or(Ok(None), |path| directory.read(&path))
    });
    let bytes = manifest?.ok_or("it has no pack.yaml")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Looks into an archive.
fn unpacked<T>(source: &Path, look: impl FnOnce(&Directory) -> Result<T, FilesError>) -> Result<T, String> {
    let bytes = bytes_of(source)?;
    let folder = tempfile::tempdir().map_err(|error| format!("make a temporary folder: {error}"))?;
    let directory = archive::unpack_into(&bytes, folder.path());
    directory.and_then(|directory| look(&directory)).map_err(|error| chain(&error))
}

fn chain(error: &FilesError) -> String {
    crate::cli::pack::chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(kind: Kind, spec: Json) -> Document {
        Document { kind, name: "n".to_owned(), spec, place: "f:1".to_owned(), folder: ".".into() }
    }

    #[test]
    fn a_connection_is_compared_with_its_defaults() {
        let wanted = body(&document(Kind::Connection, json!({"baseUrl": "http://a", "timeoutMs": 5}))).unwrap();
        let mut there = wanted.clone();
        (there["name"], there["updatedAt"]) = (json!("n"), json!("now"));
        assert_eq!(differences(&wanted, &only(&there, CONNECTION), How::Whole), []);
        there["timeoutMs"] = json!(6);
        assert_eq!(differences(&wanted, &only(&there, CONNECTION), How::Whole).len(), 1);
        assert!(body(&document(Kind::Connection, json!({"baseUrll": "http://a"}))).is_err());
    }

    #[test]
    fn what_the_server_adds_to_a_service_is_no_difference() {
        let wanted =
            enabled(json!({"name": "n", "group": "g", "workflows": [{"name": "a", "pack": "p", "workflow": "w"}]}));
        let mut there = json!({"name": "n", "group": "g", "id": "x", "origin": "api", "enabled": true, "tags": [],
            "workflows": [{"name": "a", "pack": "p", "workflow": "w", "version": "1.0.0"}], "inputSchema": {"type": "object"}});
        assert_eq!(differences(&wanted, &there, How::Wanted(SERVICE)), []);
        there["tags"] = json!(["old"]);
        assert_eq!(differences(&wanted, &there, How::Wanted(SERVICE)).len(), 1);
    }

    #[test]
    fn grants_that_are_not_written_are_taken_back() {
        let nothing = json!({ "connections": {}, "secrets": {}, "hosts": [] });
        let wanted = filled(json!({"hosts": ["b", "a"]}), &nothing);
        let there = filled(json!({"hosts": ["a", "b"], "connections": {"x": "y"}}), &nothing);
        let found = differences(&wanted, &there, How::Whole);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "connections.x: \"y\" -> nothing");
    }
}
