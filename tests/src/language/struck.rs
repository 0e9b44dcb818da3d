//! Servers that die at an append and are started again over what is durable: at each append of a case in turn, or at some of
//! them by chance, once with the append lost and once with its answer lost; some die again while they take things up. The
//! client asks again for what it got no answer to. The same must come of it, with the same effects outside, and nothing is
//! done twice that may be done once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::definition::graph::{NodeKind, Program};
use orchestrator_host::journal::{Journal, Scan, keys, row};
use orchestrator_host::machine::record::{Record, Stamped};
use orchestrator_host::model::{Effect, InstanceId};

use super::coordinated::{Beyond, life};
use super::doomed::{Doomed, Strike};
use super::judge::{Order, Outcome, complaints, complaints_about_calls};
use super::prepared::Prepared;
use super::pure::{Choose as _, Seeded};

/// A case with so many appends is struck at each of them; one with more at so many by chance.
const EACH_MAX: u64 = 14;
/// One life in so many of those that take things up is struck, too.
const STRUCK_AGAIN: usize = 4;
/// So many appends a second life makes at most before it is struck.
const SECOND_MAX: usize = 4;

/// Opens what is durable, as a new server finds it.
pub type Open<'a> = dyn Fn() -> anyhow::Result<Arc<dyn Journal>> + 'a;

/// What came of a case that nobody disturbed.
pub struct Whole {
    outcome: Outcome,
    effects: Vec<String>,
    /// How many appends it made.
    pub appends: u64,
}

/// Where a case is struck.
#[derive(Debug, Clone, Copy)]
pub struct Blow {
    after: u64,
    strike: Strike,
    /// Of the second life, where there is one.
    again: Option<(u64, Strike)>,
    /// Whether what was on its way to the outside has arrived.
    arrived: bool,
}

/// Runs a case to its end over a journal, undisturbed, and holds it to what is written.
///
/// # Errors
/// It does not come out as written.
pub fn whole(prepared: &Prepared, evaluator: &Arc<dyn Evaluate>, open: &Open<'_>) -> anyhow::Result<Whole> {
    let mut beyond = Beyond::new(prepared);
    beyond.client.told(prepared)?;
    let journal = Arc::new(Doomed::never(open()?));
    let outcome = alive(prepared, evaluator, &journal, &mut beyond)?.context("nobody strikes it")?;
    sound(prepared, &outcome, &beyond, &*journal)?;
    let effects = beyond.look(|world| world.known_effects());
    Ok(Whole { outcome, effects, appends: journal.made() })
}

/// The blows that a case gets.
pub fn blows(whole: &Whole, seed: u64) -> Vec<Blow> {
    let mut chance = Seeded(seed);
    let mut all: Vec<_> =
        (0..whole.appends).flat_map(|after| [(after, Strike::Before), (after, Strike::After)]).collect();
    while all.len() as u64 > 2 * EACH_MAX {
        all.swap_remove(chance.choose(all.len()));
    }
    let mut blow = |(after, strike)| {
        let second = [Strike::Before, Strike::After][chance.choose(2)];
        let again = (chance.choose(STRUCK_AGAIN) == 0).then(|| (chance.choose(SECOND_MAX) as u64, second));
        Blow { after, strike, again, arrived: chance.choose(2) == 0 }
    };
    all.into_iter().map(&mut blow).collect()
}

/// Strikes a case and lets it go on.
///
/// # Errors
/// Something else comes of it than of the undisturbed one.
pub fn strike(
    prepared: &Prepared,
    evaluator: &Arc<dyn Evaluate>,
    open: &Open<'_>,
    whole: &Whole,
    blow: Blow,
) -> anyhow::Result<()> {
    let mut beyond = Beyond::new(prepared);
    beyond.client.told(prepared)?;
    let mut blind = BTreeSet::new();
    let plan = std::iter::once((blow.after, blow.strike)).chain(blow.again);
    for (after, strike) in plan {
        let journal = Arc::new(Doomed::new(open()?, after, strike));
        if let Some(outcome) = alive(prepared, evaluator, &journal, &mut beyond)? {
            return same(prepared, whole, &outcome, &beyond, (&*journal, &blind));
        }
        journal.close();
        beyond.client.restarted = true;
        let now = beyond.now;
        beyond.look(|world| world.break_down(blow.arrived, now));
        blind.extend(out_and_blind(prepared, &*open()?)?);
    }
    let journal = Arc::new(Doomed::never(open()?));
    let outcome = alive(prepared, evaluator, &journal, &mut beyond)?.context("nobody strikes it")?;
    same(prepared, whole, &outcome, &beyond, (&*journal, &blind))
}

/// One life of a server on a runtime of its own: whatever it does when it is struck is gone. Nothing where it was struck.
fn alive(
    prepared: &Prepared,
    evaluator: &Arc<dyn Evaluate>,
    journal: &Arc<Doomed>,
    beyond: &mut Beyond,
) -> anyhow::Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = journal.struck() => Ok(None),
            outcome = life(prepared, evaluator, journal.clone(), beyond) => outcome.map(Some),
        }
    })
}

