//! Actions that move the objects of one S3 bucket to another: `plan-copy`, `copy-objects`, `verify`,
//! `delete-source-objects`.
//!
//! Read `copy` first; `compare` is behind the other two. `wire` is the door to the host, `s3` and `xml` are the
//! protocol, `listing`, `parts` and `ledger` what a bucket of any size needs. It deliberately knows no versions of
//! objects, no access lists and no tags: what moves is content and metadata.

mod compare;
mod copy;
mod delete;
mod input;
mod ledger;
mod listing;
mod parts;
mod plan;
mod s3;
mod verify;
mod wire;
mod xml;

#[cfg(test)]
mod double;
#[cfg(test)]
mod tests;
