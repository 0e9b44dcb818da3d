//! The native filters: those of jaq that neither reach outside nor mistake jq, and ours in place of the others.

use std::sync::atomic::{AtomicU64, Ordering};

use jaq_core::data::JustLut;
use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::path::Opt;
use jaq_core::{Bind, Error, Exn, Native, RunPtr, ValR, ValT as _, ValX, ValXs};
use jaq_json::{Num, Rc, Val, read};

use crate::value::Value;
use crate::{base32, dates, regex};

/// What filters work on.
pub type Data = JustLut<Value>;

/// Natives of jaq that reach outside or depend on where the host stands, and those that ours replace.
const WITHOUT: [&str; 19] = [
    "halt",
    "env",
    "now",
    "debug_empty",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "first",
    "last",
    "limit",
    "skip",
    "matches",
    "split_matches",
    "split_",
    "ltrimstr",
    "rtrimstr",
    "keys_unsorted",
    "reverse",
    "strptime",
];

/// What `now` gives. A native filter cannot carry data of its own, and this component has one thread.
static NOW_MS: AtomicU64 = AtomicU64::new(0);

/// Sets what `now` gives from here on.
pub fn set_now_ms(now_ms: u64) {
    NOW_MS.store(now_ms, Ordering::Relaxed);
}

/// All native filters.
pub fn natives() -> impl Iterator<Item = Fun<Data>> {
    jaq_core::funs()
        .chain(jaq_std::funs())
        .filter(|(name, _, _)| !WITHOUT.contains(name))
        .chain(kinds().into_iter().chain(values()).chain(texts()).map(run::<Data>))
        .chain(paths())
}

fn is<'a>(value: &Val, wanted: &str) -> ValXs<'a, Value> {
    bome(Ok(Value::from(kind(value) == wanted)))
}

/// jq's name of a value's type.
fn kind(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "boolean",
        Val::Num(_) => "number",
        Val::BStr(_) | Val::TStr(_) => "string",
        Val::Arr(_) => "array",
        Val::Obj(_) => "object",
    }
}

fn kinds() -> [Filter<RunPtr<Data>>; 12] {
    [
        ("true", v(0), |_| bome(Ok(Value::from(true)))),
        ("false", v(0), |_| bome(Ok(Value::from(false)))),
        ("null", v(0), |_| bome(Ok(Value::default()))),
        ("nan", v(0), |_| bome(Ok(Value::from(f64::NAN)))),
        ("infinite", v(0), |_| bome(Ok(Value::from(f64::INFINITY)))),
        ("type", v(0), |cv| bome(Ok(Value::text(kind(&cv.1.0))))),
        ("isboolean", v(0), |cv| is(&cv.1.0, "boolean")),
        ("isnumber", v(0), |cv| is(&cv.1.0, "number")),
        ("isstring", v(0), |cv| is(&cv.1.0, "string")),
        ("isarray", v(0), |cv| is(&cv.1.0, "array")),
        ("isobject", v(0), |cv| is(&cv.1.0, "object")),
        ("not", v(0), |cv| bome(Ok(Value::from(!cv.1.as_bool())))),
    ]
}

