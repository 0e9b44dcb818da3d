//! What of a list or a resource is shown: `fields`, `sort`, and pages of lists that are in memory whole. All of it works on
//! the JSON that a handler answered with, so it is the same for every route.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::list::LIMIT_MAX;
use super::problem::{Kind, Problem};

/// Fields in one selection, at most.
const FIELDS_MAX: usize = 64;

/// Members that a list is sorted by, at most.
const SORTED_BY_MAX: usize = 4;

/// Characters of one of these parameters, at most.
const CHARACTERS_MAX: usize = 2_000;

/// Bytes of a cursor that tie it to its list.
const CHECK_BYTES: usize = 6;

/// The parameters that each JSON answer to a `GET` takes, and those of lists in memory.
pub const ON_GET: [&str; 1] = ["fields"];
/// See [`ON_GET`].
pub const ON_LISTS: [&str; 3] = ["limit", "cursor", "sort"];

/// What is asked of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    fields: Option<Vec<Vec<String>>>,
    sort: Vec<(Vec<String>, bool)>,
    limit: Option<usize>,
    cursor: Option<String>,
    /// What a cursor is only good for.
    list: String,
}

impl Selection {
    /// Takes its own parameters out of a query and gives back the others; `on_lists` where the list is paged here.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub fn take(path: &str, query: &str, on_lists: bool) -> Result<(Self, String), Problem> {
        let (mut selection, mut others) = (Self::default(), Vec::new());
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let is_own = ON_GET.contains(&name) || (on_lists && ON_LISTS.contains(&name));
            match is_own {
                true => selection.set(name, &decoded(name, value)?)?,
                false => others.push(part),
            }
        }
        let others = others.join("&");
        let mut list = format!("{path}?{others}");
        for (member, falling) in &selection.sort {
            list = format!("{list}&{}{}", if *falling { "-" } else { "" }, member.join("/"));
        }
        selection.list = list;
        Ok((selection, others))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let fresh = match name {
            "fields" => self.fields.replace(paths(name, value, FIELDS_MAX)?).is_none(),
            "limit" => self.limit.replace(limit(value)?).is_none(),
            "cursor" => self.cursor.replace(value.to_owned()).is_none(),
            _ => {
                let fresh = self.sort.is_empty();
                let falls = |text: &String| text.starts_with('-');
                let paths = paths(name, value, SORTED_BY_MAX)?.into_iter();
                self.sort = paths
                    .map(|mut path| {
                        let falling = path.first().is_some_and(falls);
                        if falling {
                            path[0].remove(0);
                        }
                        (path, falling)
                    })
                    .collect();
                fresh
            }
        };
        if fresh { Ok(()) } else { Err(wrong(format!("give `{name}` once"))) }
    }

    /// Refuses fields that are none of these members.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub fn check(&self, members: &BTreeSet<String>) -> Result<(), Problem> {
        let unknown =
            self.fields.iter().flatten().filter_map(|path| path.first()).find(|name| !members.contains(*name));
        let Some(unknown) = unknown else { return Ok(()) };
        let known = members.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let unknown: String = unknown.chars().take(100).collect();
        Err(wrong(format!("`fields` asks for `{unknown}`, which is no member here; there are {known}")))
    }

    /// Whether this member is in no item and in no answer.
    pub fn leaves_out(&self, member: &str) -> bool {
        let is_chosen = |path: &Vec<String>| path.first().is_none_or(|first| first == member);
        self.fields.as_ref().is_some_and(|fields| !fields.iter().any(is_chosen))
    }

    /// Whether nothing is asked.
    pub fn is_all(&self) -> bool {
        self.fields.is_none() && self.sort.is_empty() && self.limit.is_none() && self.cursor.is_none()
    }

    /// What is shown of an answer.
    ///
    /// # Errors
    /// `invalid-parameter` for a cursor of another list.
    pub fn of(&self, mut answer: Value) -> Result<Value, Problem> {
        if let Some(Value::Array(items)) = answer.get_mut("items") {
            let mut all = std::mem::take(items);
            self.sorted(&mut all);
            let (shown, next) = self.page(all)?;
            let pages = self.limit.is_some() || self.cursor.is_some();
            answer["items"] = shown.into_iter().map(|item| self.fields_of(item)).collect();
            if pages {
                answer["next"] = next.map_or(Value::Null, Value::String);
            }
            return Ok(answer);
        }
        Ok(self.fields_of(answer))
    }

    fn sorted(&self, items: &mut [Value]) {
        if !self.sort.is_empty() {
            items.sort_by(|one, other| {
                let by = self.sort.iter().map(|(path, falling)| {
                    let order = compare(member(one, path), member(other, path));
                    if *falling { order.reverse() } else { order }
                });
                by.fold(Ordering::Equal, Ordering::then)
            });
        }
    }

    /// The items of the page and the cursor of the next one.
    fn page(&self, mut items: Vec<Value>) -> Result<(Vec<Value>, Option<String>), Problem> {
        let start = match &self.cursor {
            None => 0,
            Some(cursor) => {
                let (place, identity) = self.read(cursor).ok_or_else(foreign)?;
                // After the last item that was shown; where that is gone, what followed stands in its place now.
                items.iter().position(|item| identity_of(item) == identity).map_or(place, |at| at + 1)
            }
        };
        let limit = match (self.limit, &self.cursor) {
            (Some(limit), _) => limit,
            (None, Some(_)) => LIMIT_MAX,
            (None, None) => return Ok((items, None)),
        };
        let mut rest = items.split_off(start.min(items.len()));
        let more = rest.len() > limit;
        rest.truncate(limit);
        let last = rest.last().filter(|_| more);
        let next = last.map(|last| self.write(start + limit - 1, &identity_of(last)));
        Ok((rest, next))
    }

    fn write(&self, place: usize, identity: &str) -> String {
        let mut bytes = self.fingerprint();
        bytes.extend_from_slice(format!("{place} {identity}").as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(&self, cursor: &str) -> Option<(usize, String)> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let rest = bytes.strip_prefix(self.fingerprint().as_slice())?;
        let (place, identity) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
        Some((place.parse().ok()?, identity.to_owned()))
    }

    fn fingerprint(&self) -> Vec<u8> {
        digest(&SHA256, self.list.as_bytes()).as_ref()[..CHECK_BYTES].to_vec()
    }

    fn fields_of(&self, value: Value) -> Value {
        match &self.fields {
            Some(fields) => {
                let paths: Vec<&[String]> = fields.iter().map(Vec::as_slice).collect();
                chosen(&value, &paths)
            }
            None => value,
        }
    }
}

