//! A server that dies after a record and is started again: for each record in turn, once with the calls that were out
//! done and once with them never arrived. Nothing else must come of it, and nothing is done twice that may be done once.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::definition::graph::NodeKind;
use orchestrator_host::machine::record::{Outcome as CallOutcome, Record, Stamped};
use orchestrator_host::machine::state::State;
use orchestrator_host::model::Effect;

use super::judge::Outcome;
use super::prepared::Prepared;
use super::pure::{First, Run, fold};

/// Kills a run after each of its records.
///
/// # Errors
/// What comes of it then is not what came of it before.
pub fn kill_at_every_record(prepared: &Prepared, evaluator: &dyn Evaluate) -> anyhow::Result<usize> {
    let (whole, expected) = super::pure::run(prepared, evaluator, &mut First)?;
    let mut kills = 0;
    for length in 1..whole.records.len() {
        if is_one_step(prepared, &whole.records[length - 1..=length]) {
            continue;
        }
        let records = through_the_journal(&whole.records[..length])?;
        let state = fold(&prepared.program, &records)?;
        let stored: State = serde_json::from_slice(&serde_json::to_vec(&state)?)?;
        ensure!(stored == state, "a snapshot after record {length} is not read as it was written");
        let out = state.errands().any(|errand| !errand.probe);
        for done in if out { &[true, false][..] } else { &[false][..] } {
            go_on(prepared, evaluator, &records, *done, (&whole, &expected))
                .with_context(|| format!("killed after record {length} ({}), calls done: {done}", shown(&records)))?;
            kills += 1;
        }
    }
    let folded = fold(&prepared.program, &through_the_journal(&whole.records)?)?;
    ensure!(folded == whole.state, "the records do not fold into the state that made them");
    Ok(kills)
}

/// Whether two records are of one step, so that no store ever parts them: a task that fails on its way in is entered and
/// failed, and one event is consumed by everything that listens.
fn is_one_step(prepared: &Prepared, pair: &[Stamped]) -> bool {
    if let (Record::Matched { number: one, .. }, Record::Matched { number: other, .. }) =
        (&pair[0].record, &pair[1].record)
    {
        return one == other;
    }
    let (Record::Entered(entered), Record::Failed { activation, .. }) = (&pair[0].record, &pair[1].record) else {
        return false;
    };
    let node = prepared.program.node(entered.node);
    let frame = &node.frame;
    let limits = match &node.kind {
        NodeKind::Scope(block) => block.catch.as_ref().and_then(|catch| catch.retry.as_ref()),
        _ => None,
    };
    let computed = limits.is_some_and(|retry| {
        [retry.attempt_duration, retry.total_duration].into_iter().flatten().any(|limit| limit.fixed().is_none())
    });
    let gate = frame.condition.is_some() || frame.input_schema.is_some() || frame.input_from.is_some();
    entered.activation == *activation && (gate || computed || frame.timeout.is_some())
}

fn shown(records: &[Stamped]) -> String {
    records.last().map(|last| format!("{:?}", last.record).chars().take(80).collect()).unwrap_or_default()
}

/// As they would be read from disk.
fn through_the_journal(records: &[Stamped]) -> anyhow::Result<Vec<Stamped>> {
    let texts = records.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>()?;
    let read = texts.iter().map(|text| serde_json::from_slice(text)).collect::<Result<Vec<Stamped>, _>>()?;
    ensure!(read == records, "a record is not read as it was written");
    Ok(read)
}

fn go_on(
    prepared: &Prepared,
    evaluator: &dyn Evaluate,
    records: &[Stamped],
    done: bool,
    (whole, expected): (&Run<'_>, &Outcome),
) -> anyhow::Result<()> {
    let length = records.len() as u64;
    let arrived = whole.arrived.iter().copied().filter(|(_, seq)| *seq < length).collect();
    let mut run = Run::new(prepared, evaluator);
    run.recovered(records.to_vec(), arrived)?;
    let blind = what_was_out(prepared, &mut run, done);
    run.resume()?;
    let outcome = run.finish(&mut First)?;
    let repeated = run.world.repeated();
    ensure!(repeated.is_empty(), "done again: {}", repeated.join("; "));
    if blind {
        // Nobody can know whether it took effect: the workflow is told so, and goes its own way.
        let told = run.records.iter().any(|stamped| format!("{:?}", stamped.record).contains("outcome unknown"));
        ensure!(told, "a call that may be made once and has no probe was out, and nobody is told");
        return Ok(());
    }
    same(expected, &outcome)?;
    let (before, after) = (certain(whole), certain(&run));
    ensure!(before == after, "other effects: {before:?} and now {after:?}");
    Ok(())
}

/// The effects of the calls that were not given up: whether one that was has taken effect is nobody's promise.
fn certain<'r>(run: &'r Run<'_>) -> BTreeMap<&'r str, &'r str> {
    let answered = |record: &Record| match record {
        Record::Result { activation, outcome: CallOutcome::Ok(_) | CallOutcome::Failed(_), .. } => Some(*activation),
        _ => None,
    };
    let answered: Vec<_> = run.records.iter().filter_map(|stamped| answered(&stamped.record)).collect();
    let known = |key: &str| run.world.calls[key].activation.is_some_and(|activation| answered.contains(&activation));
    run.world.effects().into_iter().filter(|(key, _)| known(key)).collect()
}

/// Settles what became of the calls before the crash. Says whether one was out that nobody can ask about.
fn what_was_out(prepared: &Prepared, run: &mut Run<'_>, done: bool) -> bool {
    let out: Vec<_> = run.state.errands().filter(|errand| !errand.probe).collect();
    let out: Vec<_> = out.iter().filter_map(|errand| run.state.call(&prepared.program, *errand)).collect();
    let mut blind = false;
    for call in &out {
        let probe = matches!(&prepared.program.node(call.node).kind,
            NodeKind::Act(act) if act.probe);
        let effect = run.world.calls.get(&call.key).map(|called| called.effect);
        blind |= effect == Some(Effect::Once) && !probe;
    }
    for (key, called) in &mut run.world.calls {
        let lost = !done && out.iter().any(|call| call.key == *key);
        called.performed = u32::from(!lost);
    }
    blind
}

fn same(expected: &Outcome, got: &Outcome) -> anyhow::Result<()> {
    let ((status, output, error, tasks, calls), other) = (expected.settled(), got.settled());
    if (&status, &output, &error, &tasks, &calls) != (&other.0, &other.1, &other.2, &other.3, &other.4) {
        bail!("expected {expected:?}\nand got {got:?}");
    }
    ensure!(expected.emitted.len() == got.emitted.len(), "expected {:?} and got {:?}", expected.emitted, got.emitted);
    Ok(())
}
