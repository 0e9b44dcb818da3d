//! Volumes and their attachments over the SODA block API (`/v1beta/{tenant}/block/…`): make, look, attach, detach,
//! delete. Each action does one exchange's worth of work and returns the state it saw; waiting for a state is the
//! workflow's, so that it survives restarts and shows in the history.
//!
//! The connection `backend` carries base URL (with `/v1beta/{tenant}`) and token. Nothing here knows either.

mod api;
mod attachments;
mod volumes;

pub use attachments::{
    AttachVolume, Attachment, AttachmentId, Attachments, FindAttachments, Mode, attach_volume, delete_attachment,
    find_attachments, get_attachment, probe_attach_volume, undo_attach_volume,
};
pub use volumes::{
    CreateVolume, FindVolumes, Found, Volume, VolumeId, create_volume, delete_volume, find_volumes, get_volume,
    probe_create_volume, undo_create_volume,
};

orchestrator_sdk::export_actions! {
    "create-volume" => { run: create_volume, probe: probe_create_volume, undo: undo_create_volume },
    "find-volumes" => find_volumes,
    "get-volume" => get_volume,
    "delete-volume" => delete_volume,
    "attach-volume" => { run: attach_volume, probe: probe_attach_volume, undo: undo_attach_volume },
    "find-attachments" => find_attachments,
    "get-attachment" => get_attachment,
    "delete-attachment" => delete_attachment,
}
