//! What an expression costs: through `Expressions`, against jaq called natively in the same process with a filter that is
//! compiled once. Run with `cargo run --release -p orchestrator-tests --example expression_bench`. The two are measured
//! in turns, so that a busy machine disturbs both alike. Both take and give `serde_json` values, as an engine needs it;
//! "bare" is jaq alone, on values that are its own already.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::{Val, read};
use orchestrator_host::definition::evaluate::Bindings;
use orchestrator_host::definition::graph::Expression;
use orchestrator_host::definition::path;
use orchestrator_host::model::Json;
use orchestrator_host::sandbox::expression::Expressions;
use orchestrator_host::sandbox::{Sandbox, SandboxConfig};
use serde_json::json;

type Jaq = Filter<JustLut<Val>>;

/// Turns of each kind; the median is told.
const TURNS: usize = 15;
/// How long one turn takes at least.
const TURN: Duration = Duration::from_millis(40);

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = SandboxConfig {
        cache_dir: folder.path().to_owned(),
        cache_key: [1; 32],
        memory_bytes_max: SandboxConfig::MEMORY_BYTES_MAX,
        attempts_max: 4,
    };
    let expressions = Expressions::new(&Sandbox::new(config)?)?;
    let small = json!({"volume": {"id": "v-1"}, "items": items(5)});
    let large = json!({"items": items(3_900)});
    println!("the large document has {} kB\n", large.to_string().len() / 1000);
    println!("{:<46} {:>11} {:>11} {:>11} {:>7} {:>7}", "microseconds", "ours", "jaq", "bare jaq", "/ jaq", "/ bare");
    for (name, program, data) in [
        ("plain path", ".volume.id", &small),
        ("plain path, in the sandbox", ".volume.id | .", &small),
        ("select and name, 5 items", "[.items[] | select(.size > 10) | .name]", &small),
        ("assignment", ".volume.size = 5 | .items[0].size |= . + 1", &small),
        ("plain path, large document", ".items[100].name", &large),
        ("select and name, large document", "[.items[] | select(.size > 10) | .name]", &large),
        ("group and count, large document", ".items | group_by(.kind) | map({kind: .[0].kind, count: length})", &large),
        ("the large document itself, in the sandbox", ". | .", &large),
    ] {
        measure(&expressions, name, program, data)?;
    }
    println!("\ncompiling: {:.0} us in the sandbox", micros(compiling(&expressions)?));
    Ok(())
}

fn items(count: usize) -> Json {
    let item = |at: usize| json!({"name": format!("item-{at:06}"), "size": at % 20, "kind": format!("kind-{}", at % 7), "tags": ["a", "b"]});
    (0..count).map(item).collect()
}

fn measure(expressions: &Arc<Expressions>, name: &str, program: &str, data: &Json) -> anyhow::Result<()> {
    let expression = Expression {
        text: program.to_owned(),
        pointer: "/do/0/bench".to_owned(),
        variables: vec![],
        path: path::parse(program),
    };
    let bindings = Bindings { input: Cow::Borrowed(data), variables: vec![], now_ms: 0 };
    let filter = compile(program)?;
    let own = read::parse_single(data.to_string().as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?;
    anyhow::ensure!(
        expressions.answer(&expression, &bindings)? == through_jaq(&filter, data)?,
        "they do not agree on {program}"
    );
    let (mut ours, mut jaq, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(turn(|| expressions.answer(&expression, &bindings).map_err(Into::into))?);
        jaq.push(turn(|| through_jaq(&filter, data))?);
        bare.push(turn(|| run(&filter, own.clone()))?);
    }
    let (ours, jaq, bare) = (median(ours), median(jaq), median(bare));
    println!(
        "{name:<46} {:>11.2} {:>11.2} {:>11.2} {:>7.2} {:>7.2}",
        micros(ours),
        micros(jaq),
        micros(bare),
        ours.as_secs_f64() / jaq.as_secs_f64(),
        ours.as_secs_f64() / bare.as_secs_f64()
    );
    Ok(())
}

/// The time of one call, over as many as fill a turn.
fn turn<T>(mut call: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<Duration> {
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < TURN {
        black_box(call()?);
        calls += 1;
    }
    Ok(start.elapsed() / calls)
}

fn compile(program: &str) -> anyhow::Result<Jaq> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let natives = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(&arena, File { code: program, path: () });
    let modules = modules.map_err(|_| anyhow::anyhow!("{program} does not load"))?;
    Compiler::default().with_funs(natives).compile(modules).map_err(|_| anyhow::anyhow!("{program} does not compile"))
}

fn run(filter: &Jaq, input: Val) -> anyhow::Result<Val> {
    let result = filter.id.run((Ctx::<JustLut<Val>>::new(&filter.lut, Vars::new([])), input)).next();
    match result {
        Some(Ok(value)) => Ok(value),
        _ => anyhow::bail!("jaq gives no value"),
    }
}

fn through_jaq(filter: &Jaq, data: &Json) -> anyhow::Result<Json> {
    let input = read::parse_single(data.to_string().as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(serde_json::from_str(&run(filter, input)?.to_string())?)
}

/// The time of compiling a program that is not known yet.
fn compiling(expressions: &Arc<Expressions>) -> anyhow::Result<Duration> {
    use orchestrator_host::definition::evaluate::Evaluate as _;
    let mut number = 0;
    let times = (0..TURNS).map(|_| {
        turn(|| {
            number += 1;
            expressions
                .check(&format!("[.items[] | select(.size > {number}) | .name]"), &[])
                .map_err(anyhow::Error::msg)
        })
    });
    Ok(median(times.collect::<Result<_, _>>()?))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
