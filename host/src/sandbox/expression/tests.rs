//! The real evaluator on friendly and hostile programs. All tests share one, and its machine code is kept below `target`,
//! because its component takes seconds to compile.

use std::borrow::Cow;
use std::sync::OnceLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::definition::expression::name;
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
    expressions().compute(text, &bindings)
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
    let bindings = Bindings { input: Cow::Owned(json!("v".repeat(500))), variables: vec![], now_ms: 0 };
    for (text, message) in [
        (format!("error(\"no\") # {}", "x".repeat(500)), "no"),
        (".a".to_owned(), " with \"a\""),
        (".a | .b".to_owned(), " with \"a\""),
    ] {
        let path = parse(&text);
        let expression = Expression { text, pointer: "/do/0/a/if".to_owned(), variables: vec![], path };
        let error = expressions().answer(&expression, &bindings).expect_err("it fails");
        assert!(error.message.ends_with(message), "{error}");
        assert!(error.to_string().ends_with(" at /do/0/a/if)"), "{error}");
        assert!(error.to_string().chars().count() < 500, "{error}");
        assert!(expression.text.starts_with(&error.text[..2]), "{error}");
    }
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
        ("\"x\" * 1e300", json!(null), "memory"),
        ("[limit(1e9; repeat(\"x\"))] | add", json!(null), ""),
        ("def f: . + .; \"x\" | until(false; f)", json!(null), ""),
        (".[1000000000] = 1", json!([]), "out of bounds"),
        (".[1000000] = 1 | .[1000001] = 2 | [., .] | tojson * 100", json!(null), "memory"),
        ("[range(1000000)] | [combinations(3)]", json!(null), ""),
        ("reduce range(100000) as $x (null; {a: .}) | .. |= .", json!(null), ""),
        ("\"a\" | test(\"(((a{100}){100}){100}){100}\")", json!(null), "size limit"),
        ("def f(g): g | f(g); f(.)", json!(null), ""),
        ("path(repeat(.a))", json!(null), ""),
        (".[range(1e9)] = 0", json!([]), ""),
        ("getpath([range(100000) | \"a\"]) = 1", json!(null), ""),
        ("delpaths([range(1e7) | [.]])", json!([1]), ""),
        ("\"[\" * 100000 | fromjson", json!(null), ""),
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

/// What loose mode does: the text is tried, and stays text where that fails.
fn loose(text: &str, input: &Json) -> Json {
    evaluate(text, input, &[]).unwrap_or_else(|_| Json::from(text))
}

#[test]
fn in_loose_mode_a_text_that_is_no_program_or_fails_stays_text() {
    let input = json!({"a": 1, "s": "x"});
    for (text, expected) in [
        (".a + 1", json!(2)),
        ("Hello world", json!("Hello world")),
        ("hello", json!("hello")),
        ("volume-1", json!("volume-1")),
        ("https://host.example/a?b=c", json!("https://host.example/a?b=c")),
        ("", json!("")),
        ("empty", json!("empty")),
        (".s.x", json!(".s.x")),
        ("$nothing", json!("$nothing")),
        ("12", json!(12)),
        ("null", json!(null)),
    ] {
        // A second time from what the instance remembers.
        assert_eq!([loose(text, &input), loose(text, &input)], [expected.clone(), expected], "{text}");
    }
}

#[test]
fn texts_that_are_no_programs_are_forgotten_in_time() {
    for number in 0..2 * PROGRAMS_MAX {
        assert!(evaluate(&format!("no program {number}"), &json!(1), &[]).is_err());
    }
    assert_eq!(evaluate(". + 1", &json!(1), &[]), Ok(json!(2)));
}

fn json_tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1000i32..1000).prop_map(|number| Json::from(f64::from(number) / 8.0)),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Json::from),
        "[a-c\"\\\\é ]{0,3}".prop_map(Json::from),
        ".{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((key(), inner), 0..4).prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "[a-c] [a-c]", Just("é".to_owned()), Just("and".to_owned()), Just(String::new())]
}

/// A path with one way of writing each of its steps.
fn plain_path() -> impl Strategy<Value = (PlainPath, String)> {
    let step = prop_oneof![key().prop_map(PathStep::Key), (-4i64..4).prop_map(PathStep::Index)];
    (any::<bool>(), prop::collection::vec((step, 0..3usize), 0..6)).prop_map(|(rooted, steps)| {
        let root = rooted.then(|| "context".to_owned());
        let mut text = root.as_ref().map_or(String::new(), |root| format!("${root}"));
        for (step, way) in &steps {
            text += &written(step, *way, text.is_empty());
        }
        if text.is_empty() {
            text.push('.');
        }
        (PlainPath { root, steps: steps.into_iter().map(|(step, _)| step).collect() }, text)
    })
}

fn written(step: &PathStep, way: usize, first: bool) -> String {
    let dot = if first { "." } else { "" };
    match step {
        PathStep::Key(key) if way == 0 && name(key) == key && !key.is_empty() => format!(".{key}"),
        PathStep::Key(key) if way == 1 => format!(".{}", Json::from(key.as_str())),
        PathStep::Key(key) => format!("{dot}[{}]", Json::from(key.as_str())),
        PathStep::Index(index) if way == 0 => format!(".[{index}]"),
        PathStep::Index(index) => format!("{dot}[{index}]"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_plain_path_gives_natively_what_jq_gives(data in json_tree(), (path, text) in plain_path()) {
        prop_assert_eq!(parse(&text), Some(path.clone()), "{}", text);
        let bound = path.root.is_some().then(|| ("context", Cow::Borrowed(&data)));
        let bindings = Bindings { input: Cow::Borrowed(&data), variables: bound.into_iter().collect(), now_ms: 0 };
        match (native(&path, &bindings), expressions().compute(&text, &bindings)) {
            (Ok(native), Ok(computed)) => prop_assert_eq!(native, computed, "{}", text),
            (native, computed) => prop_assert_eq!(native.is_err(), computed.is_err(), "{}", text),
        }
    }

    #[test]
    fn a_path_into_the_document_gives_what_stands_there(data in json_tree(), turns in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let (mut here, mut text) = (&data, String::new());
        for turn in turns {
            let step = match here {
                Json::Array(items) if !items.is_empty() => PathStep::Index(turn.index(items.len()) as i64),
                Json::Object(members) if !members.is_empty() => {
                    PathStep::Key(members.keys().nth(turn.index(members.len())).cloned().unwrap_or_default())
                }
                _ => break,
            };
            text += &written(&step, 1, text.is_empty());
            here = match &step {
                PathStep::Key(key) => &here[key.as_str()],
                PathStep::Index(index) => &here[usize::try_from(*index).unwrap_or_default()],
            };
        }
        let text = if text.is_empty() { ".".to_owned() } else { text };
        let bindings = Bindings { input: Cow::Borrowed(&data), variables: vec![], now_ms: 0 };
        let path = parse(&text).expect("it is a plain path");
        prop_assert_eq!(native(&path, &bindings), Ok(here.clone()));
        prop_assert_eq!(expressions().compute(&text, &bindings), Ok(here.clone()));
    }

    #[test]
    fn a_literal_is_what_jq_makes_of_it(data in json_tree()) {
        let text = data.to_string();
        if let Some(value) = literal(&text) {
            prop_assert_eq!(Ok(value), evaluate(&text, &Json::Null, &[]));
        }
    }

    #[test]
    fn any_text_gives_a_value_or_an_error(text in "[ -~é\\n]{0,40}", data in json_tree()) {
        let _ = evaluate(&text, &data, &[]);
        prop_assert_eq!(evaluate(".", &data, &[]), Ok(data));
    }
}
