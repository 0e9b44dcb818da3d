//! Volumes.
//!
//! The API knows no idempotency key, so a volume carries one in its description: `[orchestrator:<key>]`. Creating looks
//! for it first, and so does the probe; a repeat with the same key finds the volume whose answer was lost. What this
//! cannot see is a request that the API takes in only after the repeat has looked; `find-volumes` lists every volume of
//! a key, so that cleaning up finds that one too.

use orchestrator_sdk::{Context, Error, Finding, http, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, BACKEND, DELETED, DELETING, Deletion, VOLUMES};
use crate::marker::{self, Marked};
use crate::{attachments, wire};

/// States that end by themselves.
const CHANGING: [&str; 5] = ["creating", "attaching", "detaching", "extending", DELETING];

/// A volume as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its identifier.
    pub id: String,
    /// `creating`, `available`, `inUse`, `error`, …; `deleted` when it is gone.
    pub status: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for, with the request's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its size in GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Its profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_id: Option<String>,
    /// The pool it lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_id: Option<String>,
    /// The snapshot it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Whether several hosts may attach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_attach: Option<bool>,
    /// What releases that tell it say about attachments; most leave it empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_status: Option<String>,
    /// `YYYY-MM-DDTHH:MM:SS` in the storage service's own zone, which it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: wire::Time,
}

/// What `create-volume` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateVolume {
    /// 1 to 255 letters, digits, spaces, `_` and `-`.
    pub name: String,
    /// In GB, at least 1.
    pub size: u64,
    /// For people.
    pub description: Option<String>,
    /// The API's `default` when absent.
    pub availability_zone: Option<String>,
    /// The API's default profile when absent.
    pub profile_id: Option<String>,
    /// The pool to use.
    pub pool_id: Option<String>,
    /// The snapshot to start from.
    pub snapshot_id: Option<String>,
    /// Whether that snapshot lies in the cloud.
    pub snapshot_from_cloud: Option<bool>,
    /// Whether several hosts may attach it.
    pub multi_attach: Option<bool>,
    /// What makes repeats harmless beyond this task, such as the instance's identifier; the task's idempotency key when
    /// absent.
    pub request_key: Option<String>,
}

/// The request's body; what is absent is not written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    name: &'a str,
    size: u64,
    description: String,
    availability_zone: Option<&'a str>,
    profile_id: Option<&'a str>,
    pool_id: Option<&'a str>,
    snapshot_id: Option<&'a str>,
    snapshot_from_cloud: Option<bool>,
    multi_attach: Option<bool>,
}

/// Which volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeId {
    /// Its identifier.
    pub volume_id: String,
    /// Whether a volume that is not there is an answer (`status: deleted`) and no error; only for `get-volume`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_missing: bool,
}

/// What `find-volumes` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindVolumes {
    /// The volumes' name.
    pub name: String,
    /// The key they were made under.
    pub request_key: String,
}

/// What `list-volumes` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListVolumes {
    /// Only volumes of this name.
    pub name: Option<String>,
    /// Only volumes in this state.
    pub status: Option<String>,
    /// Only volumes of this profile.
    pub profile_id: Option<String>,
    /// Only volumes in this pool.
    pub pool_id: Option<String>,
}

/// What `find-volumes` and `list-volumes` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The oldest first.
    pub volumes: Vec<Volume>,
}

/// Makes a volume, or finds the one that an earlier try with the same key made. It is usually still `creating`.
///
/// # Errors
/// Those of the API; unknown when the volume may have been made; `validation` 409 when the key belongs to a volume of
/// another size.
pub fn create_volume(ctx: &Context, input: CreateVolume) -> Result<Volume, Error> {
    let key = input.key(ctx);
    if let Some(volume) = find_one(&input.name, key)? {
        log::info!("volume `{}` of request `{key}` is already there, {}", volume.id, volume.status);
        return input.left(ctx, volume);
    }
    let response = http::post(BACKEND, VOLUMES).json(&wire::body(&input.body(key))).send()?;
    if !response.is_success() {
        let cure = "check size, profile, snapshot and availability zone";
        return Err(api::refused(&response, &format!("create volume `{}`", input.name), cure));
    }
    input.left(ctx, wire::parse(&response)?)
}

/// Tells whether an earlier run made its volume.
///
/// # Errors
/// Those of the API.
pub fn probe_create_volume(ctx: &Context, input: CreateVolume) -> Result<Finding<Volume>, Error> {
    match find_one(&input.name, input.key(ctx))? {
        Some(volume) => Ok(Finding::Done(input.left(ctx, volume)?)),
        None => Ok(Finding::NotDone),
    }
}

/// Deletes the volume that a run made. One that is still being made is worth another try a little later.
///
/// # Errors
/// Transient while the volume's state does not allow it yet; permanent while it is in use.
pub fn undo_create_volume(ctx: &Context, receipt: VolumeId) -> Result<(), Error> {
    delete_volume(ctx, receipt).map(drop)
}

/// Lists the volumes that were made under a key: usually one, none when it was refused.
///
/// # Errors
/// Those of the API.
pub fn find_volumes(_: &Context, input: FindVolumes) -> Result<Found, Error> {
    Ok(Found { volumes: find(&input.name, &input.request_key)? })
}

