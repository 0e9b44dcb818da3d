//! Packs: manifest, directory, install, catalog, grants.
