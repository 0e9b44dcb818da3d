//! A compiled jq program and one run of it.

use std::sync::OnceLock;

use jaq_core::load::{self, Arena, File, Loader, lex, parse};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::{Val, read};

use crate::natives::{Data, natives, not_json, set_now_ms};
use crate::value::Value;

/// Definitions of jaq that natives of ours replace, or that rest on natives that are left out. What `definitions.jq`
/// defines anew is left out as well.
const WITHOUT: [&str; 24] = [
    "halt",
    "halt_error",
    "debug",
    "stderr",
    "null",
    "true",
    "false",
    "not",
    "nan",
    "infinite",
    "type",
    "isboolean",
    "isnumber",
    "isstring",
    "isarray",
    "isobject",
    "getpath",
    "delpaths",
    "@htmld",
    "@urid",
    "tonumber",
    "totype",
    "scan_",
    "capture_of_match",
];

/// Why a program gave no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It does not compile.
    Syntax {
        /// What is wrong.
        message: String,
        /// The byte in the program where that shows.
        offset: u32,
    },
    /// It ran and failed, with this message.
    Runtime(String),
    /// It gave no result (0) or more than one (2).
    Results(u32),
    /// Its result is not JSON.
    NotJson(String),
}

/// A program that compiled.
pub struct Program {
    filter: Filter<Data>,
    variables: usize,
}

impl Program {
    /// Compiles; the variables are named with their `$`.
    ///
    /// # Errors
    /// The text is no program, imports something, or names an unknown filter or variable.
    pub fn new(text: &str, variables: &[String]) -> Result<Self, Error> {
        let arena = Arena::default();
        let modules = Loader::new(definitions())
            .load(&arena, File { code: text, path: () })
            .map_err(|errors| load_error(text, errors.into_iter().map(|(_, error)| error)))?;
        let refuse = |import: load::Import<'_, &str, ()>| Err((*import.path).to_owned());
        load::import(&modules, refuse)
            .map_err(|errors| load_error(text, errors.into_iter().map(|(_, error)| error)))?;
        let filter = Compiler::default()
            .with_funs(natives())
            .with_global_vars(variables.iter().map(String::as_str))
            .compile(modules)
            .map_err(|errors| compile_error(text, errors))?;
        Ok(Self { filter, variables: variables.len() })
    }

    /// Runs on JSON text with the variables' values in the order of [`Program::new`], and gives JSON text.
    ///
    /// # Errors
    /// It fails, or gives not exactly one JSON value.
    pub fn run(&self, input: &str, variables: &[String], now_ms: u64) -> Result<String, Error> {
        if variables.len() != self.variables {
            return Err(Error::Runtime(format!("{} variables where {} are needed", variables.len(), self.variables)));
        }
        set_now_ms(now_ms);
        let input = value(input)?;
        let variables: Vec<Value> = variables.iter().map(|text| value(text)).collect::<Result<_, _>>()?;
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new(variables));
        let mut results = self.filter.id.run((context, input));
        let result = match results.next() {
            None => return Err(Error::Results(0)),
            Some(Ok(result)) => result,
            Some(Err(exception)) => return Err(failure(exception)),
        };
        match results.next() {
            None => {}
            Some(Ok(_)) => return Err(Error::Results(2)),
            Some(Err(exception)) => return Err(failure(exception)),
        }
        not_json(&result.0).map_or(Ok(()), |what| Err(Error::NotJson(what)))?;
        Ok(result.to_string())
    }
}

/// The standard library, parsed once: it is a third of what compiling costs.
fn definitions() -> impl Iterator<Item = parse::Def<&'static str>> {
    static DEFINITIONS: OnceLock<Vec<parse::Def<&'static str>>> = OnceLock::new();
    let all = DEFINITIONS.get_or_init(|| {
        let ours = load::parse(include_str!("definitions.jq"), |parser| parser.defs()).expect("definitions.jq parses");
        let anew = |theirs: &parse::Def<_>| {
            ours.iter().any(|ours: &parse::Def<_>| ours.name == theirs.name && ours.args.len() == theirs.args.len())
        };
        let theirs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let mut all: Vec<_> = theirs.filter(|theirs| !WITHOUT.contains(&theirs.name) && !anew(theirs)).collect();
        all.extend(ours);
        all
    });
    all.iter().cloned()
}

