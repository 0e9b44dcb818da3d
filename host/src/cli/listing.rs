//! What all lists can do: how many items, in which order.

use clap::Args;
use serde_json::Value as Json;

use super::error::Error;
use super::output::items;

/// How a list that the server gives whole is printed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Listing {
    /// Sort by this member of the items, `createdAt` or `error.title`; with a `-` before it the other way round.
    #[arg(long, value_name = "MEMBER", allow_hyphen_values = true)]
    sort_by: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

impl Listing {
    /// The list as asked for.
    pub(super) fn apply(&self, mut list: Json) -> Result<Json, Error> {
        if let Some(member) = &self.sort_by {
            sort(&mut list, member)?;
        }
        if let (Some(limit), Some(items)) = (self.limit, list.get_mut("items").and_then(Json::as_array_mut)) {
            items.truncate(limit);
        }
        Ok(list)
    }
}

fn sort(list: &mut Json, member: &str) -> Result<(), Error> {
    let (name, descending) = member.strip_prefix('-').map_or((member, false), |name| (name, true));
    let pointer = format!("/{}", name.replace('.', "/"));
    if !items(list).is_empty() && items(list).iter().all(|item| item.pointer(&pointer).is_none()) {
        let known: Vec<&str> =
            items(list)[0].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        return Err(Error::Usage(format!("no item has a member `{name}`; there is {}", known.join(", "))));
    }
    if let Some(items) = list.get_mut("items").and_then(Json::as_array_mut) {
        items.sort_by(|left, right| {
            let order = compare(left.pointer(&pointer), right.pointer(&pointer));
            if descending { order.reverse() } else { order }
        });
    }
    Ok(())
}

/// Numbers by size, all else as text; what is missing comes first.
fn compare(left: Option<&Json>, right: Option<&Json>) -> std::cmp::Ordering {
    match (left.and_then(Json::as_f64), right.and_then(Json::as_f64)) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => left.map(super::output::plain).cmp(&right.map(super::output::plain)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_sorted_and_cut() {
        let list = json!({"items": [{"n": 10, "t": {"a": "x"}}, {"n": 9, "t": {"a": "z"}}, {"n": 11}]});
        let sorted = |member: &str, limit| {
            let listing = Listing { sort_by: Some(member.to_owned()), limit };
            listing
                .apply(list.clone())
                .map(|list| items(&list).iter().map(|item| item["n"].clone()).collect::<Vec<_>>())
        };
        assert_eq!(sorted("n", None).unwrap(), [9, 10, 11]);
        assert_eq!(sorted("-t.a", Some(2)).unwrap(), [9, 10]);
        assert!(sorted("nn", None).is_err());
    }
}
