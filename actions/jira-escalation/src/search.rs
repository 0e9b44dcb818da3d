//! Finding issues by JQL. Cloud has `/search/jql` with tokens for the next page; sites before it, and Server and Data
//! Center, have `/search` with offsets. The index may be seconds behind: what was made just now may be missing.

use orchestrator_sdk::http::{self, Request, Response};
use orchestrator_sdk::{Context, Error};
use serde::{Deserialize, Serialize};

use crate::api::{self, Api, JIRA, Site};
use crate::issues::{Fields, Issue, RawIssue};

/// Issues asked for at once: what Cloud gives at most with these fields.
const PAGE: usize = 100;

/// What a search gives when the input does not say.
const LIMIT: usize = 50;

/// What a search gives at most: outputs are kept in the history, and more is a report, not a step of a workflow.
const LIMIT_MAX: usize = 1_000;

/// What `find-issues` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindIssues {
    /// The query.
    pub jql: String,
    /// Issues at most.
    pub limit: Option<usize>,
    /// Which interface the site has.
    pub api: Option<Api>,
}

/// What `find-issues` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// In the query's order.
    pub issues: Vec<Issue>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// A page of either endpoint.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    issues: Vec<RawIssue>,
    #[serde(default)]
    total: Option<usize>,
    #[serde(default)]
    next_page_token: Option<String>,
}

/// Where the next page begins.
enum Next {
    Offset(usize),
    Token(String),
}

/// Finds issues by JQL.
///
/// # Errors
/// Those of Jira; `validation` 400 for a query that it refuses.
pub fn find_issues(_: &Context, input: FindIssues) -> Result<Found, Error> {
    let site = Site::with_address(input.api)?;
    let limit = input.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let (raw, more) = find(&site, &input.jql, limit)?;
    let issues = raw.into_iter().map(|issue| issue.shown(&site)).collect();
    Ok(Found { issues, more })
}

/// The issues that fit, up to a number, and whether there are more.
///
/// # Errors
/// Those of Jira.
pub(crate) fn find(site: &Site, jql: &str, limit: usize) -> Result<(Vec<RawIssue>, bool), Error> {
    let mut found: Vec<RawIssue> = Vec::new();
    let mut next = None;
    loop {
        let wanted = (limit - found.len()).min(PAGE);
        let page: Page = page(site, jql, wanted, next.as_ref())?;
        let got = page.issues.len();
        found.extend(page.issues);
        let left = match (page.next_page_token, page.total) {
            (Some(token), _) => Some(Next::Token(token)),
            (None, Some(total)) => (total > found.len()).then_some(Next::Offset(found.len())),
            (None, None) => None,
        };
        found.truncate(limit);
        if left.is_none() || found.len() == limit || got == 0 {
            return Ok((found, left.is_some()));
        }
        next = left;
    }
}

fn page(site: &Site, jql: &str, wanted: usize, next: Option<&Next>) -> Result<Page, Error> {
    let ask = |path: &str| -> Request {
        let request =
            http::get(JIRA, path).query("jql", jql).query("fields", Fields::NAMES).query("maxResults", wanted);
        match next {
            None => request,
            Some(Next::Offset(offset)) => request.query("startAt", offset),
            Some(Next::Token(token)) => request.query("nextPageToken", token),
        }
    };
    let tokens = site.is_cloud() && !matches!(next, Some(Next::Offset(_)));
    let mut response: Option<Response> = None;
    if tokens {
        response = Some(ask(&site.path("search/jql")).send()?).filter(|response| response.status() != 404);
    }
    let response = match response {
        Some(response) => response,
        // A site from before `/search/jql`.
        None => ask(&site.path("search")).send()?,
    };
    if !response.is_success() {
        return Err(api::refused(&response, "search for issues", "check the query, and that the project exists"));
    }
    response.parse()
}

/// A text inside of JQL, quoted.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
