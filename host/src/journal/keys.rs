//! The keys of every row, in one place. A key is a kind byte and its parts; identifiers have a fixed length and names
//! contain no NUL, so that parts never run into each other.
//!
//! | kind | parts | value |
//! |---|---|---|
//! | `i` | instance id (16 bytes) | the instance's summary |
//! | `r` | instance id, first seq (8 bytes, big-endian) | the records of one append |
//! | `n` | instance id | the newest snapshot of its state; may be thrown away at any time |
//! | `a` | instance id | empty: the instance has not ended |
//! | `x` | service name, NUL, instance id | empty: index by service |
//! | `e` | final status, NUL, instance id | empty: index by final status |
//! | `l` | instance id, activation (8 bytes), attempt (4 bytes), 0 run or 1 probe | what the attempt logged |
//! | `k` | SHA-256 of the caller's idempotency key | the start it made |
//! | `p` | pack name, NUL, version | an installed pack |
//! | `s` | service name | a service |
//! | `c` | connection name | a connection |
//! | `v` | secret name | a secret, encrypted |
//! | `g` | pack name | a pack's grants |
//! | `m` | setting | a setting of the store itself, such as its format |
//! | `q` | event number (8 bytes, big-endian) | an event of the inbox |
//! | `d` | SHA-256 of an event's source and id | the event's number, so that a duplicate is known |
//! | `h` | event number | when it came and what its `d` row is; outlives the `q` row |
//! | `o` | number of the outbox (8 bytes, big-endian) | an event on its way to the sinks |
//! | `w` | SHA-256 of a sink's URL | the number up to which the sink has everything |
//! | `t` | pack name, NUL, workflow name | how far a workflow's schedule is |
//! | `y` | `s`, tenant, NUL, service name | a service made over the interface |
//! | `y` | `o`, tenant, NUL, service name | empty: this pack's service is switched off in the tenant |
//! | `y` | `t`, tenant, NUL, schedule name | a schedule made over the interface, and how far it is |
//! | `y` | `p`, pack name, NUL, workflow name | empty: this workflow's own schedule is switched off |
//! | `y` | `n`, instance id | what clients of another interface keep with the instance |
//! | `y` | `f`, instance id, instance id | empty: the second was ordered because the first recommended it |
//! | `u` | `n`, number (8 bytes, big-endian) | a notification |
//! | `u` | `i`, notification id (16 bytes) | the notification's number |
//! | `u` | `s`, SHA-256 of scope, origin and recipients | the id of the notification of this scope |
//! | `u` | `r`, notification id, user | what a user did with it: read, saved |
//! | `u` | `k`, SHA-256 of a deduplication key | what was told under it |
//! | `u` | `t`, milliseconds (8 bytes, big-endian), SHA-256 of the key | empty: when the key was used first |

use super::Key;
use crate::model::{
    ConnectionName, InstanceId, PackName, ScheduleName, SecretName, ServiceName, TenantName, WorkflowName,
};

