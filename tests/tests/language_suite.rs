//! The language, case by case: through the machine alone, with a kill at every record, in any order, and through the
//! coordinator over both journals. And wrong runtimes, which must not get through.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::definition::profile::WORKFLOW_SCHEMA;
use orchestrator_host::definition::{schema, yaml};
use orchestrator_host::journal::Journal;
use orchestrator_host::journal::memory::MemoryJournal;
use orchestrator_host::journal::sled::SledJournal;
use orchestrator_tests::language::case::{self, Case};
use orchestrator_tests::language::judge::{Order, complaints};
use orchestrator_tests::language::prepared::{Looked, Prepared, prepare};
use orchestrator_tests::language::pure::Choose as _;
use orchestrator_tests::language::pure::{self, First, Seeded};
use orchestrator_tests::language::struck::{self, Open};
use orchestrator_tests::language::{declared, killed, mutant};

/// Orders tried for each case in which several things may come at one time.
const ORDERS: u64 = 50;
/// The suite has at least so many cases.
const CASES_MIN: usize = 150;
/// One case in so many is struck over sled.
const SLED_SAMPLE: usize = 8;

fn evaluator() -> Arc<dyn Evaluate> {
    declared::evaluator().expect("an evaluator")
}

/// All cases; `CASE=text` in the environment leaves those whose file or name has the text.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("language");
        let mut cases = case::load(&folder).unwrap_or_else(|error| panic!("{error:#}"));
        if let Ok(wanted) = std::env::var("CASE") {
            cases.retain(|case| case.title().contains(&wanted));
        }
        cases
    })
}

/// The cases that the front end takes. Those that it should take and does not are told by a test of their own.
fn prepared() -> &'static [Prepared] {
    static PREPARED: OnceLock<Vec<Prepared>> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let evaluator = evaluator();
        let looked = cases().iter().filter_map(|case| prepare(case, &*evaluator).ok());
        let taken = looked.filter_map(|looked| match looked {
            Looked::Taken(prepared) => Some(prepared),
            Looked::Refused => None,
        });
        let judged =
            |prepared: &Prepared| prepared.case.expect.status.is_some() || prepared.case.expect.fires.is_some();
        taken.filter(judged).collect()
    })
}

/// Whether a case is one for the machine alone: schedules are the coordinator's.
fn is_for_the_machine(prepared: &Prepared) -> bool {
    prepared.case.expect.fires.is_none()
}

/// Runs `check` on all cases, on every core, and tells all that failed.
fn each(check: impl Fn(&Prepared) -> Result<(), String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(prepared) = prepared().get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Err(why) = check(prepared) {
                        wrong.lock().expect("a test").push(format!("{}\n    {why}", prepared.case.title()));
                    }
                }
            });
        }
    });
    told(wrong.into_inner().expect("a test"));
}

fn told(mut wrong: Vec<String>) {
    wrong.sort();
    assert!(wrong.is_empty(), "{} cases failed:\n{}", wrong.len(), wrong.join("\n"));
}

fn judged(
    prepared: &Prepared,
    outcome: &orchestrator_tests::language::judge::Outcome,
    order: Order,
) -> Result<(), String> {
    let found = complaints(&prepared.case, outcome, order);
    if found.is_empty() { Ok(()) } else { Err(found.join("\n    ")) }
}

#[test]
fn there_are_enough_cases_and_no_two_have_one_name() {
    let mut names: Vec<_> = cases().iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let filtered = std::env::var("CASE").is_ok();
    assert!(filtered || names.len() >= CASES_MIN, "{} cases", names.len());
}

#[test]
fn the_front_end_takes_refuses_and_warns_as_each_case_says() {
    let evaluator = evaluator();
    let wrong = cases().iter().filter_map(|case| prepare(case, &*evaluator).err());
    told(wrong.map(|error| format!("{error:#}")).collect());
}

#[test]
fn what_the_front_end_takes_fits_the_schema_for_editors() {
    let schema = serde_json::from_str(WORKFLOW_SCHEMA).expect("a schema in JSON");
    let validator = schema::compile(&schema).expect("a schema");
    let evaluator = evaluator();
    let taken = cases().iter().filter(|case| matches!(prepare(case, &*evaluator), Ok(Looked::Taken(_))));
    let wrong = taken.filter_map(|case| {
        let tree = yaml::parse(&case.text(), "case.yaml").expect("what is taken is YAML").to_json();
        let errors = validator.iter_errors(&tree).map(|error| format!("{}: {error}", error.instance_path()));
        let errors: Vec<_> = errors.map(|error| error.chars().take(300).collect::<String>()).collect();
        (!errors.is_empty()).then(|| format!("{}\n    {}", case.title(), errors.join("\n    ")))
    });
    told(wrong.collect());
}

#[test]
fn each_case_comes_out_as_written() {
    let evaluator = evaluator();
    each(|prepared| {
        if !is_for_the_machine(prepared) {
            return Ok(());
        }
        let (_, outcome) = pure::run(prepared, &*evaluator, &mut First).map_err(|error| format!("{error:#}"))?;
        judged(prepared, &outcome, Order::Exact)
    });
}

