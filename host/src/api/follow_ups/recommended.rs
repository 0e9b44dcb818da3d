//! What an output recommends, and what of a finished instance fits the input of something that follows it. Pure: an output
//! is a guest's, so nothing in it is trusted to have a form.

use serde::Serialize;
use serde_json::Map;
use utoipa::ToSchema;

use crate::definition::schema;
use crate::machine::values::violations;
use crate::model::Json as Data;

/// Recommendations of one instance, at most: what a person can choose from, and a bound on the look-ups of one request.
pub(super) const RECOMMENDED_MAX: usize = 100;

/// Entries of an output that are looked at, at most, whether they recommend something or not.
const LOOKED_AT_MAX: usize = 1000;

/// Characters of an identifier or a name. An identifier above is no name of anything; a name is cut.
const TEXT_CHARACTERS_MAX: usize = 255;

/// The members of the older `workflowOptions`, in the order of how much they recommend.
const OPTIONS: [List; 6] = [
    List::UpgradeOptions,
    List::MigrationOptions,
    List::NewOptions,
    List::ContinuationOptions,
    List::OtherOptions,
    List::CurrentVersion,
];

/// Where in the output a recommendation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum List {
    /// `result.nextWorkflows`.
    NextWorkflows,
    /// `workflowOptions.upgradeOptions`.
    UpgradeOptions,
    /// `workflowOptions.migrationOptions`.
    MigrationOptions,
    /// `workflowOptions.newOptions`.
    NewOptions,
    /// `workflowOptions.continuationOptions`.
    ContinuationOptions,
    /// `workflowOptions.otherOptions`.
    OtherOptions,
    /// `workflowOptions.currentVersion`.
    CurrentVersion,
}

/// A recommendation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recommended {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) list: List,
}

/// What an output recommends, the first most; each identifier once.
pub(super) fn recommended(output: &Data) -> Vec<Recommended> {
    let mut found: Vec<Recommended> = Vec::new();
    for (list, entry) in entries(output).take(LOOKED_AT_MAX) {
        let Some(id) = entry.get("id").and_then(Data::as_str).map(str::trim) else { continue };
        let fits = !id.is_empty() && id.chars().count() <= TEXT_CHARACTERS_MAX && !id.chars().any(char::is_control);
        if !fits || found.iter().any(|known| known.id == id) {
            continue;
        }
        let name = entry.get("name").and_then(Data::as_str).unwrap_or(id);
        let name = name.chars().filter(|letter| !letter.is_control()).take(TEXT_CHARACTERS_MAX).collect();
        found.push(Recommended { id: id.to_owned(), name, list });
        if found.len() == RECOMMENDED_MAX {
            break;
        }
    }
    found
}

fn entries(output: &Data) -> impl Iterator<Item = (List, &Data)> {
    let places = [output.get("result"), Some(output)].into_iter().flatten();
    let next = places.clone().filter_map(|place| place.get("nextWorkflows")?.as_array()).flatten();
    let older = places
        .filter_map(|place| place.get("workflowOptions"))
        .flat_map(|options| OPTIONS.into_iter().flat_map(|list| list.entries(options).map(move |entry| (list, entry))));
    next.map(|entry| (List::NextWorkflows, entry)).chain(older)
}

impl List {
    fn member(self) -> &'static str {
        match self {
            Self::NextWorkflows => "nextWorkflows",
            Self::UpgradeOptions => "upgradeOptions",
            Self::MigrationOptions => "migrationOptions",
            Self::NewOptions => "newOptions",
            Self::ContinuationOptions => "continuationOptions",
            Self::OtherOptions => "otherOptions",
            Self::CurrentVersion => "currentVersion",
        }
    }

    /// The entries of this list: an array of them, or, for the current version, one by itself.
    fn entries(self, options: &Data) -> impl Iterator<Item = &Data> {
        let member = options.get(self.member());
        let many = member.and_then(Data::as_array).into_iter().flatten();
        many.chain(member.filter(|member| member.is_object()))
    }
}

/// The members that the schema knows by name and that the finished instance has: of its output first, else of its input.
/// A value that does not fit the member's own schema is left out.
pub(super) fn prefilled(schema: Option<&Data>, input: &Data, output: &Data) -> Map<String, Data> {
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    let fitting = |(name, of): (&String, &Data)| {
        let values = [output, input].into_iter().filter_map(|data| data.get(name)).filter(|value| !value.is_null());
        let value = values.into_iter().find(|value| fits(of, value))?;
        Some((name.clone(), value.clone()))
    };
    properties.into_iter().flatten().filter_map(fitting).collect()
}

