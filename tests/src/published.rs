//! Interfaces as their makers publish them, in excerpts (`tests/fixtures/published`): the doubles hold what the packs send
//! and what they answer themselves against these, so that neither drifts from the real thing.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

/// A published document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// Namespaces of Kubernetes, its errors and the options of deletions.
    Kubernetes,
    /// The notifications of Backstage.
    BackstageNotifications,
}

impl Document {
    fn text(self) -> &'static str {
        match self {
            Self::Kubernetes => include_str!("../fixtures/published/kubernetes.json"),
            Self::BackstageNotifications => include_str!("../fixtures/published/backstage-notifications.json"),
        }
    }

    /// What of a value does not fit one of the document's definitions; nothing when it fits.
    ///
    /// # Panics
    /// When the document has no such definition.
    pub fn misfit(self, definition: &'static str, value: &Value) -> Option<String> {
        type Validators = BTreeMap<(Document, &'static str), jsonschema::Validator>;
        static VALIDATORS: OnceLock<Mutex<Validators>> = OnceLock::new();
        let mut validators = VALIDATORS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry((self, definition)).or_insert_with(|| self.validator(definition));
        validator.iter_errors(value).next().map(|error| format!("{definition}: {}: {error}", error.instance_path()))
    }

    fn validator(self, definition: &str) -> jsonschema::Validator {
        let mut document: Value = serde_json::from_str(self.text()).expect("the excerpt is JSON");
        assert!(document["$defs"].get(definition).is_some(), "the excerpt has `{definition}`");
        document["$ref"] = json!(format!("#/$defs/{definition}"));
        jsonschema::validator_for(&document).expect("the excerpt is a schema")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_published_is_told() {
        let check = |document: Document, definition, value: Value, fits: bool| {
            assert_eq!(document.misfit(definition, &value).is_none(), fits, "{definition} {value}");
        };
        let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a"}});
        check(Document::Kubernetes, "Namespace", namespace.clone(), true);
        check(Document::Kubernetes, "Namespace", json!({"kind": "Namespace", "phase": "Active"}), false);
        check(Document::Kubernetes, "Status", json!({"kind": "Status", "code": "409"}), false);
        let sent = json!({"recipients": {"type": "broadcast"}, "payload": {"title": "t"}});
        check(Document::BackstageNotifications, "NotificationSendOptions", sent, true);
        let sent = json!({"recipients": {"type": "all"}, "payload": {"title": "t"}});
        check(Document::BackstageNotifications, "NotificationSendOptions", sent, false);
    }
}