/// Only the members on these paths. A list on the way is gone through.
fn chosen(value: &Value, paths: &[&[String]]) -> Value {
    match value {
        _ if paths.iter().any(|path| path.is_empty()) => value.clone(),
        Value::Array(items) => items.iter().map(|item| chosen(item, paths)).collect(),
        Value::Object(members) => {
            let mut shown = Map::new();
            for (name, member) in members {
                let below: Vec<&[String]> =
                    paths.iter().filter(|path| path[0] == *name).map(|path| &path[1..]).collect();
                if !below.is_empty() {
                    shown.insert(name.clone(), chosen(member, &below));
                }
            }
            Value::Object(shown)
        }
        other => other.clone(),
    }
}

fn member<'a>(value: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// Nothing first, then booleans, numbers, text; what has no order of its own stays as it is.
fn compare(one: &Value, other: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    };
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Number(one), Value::Number(other)) => {
            one.as_f64().unwrap_or_default().total_cmp(&other.as_f64().unwrap_or_default())
        }
        _ => rank(one).cmp(&rank(other)),
    }
}

/// What tells an item of a list from the others.
fn identity_of(item: &Value) -> String {
    let text = |name: &str| item.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
    ["id", "number", "pack", "name", "version"].iter().filter_map(|name| text(name)).collect::<Vec<_>>().join(" ")
}

fn paths(name: &str, value: &str, paths_max: usize) -> Result<Vec<Vec<String>>, Problem> {
    let paths: Vec<Vec<String>> = value.split(',').map(|path| path.split('/').map(str::to_owned).collect()).collect();
    let is_whole = paths.iter().flatten().all(|part| !part.is_empty() && part != "-");
    match is_whole && paths.len() <= paths_max {
        true => Ok(paths),
        false => Err(wrong(format!("set `{name}` to up to {paths_max} members such as `name,services/id`"))),
    }
}

fn limit(value: &str) -> Result<usize, Problem> {
    match value.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(wrong(format!("set `limit` to 1 to {LIMIT_MAX}"))),
    }
}

