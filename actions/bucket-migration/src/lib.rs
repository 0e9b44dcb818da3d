//! Actions that move the objects of one S3 bucket to another: `plan-copy`, `copy-objects`, `verify`,
//! `delete-source-objects`, `delete-extra-objects`, `write-report`, `abort-uploads`.
//!
//! Read `copy` first; `compare` is behind the proofs. `wire` is the door to the host, `s3` and `xml` are the protocol,
//! `selection` says which objects an order is about, `listing`, `parts` and `ledger` are what a bucket of any size
//! needs. It deliberately knows no versions of objects and no access lists: what moves is content, metadata and tags.

mod abort;
mod compare;
mod copy;
mod delete;
mod extra;
mod host;
mod input;
mod ledger;
mod listing;
mod parts;
mod plan;
mod removal;
mod report;
mod s3;
mod selection;
mod times;
mod verify;
mod wire;
mod xml;

#[cfg(test)]
mod double;
#[cfg(test)]
mod tests;

use orchestrator_sdk::{Context, Error, export_actions};

use crate::host::Host;
use crate::input::Buckets;

fn plan_copy(ctx: &Context, input: Buckets) -> Result<plan::Output, Error> {
    let output = plan::plan(&Host(ctx), &input)?;
    if output.destination_created {
        ctx.created("bucket", &input.destination_bucket);
    }
    Ok(output)
}

fn copy_objects(ctx: &Context, input: Buckets) -> Result<copy::Output, Error> {
    copy::copy(&Host(ctx), &input, ctx.checkpoint()?)
}

fn verify_copy(ctx: &Context, input: Buckets) -> Result<verify::Output, Error> {
    verify::verify(&Host(ctx), &input, ctx.checkpoint()?)
}

fn delete_source_objects(ctx: &Context, input: Buckets) -> Result<removal::Output, Error> {
    delete::delete(&Host(ctx), &input)
}

fn delete_extra_objects(ctx: &Context, input: Buckets) -> Result<removal::Output, Error> {
    extra::delete(&Host(ctx), &input)
}

fn write_report(ctx: &Context, input: Buckets) -> Result<report::Output, Error> {
    report::write(&Host(ctx), &input, ctx.checkpoint()?)
}

fn abort_uploads(ctx: &Context, input: abort::Input) -> Result<abort::Output, Error> {
    abort::abort(&Host(ctx), &input)
}

export_actions! {
    "plan-copy" => plan_copy,
    "copy-objects" => copy_objects,
    "verify" => verify_copy,
    "delete-source-objects" => delete_source_objects,
    "delete-extra-objects" => delete_extra_objects,
    "write-report" => write_report,
    "abort-uploads" => abort_uploads,
}