fn values() -> [Filter<RunPtr<Data>>; 12] {
    [
        ("now", v(0), |_| bome(Ok(Value::from(NOW_MS.load(Ordering::Relaxed) as f64 / 1000.0)))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("keys_unsorted", v(0), |cv| bome(cv.1.key_values().map(|pair| pair.map(|(key, _)| key)).collect())),
        ("reverse", v(0), |cv| bome(reverse(cv.1))),
        ("has", v(1), |cv| unary(cv, |value, key| has(value, &key))),
        ("contains", v(1), |cv| unary(cv, |value, part| contains(&value.0, &part.0).map(Value::from))),
        ("indices", v(1), |cv| unary(cv, indices)),
        ("bsearch", v(1), |cv| unary(cv, |value, wanted| bsearch(&value, &wanted))),
        ("delpaths", v(1), |cv| unary(cv, |value, paths| delpaths(value, &paths))),
        ("fromjson", v(0), |cv| bome(fromjson(&cv.1))),
        ("tonumber", v(0), |cv| bome(tonumber(cv.1))),
        ("tojson", v(0), |cv| bome(Ok(Value::text(cv.1.to_string())))),
    ]
}

fn texts() -> [Filter<RunPtr<Data>>; 4] {
    [
        ("strptime", v(1), |cv| unary(cv, |text, form| dates::strptime(&text, &form))),
        ("_pieces", v(2), |mut cv| {
            let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
            bome(regex::pieces(&cv.1, &expression, &flags))
        }),
        ("encode_base32", v(0), |cv| bome(bytes(&cv.1).map(|bytes| Value::text(base32::encode(bytes))))),
        ("decode_base32", v(0), |cv| {
            let decoded =
                bytes(&cv.1).and_then(|text| base32::decode(text).ok_or_else(|| Error::str("this is not base32")));
            bome(decoded.map(|bytes| Value::text(String::from_utf8_lossy(&bytes))))
        }),
    ]
}

fn bytes(value: &Value) -> Result<&[u8], Error<Value>> {
    jaq_std::ValT::as_utf8_bytes(value).ok_or_else(|| Error::typ(value.clone(), "text"))
}

fn length(value: Value) -> ValR<Value> {
    Ok(match &value.0 {
        Val::Null => Value::from(0_usize),
        Val::Num(_) if value < Value::from(0_usize) => return -value,
        Val::Num(_) => value,
        Val::BStr(text) | Val::TStr(text) => Value::from(String::from_utf8_lossy(text).chars().count()),
        Val::Arr(items) => Value::from(items.len()),
        Val::Obj(fields) => Value::from(fields.len()),
        Val::Bool(_) => return Err(Error::str(format_args!("{value} has no length"))),
    })
}

fn reverse(value: Value) -> ValR<Value> {
    match value.0 {
        Val::Null => Ok(Value::array(Vec::new())),
        Val::TStr(text) => Ok(Value::text(String::from_utf8_lossy(&text).chars().rev().collect::<String>())),
        Val::Arr(items) => Ok(Value::array(Rc::unwrap_or_clone(items).into_iter().rev().collect())),
        value => Err(Error::typ(Value::of(value), "an array or text to reverse")),
    }
}

fn has(value: Value, key: &Value) -> ValR<Value> {
    match (&value.0, &key.0) {
        (Val::Obj(_), Val::TStr(_)) => Ok(Value::from(value.child(key)?.is_some())),
        (Val::Null, Val::TStr(_) | Val::Num(_)) => Ok(Value::from(false)),
        (Val::Arr(_), Val::Num(_)) if *key < Value::from(0_usize) => Ok(Value::from(false)),
        (Val::Arr(_), Val::Num(_)) => Ok(Value::from(value.child(key)?.is_some())),
        (value, key) => Err(Error::str(format_args!("cannot check whether {} has a {} key", kind(value), kind(key)))),
    }
}

fn contains(value: &Val, part: &Val) -> Result<bool, Error<Value>> {
    if kind(value) == kind(part) {
        return Ok(holds(value, part));
    }
    let (value, part) = (kind(value), kind(part));
    Err(Error::str(format_args!("whether {value} contains {part} cannot be checked")))
}

fn holds(value: &Val, part: &Val) -> bool {
    match (value, part) {
        (Val::TStr(text), Val::TStr(part)) => {
            part.is_empty() || text.windows(part.len()).any(|window| *window == part[..])
        }
        (Val::Arr(items), Val::Arr(parts)) => parts.iter().all(|part| items.iter().any(|item| holds(item, part))),
        (Val::Obj(fields), Val::Obj(parts)) => {
            parts.iter().all(|(key, part)| fields.get(key).is_some_and(|value| holds(value, part)))
        }
        (value, part) => value == part,
    }
}

fn indices(value: Value, wanted: Value) -> ValR<Value> {
    let at = match (&value.0, &wanted.0) {
        (Val::TStr(text), Val::TStr(part)) => starts(&String::from_utf8_lossy(text), &String::from_utf8_lossy(part)),
        (Val::Arr(_), Val::Arr(_)) => return value.index(&wanted),
        (Val::Arr(items), wanted) => (0..items.len()).filter(|at| items[*at] == *wanted).collect(),
        _ => return value.index(&wanted),
    };
    Ok(at.into_iter().map(Value::from).collect())
}

/// Where in the text the part starts, in characters; matches may overlap.
fn starts(text: &str, part: &str) -> Vec<usize> {
    let places = text.char_indices().enumerate();
    places.filter(|(_, (byte, _))| !part.is_empty() && text[*byte..].starts_with(part)).map(|(at, _)| at).collect()
}

fn bsearch(value: &Value, wanted: &Value) -> ValR<Value> {
    match &value.0 {
        Val::Arr(items) => Ok(Value::from(match items.binary_search(&wanted.0) {
            Ok(at) => at as isize,
            Err(at) => -1 - at as isize,
        })),
        _ => Err(Error::typ(value.clone(), "a sorted array")),
    }
}

/// From the last to the first, so that no deletion moves what another one means.
fn delpaths(value: Value, paths: &Value) -> ValR<Value> {
    let Val::Arr(paths) = &paths.0 else { return Err(Error::typ(paths.clone(), "an array of paths")) };
    let mut sorted: Vec<&Val> = paths.iter().collect();
    sorted.sort();
    sorted.into_iter().rev().try_fold(value, |value, path| value.without(&steps(&Value::of(path.clone()))?))
}

fn steps(path: &Value) -> Result<Rc<Vec<Val>>, Error<Value>> {
    match &path.0 {
        Val::Arr(steps) => Ok(steps.clone()),
        _ => Err(Error::typ(path.clone(), "a path (an array)")),
    }
}

fn fromjson(value: &Value) -> ValR<Value> {
    let parsed = read::parse_single(bytes(value)?);
    let parsed = parsed.map_err(|error| Error::str(format_args!("{value} is not JSON: {error}")))?;
    match not_json(&parsed) {
        None => Ok(Value::of(parsed)),
        Some(what) => Err(Error::str(format_args!("{value} is not JSON: it holds {what}"))),
    }
}

fn tonumber(value: Value) -> ValR<Value> {
    if let Val::Num(_) = value.0 {
        return Ok(value);
    }
    let fail = || Error::str(format_args!("cannot read {value} as a number"));
    let text = std::str::from_utf8(bytes(&value)?).map_err(|_| fail())?.trim();
    let plain = text.bytes().all(|letter| letter.is_ascii_digit() || b"+-.eE".contains(&letter));
    if !plain || !text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(fail());
    }
    Value::from_num(text.trim_start_matches('+'))
}

