//! Values that stand elsewhere: `{fromFile: PATH}` and `{fromEnv: NAME}` in a document become the text that is there. A
//! secret's value is only ever such a reference.

use std::path::Path;

use serde_json::Value as Json;

use crate::cli::input::bytes_of;

/// Bytes of a file that is referred to, at most.
const BYTES_MAX: u64 = 1 << 20;

/// The value with every reference replaced; or what is wrong with one.
pub(super) fn resolved(value: &Json, folder: &Path) -> Result<Json, String> {
    if let Some(text) = text(value, folder) {
        return text.map(Json::String);
    }
    match value {
        Json::Object(members) => {
            let resolved = members.iter().map(|(name, value)| Ok((name.clone(), resolved(value, folder)?)));
            resolved.collect::<Result<_, String>>().map(Json::Object)
        }
        Json::Array(items) => {
            items.iter().map(|item| resolved(item, folder)).collect::<Result<_, _>>().map(Json::Array)
        }
        value => Ok(value.clone()),
    }
}

/// What a reference refers to; nothing where it is none.
fn text(value: &Json, folder: &Path) -> Option<Result<String, String>> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, target) = members.iter().next()?;
    match (name.as_str(), target.as_str()?) {
        ("fromFile", path) => Some(from_file(&folder.join(path))),
        ("fromEnv", name) => Some(from_environment(name)),
        _ => None,
    }
}

fn from_file(path: &Path) -> Result<String, String> {
    let shown = path.display().to_string();
    let text = String::from_utf8(bytes_of(&shown, BYTES_MAX)?).map_err(|_| format!("`{shown}` is not text"))?;
    // Editors end a file with a line end; a secret has none.
    let cut = text.strip_suffix('\n').map(|cut| cut.strip_suffix('\r').unwrap_or(cut));
    Ok(cut.unwrap_or(&text).to_owned())
}

fn from_environment(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("the environment has no `{name}`; export it before `orchctl apply`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_become_what_they_refer_to() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), "PEM\n").unwrap();
        let value = json!({"a": [{"fromFile": "ca.pem"}], "b": {"fromEnv": "PATH"}, "c": {"fromFile": 1}});
        let expected = json!({"a": ["PEM"], "b": std::env::var("PATH").unwrap(), "c": {"fromFile": 1}});
        assert_eq!(resolved(&value, folder.path()), Ok(expected));
    }

    #[test]
    fn what_is_not_there_is_told_with_its_cure() {
        let missing = resolved(&json!({"fromEnv": "ORCHESTRATOR_NOT_SET_ANYWHERE"}), Path::new("."));
        assert!(missing.is_err_and(|reason| reason.contains("export it")));
        assert!(resolved(&json!({"fromFile": "not-there"}), Path::new(".")).is_err());
    }
}