/// Lists volumes, the oldest first.
///
/// # Errors
/// Those of the API.
pub fn list_volumes(_: &Context, input: ListVolumes) -> Result<Found, Error> {
    let given = [
        ("name", &input.name),
        ("status", &input.status),
        ("profileId", &input.profile_id),
        ("poolId", &input.pool_id),
    ];
    let filters: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let mut volumes: Vec<Volume> = api::list(VOLUMES, &filters)?;
    volumes.sort_by(|a, b| a.age().cmp(&b.age()));
    Ok(Found { volumes })
}

/// Reads a volume.
///
/// # Errors
/// Those of the API; `communication` 404 when there is none, unless `allowMissing`.
pub fn get_volume(_: &Context, input: VolumeId) -> Result<Volume, Error> {
    match read(&input.volume_id)? {
        Some(volume) => Ok(volume),
        None if input.allow_missing => Ok(Volume::in_state(&input.volume_id, DELETED)),
        None => Err(api::missing("volume", &input.volume_id)),
    }
}

/// Asks to delete a volume and returns its state then: `deleting`, or `deleted` when it is already gone.
///
/// # Errors
/// Those of the API; transient while the volume is `creating` or otherwise changing, `validation` 400 while it is in
/// use or has snapshots.
pub fn delete_volume(ctx: &Context, input: VolumeId) -> Result<Volume, Error> {
    let id = &input.volume_id;
    let state = match api::delete(VOLUMES, id)? {
        Deletion::Gone => DELETED,
        Deletion::Accepted => DELETING,
        Deletion::Refused(error) => undeletable(id, error)?,
    };
    ctx.deleted("volume", id);
    Ok(Volume::in_state(id, state))
}

/// What a refused deletion means, by the volume's state: an earlier try may have been accepted.
fn undeletable(id: &str, error: Error) -> Result<&'static str, Error> {
    let Some(volume) = read(id)? else { return Ok(DELETED) };
    match volume.status.as_str() {
        DELETING => Ok(DELETING),
        _ if volume.is_changing() => Err(api::unsettled(error)),
        "available" | "error" if api::is_about_state(&error) => Err(api::unsettled(error)),
        "inUse" if attachments::find(id, None)?.is_empty() => Err(unreleased(id)),
        _ => Err(error),
    }
}

/// The last attachment goes a moment before its volume becomes available again. A volume that stays like this had a
/// driver that failed to detach it: the service drops the attachment all the same and never looks at the volume again.
fn unreleased(id: &str) -> Error {
    let detail = format!(
        "volume `{id}` is in use although nothing is attached any more; if it stays so, the storage driver failed to \
         detach it: have the storage's administrator release it on the backend and set its status to available"
    );
    Error::transient(detail).retry_after(api::SETTLE)
}

/// A volume by its identifier.
pub(crate) fn read(id: &str) -> Result<Option<Volume>, Error> {
    api::read(VOLUMES, id)
}

fn find_one(name: &str, key: &str) -> Result<Option<Volume>, Error> {
    Ok(marker::oldest("volumes", key, find(name, key)?))
}

fn find(name: &str, key: &str) -> Result<Vec<Volume>, Error> {
    Ok(marker::of_key(api::list(VOLUMES, &[("name", name)])?, key))
}

impl CreateVolume {
    fn key<'a>(&'a self, ctx: &'a Context) -> &'a str {
        self.request_key.as_deref().unwrap_or(ctx.idempotency_key())
    }

    fn body(&self, key: &str) -> Body<'_> {
        Body {
            name: &self.name,
            size: self.size,
            description: marker::described(self.description.as_deref(), key),
            availability_zone: self.availability_zone.as_deref(),
            profile_id: self.profile_id.as_deref(),
            pool_id: self.pool_id.as_deref(),
            snapshot_id: self.snapshot_id.as_deref(),
            snapshot_from_cloud: self.snapshot_from_cloud,
            multi_attach: self.multi_attach,
        }
    }

    /// Notes the volume for ledger and undo.
    fn left(&self, ctx: &Context, volume: Volume) -> Result<Volume, Error> {
        if let Some(size) = volume.size.filter(|size| *size != self.size) {
            let (id, asked) = (&volume.id, self.size);
            let cure = "order under another key";
            return Err(api::conflict(format!("volume `{id}` of this request has {size} GB, not {asked} GB; {cure}")));
        }
        ctx.created("volume", &volume.id);
        ctx.receipt(&VolumeId { volume_id: volume.id.clone(), allow_missing: false })?;
        Ok(volume)
    }
}

impl Volume {
    /// Whether its state ends by itself.
    pub(crate) fn is_changing(&self) -> bool {
        CHANGING.contains(&self.status.as_str())
    }

    /// Whether snapshots can be taken of it.
    pub(crate) fn can_be_used(&self) -> bool {
        matches!(self.status.as_str(), "available" | "inUse")
    }

    fn in_state(id: &str, status: &str) -> Self {
        Self {
            id: id.to_owned(),
            status: status.to_owned(),
            name: None,
            description: None,
            size: None,
            availability_zone: None,
            profile_id: None,
            pool_id: None,
            snapshot_id: None,
            multi_attach: None,
            attach_status: None,
            created_at: None,
        }
    }
}

impl Marked for Volume {
    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn age(&self) -> (Option<&str>, &str) {
        (self.created_at.as_deref(), &self.id)
    }
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