/// What in the value JSON cannot say.
pub fn not_json(value: &Val) -> Option<String> {
    match value {
        Val::Null | Val::Bool(_) | Val::Num(Num::Int(_) | Num::BigInt(_)) => None,
        Val::Num(_) => {
            let number = jaq_std::ValT::as_f64(value).unwrap_or(f64::NAN);
            (!number.is_finite()).then(|| format!("the number {value}, which is {number}"))
        }
        Val::TStr(text) => std::str::from_utf8(text).is_err().then(|| "text that is not UTF-8".to_owned()),
        Val::BStr(_) => Some("a byte string".to_owned()),
        Val::Arr(items) => items.iter().find_map(not_json),
        Val::Obj(fields) => fields.iter().find_map(|(key, value)| match key {
            Val::TStr(_) => not_json(key).or_else(|| not_json(value)),
            key => Some(format!("the key {key}, which is not text")),
        }),
    }
}

/// Changes what a path leads to.
fn update<'a>(value: Value, path: &[Value], f: &impl Fn(Value) -> ValXs<'a, Value>) -> ValX<'a, Value> {
    match path {
        [] => f(value).next().unwrap_or_else(|| Ok(Value::default())),
        [key] => value.map_index(key, Opt::Essential, f),
        [key, rest @ ..] => value.map_index(key, Opt::Essential, |child| std::iter::once(update(child, rest, f))),
    }
}

