//! Comments. A comment carries the key of its request: on Cloud as an entity property, elsewhere as an anchor, which the
//! wiki renderer does not show. Comments are read from the database, so a repeat finds what an earlier try wrote.

use orchestrator_sdk::http;
use orchestrator_sdk::{Context, Error, Json, json, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, Api, JIRA, Site};
use crate::text;

/// The property's name on Cloud.
const PROPERTY: &str = "orchestrator.key";

/// Comments read at once.
const PAGE: usize = 100;

/// Pages read at most, newest first: a repeat comes soon after what it repeats, so the comment stands near the top.
const PAGES_MAX: usize = 10;

/// What `comment-issue` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommentIssue {
    /// Key or identifier.
    pub issue: String,
    /// Plain text; empty lines separate paragraphs.
    pub body: String,
    /// What makes repeats harmless beyond this task; the task's idempotency key when absent.
    pub request_key: Option<String>,
    /// Which interface the site has.
    pub api: Option<Api>,
}

/// What `comment-issue` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commented {
    /// The comment's identifier.
    pub id: String,
    /// Whether this call made it.
    pub created: bool,
}

#[derive(Deserialize)]
struct Comment {
    id: String,
    #[serde(default)]
    body: Json,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Property {
    key: String,
    #[serde(default)]
    value: Json,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    comments: Vec<Comment>,
    #[serde(default)]
    total: usize,
}

/// Writes a comment, unless the one of this key is already there.
///
/// # Errors
/// Those of Jira; unknown when the comment may have been written, and then a repeat finds it.
pub fn comment_issue(ctx: &Context, input: CommentIssue) -> Result<Commented, Error> {
    let site = Site::of(input.api)?;
    let key = input.request_key.as_deref().unwrap_or(ctx.idempotency_key());
    if let Some(id) = find(&site, &input.issue, key)? {
        log::info!("the comment of request `{key}` is already there");
        return Ok(Commented { id, created: false });
    }
    let path = site.issue(&input.issue, "/comment");
    let response = http::post(JIRA, &path).json(&body(&site, &input.body, key)).send()?;
    if !response.is_success() {
        return Err(api::refused(&response, &doing(&input.issue), "check the comment and the issue"));
    }
    let made: Comment = response.parse()?;
    Ok(Commented { id: made.id, created: true })
}

fn doing(issue: &str) -> String {
    format!("comment issue `{issue}`")
}

fn body(site: &Site, plain: &str, key: &str) -> Json {
    if site.is_cloud() {
        let property = json!({ "key": PROPERTY, "value": { "key": key } });
        return json!({ "body": text::document(plain), "properties": [property] });
    }
    json!({ "body": format!("{}{plain}", anchor(key)) })
}

fn anchor(key: &str) -> String {
    format!("{{anchor:orchestrator-{key}}}")
}

fn find(site: &Site, issue: &str, key: &str) -> Result<Option<String>, Error> {
    let path = site.issue(issue, "/comment");
    for page in 0..PAGES_MAX {
        let mut request = http::get(JIRA, &path).query("orderBy", "-created");
        if site.is_cloud() {
            request = request.query("expand", "properties");
        }
        let response = request.query("startAt", page * PAGE).query("maxResults", PAGE).send()?;
        if !response.is_success() {
            let cure = "it was deleted, or the connection's user may not see it";
            return Err(api::refused(&response, &doing(issue), cure));
        }
        let Page { comments, total } = response.parse()?;
        let last = comments.len() < PAGE || (page + 1) * PAGE >= total;
        if let Some(own) = comments.into_iter().find(|comment| comment.carries(key)) {
            return Ok(Some(own.id));
        }
        if last {
            break;
        }
    }
    Ok(None)
}

impl Comment {
    fn carries(&self, key: &str) -> bool {
        let property = |property: &Property| property.key == PROPERTY && property.value["key"] == key;
        let text = self.body.as_str().is_some_and(|text| text.starts_with(&anchor(key)));
        text || self.properties.iter().any(property)
    }
}

#[cfg(test)]
#[path = "comments_tests.rs"]
mod tests;
