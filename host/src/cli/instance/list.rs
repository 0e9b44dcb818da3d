//! `orchctl instance list`, and finding an instance by a part of its identifier.

use clap::Args;
use serde_json::Value as Json;

use crate::cli::Context;
use crate::cli::client::{Client, Page};
use crate::cli::error::Error;
use crate::cli::output::{Column, items};

/// Instances that are looked through for one of which only a part of the identifier is given.
const LOOKED_THROUGH_MAX: usize = 2_000;
/// Characters of a part of an identifier, at least.
const PART_CHARACTERS_MIN: usize = 4;

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only with this status.
    #[arg(long, value_parser = ["pending", "running", "waiting", "suspended", "cancelled", "faulted", "completed"])]
    status: Option<String>,
    /// Only of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only of this workflow.
    #[arg(long)]
    workflow: Option<String>,
    /// Only of this pack.
    #[arg(long)]
    pack: Option<String>,
    /// Only started by this person.
    #[arg(long, value_name = "SUBJECT", conflicts_with = "mine")]
    created_by: Option<String>,
    /// Only your own.
    #[arg(long)]
    mine: bool,
    /// Only created after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    created_after: Option<String>,
    /// Only created before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    created_before: Option<String>,
    /// Only with this text in the name.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// In which order: -createdAt is newest first, as usual.
    #[arg(long, value_parser = ["createdAt", "-createdAt"], allow_hyphen_values = true)]
    sort: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    limit: usize,
    /// All of them, however many.
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    all: bool,
    /// Where the page starts, as the one before told.
    #[arg(long)]
    cursor: Option<String>,
}

const LIST: &[Column] = &[
    ("ID", &["/id"]),
    ("STATUS", &["/status"]),
    ("SERVICE", &["/service", "/workflow"]),
    ("NAME", &["/name"]),
    ("CREATED", &["/createdAt"]),
    ("ENDED", &["/endedAt"]),
];

const WIDE: &[Column] = &[
    ("PACK", &["/pack"]),
    ("VERSION", &["/packVersion"]),
    ("WORKFLOW", &["/workflow"]),
    ("CREATED BY", &["/createdBy"]),
    ("WAITING FOR", &["/waitingFor"]),
    ("ERROR", &["/error/detail", "/error/title"]),
];

impl List {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let wanted = (!self.all).then_some(self.limit);
        let list = context.client()?.some(&["instances"], &self.query(), Page::CURSOR, wanted).await?;
        context.output.list_wide(&list, LIST, WIDE)?;
        match list.get("next").and_then(Json::as_str) {
            Some(next) => context.output.hint(&format!("more: --cursor {next}")),
            None => Ok(()),
        }
    }

    fn query(&self) -> Vec<(&'static str, &str)> {
        let given = [
            ("status", self.status.as_deref()),
            ("service", self.service.as_deref()),
            ("workflow", self.workflow.as_deref()),
            ("pack", self.pack.as_deref()),
            ("createdBy", self.created_by.as_deref()),
            ("mine", self.mine.then_some("true")),
            ("createdAfter", self.created_after.as_deref()),
            ("createdBefore", self.created_before.as_deref()),
            ("q", self.search.as_deref()),
            ("sort", self.sort.as_deref()),
            ("cursor", self.cursor.as_deref()),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The identifier that is meant: a whole one as it is, else the only one that begins or ends so, or the newest.
///
/// # Errors
/// None fits, or several do.
pub(in crate::cli) async fn resolve(client: &Client, given: &str) -> Result<String, Error> {
    if uuid::Uuid::try_parse(given).is_ok() {
        return Ok(given.to_owned());
    }
    let wanted = if given == "latest" { 1 } else { LOOKED_THROUGH_MAX };
    if given != "latest" && !is_part(given) {
        let cure = "give an identifier, four or more characters of its beginning or end, or `latest`";
        return Err(Error::Usage(format!("`{given}` names no instance; {cure}")));
    }
    let list = client.some(&["instances"], &[], Page::CURSOR, Some(wanted)).await?;
    let ids = items(&list).iter().filter_map(|item| item.get("id")?.as_str());
    chosen(given, ids).map_err(Error::Usage)
}

fn is_part(text: &str) -> bool {
    text.len() >= PART_CHARACTERS_MIN && text.chars().all(|char| char.is_ascii_hexdigit() || char == '-')
}

fn chosen<'i>(given: &str, ids: impl Iterator<Item = &'i str>) -> Result<String, String> {
    let part = given.to_ascii_lowercase();
    let mut fitting = ids.filter(|id| given == "latest" || id.starts_with(&part) || id.ends_with(&part));
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id.to_owned()),
        (Some(one), Some(other)) => {
            Err(format!("several instances fit `{given}`, such as {one} and {other}; give more of it"))
        }
        (None, _) => Err(format!("no instance fits `{given}`; `orchctl instance list` shows the newest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_identifier_is_enough_where_only_one_fits() {
        let ids = ["0195b0c0-0000-7000-8000-00000000aaaa", "0195b0c0-0000-7000-8000-00000000bbbb"];
        let find = |given: &str| chosen(given, ids.into_iter());
        assert_eq!(find("AAAA").as_deref(), Ok(ids[0]));
        assert!(find("0195b0c0").is_err_and(|reason| reason.contains("several")));
        assert!(find("cccc").is_err_and(|reason| reason.contains("no instance")));
        assert!(is_part("0195-b") && !is_part("019") && !is_part("volume"));
    }
}