/// `run`, `paths` and `update` of a filter that hands on some outputs of its argument, so that it can be assigned to.
macro_rules! selection {
    ($name:literal, $arguments:expr, |$outputs:ident, $context:ident| $select:expr) => {{
        let native = Native::<Data>::new(|mut cv| {
            let (filter, inner) = cv.0.pop_fun();
            let $context = &mut cv.0;
            let $outputs = filter.run((inner, cv.1));
            $select
        });
        let native = native.with_paths(|mut cv| {
            let (filter, inner) = cv.0.pop_fun();
            let $context = &mut cv.0;
            let $outputs = filter.paths((inner, cv.1));
            $select
        });
        let native = native.with_update(|mut cv, f| {
            let (filter, inner) = cv.0.pop_fun();
            let $context = &mut cv.0;
            let $outputs = filter.paths((inner, (cv.1.clone(), Default::default())));
            let selected: ValXs<'_, _, Value> = $select;
            let mut value = Ok(cv.1);
            for found in selected {
                let path = found.map(|(_, path)| path.iter().cloned().collect::<Vec<Value>>());
                value = value.and_then(|value| {
                    let mut path = path?;
                    path.reverse();
                    update(value, &path, &|old| f(old))
                });
            }
            Box::new(std::iter::once(value))
        });
        ($name, $arguments, native)
    }};
}

fn paths() -> [Fun<Data>; 5] {
    let filter = || Box::from([Bind::Fun(())]);
    let count_and_filter = || Box::from([Bind::Var(()), Bind::Fun(())]);
    [
        getpath(),
        selection!("first", filter(), |outputs, _context| Box::new(outputs.take(1))),
        selection!("last", filter(), |outputs, _context| last(outputs)),
        selection!("limit", count_and_filter(), |outputs, context| {
            match count(&context.pop_var()) {
                Ok(count) => Box::new(outputs.take(count)),
                Err(error) => Box::new(std::iter::once(Err(Exn::from(error)))),
            }
        }),
        selection!("skip", count_and_filter(), |outputs, context| {
            match count(&context.pop_var()) {
                Ok(count) => skip(outputs, count),
                Err(error) => Box::new(std::iter::once(Err(Exn::from(error)))),
            }
        }),
    ]
}

fn count(value: &Value) -> Result<usize, Error<Value>> {
    let number = jaq_std::ValT::as_f64(value).ok_or_else(|| Error::typ(value.clone(), "a number of outputs"))?;
    Ok(number.max(0.0).ceil() as usize)
}

/// The last output; an error ends the search.
fn last<'a, T: 'a>(mut outputs: ValXs<'a, T, Value>) -> ValXs<'a, T, Value> {
    let last = outputs.try_fold(None, |_, output| output.map(Some));
    Box::new(last.transpose().into_iter())
}

/// All but the first outputs; an error among those stays.
fn skip<'a, T: 'a>(outputs: ValXs<'a, T, Value>, count: usize) -> ValXs<'a, T, Value> {
    Box::new(outputs.enumerate().filter(move |(at, output)| *at >= count || output.is_err()).map(|(_, output)| output))
}

fn getpath() -> Fun<Data> {
    let native = Native::<Data>::new(|cv| {
        unary(cv, |value, path| {
            steps(&path)?.iter().try_fold(value, |value, step| value.index(&Value::of(step.clone())))
        })
    });
    let native = native.with_paths(|mut cv| {
        let path = steps(&cv.0.pop_var());
        let found = path.and_then(|path| {
            path.iter().try_fold(cv.1, |(value, path), step| {
                let step = Value::of(step.clone());
                Ok((value.index(&step)?, path.cons(step)))
            })
        });
        Box::new(std::iter::once(found.map_err(Exn::from)))
    });
    let native = native.with_update(|mut cv, f| {
        let path = steps(&cv.0.pop_var()).map_err(Exn::from);
        Box::new(std::iter::once(path.and_then(|path| {
            let path: Vec<Value> = path.iter().cloned().map(Value::of).collect();
            update(cv.1, &path, &|old| f(old))
        })))
    });
    ("getpath", v(1), native)
}