fn key(kind: u8, parts: &[&[u8]]) -> Key {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// An instance's summary.
pub fn instance(id: InstanceId) -> Key {
    key(b'i', &[id.0.as_bytes()])
}

/// All summaries.
pub fn instances() -> Key {
    key(b'i', &[])
}

/// The records of one append.
pub fn records(id: InstanceId, first_seq: u64) -> Key {
    key(b'r', &[id.0.as_bytes(), &first_seq.to_be_bytes()])
}

/// All records of an instance.
pub fn history(id: InstanceId) -> Key {
    key(b'r', &[id.0.as_bytes()])
}

/// The newest snapshot of an instance's state.
pub fn snapshot(id: InstanceId) -> Key {
    key(b'n', &[id.0.as_bytes()])
}

/// The mark of an instance that has not ended.
pub fn active(id: InstanceId) -> Key {
    key(b'a', &[id.0.as_bytes()])
}

/// All instances that have not ended.
pub fn actives() -> Key {
    key(b'a', &[])
}

/// What one attempt, or the probe of one, logged.
pub fn log(id: InstanceId, activation: u64, attempt: u32, probe: bool) -> Key {
    key(b'l', &[id.0.as_bytes(), &activation.to_be_bytes(), &attempt.to_be_bytes(), &[u8::from(probe)]])
}

/// All that an instance's attempts logged, in order of activations.
pub fn logs(id: InstanceId) -> Key {
    key(b'l', &[id.0.as_bytes()])
}

/// The index entry of an instance under its service.
pub fn by_service(service: &ServiceName, id: InstanceId) -> Key {
    key(b'x', &[service.as_str().as_bytes(), &[0], id.0.as_bytes()])
}

/// All instances of a service.
pub fn of_service(service: &ServiceName) -> Key {
    key(b'x', &[service.as_str().as_bytes(), &[0]])
}

/// The index entry of an ended instance under its final status.
pub fn by_end(status: &str, id: InstanceId) -> Key {
    key(b'e', &[status.as_bytes(), &[0], id.0.as_bytes()])
}

/// All instances that ended with a status.
pub fn ended_with(status: &str) -> Key {
    key(b'e', &[status.as_bytes(), &[0]])
}

/// The start made under an idempotency key.
pub fn start(idempotency_key_sha256: &[u8; 32]) -> Key {
    key(b'k', &[idempotency_key_sha256])
}

/// An installed pack.
pub fn pack(name: &PackName, version: &semver::Version) -> Key {
    key(b'p', &[name.as_str().as_bytes(), &[0], version.to_string().as_bytes()])
}

/// All installed versions of a pack.
pub fn pack_versions(name: &PackName) -> Key {
    key(b'p', &[name.as_str().as_bytes(), &[0]])
}

/// All installed packs.
pub fn packs() -> Key {
    key(b'p', &[])
}

/// A service.
pub fn service(name: &ServiceName) -> Key {
    key(b's', &[name.as_str().as_bytes()])
}

/// All services.
pub fn services() -> Key {
    key(b's', &[])
}

/// A connection.
pub fn connection(name: &ConnectionName) -> Key {
    key(b'c', &[name.as_str().as_bytes()])
}

/// All connections.
pub fn connections() -> Key {
    key(b'c', &[])
}

/// A secret.
pub fn secret(name: &SecretName) -> Key {
    key(b'v', &[name.as_str().as_bytes()])
}

/// All secrets.
pub fn secrets() -> Key {
    key(b'v', &[])
}

/// A pack's grants.
pub fn grants(pack: &PackName) -> Key {
    key(b'g', &[pack.as_str().as_bytes()])
}

/// All grants.
pub fn all_grants() -> Key {
    key(b'g', &[])
}

/// A setting of the store itself.
pub fn setting(name: &str) -> Key {
    key(b'm', &[name.as_bytes()])
}

/// An event of the inbox.
pub fn event(number: u64) -> Key {
    key(b'q', &[&number.to_be_bytes()])
}

/// The inbox.
pub fn events() -> Key {
    key(b'q', &[])
}

/// What is known of an event by its source and id.
pub fn event_identity(sha256: &[u8; 32]) -> Key {
    key(b'd', &[sha256])
}

/// When an event came.
pub fn event_age(number: u64) -> Key {
    key(b'h', &[&number.to_be_bytes()])
}

/// When the events came that are still known, the oldest first.
pub fn event_ages() -> Key {
    key(b'h', &[])
}

/// An event on its way to the sinks.
pub fn outgoing(number: u64) -> Key {
    key(b'o', &[&number.to_be_bytes()])
}

/// The outbox.
pub fn outbox() -> Key {
    key(b'o', &[])
}

/// How far a sink is.
pub fn sink(url_sha256: &[u8; 32]) -> Key {
    key(b'w', &[url_sha256])
}

/// All sinks that were ever served and not forgotten.
pub fn sinks() -> Key {
    key(b'w', &[])
}

/// How far a workflow's schedule is.
pub fn schedule(pack: &PackName, workflow: &WorkflowName) -> Key {
    key(b't', &[pack.as_str().as_bytes(), &[0], workflow.as_str().as_bytes()])
}

/// All schedules.
pub fn schedules() -> Key {
    key(b't', &[])
}

/// A service that a tenant made.
pub fn own_service(tenant: &TenantName, name: &ServiceName) -> Key {
    key(b'y', &[b"s", tenant.as_str().as_bytes(), &[0], name.as_str().as_bytes()])
}

/// The services that a tenant made.
pub fn own_services(tenant: &TenantName) -> Key {
    key(b'y', &[b"s", tenant.as_str().as_bytes(), &[0]])
}

/// The mark of a pack's service that a tenant switched off.
pub fn service_off(tenant: &TenantName, name: &ServiceName) -> Key {
    key(b'y', &[b"o", tenant.as_str().as_bytes(), &[0], name.as_str().as_bytes()])
}

/// A schedule that a tenant made.
pub fn own_schedule(tenant: &TenantName, name: &ScheduleName) -> Key {
    key(b'y', &[b"t", tenant.as_str().as_bytes(), &[0], name.as_str().as_bytes()])
}

/// The schedules that a tenant made.
pub fn own_schedules(tenant: &TenantName) -> Key {
    key(b'y', &[b"t", tenant.as_str().as_bytes(), &[0]])
}

/// The schedules that all tenants made.
pub fn all_own_schedules() -> Key {
    key(b'y', &[b"t"])
}

/// The mark of a workflow whose own schedule is switched off.
pub fn schedule_off(pack: &PackName, workflow: &WorkflowName) -> Key {
    key(b'y', &[b"p", pack.as_str().as_bytes(), &[0], workflow.as_str().as_bytes()])
}

/// That one instance was ordered because another one recommended it.
pub fn follow_up(first: InstanceId, then: InstanceId) -> Key {
    key(b'y', &[b"f", first.0.as_bytes(), then.0.as_bytes()])
}

/// What was ordered because an instance recommended it.
pub fn follow_ups(first: InstanceId) -> Key {
    key(b'y', &[b"f", first.0.as_bytes()])
}

/// What clients of another interface keep with an instance.
pub fn instance_note(id: InstanceId) -> Key {
    key(b'y', &[b"n", id.0.as_bytes()])
}

/// A notification.
pub fn notification(number: u64) -> Key {
    key(b'u', &[b"n", &number.to_be_bytes()])
}

/// All notifications, the oldest first.
pub fn notifications() -> Key {
    key(b'u', &[b"n"])
}

/// The number of the notification of an identifier.
pub fn notification_id(id: uuid::Uuid) -> Key {
    key(b'u', &[b"i", id.as_bytes()])
}

/// The notification of a scope.
pub fn notification_scope(sha256: &[u8; 32]) -> Key {
    key(b'u', &[b"s", sha256])
}

/// What a user did with a notification.
pub fn notification_mark(id: uuid::Uuid, user: &str) -> Key {
    key(b'u', &[b"r", id.as_bytes(), user.as_bytes()])
}

/// What all users did with a notification.
pub fn notification_marks(id: uuid::Uuid) -> Key {
    key(b'u', &[b"r", id.as_bytes()])
}

/// What was told under a deduplication key.
pub fn notification_key(sha256: &[u8; 32]) -> Key {
    key(b'u', &[b"k", sha256])
}

/// When a deduplication key was used first.
pub fn notification_key_age(millis: u64, sha256: &[u8; 32]) -> Key {
    key(b'u', &[b"t", &millis.to_be_bytes(), sha256])
}

/// When the deduplication keys were used first, the oldest first.
pub fn notification_key_ages() -> Key {
    key(b'u', &[b"t"])
}

/// The parts of a row's key of [`notification_key_ages`].
pub fn notification_key_of_age(key: &[u8]) -> Option<(u64, [u8; 32])> {
    let (millis, sha256) = key.get(2..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*millis), sha256.try_into().ok()?))
}

/// The number at the end of a key of the inbox, the outbox or the notifications.
pub fn number_of(key: &[u8]) -> Option<u64> {
    let (_, end) = key.split_last_chunk::<8>()?;
    Some(u64::from_be_bytes(*end))
}

/// The instance id at the end of an index entry or mark.
pub fn instance_of(key: &[u8]) -> Option<InstanceId> {
    let start = key.len().checked_sub(16)?;
    uuid::Uuid::from_slice(&key[start..]).ok().map(InstanceId)
}
