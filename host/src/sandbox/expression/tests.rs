//! The real evaluator on friendly and hostile programs. All tests share one, and its machine code is kept below `target`,
//! because its component takes seconds to compile.

use std::borrow::Cow;
use std::sync::OnceLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::definition::graph::PathStep;
use crate::definition::path::parse;
use crate::sandbox::SandboxConfig;

fn expressions() -> &'static Expressions {
    static EXPRESSIONS: OnceLock<Arc<Expressions>> = OnceLock::new();
    EXPRESSIONS.get_or_init(|| {
        let cache_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/expression-cache").into();
        let (cache_key, memory_bytes_max) = ([7; 32], SandboxConfig::MEMORY_BYTES_MAX);
        let config = SandboxConfig { cache_dir, cache_key, memory_bytes_max, attempts_max: 4 };
        Expressions::new(&Sandbox::new(config).expect("a sandbox")).expect("the evaluator")
    })
}

fn evaluate(text: &str, input: &Json, variables: &[(&str, Json)]) -> Result<Json, String> {
    let bindings = Bindings {
        input: Cow::Borrowed(input),
        variables: variables.iter().map(|(name, value)| (*name, Cow::Borrowed(value))).collect(),
        now_ms: 1_700_000_000_500,
    };
    expressions().in_sandbox(text, &bindings)
}

#[test]
fn programs_give_their_one_value() {
    let data = json!({"a": [1, 2, 3], "name": "x", "volume": {"id": "v-1"}});
    for (text, expected) in [
        (".volume.id", json!("v-1")),
        ("[.a[] | select(. > 1)] | length", json!(2)),
        ("\"Hello \\(.name)\"", json!("Hello x")),
        ("$context + {name}", json!({"level": 1, "name": "x"})),
        ("now | floor", json!(1_700_000_000)),
        (".missing.x // \"no\"", json!("no")),
        ("1.5 + 9007199254740993", json!(9007199254740994.5_f64)),
    ] {
        let variables = if text.contains("$context") { vec![("context", json!({"level": 1}))] } else { vec![] };
        assert_eq!(evaluate(text, &data, &variables), Ok(expected), "{text}");
    }
}

#[test]
fn an_error_shows_the_expression_and_its_place() {
    let expression = Expression {
        text: format!("error(\"no\") # {}", "x".repeat(500)),
        pointer: "/do/0/a/if".to_owned(),
        variables: vec![],
        path: None,
    };
    let bindings = Bindings { input: Cow::Owned(json!(null)), variables: vec![], now_ms: 0 };
    let error = expressions().in_sandbox(&expression.text, &bindings).expect_err("it fails");
    assert_eq!(error, "no");
    for (text, part) in [
        ("empty", "no result"),
        (".[]", "several results"),
        ("nan", "not JSON"),
        (".[0].x", "cannot index"),
        ("nope", "no filter `nope/0`"),
        ("$nope", "no variable `$nope`"),
    ] {
        let error = evaluate(text, &json!([1, 2]), &[]).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn hostile_programs_end_in_an_error_and_soon() {
    let deep = "[".repeat(100_000);
    for (text, input, part) in [
        ("def f: f; f", json!(null), "did not end within 1 s"),
        ("last(repeat(1))", json!(null), "did not end within 1 s"),
        ("until(false; .)", json!(null), "did not end within 1 s"),
        ("reduce range(1e12) as $x (0; . + 1)", json!(null), "did not end within 1 s"),
        ("def f: 1+f; f", json!(null), "recurses too deep"),
        ("def f: [f]; f", json!(null), "recurses too deep"),
        ("fromjson", json!(deep), ""),
        ("\"x\" * 1000000000", json!(null), "memory"),
        ("[range(1e9)]", json!(null), ""),
        ("reduce range(100000) as $x (null; [.])", json!(null), ""),
        ("halt", json!(null), "no filter `halt/0`"),
        ("halt_error", json!(null), "no filter"),
        ("env", json!(null), "no filter `env/0`"),
        ("env.HOME", json!(null), "no filter `env/0`"),
        ("$ENV", json!(null), "no variable"),
        ("input", json!(null), "no filter `input/0`"),
        ("import \"x\" as $p; $p", json!(null), "import"),
        ("include \"x\"; .", json!(null), "import"),
        ("debug", json!(null), "no filter"),
        ("localtime", json!(null), "no filter"),
    ] {
        let started = Instant::now();
        let error = evaluate(text, &input, &[]).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
        // One second of its own, the rest for a machine with other work.
        assert!(started.elapsed() < Duration::from_secs(10), "{text} took {:?}", started.elapsed());
        assert_eq!(evaluate(".a | not", &json!({"a": 1}), &[]), Ok(json!(false)), "after {text}");
    }
    let nested = format!("{}.{}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(evaluate(&nested, &json!(null), &[]).is_err());
}

#[test]
fn check_compiles_for_exactly_these_variables() {
    assert_eq!(expressions().check("$a + .b", &["a"]), Ok(()));
    assert!(expressions().check("$a + .b", &[]).is_err());
    assert!(expressions().check("1 +", &[]).is_err());
    // Compiled, not run.
    assert_eq!(expressions().check("def f: f; f", &[]), Ok(()));
}

#[test]
fn more_programs_than_are_kept_still_run() {
    for number in 0..PROGRAMS_MAX + 20 {
        assert_eq!(evaluate(&format!(". + {number}"), &json!(1), &[]), Ok(json!(number + 1)));
    }
}

fn json_tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1000i32..1000).prop_map(|number| Json::from(f64::from(number) / 8.0)),
        "[a-c\"\\\\é ]{0,3}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec(("[a-c]", inner), 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn plain_path() -> impl Strategy<Value = PlainPath> {
    let step = prop_oneof![
        "[a-c]".prop_map(PathStep::Key),
        "[a-c] [a-c]".prop_map(PathStep::Key),
        (-3i64..3).prop_map(PathStep::Index),
    ];
    (any::<bool>(), prop::collection::vec(step, 0..4))
        .prop_map(|(rooted, steps)| PlainPath { root: rooted.then(|| "context".to_owned()), steps })
}

fn written(path: &PlainPath) -> String {
    let mut text = path.root.as_ref().map_or(String::new(), |root| format!("${root}"));
    for step in &path.steps {
        match step {
            PathStep::Key(key) if key.contains(' ') => text += &format!(".{}", Json::from(key.as_str())),
            PathStep::Key(key) => text += &format!(".{key}"),
            PathStep::Index(index) if text.is_empty() => text += &format!(".[{index}]"),
            PathStep::Index(index) => text += &format!("[{index}]"),
        }
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_plain_path_gives_natively_what_jq_gives(data in json_tree(), path in plain_path()) {
        let text = written(&path);
        prop_assert_eq!(parse(&text), Some(path.clone()));
        let bound = path.root.is_some().then(|| ("context", Cow::Borrowed(&data)));
        let bindings = Bindings { input: Cow::Borrowed(&data), variables: bound.into_iter().collect(), now_ms: 0 };
        prop_assert_eq!(native(&path, &bindings), expressions().in_sandbox(&text, &bindings));
    }

    #[test]
    fn a_literal_is_what_jq_makes_of_it(data in json_tree()) {
        let text = data.to_string();
        if let Some(value) = literal(&text) {
            prop_assert_eq!(Ok(value), evaluate(&text, &Json::Null, &[]));
        }
    }
}
