//! Attachments of volumes to hosts.
//!
//! One attachment joins one volume and one host, and that pair is its key: attaching looks for it first. A failed
//! attachment stays behind in the state `error`, so an attempt notes in its checkpoint which ones were there before it
//! asked; its repeat then knows its own, failed or not.

use orchestrator_sdk::{Context, Error, Finding, Json, http, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, ATTACHMENTS, BACKEND, DELETED, DELETING, Deletion};
use crate::{volumes, wire};

/// The state of an attachment that failed.
const ERROR: &str = "error";

/// An attachment as the API shows it, without passwords.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Its identifier.
    pub id: String,
    /// `creating`, `available`, `error`, …; `deleted` when it is gone.
    pub status: String,
    /// The volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// `ro` or `rw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_mode: Option<String>,
    /// `iscsi`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_protocol: Option<String>,
    /// How the host reaches the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_info: Option<Json>,
}

/// What `attach-volume` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachVolume {
    /// The volume; it has to be `available`.
    pub volume_id: String,
    /// The host; the volume's availability zone has to be one of its own.
    pub host_id: String,
    /// `rw` when absent.
    pub attach_mode: Option<Mode>,
}

/// How a host may use a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Read only.
    Ro,
    /// Read and write.
    #[default]
    Rw,
}

/// The request's body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    volume_id: &'a str,
    host_id: &'a str,
    attach_mode: Mode,
}

/// Which attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentId {
    /// Its identifier.
    pub attachment_id: String,
    /// Whether an attachment that is not there is an answer (`status: deleted`) and no error; only for
    /// `get-attachment`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_missing: bool,
}

/// What `find-attachments` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindAttachments {
    /// Only attachments of this volume.
    pub volume_id: Option<String>,
    /// Only attachments to this host.
    pub host_id: Option<String>,
}

/// What `find-attachments` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachments {
    /// In the API's order.
    pub attachments: Vec<Attachment>,
}

/// What an attempt saw before it asked for an attachment.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Before {
    /// Attachments of the pair that were not its own.
    attachments: Vec<String>,
}

/// Attaches a volume to a host, or finds the attachment that an earlier try made. It is usually still `creating`.
///
/// # Errors
/// Those of the API; unknown when the attachment may have been made; `validation` 409 when the pair is attached in
/// another mode.
pub fn attach_volume(ctx: &Context, input: AttachVolume) -> Result<Attachment, Error> {
    let there = input.find()?;
    if let Some(attachment) = input.own(ctx, &there)? {
        log::info!("attachment `{}` is already there, {}", attachment.id, attachment.status);
        return input.left(ctx, attachment);
    }
    if !there.is_empty() {
        ctx.save_checkpoint(&Before { attachments: there.into_iter().map(|attachment| attachment.id).collect() })?;
    }
    let response = http::post(BACKEND, ATTACHMENTS).json(&input.body()).send()?;
    if !response.is_success() {
        let doing = format!("attach volume `{}` to host `{}`", input.volume_id, input.host_id);
        let cure =
            "the volume has to be available and in one of the host's availability zones, and the host registered";
        return Err(input.unattachable(api::refused(&response, &doing, cure)));
    }
    input.left(ctx, wire::parse(&response)?)
}

/// Tells whether an earlier run made its attachment.
///
/// # Errors
/// Those of the API.
pub fn probe_attach_volume(ctx: &Context, input: AttachVolume) -> Result<Finding<Attachment>, Error> {
    match input.own(ctx, &input.find()?)? {
        Some(attachment) => Ok(Finding::Done(input.left(ctx, attachment)?)),
        None => Ok(Finding::NotDone),
    }
}

/// Deletes the attachment that a run made.
///
/// # Errors
/// Transient while the attachment's state does not allow it yet.
pub fn undo_attach_volume(ctx: &Context, receipt: AttachmentId) -> Result<(), Error> {
    delete_attachment(ctx, receipt).map(drop)
}

/// Lists the attachments of a volume or of any, to one host or to any.
///
/// # Errors
/// Those of the API.
pub fn find_attachments(_: &Context, input: FindAttachments) -> Result<Attachments, Error> {
    let found = list(input.volume_id.as_deref(), input.host_id.as_deref())?;
    Ok(Attachments { attachments: found.into_iter().map(Attachment::without_passwords).collect() })
}

/// Reads an attachment.
///
/// # Errors
/// Those of the API; `communication` 404 when there is none, unless `allowMissing`.
pub fn get_attachment(_: &Context, input: AttachmentId) -> Result<Attachment, Error> {
    match api::read::<Attachment>(ATTACHMENTS, &input.attachment_id)? {
        Some(attachment) => Ok(attachment.without_passwords()),
        None if input.allow_missing => Ok(Attachment::in_state(&input.attachment_id, DELETED)),
        None => Err(api::missing("attachment", &input.attachment_id)),
    }
}

