//! The actions of the pack: each is a plain function from its input to its output.

use orchestrator_sdk::{Context, Error, export_actions, http, log};
use serde::{Deserialize, Serialize};

/// What [`get_item`] takes; `schemas/get-item.input.json` says the same.
#[derive(Deserialize)]
pub struct GetItem {
    /// Which item.
    pub id: String,
}

/// An item.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Reads an item.
///
/// # Errors
/// There is none, or the outside system does not answer.
pub fn get_item(_: &Context, input: GetItem) -> Result<Item, Error> {
    log::info!("reading item {}", input.id);
    let path = format!("/items/{}", http::encode_path_segment(&input.id));
    let response = http::get("backend", &path).send()?;
    if response.status() == 404 {
        let error = Error::permanent(format!("there is no item {}", input.id)).cure("correct the identifier");
        return Err(error.with_type("urn:{{name}}:no-item", 404, "No such item"));
    }
    response.json()
}

export_actions! { "get-item" => get_item }

#[cfg(test)]
mod tests {
    use orchestrator_sdk::json;
    use orchestrator_sdk::testing::{Outside, Reply};

    use super::*;

    fn read(reply: Reply) -> Result<Item, Error> {
        let outside = Outside::new();
        outside.expect("GET", "/items/i-1", reply);
        get_item(&outside.context(), GetItem { id: "i-1".to_owned() })
    }

    #[test]
    fn an_item_is_read() {
        let item = read(Reply::json(200, json!({"id": "i-1", "name": "Lamp"}))).unwrap();
        assert_eq!(item.name, "Lamp");
    }

    #[test]
    fn an_item_that_is_not_there_is_told() {
        let error = read(Reply::json(404, json!({}))).unwrap_err();
        assert!(error.to_string().contains("there is no item i-1"), "{error}");
    }
}
