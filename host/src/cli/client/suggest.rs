//! After a name that the server does not know: which name was meant. One request more, and only after a refusal.

use serde_json::Value as Json;

use super::Client;
use crate::cli::error::Error;
use crate::cli::output::items;
use crate::definition::diagnostic::near;

/// The collections whose items are called by a name.
const NAMED: &[&str] = &["services", "packs", "connections", "secrets", "schedules", "tenants", "tokens"];

impl Client {
    /// The answer; where something of this name does not exist, with the names that are spelled nearly like it.
    pub(super) async fn suggested(
        &self,
        answer: Result<Json, Error>,
        segments: &[&str],
        body: Option<&Json>,
    ) -> Result<Json, Error> {
        match answer {
            Err(Error::Answered(mut problem)) if problem.status == 404 => {
                if let Some((collection, name)) = about(segments, body) {
                    problem.near = self.near(collection, &name).await;
                }
                Err(Error::Answered(problem))
            }
            answer => answer,
        }
    }

    async fn near(&self, collection: &str, name: &str) -> Vec<String> {
        // What cannot be listed suggests nothing; the refusal itself is told.
        let Ok(list) = self.answer(self.request(reqwest::Method::GET, self.url(&[collection]))).await else {
            return Vec::new();
        };
        let names: Vec<&str> = items(&list).iter().filter_map(|item| item.get("name")?.as_str()).collect();
        near(name, names).into_iter().map(str::to_owned).collect()
    }
}

/// What does not exist: an item of the path, or the service that was to be ordered.
fn about<'s>(segments: &[&'s str], body: Option<&Json>) -> Option<(&'s str, String)> {
    match segments {
        [collection, name, ..] if NAMED.contains(collection) => Some((collection, (*name).to_owned())),
        ["instances"] => Some(("services", body?.get("service")?.as_str()?.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_names_are_looked_for() {
        let order = json!({"service": "volum"});
        assert_eq!(about(&["services", "volum"], None), Some(("services", "volum".to_owned())));
        assert_eq!(about(&["instances"], Some(&order)), Some(("services", "volum".to_owned())));
        assert_eq!(about(&["instances", "0195"], None), None);
        assert_eq!(about(&["health"], None), None);
    }
}
