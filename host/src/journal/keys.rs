//! The keys of every row, in one place. A key is a kind byte and its parts; identifiers have a fixed length and names
//! contain no NUL, so that parts never run into each other.
//!
//! | kind | parts | value |
//! |---|---|---|
//! | `i` | instance id (16 bytes) | the instance's summary |
//! | `r` | instance id, first seq (8 bytes, big-endian) | the records of one append |
//! | `n` | instance id | the newest snapshot of its state; may be thrown away at any time |
//! | `a` | instance id | empty: the instance has not ended |
//! | `j` | digest of tenant and property (16 bytes), instance id | empty: the instance has this property |
//! | `x` | service name, NUL, instance id | of a former time: index by service |
//! | `e` | final status, NUL, instance id | of a former time: index by final status |
//! | `l` | instance id, activation (8 bytes), attempt (4 bytes), 0 run or 1 probe | what the attempt logged |
//! | `k` | SHA-256 of the caller's idempotency key | the start it made |
//! | `p` | pack name, NUL, version | an installed pack |
//! | `s` | service name | a service |
//! | `c` | connection name | a connection |
//! | `v` | secret name | a secret, encrypted |
//! | `g` | pack name | a pack's grants |
//! | `y` | `c`, tenant, NUL, connection name | a connection of a tenant that is not `default` |
//! | `y` | `v`, tenant, NUL, secret name | a secret of such a tenant, encrypted |
//! | `y` | `g`, tenant, NUL, pack name | such a tenant's grants to a pack |
//! | `y` | `u`, tenant, NUL, a key `u` | a row of such a tenant's notifications |
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
//! | `f` | `k`, SHA-256 of caller and idempotency key | the answer that the first request got |
//! | `f` | `t`, milliseconds (8 bytes, big-endian), that SHA-256 | empty: when that was |
//! | `I` | `t`, tenant | a tenant |
//! | `I` | `k`, tenant, NUL, token name | an API token, without the token itself |
//! | `I` | `u`, tenant, NUL, token name | when the token was used last |
//! | `I` | `a`, number (8 bytes, big-endian) | an entry of the audit log |
//! | `I` | `h` | the head of the audit log, signed |
//! | `I` | `c` | where the audit log was cut, signed |

use sha2::{Digest as _, Sha256};

use super::Key;
use crate::model::{
    ConnectionName, InstanceId, PackName, ScheduleName, SecretName, ServiceName, TenantName, TokenName, WorkflowName,
};

/// Bytes of a property's digest: enough that no two properties are ever the same, and half of the key.
const PROPERTY_BYTES: usize = 16;

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

/// All entries of instances of a tenant that have a property: `property` and `value` say which.
pub fn having(tenant: &TenantName, property: &str, value: &str) -> Key {
    // A NUL is in no tenant and no property, so that the parts never run into each other.
    let digest = Sha256::digest(format!("{tenant}\0{property}\0{value}"));
    key(b'j', &[&digest[..PROPERTY_BYTES]])
}

/// The entry of an instance below [`having`].
pub fn entry(having: &Key, id: InstanceId) -> Key {
    [&having[..], id.0.as_bytes()].concat()
}

/// The entry of an instance in a former index by service.
pub fn former_by_service(service: &ServiceName, id: InstanceId) -> Key {
    key(b'x', &[service.as_str().as_bytes(), &[0], id.0.as_bytes()])
}

