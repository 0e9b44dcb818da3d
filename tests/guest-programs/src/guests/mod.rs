//! One guest per file.

mod answers;
mod answers_another_phase;
mod answers_no_json;
mod answers_too_much;
mod checkpoints;
mod eats_memory;
mod exits;
mod fails_for_now;
mod floods_log;
mod floods_stdout;
mod looks_around;
mod panics;
mod posts_notifications;
mod recurses;
mod reveals_secrets;
mod sends;
mod sends_mail;
mod sends_then_spins;
mod sends_then_traps;
mod sleeps;
mod spins;
mod starts_many_exchanges;
mod transfers;
mod traps;

use serde_json::Value;

use crate::{Answer, refuse};

pub(super) fn run(action: &str, input: Value) -> Answer {
    match action {
        "answers" => answers::run(input),
        "answers-another-phase" => answers_another_phase::run(input),
        "answers-no-json" => answers_no_json::run(input),
        "answers-too-much" => answers_too_much::run(input),
        "checkpoints" => checkpoints::run(input),
        "eats-memory" => eats_memory::run(input),
        "exits" => exits::run(input),
        "fails-for-now" => fails_for_now::run(input),
        "floods-log" => floods_log::run(input),
        "floods-stdout" => floods_stdout::run(input),
        "looks-around" => looks_around::run(input),
        "panics" => panics::run(input),
        "recurses" => recurses::run(input),
        "posts-notifications" => posts_notifications::run(input),
        "reveals-secrets" => reveals_secrets::run(input),
        "sends" => sends::run(input),
        "sends-mail" => sends_mail::run(input),
        "sends-then-spins" => sends_then_spins::run(input),
        "sends-then-traps" => sends_then_traps::run(input),
        "sleeps" => sleeps::run(input),
        "spins" => spins::run(input),
        "starts-many-exchanges" => starts_many_exchanges::run(input),
        "transfers" => transfers::run(input),
        "traps" => traps::run(input),
        _ => Err(refuse("there is no such guest")),
    }
}