fn value(text: &str) -> Result<Value, Error> {
    let value = read::parse_single(text.as_bytes());
    value.map(Value::of).map_err(|error| Error::Runtime(format!("cannot read the data: {error}")))
}

fn failure(exception: jaq_core::Exn<'_, Value>) -> Error {
    match exception.get_err() {
        Ok(error) => match error.into_val().0 {
            Val::TStr(text) => Error::Runtime(String::from_utf8_lossy(&text).into_owned()),
            value => Error::Runtime(value.to_string()),
        },
        Err(_) => Error::Runtime("the program left by a `break` without its `label`".to_owned()),
    }
}

fn syntax(text: &str, part: &str, message: String) -> Error {
    let inside = text.as_bytes().as_ptr_range().contains(&part.as_ptr());
    let offset = if inside { load::span(text, part).start } else { text.len() };
    Error::Syntax { message, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
}

/// The first error of loading.
fn load_error<'s>(text: &'s str, errors: impl Iterator<Item = load::Error<&'s str>>) -> Error {
    for error in errors {
        return match error {
            load::Error::Io(paths) => {
                let (path, _) = paths.into_iter().next().unwrap_or_default();
                syntax(text, path, "a program cannot import anything".to_owned())
            }
            load::Error::Lex(errors) => match errors.into_iter().next() {
                Some((expected, found)) => syntax(text, found, lex_message(&expected)),
                None => continue,
            },
            load::Error::Parse(errors) => match errors.into_iter().next() {
                Some((expected, found)) => syntax(text, found, format!("expected {}", parse_message(&expected))),
                None => continue,
            },
        };
    }
    syntax(text, "", "the program does not compile".to_owned())
}

fn lex_message(expected: &lex::Expect<&str>) -> String {
    format!("expected {}", expected.as_str())
}

fn parse_message<'s>(expected: &parse::Expect<&'s str>) -> &'s str {
    expected.as_str()
}

