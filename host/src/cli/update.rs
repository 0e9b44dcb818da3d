//! A partial change of a thing that has a name, as words and as JSON.

use clap::Args;
use serde_json::Value as Json;

use super::error::Error;
use super::input;

#[derive(Debug, Args)]
pub(super) struct Update {
    /// Its name.
    pub(super) name: String,
    /// What becomes of a member; `KEY:=JSON` takes JSON, `null` removes it.
    #[arg(value_name = "KEY=VALUE", required_unless_present = "patch")]
    members: Vec<String>,
    /// The changes as JSON (RFC 7396), or @FILE that holds them.
    #[arg(long, value_name = "JSON|@FILE")]
    patch: Option<String>,
}

impl Update {
    /// Changes from words, over changes from JSON.
    pub(super) fn changes(&self) -> Result<Json, Error> {
        let patch = self.patch.as_deref().map(input::read).transpose()?;
        input::merge(patch, &self.members, &Json::Null).map_err(Error::Usage)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_words_over_json() {
        let update = Update {
            name: "a".to_owned(),
            members: vec!["group=g".to_owned(), "enabled=false".to_owned()],
            patch: Some(r#"{"tags": ["a"], "icon": null}"#.to_owned()),
        };
        let expected = json!({"tags": ["a"], "icon": null, "group": "g", "enabled": false});
        assert_eq!(update.changes().unwrap(), expected);
    }
}
