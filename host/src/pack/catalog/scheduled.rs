//! Packs that were installed before workflows could have schedules: their rows do not say which workflows start by
//! themselves, so their texts are asked.

use super::Pack;
use super::store::Store;
use crate::definition::yaml;

/// Completes what a pack's row says about schedules. A file that cannot be read is told when it is used.
pub(super) fn complete(store: &Store, mut pack: Pack) -> Pack {
    for entry in pack.workflows.values_mut().filter(|entry| !entry.scheduled) {
        let text = store.text(pack.digest, &entry.path).unwrap_or_default();
        // Only a text that has the word is worth parsing.
        let tree = text.contains("schedule").then(|| yaml::parse(&text, &entry.path.to_string()));
        entry.scheduled = matches!(tree, Some(Ok(tree)) if tree.get("schedule").is_some());
    }
    pack
}