/// The first error of compiling.
fn compile_error<'s>(text: &'s str, errors: jaq_core::compile::Errors<&'s str, ()>) -> Error {
    match errors.into_iter().flat_map(|(_, errors)| errors).next() {
        None => syntax(text, "", "the program does not compile".to_owned()),
        Some((name, jaq_core::compile::Undefined::Filter(arity))) => {
            syntax(text, name, format!("there is no filter `{name}/{arity}`"))
        }
        Some((name, undefined)) => syntax(text, name, format!("there is no {} `{name}`", undefined.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(text: &str, input: &str) -> Result<String, Error> {
        Program::new(text, &[])?.run(input, &[], 1_500)
    }

    #[test]
    fn programs_give_one_json_value() {
        for (text, input, expected) in [
            (".a.b", r#"{"a":{"b":[1,2]}}"#, "[1,2]"),
            ("null | .x", "null", "null"),
            ("now", "null", "1.5"),
            ("[.[] | select(. > 1)]", "[1,2,3]", "[2,3]"),
            ("IN(1, 2)", "2", "true"),
            ("INDEX(.id)", r#"[{"id":1}]"#, r#"{"1":{"id":1}}"#),
            ("@csv", r#"[1,"a\"b",null,true]"#, r#""1,\"a\"\"b\",,true""#),
            ("@tsv", r#"["a\tb",2]"#, r#""a\\tb\t2""#),
            ("trimstr(\"x\")", "\"xax\"", "\"a\""),
            ("[leaf_paths]", r#"{"a":[1]}"#, r#"[["a",0]]"#),
            ("toarray", "1", "[1]"),
            ("4102444800 | todate", "null", "\"2100-01-01T00:00:00Z\""),
        ] {
            assert_eq!(eval(text, input).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn assignment_goes_through_null_as_in_jq() {
        for (text, input, expected) in [
            (".a.b = 1", "{}", r#"{"a":{"b":1}}"#),
            (".a.b += 1", "null", r#"{"a":{"b":1}}"#),
            (".[2] = 3", "[]", "[null,null,3]"),
            (".[1:] = [9]", "null", "[9]"),
            (".[1:]", "null", "null"),
            ("del(.[0,2])", "[1]", "[]"),
            ("del(.a.b)", "{}", "{}"),
            ("setpath([\"a\",0]; 1)", "null", r#"{"a":[1]}"#),
            ("first(.[] | select(. > 1)) |= 10", "[1,2,3]", "[1,10,3]"),
            ("(.a | select(.b) | .c) = 1", "{}", "{}"),
            (".a[]? = 1", "{}", "{}"),
            (".a = null", "{}", r#"{"a":null}"#),
        ] {
            assert_eq!(eval(text, input).as_deref(), Ok(expected), "{text}");
        }
        for (text, input) in [(".[-1] = 1", "[]"), (".[0] = 1", "{}"), (".a = 1", "[]"), (".[100000000] = 1", "[]")] {
            assert!(matches!(eval(text, input), Err(Error::Runtime(_))), "{text}");
        }
    }

    #[test]
    fn numbers_without_fraction_are_integers() {
        for (text, expected) in [
            ("4 / 2", "2"),
            ("1.5 + 1.5", "3"),
            ("3.0", "3"),
            ("1e3", "1000"),
            ("-(0)", "0"),
            ("1 / 3 * 3", "1"),
            ("[1, 2, 3][4 / 2]", "3"),
            ("5000000000 / 5", "1000000000"),
            ("9007199254740993 + 2", "9007199254740995"),
            ("\"1e3\" | tonumber", "1000"),
            ("5.9 % 2.9", "1"),
            ("1425599621.678 | floor", "1425599621"),
        ] {
            assert_eq!(eval(text, "null").as_deref(), Ok(expected), "{text}");
        }
        for text in ["1 / 0", "1 % 0", "1 / (1 - 1)"] {
            assert!(matches!(eval(text, "null"), Err(Error::Runtime(message)) if message.contains("zero")), "{text}");
        }
    }

    #[test]
    fn variables_come_in_their_order() {
        let program = Program::new("$a - $b", &["$a".to_owned(), "$b".to_owned()]).expect("compiles");
        assert_eq!(program.run("null", &["5".to_owned(), "3".to_owned()], 0).as_deref(), Ok("2"));
        assert!(program.run("null", &[], 0).is_err());
    }

    #[test]
    fn what_reaches_outside_does_not_compile() {
        for text in [
            "halt",
            "halt_error",
            "halt(1)",
            "env",
            "env.HOME",
            "$ENV",
            "input",
            "inputs",
            "debug",
            "debug(1)",
            "stderr",
            "localtime",
            "strflocaltime(\"%c\")",
            "input_line_number",
            "tobytes",
            "$__loc__",
            "import \"x\" as $p; $p",
            "import \"x\" as x; x::y",
            "include \"x\"; .",
            "$__prog_args",
        ] {
            assert!(matches!(Program::new(text, &[]), Err(Error::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn faults_are_told_apart_and_placed() {
        assert_eq!(
            eval(". | foo(1)", "1"),
            Err(Error::Syntax { message: "there is no filter `foo/1`".to_owned(), offset: 4 })
        );
        assert!(matches!(eval("1 +", "1"), Err(Error::Syntax { offset: 3, .. })));
        assert!(matches!(eval("\"a", "1"), Err(Error::Syntax { .. })));
        assert_eq!(eval("error(\"no\")", "1"), Err(Error::Runtime("no".to_owned())));
        assert_eq!(eval("error({a: 1})", "1"), Err(Error::Runtime("{\"a\":1}".to_owned())));
        assert_eq!(eval("empty", "1"), Err(Error::Results(0)));
        assert_eq!(eval("1, 2", "1"), Err(Error::Results(2)));
        for text in ["nan", "infinite", "1e1000", "[-infinite]", "{a: nan}"] {
            assert!(matches!(eval(text, "1"), Err(Error::NotJson(_))), "{text}");
        }
    }
}