fn fits(schema: &Data, value: &Data) -> bool {
    // A schema that does not stand by itself refers to its surroundings; the order checks the whole.
    schema::compile(schema).map_or(true, |validator| violations(&validator, value).is_empty())
}

/// The members that the schema requires and `input` does not have.
pub(super) fn missing(schema: Option<&Data>, input: &Map<String, Data>) -> Vec<String> {
    let required = schema.and_then(|schema| schema.get("required")?.as_array());
    let names = required.into_iter().flatten().filter_map(Data::as_str);
    names.filter(|name| !input.contains_key(*name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(output: Data) -> Vec<String> {
        recommended(&output).into_iter().map(|found| found.id).collect()
    }

    #[test]
    fn both_forms_are_read_and_the_newer_one_recommends_more() {
        let output = json!({
            "result": {"nextWorkflows": [{"id": "b", "name": "B"}, {"id": "a"}]},
            "workflowOptions": {
                "currentVersion": {"id": "g", "name": "G"}, "newOptions": [{"id": "e"}], "otherOptions": [{"id": "f"}],
                "upgradeOptions": [{"id": "c"}], "migrationOptions": [{"id": "d"}, {"id": "b", "name": "again"}],
                "continuationOptions": [{"id": "h"}],
            },
        });
        assert_eq!(ids(output.clone()), ["b", "a", "c", "d", "e", "h", "f", "g"]);
        assert_eq!(recommended(&output)[1].name, "a", "an entry without a name is called by its identifier");
        assert_eq!(ids(json!({"nextWorkflows": [{"id": "x"}]})), ["x"]);
        assert_eq!(ids(json!({"workflowOptions": {"migrationOptions": [{"id": "m2k", "name": "n"}]}})), ["m2k"]);
    }

    #[test]
    fn what_has_another_form_recommends_nothing() {
        for output in [
            json!(null),
            json!("text"),
            json!([1, 2]),
            json!({"result": 1, "workflowOptions": []}),
            json!({"result": {"nextWorkflows": {"id": "a"}}}),
            json!({"result": {"nextWorkflows": [null, 1, "a", [], {}, {"id": 1}, {"id": ""}, {"id": "a\nb"}, {"name": "x"}]}}),
            json!({"result": {"nextWorkflows": [{"id": "x".repeat(256)}]}}),
            json!({"workflowOptions": {"currentVersion": {}, "newOptions": null, "otherOptions": 3}}),
        ] {
            assert_eq!(ids(output.clone()), [] as [&str; 0], "{output}");
        }
    }

    #[test]
    fn ten_thousand_entries_are_cut() {
        let many: Vec<_> = (0..10_000).map(|n| json!({"id": format!("w{n}"), "name": "n".repeat(1000)})).collect();
        let found = recommended(&json!({"result": {"nextWorkflows": many}}));
        assert_eq!((found.len(), found[0].name.len()), (RECOMMENDED_MAX, TEXT_CHARACTERS_MAX));
        let same: Vec<_> = (0..10_000).map(|_| json!({"id": "same"})).collect();
        assert_eq!(ids(json!({"nextWorkflows": same})), ["same"]);
    }

    #[test]
    fn what_the_input_knows_by_name_is_prefilled_where_it_fits() {
        let schema = json!({"required": ["url", "size", "lost"], "properties": {
            "url": {"type": "string"}, "size": {"type": "integer", "minimum": 1}, "name": {"type": "string"},
            "from": {"$ref": "#/$defs/x"}, "lost": {}, "kind": {"enum": ["a"]},
        }});
        let input = json!({"url": "old", "size": 3, "name": null, "unknown": 1, "kind": "b", "from": 1});
        let output = json!({"url": "new", "size": 0, "result": {}});
        let prefilled = prefilled(Some(&schema), &input, &output);
        assert_eq!(Data::Object(prefilled.clone()), json!({"url": "new", "size": 3, "from": 1}));
        assert_eq!(missing(Some(&schema), &prefilled), ["lost"]);
    }

    #[test]
    fn without_a_schema_that_names_members_nothing_is_prefilled() {
        for schema in [None, Some(json!(true)), Some(json!({"properties": []})), Some(json!({"required": 1}))] {
            let prefilled = prefilled(schema.as_ref(), &json!({"a": 1}), &json!({"a": 1}));
            assert_eq!((prefilled.len(), missing(schema.as_ref(), &prefilled)), (0, Vec::new()));
        }
    }
}