/// Asks to delete an attachment and returns its state then: `deleting`, or `deleted` when it is already gone.
///
/// # Errors
/// Those of the API; transient while the attachment is `creating`.
pub fn delete_attachment(ctx: &Context, input: AttachmentId) -> Result<Attachment, Error> {
    let id = &input.attachment_id;
    let state = match api::delete(ATTACHMENTS, id)? {
        Deletion::Gone => DELETED,
        Deletion::Accepted => DELETING,
        Deletion::Refused(error) => undeletable(id, error)?,
    };
    ctx.deleted("attachment", id);
    Ok(Attachment::in_state(id, state))
}

/// What a refused deletion means, by the attachment's state: an earlier try may have been accepted.
fn undeletable(id: &str, error: Error) -> Result<&'static str, Error> {
    let Some(attachment) = api::read::<Attachment>(ATTACHMENTS, id)? else { return Ok(DELETED) };
    match attachment.status.as_str() {
        DELETING => Ok(DELETING),
        "creating" | "available" | ERROR => Err(api::unsettled(error)),
        _ => Err(error),
    }
}

/// The attachments of a volume, to one host or to any.
pub(crate) fn find(volume: &str, host: Option<&str>) -> Result<Vec<Attachment>, Error> {
    list(Some(volume), host)
}

/// Attachments, filtered here too, for a service that ignores the query.
fn list(volume: Option<&str>, host: Option<&str>) -> Result<Vec<Attachment>, Error> {
    let mut filters: Vec<_> = volume.map(|volume| ("volumeId", volume)).into_iter().collect();
    filters.extend(host.map(|host| ("hostId", host)));
    let mut attachments: Vec<Attachment> = api::list(ATTACHMENTS, &filters)?;
    attachments.retain(|attachment| attachment.joins(volume, host));
    Ok(attachments)
}

impl AttachVolume {
    fn find(&self) -> Result<Vec<Attachment>, Error> {
        find(&self.volume_id, Some(&self.host_id))
    }

    /// What a refusal means, by the volume's state: one that was available a moment ago may still be changing.
    fn unattachable(&self, error: Error) -> Error {
        if error.problem.status != 400 {
            return error;
        }
        match volumes::read(&self.volume_id) {
            Ok(None) => api::missing("volume", &self.volume_id),
            Ok(Some(volume)) if volume.is_changing() && volume.status != DELETING => api::unsettled(error),
            Ok(Some(volume)) if volume.status == "available" && api::is_about_state(&error) => api::unsettled(error),
            _ => error,
        }
    }

    /// The attachment that serves this call: a healthy one, or on a repeat the failed one that an earlier try made.
    fn own(&self, ctx: &Context, there: &[Attachment]) -> Result<Option<Attachment>, Error> {
        let healthy = there.iter().find(|attachment| !matches!(attachment.status.as_str(), ERROR | DELETING));
        if healthy.is_some() || ctx.attempt() == 1 && ctx.checkpoint::<Before>()?.is_none() {
            return Ok(healthy.cloned());
        }
        let before = ctx.checkpoint::<Before>()?.unwrap_or_default().attachments;
        let failed = |attachment: &&Attachment| attachment.status == ERROR && !before.contains(&attachment.id);
        Ok(there.iter().find(failed).cloned())
    }

    fn body(&self) -> Body<'_> {
        Body { volume_id: &self.volume_id, host_id: &self.host_id, attach_mode: self.attach_mode.unwrap_or_default() }
    }

    /// Notes the attachment for ledger and undo.
    fn left(&self, ctx: &Context, attachment: Attachment) -> Result<Attachment, Error> {
        let asked = match self.attach_mode.unwrap_or_default() {
            Mode::Ro => "ro",
            Mode::Rw => "rw",
        };
        if let Some(mode) = attachment.attach_mode.as_deref().filter(|mode| *mode != asked) {
            let id = &attachment.id;
            let detail = format!("the volume is attached to this host as `{mode}`, not `{asked}`; delete `{id}` first");
            return Err(api::conflict(detail));
        }
        ctx.created("attachment", &attachment.id);
        ctx.receipt(&AttachmentId { attachment_id: attachment.id.clone(), allow_missing: false })?;
        Ok(attachment.without_passwords())
    }
}

impl Attachment {
    fn joins(&self, volume: Option<&str>, host: Option<&str>) -> bool {
        (volume.is_none() || self.volume_id.as_deref() == volume) && (host.is_none() || self.host_id.as_deref() == host)
    }

    fn in_state(id: &str, status: &str) -> Self {
        Self {
            id: id.to_owned(),
            status: status.to_owned(),
            volume_id: None,
            host_id: None,
            attach_mode: None,
            access_protocol: None,
            connection_info: None,
        }
    }

    /// Outputs are kept in the journal, so what a host needs to log in (CHAP) must not stand in them.
    fn without_passwords(mut self) -> Self {
        if let Some(info) = &mut self.connection_info {
            strip_passwords(info);
        }
        self
    }
}

fn strip_passwords(value: &mut Json) {
    match value {
        Json::Object(members) => {
            members.retain(|name, _| {
                let name = name.to_ascii_lowercase();
                !["password", "secret", "authuser"].iter().any(|word| name.contains(word))
            });
            members.values_mut().for_each(strip_passwords);
        }
        Json::Array(items) => items.iter_mut().for_each(strip_passwords),
        _ => {}
    }
}

#[cfg(test)]
#[path = "attachments_tests.rs"]
mod tests;
