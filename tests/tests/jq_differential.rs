//! The programs of `fixtures/jq/programs.txt` in our sandbox and in the `jq` of this machine: both give the same, or what
//! the file says that they give.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use orchestrator_host::definition::evaluate::Bindings;
use orchestrator_host::model::Json;
use orchestrator_host::sandbox::expression::Expressions;
use orchestrator_host::sandbox::{Sandbox, SandboxConfig};

/// All results of a program, or nothing where it failed.
type Answer = Option<Json>;

/// One line of the file.
struct Case {
    line: usize,
    program: String,
    input: Json,
    ours: Option<Answer>,
    theirs: Option<Answer>,
}

fn cases() -> Vec<Case> {
    let file = include_str!("../fixtures/jq/programs.txt");
    let lines = file.lines().enumerate();
    lines.filter(|(_, text)| !text.starts_with('#') && !text.is_empty()).map(|(at, text)| case(at + 1, text)).collect()
}

fn case(line: usize, text: &str) -> Case {
    let (program, rest) = text.split_once(" <- ").unwrap_or_else(|| panic!("line {line} has no ` <- `"));
    let (input, rest) = rest.split_once(" => ").map_or((rest, None), |(input, rest)| (input, Some(rest)));
    let (ours, theirs) = match rest {
        None => (None, None),
        Some(rest) => match rest.split_once(" =/= ") {
            None => (Some(answer(line, rest)), None),
            Some((ours, theirs)) => (Some(answer(line, ours)), Some(answer(line, theirs))),
        },
    };
    Case { line, program: program.trim().to_owned(), input: json(line, input), ours, theirs }
}

fn answer(line: usize, text: &str) -> Answer {
    (text.trim() != "error").then(|| json(line, text))
}

fn json(line: usize, text: &str) -> Json {
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("line {line}: `{text}` is not JSON: {error}"))
}

/// Whether two values are the same; jq knows no difference between `2` and `2.0`.
fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) if left.is_f64() || right.is_f64() => left.as_f64() == right.as_f64(),
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        (left, right) => left == right,
    }
}

fn agree(left: &Answer, right: &Answer) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same(left, right),
        (left, right) => left.is_none() && right.is_none(),
    }
}

fn expressions() -> Arc<Expressions> {
    // The folder keeps the evaluator's machine code between runs; the unit tests of the sandbox use the same.
    let cache_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/expression-cache").into();
    let config = SandboxConfig {
        cache_dir,
        cache_key: [7; 32],
        memory_bytes_max: SandboxConfig::MEMORY_BYTES_MAX,
        attempts_max: 4,
    };
    Expressions::new(&Sandbox::new(config).expect("a sandbox")).expect("the evaluator")
}

fn ours(expressions: &Expressions, case: &Case) -> Result<Json, String> {
    let bindings = Bindings { input: Cow::Borrowed(&case.input), variables: vec![], now_ms: 1_700_000_000_500 };
    expressions.compute(&format!("[{}]", case.program), &bindings)
}

fn jq(case: &Case) -> Answer {
    let program = format!("[{}]", case.program);
    let mut jq = Command::new("jq")
        .args(["--compact-output", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("jq is needed to compare with: apt-get install -y jq");
    let mut stdin = jq.stdin.take().expect("it is piped");
    // A program that does not compile may have left before it reads.
    let _ = stdin.write_all(case.input.to_string().as_bytes());
    drop(stdin);
    let output = jq.wait_with_output().expect("jq ends");
    if output.status.success() { serde_json::from_slice(&output.stdout).ok() } else { None }
}

/// What is wrong with one case.
fn fault(case: &Case, expressions: &Expressions) -> Option<String> {
    let computed = ours(expressions, case);
    let got = computed.clone().ok();
    let expected = case.ours.clone().unwrap_or_else(|| jq(case));
    if !agree(&got, &expected) {
        return Some(format!("ours gives {computed:?}, and not {}", shown(&expected)));
    }
    let theirs = case.theirs.as_ref()?;
    let now = jq(case);
    if agree(&now, &got) {
        return Some(format!("no difference any more: both give {}", shown(&now)));
    }
    (!agree(&now, theirs)).then(|| format!("jq gives {}, and not {}", shown(&now), shown(theirs)))
}

fn shown(answer: &Answer) -> String {
    answer.as_ref().map_or_else(|| "an error".to_owned(), Json::to_string)
}

#[test]
fn programs_give_what_jq_gives_but_for_the_known_differences() {
    let version = Command::new("jq").arg("--version").output();
    assert!(
        version.is_ok_and(|output| output.status.success()),
        "there is no jq to compare with: apt-get install -y jq"
    );
    let (cases, expressions) = (cases(), expressions());
    assert!(cases.len() >= 300, "only {} programs", cases.len());
    let faults: Vec<String> = cases
        .iter()
        .filter_map(|case| Some((case, fault(case, &expressions)?)))
        .map(|(case, fault)| format!("line {}: {} <- {}\n    {fault}", case.line, case.program, case.input))
        .collect();
    assert!(faults.is_empty(), "{} of {} programs:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

#[test]
fn no_program_stands_twice() {
    let mut seen = BTreeMap::new();
    for case in cases() {
        let key = (case.program, case.input.to_string());
        if let Some(before) = seen.insert(key.clone(), case.line) {
            panic!("lines {before} and {} both have {} <- {}", case.line, key.0, key.1);
        }
    }
}
