//! What an analysis found, counted by category: issues, incidents and effort.
//!
//! The hub gives the issues page by page, or, in older releases, as one document with everything in it. The pages are
//! read first, since the document of a large application is larger than what an action may hold. MTA 6.2 keeps no issues
//! at all, only a report: nothing is counted then.

use std::collections::{BTreeMap, BTreeSet};

use orchestrator_sdk::http::{self, SendErrorKind};
use orchestrator_sdk::{Context, Error, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, HUB};

/// Issues asked for at once: with their incidents and excerpts of code some megabytes at most.
const PAGE: usize = 50;

/// Pages read at most: 20,000 issues are many times what the rules of the hub can find.
const PAGES_MAX: usize = 400;

/// The category of an issue that has none.
const NO_CATEGORY: &str = "information";

/// Of which application.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountIssues {
    /// Its identifier.
    pub application_id: u64,
}

/// What of one category was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rules that were broken.
    pub issues: u64,
    /// Places where they were broken.
    pub incidents: u64,
    /// Story points: the effort of a rule times its incidents.
    pub effort: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Whether there was anything to count: the hub keeps the issues of the application's latest analysis.
    pub counted: bool,
    /// Everything.
    pub total: Tally,
    /// What has to be changed.
    pub mandatory: Tally,
    /// What may be changed.
    pub optional: Tally,
    /// What has to be looked at.
    pub potential: Tally,
    /// Each category that occurs, by its name.
    pub categories: BTreeMap<String, Tally>,
}

/// An issue as the hub shows it; main calls it an insight.
#[derive(Debug, Deserialize)]
struct Issue {
    #[serde(default)]
    id: u64,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    effort: Option<u64>,
    #[serde(default)]
    incidents: Option<Incidents>,
}

/// The incidents of an issue: themselves, or their number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Incidents {
    Number(u64),
    List(Vec<serde::de::IgnoredAny>),
}

/// An analysis as one document.
#[derive(Debug, Deserialize)]
struct Whole {
    #[serde(default, alias = "insights")]
    issues: Option<Vec<Issue>>,
}

/// Counts what the latest analysis of an application found.
///
/// # Errors
/// Those of the hub.
pub fn count_issues(_: &Context, input: CountIssues) -> Result<Counts, Error> {
    let root = format!("/applications/{}/analysis", input.application_id);
    for name in ["issues", "insights"] {
        if let Some(counts) = by_pages(&format!("{root}/{name}"))? {
            return Ok(counts);
        }
    }
    let mut counts = Counts::default();
    let Some(whole) = api::read::<Whole>(&root)? else {
        log::info!("the hub keeps no issues of application {}", input.application_id);
        return Ok(counts);
    };
    counts.counted = true;
    whole.issues.iter().flatten().for_each(|issue| counts.add(issue));
    Ok(counts)
}

/// Counts page by page; nothing where the hub has no such list.
fn by_pages(path: &str) -> Result<Option<Counts>, Error> {
    let (mut counts, mut known) = (Counts { counted: true, ..Counts::default() }, BTreeSet::new());
    let (mut size, mut offset) = (PAGE, 0);
    for _ in 0..PAGES_MAX {
        let request = api::asking(http::get(HUB, path)).query("limit", size).query("offset", offset);
        let response = match request.send() {
            // Issues with very many incidents: fewer at once.
            Err(error) if size > 1 && matches!(error.kind(), SendErrorKind::TooLarge(_)) => {
                size = 1;
                continue;
            }
            sent => sent?,
        };
        if response.status() == 404 {
            return Ok(None);
        }
        if !response.is_success() {
            return Err(api::refused(&response, &format!("list {path}"), "check the hub"));
        }
        let page: Vec<Issue> = response.parse::<Option<Vec<Issue>>>()?.unwrap_or_default();
        let before = known.len();
        for issue in page.iter().filter(|issue| known.insert(issue.id)) {
            counts.add(issue);
        }
        // A release that does not know pages gives everything at once, or the same again.
        if page.len() != size || known.len() == before {
            return Ok(Some(counts));
        }
        offset += size;
    }
    Err(Error::permanent(format!("listing {path} did not end after {} issues; read the report instead", known.len())))
}

impl Counts {
    fn add(&mut self, issue: &Issue) {
        let category = issue.category.as_deref().map(str::trim).filter(|category| !category.is_empty());
        let category = category.unwrap_or(NO_CATEGORY).to_lowercase();
        let incidents = match &issue.incidents {
            None => 0,
            Some(Incidents::Number(number)) => *number,
            Some(Incidents::List(list)) => list.len() as u64,
        };
        let found = Tally {
            issues: 1,
            incidents,
            // An issue without incidents of its own stands for one.
            effort: issue.effort.unwrap_or_default().saturating_mul(incidents.max(1)),
        };
        self.total.add(&found);
        match category.as_str() {
            "mandatory" => self.mandatory.add(&found),
            "optional" => self.optional.add(&found),
            "potential" => self.potential.add(&found),
            _ => {}
        }
        self.categories.entry(category).or_default().add(&found);
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.issues = self.issues.saturating_add(other.issues);
        self.incidents = self.incidents.saturating_add(other.incidents);
        self.effort = self.effort.saturating_add(other.effort);
    }
}

#[cfg(test)]
#[path = "issues_tests.rs"]
mod tests;
