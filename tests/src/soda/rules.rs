//! What the block API refuses before it looks at its state: its OpenAPI file, in its own words.

use serde_json::Value;

/// The kind of a member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Flag,
    List,
}

/// One member of a body: its name, its kind, whether it has to be there.
pub(super) type Member = (&'static str, Kind, bool);

/// The body of `POST /block/volumes`.
pub(super) const VOLUME: &[Member] = &[
    ("name", Kind::Text, true),
    ("size", Kind::Integer, true),
    ("description", Kind::Text, false),
    ("availabilityZone", Kind::Text, false),
    ("profileId", Kind::Text, false),
    ("poolId", Kind::Text, false),
    ("snapshotId", Kind::Text, false),
    ("groupId", Kind::Text, false),
    ("snapshotFromCloud", Kind::Flag, false),
    ("replicationId", Kind::Text, false),
    ("multiAttach", Kind::Flag, false),
];

/// The body of `PUT /block/volumes/{id}`.
pub(super) const VOLUME_UPDATE: &[Member] = &[("name", Kind::Text, false), ("description", Kind::Text, false)];

/// The body of `POST /block/volumes/{id}/resize`.
pub(super) const RESIZE: &[Member] = &[("newSize", Kind::Integer, true)];

/// The body of `POST /block/attachments`.
pub(super) const ATTACHMENT: &[Member] =
    &[("volumeId", Kind::Text, true), ("hostId", Kind::Text, true), ("attachMode", Kind::Text, false)];

/// The body of `POST /block/snapshots`.
pub(super) const SNAPSHOT: &[Member] = &[
    ("name", Kind::Text, true),
    ("volumeId", Kind::Text, true),
    ("description", Kind::Text, false),
    ("profileId", Kind::Text, false),
];

/// The body of `POST /profiles`.
pub(super) const PROFILE: &[Member] =
    &[("name", Kind::Text, true), ("storageType", Kind::Text, true), ("description", Kind::Text, false)];

/// The body of `POST /host/hosts`.
pub(super) const HOST: &[Member] = &[
    ("accessMode", Kind::Text, true),
    ("hostName", Kind::Text, true),
    ("osType", Kind::Text, true),
    ("ip", Kind::Text, true),
    ("availabilityZones", Kind::List, false),
    ("initiators", Kind::List, false),
];

/// Checks a body; members that are not known are let through, as the API does.
pub(super) fn check(body: &Value, members: &[Member]) -> Result<(), String> {
    let Value::Object(given) = body else {
        return Err("Request body has an error: value is required but missing".to_owned());
    };
    for &(name, kind, required) in members {
        match given.get(name) {
            None if required => return Err(mismatch(name, &format!("Property '{name}' is missing"))),
            None => {}
            Some(Value::Null) => return Err(mismatch(name, "Value is not nullable")),
            Some(value) if !kind.fits(value) => {
                return Err(mismatch(name, &format!("Field must be set to {} or not be present", kind.word())));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether a volume may be called like this: 1 to 255 of letters, digits, space, `_` and `-`.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-');
    (1..=255).contains(&name.len()) && name.chars().all(allowed)
}

fn mismatch(name: &str, what: &str) -> String {
    format!("Request body has an error: doesn't match the schema: Error at \"/{name}\":{what}")
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Flag => value.is_boolean(),
            Self::List => value.is_array(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Flag => "boolean",
            Self::List => "array",
        }
    }
}