#[test]
fn each_case_survives_a_kill_at_every_record() {
    let (evaluator, kills) = (evaluator(), AtomicUsize::new(0));
    each(|prepared| {
        if !is_for_the_machine(prepared) {
            return Ok(());
        }
        let survived = killed::kill_at_every_record(prepared, &*evaluator).map_err(|error| format!("{error:#}"))?;
        kills.fetch_add(survived, Ordering::SeqCst);
        Ok(())
    });
    println!("{} kills", kills.into_inner());
}

#[test]
fn no_result_depends_on_the_order_in_which_things_come() {
    let evaluator = evaluator();
    each(|prepared| {
        let orders = if prepared.case.order_dependent || !is_for_the_machine(prepared) { 0 } else { ORDERS };
        for seed in 0..orders {
            let run = pure::run(prepared, &*evaluator, &mut Seeded(seed));
            let (_, outcome) = run.map_err(|error| format!("order {seed}: {error:#}"))?;
            let order = if prepared.is_concurrent() { Order::Any } else { Order::Exact };
            judged(prepared, &outcome, order).map_err(|why| format!("order {seed}: {why}"))?;
        }
        Ok(())
    });
}

#[test]
fn each_case_comes_out_of_the_coordinator_as_written() {
    let evaluator: Arc<dyn Evaluate> = evaluator();
    each(|prepared| {
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let whole = struck::whole(prepared, &evaluator, &|| Ok(journal.clone()));
        whole.map(drop).map_err(|error| format!("{error:#}"))
    });
}

/// A store on disk, which each server opens anew.
fn on_disk(folder: &tempfile::TempDir) -> impl Fn() -> anyhow::Result<Arc<dyn Journal>> + use<> {
    let place = folder.path().join("journal");
    move || Ok(SledJournal::open(place.clone())? as Arc<dyn Journal>)
}

#[test]
fn each_case_comes_out_of_the_coordinator_over_sled_as_written() {
    let evaluator: Arc<dyn Evaluate> = evaluator();
    each(|prepared| {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let whole = struck::whole(prepared, &evaluator, &on_disk(&folder));
        whole.map(drop).map_err(|error| format!("{error:#}"))
    });
}

/// A number that is always the same for a case.
fn seed(prepared: &Prepared) -> u64 {
    prepared
        .case
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn each_case_survives_a_server_that_dies_at_any_append() {
    let (evaluator, blows): (Arc<dyn Evaluate>, _) = (evaluator(), AtomicUsize::new(0));
    each(|prepared| {
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let whole = struck::whole(prepared, &evaluator, &|| Ok(journal.clone()));
        let whole = whole.map_err(|error| format!("{error:#}"))?;
        for blow in struck::blows(&whole, seed(prepared)) {
            let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
            let open: &Open<'_> = &|| Ok(journal.clone());
            struck::strike(prepared, &evaluator, open, &whole, blow).map_err(|error| format!("{blow:?}: {error:#}"))?;
            blows.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    println!("{} servers died", blows.into_inner());
}

#[test]
fn a_sample_of_cases_survives_a_server_that_dies_over_sled() {
    let (evaluator, blows): (Arc<dyn Evaluate>, _) = (evaluator(), AtomicUsize::new(0));
    each(|prepared| {
        let mut chance = Seeded(seed(prepared));
        if chance.choose(SLED_SAMPLE) > 0 {
            return Ok(());
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let whole = struck::whole(prepared, &evaluator, &on_disk(&folder)).map_err(|error| format!("{error:#}"))?;
        let mut all = struck::blows(&whole, seed(prepared));
        if all.is_empty() {
            return Ok(());
        }
        let blow = all.swap_remove(chance.choose(all.len()));
        let folder = tempfile::tempdir().expect("a temporary directory");
        let survived = struck::strike(prepared, &evaluator, &on_disk(&folder), &whole, blow);
        survived.map_err(|error| format!("{blow:?}: {error:#}"))?;
        blows.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    println!("{} servers died", blows.into_inner());
}

/// After so many cases that catch a wrong runtime no more are tried.
const CATCHERS: usize = 2;

#[test]
fn each_wrong_runtime_is_caught() {
    if std::env::var("CASE").is_ok() {
        return;
    }
    let evaluator = evaluator();
    let right: Vec<&Prepared> = prepared()
        .iter()
        .filter(|prepared| {
            if !is_for_the_machine(prepared) {
                return false;
            }
            let run = pure::run(prepared, &*evaluator, &mut First);
            run.is_ok_and(|(_, outcome)| judged(prepared, &outcome, Order::Exact).is_ok())
        })
        .collect();
    let mut missed = Vec::new();
    for mutant in mutant::all() {
        // A few are enough: all of them would take minutes.
        let caught = right.iter().filter(|prepared| mutant.is_caught_by(prepared, &*evaluator)).take(CATCHERS).count();
        println!("{caught} or more cases catch the runtime that {}", mutant.name);
        if caught == 0 {
            missed.push(mutant.name);
        }
    }
    assert!(missed.is_empty(), "nothing catches a runtime that {}", missed.join("; that "));
}
