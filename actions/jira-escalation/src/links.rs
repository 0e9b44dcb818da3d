//! Links between issues. Jira takes the same link twice without a word, so an existing one is looked for first.

use orchestrator_sdk::http;
use orchestrator_sdk::{Context, Error, json};
use serde::{Deserialize, Serialize};

use crate::api::{self, Api, JIRA, Site};

/// What `link-issues` is given: `from` … `to`, as `OPS-1` blocks `OPS-2`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkIssues {
    /// The key of the issue that the link starts at.
    pub from: String,
    /// The key of the issue that it leads to.
    pub to: String,
    /// The name of the link type, `Blocks` or `Relates`.
    pub link_type: String,
    /// Which interface the site has.
    pub api: Option<Api>,
}

/// What `link-issues` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// Where the link starts.
    pub from: String,
    /// Where it leads.
    pub to: String,
    /// Whether this call made it.
    pub created: bool,
}

#[derive(Deserialize)]
struct Holder {
    fields: Links,
}

#[derive(Deserialize)]
struct Links {
    #[serde(default)]
    issuelinks: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    #[serde(rename = "type")]
    kind: LinkType,
    #[serde(default)]
    outward_issue: Option<End>,
}

#[derive(Deserialize)]
struct LinkType {
    name: String,
}

#[derive(Deserialize)]
struct End {
    key: String,
}

/// Links two issues, or finds the link that is there.
///
/// # Errors
/// Those of Jira; `validation` 400 or `communication` 404 for an unknown link type.
pub fn link_issues(_: &Context, input: LinkIssues) -> Result<Linked, Error> {
    let site = Site::of(input.api)?;
    let response = http::get(JIRA, &site.issue(&input.from, "")).query("fields", "issuelinks").send()?;
    let doing = format!("link issue `{}` to `{}`", input.from, input.to);
    let cure = "check both keys and the link type; linking has to be switched on";
    if !response.is_success() {
        return Err(api::refused(&response, &doing, cure));
    }
    let there = response.parse::<Holder>()?.fields.issuelinks;
    let created = !there.iter().any(|link| input.is_it(link));
    if created {
        // Seen from the link itself: what it starts at is inward.
        let body = json!({
            "type": { "name": input.link_type },
            "inwardIssue": { "key": input.from },
            "outwardIssue": { "key": input.to },
        });
        let response = http::post(JIRA, &site.path("issueLink")).json(&body).send()?;
        if !response.is_success() {
            return Err(api::refused(&response, &doing, cure));
        }
    }
    Ok(Linked { from: input.from, to: input.to, created })
}

impl LinkIssues {
    fn is_it(&self, link: &Link) -> bool {
        let outward = link.outward_issue.as_ref().is_some_and(|end| end.key.eq_ignore_ascii_case(&self.to));
        outward && link.kind.name.eq_ignore_ascii_case(&self.link_type)
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
