//! Services over a journal in memory and packs without components.
