//! Bucket migrations that a SODA multi-cloud service carries out itself: backends, plans, jobs (its JSON API, connection
//! `multicloud`) and the buckets behind them (its S3 API, connection `multicloud-s3`).
//!
//! Each action does one step and returns the state it saw; waiting is the workflow's. All of them find what an earlier try
//! made before they make anything. The service cannot cancel a job; nothing here pretends to.

mod api;
mod backends;
mod buckets;
mod plans;

#[cfg(test)]
mod tests;

orchestrator_sdk::export_actions! {
    "find-or-create-backend" => backends::find_or_create,
    "find-bucket" => buckets::look,
    "ensure-bucket" => buckets::ensure,
    "remove-empty-bucket" => buckets::remove_empty,
    "count-objects" => buckets::count,
    "verify-counts" => buckets::verify,
    "create-plan" => { run: plans::create, undo: plans::undo_create },
    "run-plan" => plans::run,
    "get-job" => plans::job,
    "delete-plan" => plans::delete,
}
