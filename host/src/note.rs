//! What clients of another interface keep with an instance: texts that the engine has no use for. A note goes with its
//! instance.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::{Batch, CommitError, Journal, StoreError, keys, row};
use crate::model::InstanceId;

/// A note on an instance (key `y` `n`). Members are only ever added, with a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceNote {
    /// A name given later than the start's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whom the client started it for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The identifier of the service as the client knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// When the note was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// The notes of all instances.
#[derive(Clone)]
pub struct Notes(Arc<dyn Journal>);

impl Notes {
    /// The notes in a journal.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self(journal)
    }

    /// The note on an instance; an empty one where nobody wrote any.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn get(&self, id: InstanceId) -> Result<InstanceNote, StoreError> {
        let found = self.0.get(&keys::instance_note(id))?;
        found.map_or_else(|| Ok(InstanceNote::default()), |bytes| row::decode(&bytes))
    }

    /// Writes the note on an instance. Durable on return.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn put(&self, id: InstanceId, note: &InstanceNote) -> Result<(), CommitError> {
        self.0.commit(Batch::default().put(keys::instance_note(id), row::encode(note))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::memory::MemoryJournal;

    /// A note as an earlier version wrote it: it must be readable for ever.
    const STORED: &str =
        r#"{"name":"n","description":"d","userId":"u","serviceId":"s","updatedAt":"2026-11-21T22:00:00Z"}"#;

    #[test]
    fn a_stored_note_is_read() {
        let note: InstanceNote = row::decode(&[&[row::VERSION], STORED.as_bytes()].concat()).unwrap();
        assert_eq!((note.user_id.as_deref(), note.service_id.as_deref()), (Some("u"), Some("s")));
        assert_eq!(&row::encode(&note)[1..], STORED.as_bytes());
    }

    #[tokio::test]
    async fn a_note_is_kept_with_its_instance() {
        let notes = Notes::new(Arc::new(MemoryJournal::new()));
        let id = InstanceId(uuid::Uuid::nil());
        assert_eq!(notes.get(id), Ok(InstanceNote::default()));
        let note = InstanceNote { description: Some("d".to_owned()), ..InstanceNote::default() };
        notes.put(id, &note).await.unwrap();
        assert_eq!(notes.get(id), Ok(note));
    }
}