/// The entry of an instance in a former index by final status.
pub fn former_by_end(status: &str, id: InstanceId) -> Key {
    key(b'e', &[status.as_bytes(), &[0], id.0.as_bytes()])
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

/// A row that belongs to a tenant: that of `default` has the key which all had before there were tenants.
fn owned(kind: u8, tenant: &TenantName, name: &str) -> Key {
    match tenant.is_standard() {
        true => key(kind, &[name.as_bytes()]),
        false => [of_tenant(kind, tenant), name.as_bytes().to_vec()].concat(),
    }
}

fn all_owned(kind: u8, tenant: &TenantName) -> Key {
    if tenant.is_standard() { key(kind, &[]) } else { of_tenant(kind, tenant) }
}

fn of_tenant(kind: u8, tenant: &TenantName) -> Key {
    key(b'y', &[&[kind], tenant.as_str().as_bytes(), &[0]])
}

/// The tenant and the name in a key of [`connections`], [`secrets`] or [`all_grants`], or of their rows of other
/// tenants.
pub fn owner_and_name(key: &[u8]) -> Option<(TenantName, &str)> {
    match key.split_first()? {
        (b'y', rest) => {
            let (tenant, name) = std::str::from_utf8(rest.get(1..)?).ok()?.split_once('\0')?;
            Some((TenantName::parse(tenant).ok()?, name))
        }
        (_, name) => Some((TenantName::standard(), std::str::from_utf8(name).ok()?)),
    }
}

/// A connection.
pub fn connection(tenant: &TenantName, name: &ConnectionName) -> Key {
    owned(b'c', tenant, name.as_str())
}

/// All connections of the tenant `default`, and all of the other tenants.
pub fn connections() -> [Key; 2] {
    [key(b'c', &[]), key(b'y', &[b"c"])]
}

/// A secret.
pub fn secret(tenant: &TenantName, name: &SecretName) -> Key {
    owned(b'v', tenant, name.as_str())
}

/// All secrets of a tenant.
pub fn secrets(tenant: &TenantName) -> Key {
    all_owned(b'v', tenant)
}

/// A tenant's grants to a pack.
pub fn grants(tenant: &TenantName, pack: &PackName) -> Key {
    owned(b'g', tenant, pack.as_str())
}

/// All grants of the tenant `default`, and all of the other tenants.
pub fn all_grants() -> [Key; 2] {
    [key(b'g', &[]), key(b'y', &[b"g"])]
}

/// What all keys of a tenant's notifications begin with, before the keys below: nothing for `default`.
pub fn notifications_of(tenant: &TenantName) -> Key {
    if tenant.is_standard() { Key::new() } else { of_tenant(b'u', tenant) }
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

/// The marks of all workflows whose own schedules are switched off.
pub fn schedules_off() -> Key {
    key(b'y', &[b"p"])
}

/// The pack and the workflow in a key of [`schedule`] or [`schedule_off`], its kind left out.
pub fn place_of(parts: &[u8]) -> Option<(PackName, WorkflowName)> {
    let (pack, workflow) = std::str::from_utf8(parts).ok()?.split_once('\0')?;
    Some((PackName::parse(pack).ok()?, WorkflowName::parse(workflow).ok()?))
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

/// The answer that was given under an idempotency key.
pub fn replay(sha256: &[u8; 32]) -> Key {
    key(b'f', &[b"k", sha256])
}

/// When that answer was given.
pub fn replay_age(millis: u64, sha256: &[u8; 32]) -> Key {
    key(b'f', &[b"t", &millis.to_be_bytes(), sha256])
}

/// When all such answers were given, the oldest first.
pub fn replay_ages() -> Key {
    key(b'f', &[b"t"])
}

/// The time and the hash of such a key.
pub fn replay_of_age(key: &[u8]) -> Option<(u64, [u8; 32])> {
    let (millis, hash) = key.strip_prefix(b"ft")?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*millis), hash.try_into().ok()?))
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

/// A tenant.
pub fn tenant(name: &TenantName) -> Key {
    key(b'I', &[b"t", name.as_str().as_bytes()])
}

/// All tenants.
pub fn tenants() -> Key {
    key(b'I', &[b"t"])
}

/// An API token.
pub fn token(tenant: &TenantName, name: &TokenName) -> Key {
    key(b'I', &[b"k", tenant.as_str().as_bytes(), &[0], name.as_str().as_bytes()])
}

/// All API tokens.
pub fn tokens() -> Key {
    key(b'I', &[b"k"])
}

/// When an API token was used last.
pub fn token_use(tenant: &TenantName, name: &TokenName) -> Key {
    key(b'I', &[b"u", tenant.as_str().as_bytes(), &[0], name.as_str().as_bytes()])
}

/// An entry of the audit log.
pub fn audit_entry(number: u64) -> Key {
    key(b'I', &[b"a", &number.to_be_bytes()])
}

/// The audit log, the oldest entry first.
pub fn audit_entries() -> Key {
    key(b'I', &[b"a"])
}

/// The head of the audit log.
pub fn audit_head() -> Key {
    key(b'I', &[b"h"])
}

/// Where the audit log was cut.
pub fn audit_cut() -> Key {
    key(b'I', &[b"c"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(text: &str) -> TenantName {
        TenantName::parse(text).unwrap()
    }

    #[test]
    fn rows_of_the_tenant_default_have_the_keys_they_always_had() {
        let standard = TenantName::standard();
        let check = |key: Key, expected: &[u8]| assert_eq!(key, expected);
        check(connection(&standard, &"a".parse().unwrap()), b"ca");
        check(secret(&standard, &"a".parse().unwrap()), b"va");
        check(secrets(&standard), b"v");
        check(grants(&standard, &"a".parse().unwrap()), b"ga");
        check(notifications_of(&standard), b"");
        check(connection(&tenant("red"), &"a".parse().unwrap()), b"ycred\0a");
        check(secret(&tenant("red"), &"a".parse().unwrap()), b"yvred\0a");
        check(grants(&tenant("red"), &"a".parse().unwrap()), b"ygred\0a");
        check(notifications_of(&tenant("red")), b"yured\0");
    }

    #[test]
    fn a_key_says_whose_row_it_is() {
        for owner in ["default", "red"] {
            let key = connection(&tenant(owner), &"a-b".parse().unwrap());
            assert_eq!(owner_and_name(&key), Some((tenant(owner), "a-b")));
        }
        for bad in [&b""[..], b"y", b"yc", b"ycred", b"yc\0a", b"c\xff"] {
            assert_eq!(owner_and_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn properties_of_two_tenants_never_share_an_entry() {
        let id = InstanceId(uuid::Uuid::max());
        let red = having(&tenant("red"), "owner", "ann");
        assert_eq!(instance_of(&entry(&red, id)), Some(id));
        for other in [
            having(&tenant("blue"), "owner", "ann"),
            having(&tenant("red"), "owner", "anna"),
            having(&tenant("red"), "service", "ann"),
        ] {
            assert_ne!(red, other);
            assert_eq!(red.len(), other.len());
        }
    }
}
