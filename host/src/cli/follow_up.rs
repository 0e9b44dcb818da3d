//! `orchctl instance follow-ups` and `follow-up`: what a finished instance recommends, and ordering it.

use clap::Args;
use serde_json::{Value as Json, json};

use super::error::Error;
use super::order::Start;
use super::output::{Column, items};
use super::{Context, instance};

/// Orders a recommendation.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: orchctl instance follow-up 0195b0c0-2f7e-7000-8000-000000000001 greeting name=Ann --wait"
)]
pub(super) struct FollowUp {
    /// The identifier of the instance that recommends it.
    id: String,
    /// The recommendation, as `orchctl instance follow-ups` lists it.
    workflow: String,
    #[command(flatten)]
    start: Start,
}

const LIST: &[Column] = &[
    ("ID", &["/id"]),
    ("NAME", &["/name"]),
    ("ORDERABLE", &["/orderable"]),
    ("SERVICE", &["/service", "/workflow"]),
    ("PACK", &["/pack"]),
    ("PREFILLED", &["/prefilled"]),
    ("STILL TO SAY", &["/toSay"]),
    ("REASON", &["/reason"]),
];

/// Lists what an instance recommends.
pub(super) async fn list(context: &Context, id: &str) -> Result<(), Error> {
    let client = context.client()?;
    let id = instance::resolve(&client, id).await?;
    let mut list = client.get(&["instances", &id, "follow-ups"], &[]).await?;
    if context.output.is_for_people() {
        dress(&mut list);
    }
    context.output.list(&list, LIST)
}

/// Adds the names of what is prefilled and of what is missing.
fn dress(list: &mut Json) {
    for item in list.get_mut("items").and_then(Json::as_array_mut).into_iter().flatten() {
        let prefilled: Vec<_> =
            item["input"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let missing: Vec<_> = item["missing"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let (prefilled, missing) = (prefilled.join(", "), missing.join(", "));
        item["prefilled"] = if prefilled.is_empty() { Json::Null } else { json!(prefilled) };
        item["toSay"] = if missing.is_empty() { Json::Null } else { json!(missing) };
    }
}

impl FollowUp {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let id = instance::resolve(&client, &self.id).await?;
        let list = client.get(&["instances", &id, "follow-ups"], &[]).await?;
        let found = items(&list).iter().find(|item| item["id"] == json!(self.workflow));
        let schema = found.and_then(|item| item.get("inputSchema")).cloned().unwrap_or_default();
        // What is prefilled is not asked for.
        let begun = found.and_then(|item| item.get("input")).cloned().unwrap_or_else(|| json!({}));
        let at = ["instances", id.as_str(), "follow-ups", self.workflow.as_str()];
        self.start.order(context, &client, &at, json!({ "input": begun }), &schema).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_prefilled_and_what_is_missing_are_told_by_name() {
        let mut list = json!({"items": [{"input": {"a": 1, "b": 2}, "missing": ["c"]}, {"input": {}, "missing": []}]});
        dress(&mut list);
        let told: Vec<_> = items(&list).iter().map(|item| (item["prefilled"].clone(), item["toSay"].clone())).collect();
        assert_eq!(told, [(json!("a, b"), json!("c")), (Json::Null, Json::Null)]);
    }
}
