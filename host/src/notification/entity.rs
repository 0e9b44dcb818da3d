//! References to users and groups, as Backstage writes them: `user:default/ann`, `group:default/ops`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A reference's characters, at most.
const CHARACTERS_MAX: usize = 200;

/// A user or a group, in lower case and with its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntityRef(String);

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no user and no group: write `user:default/ann` or `group:default/ops`")]
pub struct EntityError(String);

impl EntityRef {
    /// Checks and takes the text. The kind is `user` or `group`; the namespace is `default` where it is left out.
    ///
    /// # Errors
    /// A text of another form; the error says the form.
    pub fn parse(text: &str) -> Result<Self, EntityError> {
        read(&text.to_lowercase()).map(Self).ok_or_else(|| EntityError(text.chars().take(100).collect()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a user.
    pub fn is_user(&self) -> bool {
        self.0.starts_with("user:")
    }
}

fn read(text: &str) -> Option<String> {
    let (kind, rest) = text.split_once(':')?;
    let (namespace, name) = rest.split_once('/').unwrap_or(("default", rest));
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+'))
    };
    let fits = matches!(kind, "user" | "group") && word(namespace) && word(name) && text.len() <= CHARACTERS_MAX;
    fits.then(|| format!("{kind}:{namespace}/{name}"))
}

impl fmt::Display for EntityRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for EntityRef {
    type Err = EntityError;
    fn from_str(text: &str) -> Result<Self, EntityError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for EntityRef {
    type Error = EntityError;
    fn try_from(text: String) -> Result<Self, EntityError> {
        Self::parse(&text)
    }
}

impl From<EntityRef> for String {
    fn from(entity: EntityRef) -> Self {
        entity.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_one_spelling() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = EntityRef::parse(text).ok();
            assert_eq!(parsed.as_ref().map(EntityRef::as_str), expected, "{text}");
        };
        check("user:default/ann", Some("user:default/ann"));
        check("User:Default/Ann", Some("user:default/ann"));
        check("group:ops", Some("group:default/ops"));
        check("ann", None);
        check("component:default/x", None);
        check("user:", None);
        check("user:default/", None);
        check("user:a/b/c", None);
        check("user:default/a\nb", None);
        check(&format!("user:{}", "x".repeat(300)), None);
    }
}
