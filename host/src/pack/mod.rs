//! Packs: the installable unit. Reading order: what a pack's folder holds (`directory`, `archive`), what its manifest
//! says (`manifest`), whether it may come in (`install`), what is installed (`catalog`), what it may use (`grants`), and
//! how its components are made (`build`). It starts no instance and runs no action.

pub mod archive;
pub mod build;
pub mod catalog;
pub mod directory;
pub mod grants;
pub mod install;
mod kinds;
pub mod manifest;

pub use catalog::{
    Catalog, CatalogError, InstallError, Installation, Pack, RemoveError, ServiceView, Workflow, WorkflowView,
};
pub use grants::{GrantError, Grants, WrongGrant};
pub use install::PackVersion;
