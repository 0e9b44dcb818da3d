//! Snapshots of volumes. They carry their request's key as volumes do.

use orchestrator_sdk::{Context, Error, Finding, http, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, BACKEND, DELETED, DELETING, Deletion, SNAPSHOTS};
use crate::marker::{self, Marked};
use crate::{volumes, wire};

/// A snapshot as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its identifier.
    pub id: String,
    /// `creating`, `available`, `error`, …; `deleted` when it is gone.
    pub status: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for, with the request's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The volume it was taken of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<String>,
    /// Its profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_id: Option<String>,
    /// The volume's size then, in GB; absent while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// `YYYY-MM-DDTHH:MM:SS` in the storage service's own zone, which it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: wire::Time,
}

/// What `create-snapshot` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateSnapshot {
    /// The volume; it has to be `available` or `inUse`.
    pub volume_id: String,
    /// 1 to 255 letters, digits, spaces, `_` and `-`.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The volume's own profile when absent.
    pub profile_id: Option<String>,
    /// What makes repeats harmless beyond this task; the task's idempotency key when absent.
    pub request_key: Option<String>,
}

/// The request's body; what is absent is not written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    name: &'a str,
    volume_id: &'a str,
    description: String,
    profile_id: Option<&'a str>,
}

/// Which snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotId {
    /// Its identifier.
    pub snapshot_id: String,
    /// Whether a snapshot that is not there is an answer (`status: deleted`) and no error; only for `get-snapshot`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_missing: bool,
}

/// What `list-snapshots` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListSnapshots {
    /// Only snapshots of this volume.
    pub volume_id: Option<String>,
    /// Only snapshots of this name.
    pub name: Option<String>,
    /// Only snapshots that were made under this key.
    pub request_key: Option<String>,
}

/// What `list-snapshots` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    /// The oldest first.
    pub snapshots: Vec<Snapshot>,
}

/// Makes a snapshot, or finds the one that an earlier try with the same key made. It is usually still `creating`.
///
/// # Errors
/// Those of the API; unknown when the snapshot may have been made.
pub fn create_snapshot(ctx: &Context, input: CreateSnapshot) -> Result<Snapshot, Error> {
    if let Some(snapshot) = input.find(ctx)? {
        log::info!("snapshot `{}` of this request is already there, {}", snapshot.id, snapshot.status);
        return left(ctx, snapshot);
    }
    let response = http::post(BACKEND, SNAPSHOTS).json(&wire::body(&input.body(ctx))).send()?;
    if !response.is_success() {
        let doing = format!("snapshot volume `{}`", input.volume_id);
        let cure = "the volume has to be available or in use, and the profile to exist";
        return Err(input.refusal(api::refused(&response, &doing, cure)));
    }
    left(ctx, wire::parse(&response)?)
}

/// Tells whether an earlier run made its snapshot.
///
/// # Errors
/// Those of the API.
pub fn probe_create_snapshot(ctx: &Context, input: CreateSnapshot) -> Result<Finding<Snapshot>, Error> {
    match input.find(ctx)? {
        Some(snapshot) => Ok(Finding::Done(left(ctx, snapshot)?)),
        None => Ok(Finding::NotDone),
    }
}

/// Deletes the snapshot that a run made.
///
/// # Errors
/// Transient while the snapshot's state does not allow it yet.
pub fn undo_create_snapshot(ctx: &Context, receipt: SnapshotId) -> Result<(), Error> {
    delete_snapshot(ctx, receipt).map(drop)
}

/// Reads a snapshot.
///
/// # Errors
/// Those of the API; `communication` 404 when there is none, unless `allowMissing`.
pub fn get_snapshot(_: &Context, input: SnapshotId) -> Result<Snapshot, Error> {
    match api::read(SNAPSHOTS, &input.snapshot_id)? {
        Some(snapshot) => Ok(snapshot),
        None if input.allow_missing => Ok(in_state(&input.snapshot_id, DELETED)),
        None => Err(api::missing("snapshot", &input.snapshot_id)),
    }
}

