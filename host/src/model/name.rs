//! One type per identifier, built by parsing, so that whoever takes one needs no check.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {rule}")]
pub struct NameError {
    /// What the text was to name.
    pub kind: &'static str,
    /// The offending text, cut at 100 characters.
    pub text: String,
    /// What is allowed.
    pub rule: &'static str,
}

const LABEL_RULE: &str = "use 1 to 63 letters, digits and `-`, starting and ending with a letter or digit";
const TEXT_RULE: &str = "use 1 to 255 printable characters without a leading or trailing space";

/// The DSL's pattern for names: `^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn is_text(text: &str) -> bool {
    let length = text.chars().count();
    (1..=255).contains(&length) && text.trim() == text && !text.chars().any(char::is_control)
}

/// Characters that show a text in another order than it has, or not at all, so that one name passes for another.
fn is_deceptive(character: char) -> bool {
    matches!(character, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks and takes the text.
            ///
            /// # Errors
            /// A text that breaks the rule; the error says the rule.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if $check(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(NameError { kind: $kind, text: text.chars().take(100).collect(), rule: $rule })
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name!(/// A pack's name.
    PackName, "pack name", is_label, LABEL_RULE);
name!(/// An action's name within its pack.
    ActionName, "action name", is_label, LABEL_RULE);
name!(/// A component's name within its pack: the crate it is built from, unless `pack.yaml` says otherwise.
    ComponentName, "component name", is_label, LABEL_RULE);
name!(/// A workflow's name within its pack (`document.name`).
    WorkflowName, "workflow name", is_label, LABEL_RULE);
name!(/// A connection's name, both the one an admin gives and the one a pack asks for.
    ConnectionName, "connection name", is_label, LABEL_RULE);
name!(/// A stored secret's name.
    SecretName, "secret name", is_label, LABEL_RULE);
name!(/// A tenant's name: who shares instances, connections, secrets, services and people.
    TenantName, "tenant name", is_label, LABEL_RULE);
name!(/// A schedule's name, as whoever made it over the interface calls it.
    ScheduleName, "schedule name", is_label, LABEL_RULE);
name!(/// An API token's name within its tenant.
    TokenName, "token name", is_label, LABEL_RULE);
name!(/// A service's name as people read it, `volume provision`.
    ServiceName, "service name", is_text, TEXT_RULE);
name!(/// A task's name within its list.
    TaskName, "task name", is_text, TEXT_RULE);

impl ServiceName {
    /// Whether it can stand in a path, where clients take `.` and `..` out, and passes for no other. Asked where a service is
    /// made; one that was stored before keeps its name.
    pub fn is_plain(&self) -> bool {
        !matches!(self.as_str(), "." | "..") && !self.as_str().chars().any(is_deceptive)
    }
}

/// An instance's identifier: a UUID of version 7, so that identifiers sort by the time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub Uuid);

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for InstanceId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Uuid::try_parse(text).map(Self).map_err(|_| NameError {
            kind: "instance id",
            text: text.chars().take(100).collect(),
            rule: "an instance id is a UUID, as the start of the instance answered it",
        })
    }
}

/// The SHA-256 of some bytes; content is addressed by it. Written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest without its `sha256:`, fit for a file name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl FromStr for Digest {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let mut bytes = [0; 32];
        let lower = !digits.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) if lower => Ok(Self(bytes)),
            _ => Err(NameError {
                kind: "digest",
                text: text.chars().take(100).collect(),
                rule: "write `sha256:` and 64 lower-case hexadecimal digits",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_follows_the_pattern_of_the_dsl() {
        for good in ["a", "create-volume", "A1", &"x".repeat(63)] {
            assert!(ActionName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a.b", "../a", "ä", &"x".repeat(64)] {
            assert!(ActionName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_service_name_is_text_for_people() {
        assert!(ServiceName::parse("volume provision").is_ok());
        for bad in ["", " a", "a\n", &"x".repeat(256)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_plain_service_name_can_stand_in_a_path_and_passes_for_no_other() {
        let is_plain = |text: &str| ServiceName::parse(text).unwrap().is_plain();
        for good in ["a/b", "...", "Café 3", "\u{1f468}\u{200d}\u{1f467}"] {
            assert!(is_plain(good), "{good:?}");
        }
        for bad in [".", "..", "a\u{202e}b", "a\u{200b}b", "\u{feff}a", "a\u{2028}b", "a\u{2066}b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_reads_what_it_writes() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!("sha256:abc".parse::<Digest>().is_err());
    }
}