/// Whether a case came out as it is written, and nothing was done that must not be.
fn sound(prepared: &Prepared, outcome: &Outcome, beyond: &Beyond, journal: &dyn Journal) -> anyhow::Result<()> {
    let order = if prepared.is_concurrent() { Order::Any } else { Order::Exact };
    let mut wrong = complaints(&prepared.case, outcome, order);
    wrong.extend(complaints_about_calls(&prepared.case, &beyond.look(|world| world.opened())));
    wrong.extend(always_wrong(prepared, beyond, journal)?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n    "));
    Ok(())
}

fn always_wrong(prepared: &Prepared, beyond: &Beyond, journal: &dyn Journal) -> anyhow::Result<Vec<String>> {
    let mut wrong = beyond.look(|world| world.complaints());
    wrong.extend(leaks(&prepared.case.secrets, journal)?);
    Ok(wrong)
}

/// The secrets whose value stands somewhere in the store.
fn leaks(secrets: &BTreeMap<String, String>, journal: &dyn Journal) -> anyhow::Result<Vec<String>> {
    if secrets.is_empty() {
        return Ok(Vec::new());
    }
    let rows = journal.scan(Scan::prefix(Vec::new(), usize::MAX))?;
    let holds =
        |value: &str| rows.iter().any(|row| row.value.windows(value.len()).any(|part| part == value.as_bytes()));
    let leaked = secrets.iter().filter(|(_, value)| holds(value));
    Ok(leaked.map(|(name, _)| format!("the value of the secret `{name}` stands in the journal")).collect())
}

fn same(
    prepared: &Prepared,
    whole: &Whole,
    outcome: &Outcome,
    beyond: &Beyond,
    (journal, blind): (&dyn Journal, &BTreeSet<InstanceId>),
) -> anyhow::Result<()> {
    if !blind.is_empty() {
        // Nobody can know whether it took effect: the workflow is told so, and goes its own way.
        let told = blind.iter().map(|id| Ok(format!("{:?}", records(journal, *id)?).contains("outcome unknown")));
        let told = told.collect::<anyhow::Result<Vec<bool>>>()?;
        ensure!(told.iter().all(|told| *told), "a call that may be made once was out, and nobody is told");
        let wrong = always_wrong(prepared, beyond, journal)?;
        ensure!(wrong.is_empty(), "{}", wrong.join("\n    "));
        return Ok(());
    }
    sound(prepared, outcome, beyond, journal)?;
    if prepared.case.order_dependent {
        return Ok(());
    }
    let (expected, got) =
        (anonymous(&format!("{:?}", whole.outcome.settled())), anonymous(&format!("{:?}", outcome.settled())));
    ensure!(expected == got, "expected {expected}\n    and got {got}");
    let emitted = (whole.outcome.emitted.len(), outcome.emitted.len());
    ensure!(emitted.0 == emitted.1, "{} events were emitted, and {} without harm", emitted.1, emitted.0);
    let effects = beyond.look(|world| world.known_effects());
    ensure!(whole.effects == effects, "other effects: {:?} and now {effects:?}", whole.effects);
    Ok(())
}

/// A text with every identifier made the same: instances have others in each run.
fn anonymous(text: &str) -> String {
    let is_id = |part: &str| {
        part.len() == 36
            && part
                .char_indices()
                .all(|(at, char)| if matches!(at, 8 | 13 | 18 | 23) { char == '-' } else { char.is_ascii_hexdigit() })
    };
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..36) {
            Some(part) if is_id(part) => {
                made.push_str("<id>");
                rest = &rest[36..];
            }
            _ => {
                made.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    made
}

/// The instances that had a call out which may be made once and has no probe.
fn out_and_blind(prepared: &Prepared, journal: &dyn Journal) -> anyhow::Result<Vec<InstanceId>> {
    let marks = journal.scan(Scan::prefix(keys::actives(), usize::MAX))?;
    let mut found = Vec::new();
    for id in marks.iter().filter_map(|mark| keys::instance_of(&mark.key)) {
        if is_blind(prepared, &records(journal, id)?) {
            found.push(id);
        }
    }
    Ok(found)
}

fn records(journal: &dyn Journal, id: InstanceId) -> anyhow::Result<Vec<Stamped>> {
    let rows = journal.scan(Scan::prefix(keys::history(id), usize::MAX))?;
    let appends = rows.iter().map(|stored| row::decode::<Vec<Stamped>>(&stored.value));
    Ok(appends.collect::<Result<Vec<_>, _>>()?.concat())
}

fn is_blind(prepared: &Prepared, records: &[Stamped]) -> bool {
    let mut program: &Program = &prepared.program;
    let (mut nodes, mut out) = (BTreeMap::new(), BTreeMap::new());
    for stamped in records {
        match &stamped.record {
            Record::Created(created) => {
                let child = prepared.children.values().find(|child| child.digest == created.definition);
                program = child.unwrap_or(&prepared.program);
            }
            Record::Entered(entered) => drop(nodes.insert(entered.activation, entered.node)),
            Record::Intent { activation, .. } => drop(out.insert(*activation, true)),
            Record::Result { activation, .. } | Record::Left { activation, .. } | Record::Failed { activation, .. } => {
                out.remove(activation);
            }
            _ => {}
        }
    }
    let is_once = |node| match &program.node(node).kind {
        NodeKind::Act(act) => act.effect == Effect::Once && !act.probe,
        _ => false,
    };
    out.keys().filter_map(|activation| nodes.get(activation)).any(|node| is_once(*node))
}
