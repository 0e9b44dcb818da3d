//! Volumes, attachments, snapshots, hosts and what they may be ordered with, over the SODA block API
//! (`/v1beta/{tenant}/…`). Each action does one exchange's worth of work and returns the state it saw; waiting for a state
//! is the workflow's, so that it survives restarts and shows in the history.
//!
//! The connection `backend` carries base URL (with `/v1beta/{tenant}`) and token. Nothing here knows either.

mod api;
mod attachments;
mod catalog;
mod extend;
mod hosts;
mod marker;
mod snapshots;
mod volumes;
mod wire;

pub use attachments::{
    AttachVolume, Attachment, AttachmentId, Attachments, FindAttachments, Mode, attach_volume, delete_attachment,
    find_attachments, get_attachment, probe_attach_volume, undo_attach_volume,
};
pub use catalog::{
    ByName, Everything, Pool, Pools, Profile, ProfileId, Profiles, Zone, Zones, get_profile, list_availability_zones,
    list_pools, list_profiles,
};
pub use extend::{CANNOT_SHRINK, ExtendVolume, extend_volume};
pub use hosts::{
    CreateHost, Host, HostId, Hosts, Initiator, ListHosts, create_host, get_host, list_hosts, probe_create_host,
    undo_create_host,
};
pub use snapshots::{
    CreateSnapshot, ListSnapshots, Snapshot, SnapshotId, Snapshots, create_snapshot, delete_snapshot, get_snapshot,
    list_snapshots, probe_create_snapshot, undo_create_snapshot,
};
pub use volumes::{
    CreateVolume, FindVolumes, Found, ListVolumes, Volume, VolumeId, create_volume, delete_volume, find_volumes,
    get_volume, list_volumes, probe_create_volume, undo_create_volume,
};

orchestrator_sdk::export_actions! {
    "create-volume" => { run: create_volume, probe: probe_create_volume, undo: undo_create_volume },
    "find-volumes" => find_volumes,
    "list-volumes" => list_volumes,
    "get-volume" => get_volume,
    "extend-volume" => extend_volume,
    "delete-volume" => delete_volume,
    "attach-volume" => { run: attach_volume, probe: probe_attach_volume, undo: undo_attach_volume },
    "find-attachments" => find_attachments,
    "get-attachment" => get_attachment,
    "delete-attachment" => delete_attachment,
    "create-snapshot" => { run: create_snapshot, probe: probe_create_snapshot, undo: undo_create_snapshot },
    "list-snapshots" => list_snapshots,
    "get-snapshot" => get_snapshot,
    "delete-snapshot" => delete_snapshot,
    "create-host" => { run: create_host, probe: probe_create_host, undo: undo_create_host },
    "list-hosts" => list_hosts,
    "get-host" => get_host,
    "list-profiles" => list_profiles,
    "get-profile" => get_profile,
    "list-pools" => list_pools,
    "list-availability-zones" => list_availability_zones,
}