/// Lists snapshots, the oldest first.
///
/// # Errors
/// Those of the API.
pub fn list_snapshots(_: &Context, input: ListSnapshots) -> Result<Snapshots, Error> {
    let mut snapshots = list(input.volume_id.as_deref(), input.name.as_deref())?;
    if let Some(key) = &input.request_key {
        snapshots = marker::of_key(snapshots, key);
    }
    snapshots.sort_by(|a, b| a.age().cmp(&b.age()));
    Ok(Snapshots { snapshots })
}

/// Asks to delete a snapshot and returns its state then: `deleting`, or `deleted` when it is already gone.
///
/// # Errors
/// Those of the API; transient while the snapshot is `creating`.
pub fn delete_snapshot(ctx: &Context, input: SnapshotId) -> Result<Snapshot, Error> {
    let id = &input.snapshot_id;
    let state = match api::delete(SNAPSHOTS, id)? {
        Deletion::Gone => DELETED,
        Deletion::Accepted => DELETING,
        Deletion::Refused(error) => undeletable(id, error)?,
    };
    ctx.deleted("snapshot", id);
    Ok(in_state(id, state))
}

/// What a refused deletion means, by the snapshot's state: an earlier try may have been accepted.
fn undeletable(id: &str, error: Error) -> Result<&'static str, Error> {
    let Some(snapshot) = api::read::<Snapshot>(SNAPSHOTS, id)? else { return Ok(DELETED) };
    match snapshot.status.as_str() {
        DELETING => Ok(DELETING),
        "creating" | "available" | "error" => Err(api::unsettled(error)),
        _ => Err(error),
    }
}

/// Snapshots, filtered here too, for a service that ignores the query.
fn list(volume: Option<&str>, name: Option<&str>) -> Result<Vec<Snapshot>, Error> {
    let given = [("volumeId", volume), ("name", name)];
    let filters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut snapshots: Vec<Snapshot> = api::list(SNAPSHOTS, &filters)?;
    snapshots.retain(|snapshot| {
        volume.is_none_or(|volume| snapshot.volume_id.as_deref() == Some(volume))
            && name.is_none_or(|name| snapshot.name.as_deref() == Some(name))
    });
    Ok(snapshots)
}

/// Notes the snapshot for ledger and undo.
fn left(ctx: &Context, snapshot: Snapshot) -> Result<Snapshot, Error> {
    ctx.created("snapshot", &snapshot.id);
    ctx.receipt(&SnapshotId { snapshot_id: snapshot.id.clone(), allow_missing: false })?;
    Ok(snapshot)
}

fn in_state(id: &str, status: &str) -> Snapshot {
    Snapshot { id: id.to_owned(), status: status.to_owned(), ..Snapshot::default() }
}

impl CreateSnapshot {
    fn key<'a>(&'a self, ctx: &'a Context) -> &'a str {
        self.request_key.as_deref().unwrap_or(ctx.idempotency_key())
    }

    fn find(&self, ctx: &Context) -> Result<Option<Snapshot>, Error> {
        let found = marker::of_key(list(Some(&self.volume_id), Some(&self.name))?, self.key(ctx));
        Ok(marker::oldest("snapshots", self.key(ctx), found))
    }

    fn body(&self, ctx: &Context) -> Body<'_> {
        Body {
            name: &self.name,
            volume_id: &self.volume_id,
            description: marker::described(self.description.as_deref(), self.key(ctx)),
            profile_id: self.profile_id.as_deref(),
        }
    }

    /// What a refusal means, by the volume's state.
    fn refusal(&self, error: Error) -> Error {
        if error.problem.status != 400 {
            return error;
        }
        match volumes::read(&self.volume_id) {
            Ok(None) => api::missing("volume", &self.volume_id),
            Ok(Some(volume)) if volume.is_changing() && volume.status != DELETING => api::unsettled(error),
            Ok(Some(volume)) if volume.can_be_used() && api::is_about_state(&error) => api::unsettled(error),
            _ => error,
        }
    }
}

impl Marked for Snapshot {
    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn age(&self) -> (Option<&str>, &str) {
        (self.created_at.as_deref(), &self.id)
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