fn decoded(name: &str, value: &str) -> Result<String, Problem> {
    let spaced = value.replace('+', " ");
    match percent_encoding::percent_decode_str(&spaced).decode_utf8() {
        Ok(text) if text.len() <= CHARACTERS_MAX => Ok(text.into_owned()),
        _ => Err(wrong(format!("set `{name}` to UTF-8 text of up to {CHARACTERS_MAX} characters"))),
    }
}

fn wrong(text: String) -> Problem {
    Problem::new(Kind::InvalidParameter, text)
}

fn foreign() -> Problem {
    wrong(
        "the `cursor` is of another list; begin again without it and keep the other parameters from page to page"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn select(query: &str, answer: Value) -> Result<Value, Kind> {
        let (selection, _) = Selection::take("/v1/packs", query, true).map_err(|problem| problem.kind)?;
        selection.of(answer).map_err(|problem| problem.kind)
    }

    fn list() -> Value {
        let item =
            |name: &str, size: u64| json!({ "name": name, "size": size, "in": { "a": 1, "b": [{ "c": 1, "d": 2 }] } });
        json!({ "items": [item("a", 2), item("b", 1), item("c", 2)], "next": null })
    }

    #[test]
    fn only_the_fields_that_are_asked_for_are_shown() {
        let check =
            |query: &str, first: Value| assert_eq!(select(query, list()).unwrap()["items"][0], first, "{query}");
        check("fields=name", json!({ "name": "a" }));
        check("fields=name,in/a", json!({ "name": "a", "in": { "a": 1 } }));
        check("fields=in%2Fb%2Fd", json!({ "in": { "b": [{ "d": 2 }] } }));
        check("fields=nothing", json!({}));
        assert_eq!(select("fields=a", json!({ "a": 1, "b": 2 })).unwrap(), json!({ "a": 1 }));
    }

    #[test]
    fn a_field_that_no_answer_has_is_refused_with_those_there_are() {
        let members = ["id", "status"].map(str::to_owned).into();
        let check = |query: &str| Selection::take("/v1/packs", query, true).unwrap().0.check(&members);
        assert!(check("").is_ok() && check("fields=id,status/x").is_ok());
        let refused = check("fields=id,state").unwrap_err();
        assert_eq!(refused.detail, "`fields` asks for `state`, which is no member here; there are `id`, `status`");
    }

    #[test]
    fn what_no_field_begins_with_is_left_out() {
        let leaves_out = |query: &str| Selection::take("/v1/packs", query, true).unwrap().0.leaves_out("input");
        assert!(leaves_out("fields=id,status") && leaves_out("fields=inputs"));
        assert!(!leaves_out("") && !leaves_out("fields=id,input/size"));
    }

    #[test]
    fn a_list_is_sorted_by_several_members() {
        let names = |query: &str| {
            let sorted = select(query, list()).unwrap();
            sorted["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect::<String>()
        };
        assert_eq!(
            (names("sort=size"), names("sort=-size,-name"), names("sort=-name")),
            ("bac".into(), "cab".into(), "cba".into())
        );
    }

    #[test]
    fn pages_follow_each_other_although_an_item_goes() {
        let first = select("limit=1&sort=-name", list()).unwrap();
        assert_eq!(first["items"][0]["name"], "c");
        let next = first["next"].as_str().unwrap();
        let query = format!("limit=1&sort=-name&cursor={next}");
        assert_eq!(select(&query, list()).unwrap()["items"][0]["name"], "b");
        let mut shorter = list();
        shorter["items"].as_array_mut().unwrap().pop();
        assert_eq!(select(&query, shorter).unwrap()["items"][0]["name"], "b");
        assert_eq!(select(&format!("limit=1&cursor={next}"), list()), Err(Kind::InvalidParameter), "of another order");
        assert_eq!(select("limit=3", list()).unwrap()["next"], Value::Null);
        assert_eq!(select("", list()).unwrap(), list());
    }

    #[test]
    fn what_is_no_selection_is_refused() {
        for query in [
            "fields=",
            "fields=a,,b",
            "fields=a/",
            "sort=-",
            "limit=0",
            "limit=x",
            "limit=201",
            "cursor=zz",
            "fields=%ff",
            "limit=1&limit=2",
        ] {
            assert_eq!(select(query, list()), Err(Kind::InvalidParameter), "{query}");
        }
        let (_, others) = Selection::take("/", "a=1&fields=b&limit=7", false).unwrap();
        assert_eq!(others, "a=1&limit=7");
    }
}
