//! Actions.
use orchestrator_sdk::{Context, Error, Finding, Json, export_actions, http};

fn get(_: &Context, id: String) -> Result<Json, Error> {
    http::get("backend", "/block/volumes").query("id", id).fetch()
}
fn probe(_: &Context, _: String) -> Result<Finding<Json>, Error> {
    Ok(Finding::NotDone)
}
fn undo(_: &Context, _: Json) -> Result<(), Error> {
    Ok(())
}
export_actions! {
    "get" => get,
    "other" => { run: get, probe: probe, undo: undo },
    "last" => self::get,
}
