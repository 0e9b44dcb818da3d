//! The only door to YAML: a tree that keeps every position, by YAML 1.2's core schema (so `on` is text), with duplicate
//! keys refused and every size bounded. Text without positions, such as what we write ourselves, goes through
//! [`from_yaml`] and [`to_yaml`]. It knows no format that is written in YAML.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::diagnostic::{Diagnostic, Position, Source};
use crate::model::Json;

/// The longest text that is read, in bytes: room for a workflow of as many tasks as are taken. The largest real
/// definition known to us has 60 kB.
pub const BYTES_MAX: usize = 2 << 20;
/// The most nodes a tree may have once its aliases are expanded: twenty for each of as many tasks as are taken.
pub const NODES_MAX: usize = 400_000;
/// The deepest nesting. It keeps every recursion over a tree far from the end of a stack.
pub const DEPTH_MAX: usize = 64;
/// The most bytes of text in a tree once its aliases are expanded; without it, few nodes could still fill the memory.
pub const EXPANDED_BYTES_MAX: usize = 8 << 20;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Where it starts; what an alias stands for has the place of its anchor.
    pub position: Position,
    /// The value.
    pub value: Value,
}

/// A value as YAML 1.2's core schema reads it, limited to what JSON can say.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`, never `yes` or `on`.
    Bool(bool),
    /// A finite number.
    Number(serde_json::Number),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Tree>),
    /// A mapping, in written order, without duplicate keys.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key, always taken as text: `1:` is the key `1`.
    pub key: String,
    /// Where the key starts.
    pub position: Position,
    /// The value.
    pub value: Tree,
}

impl Tree {
    /// The same as JSON.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
            }
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries, if it is a mapping.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if it is a sequence.
    pub fn as_list(&self) -> Option<&[Tree]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key, if it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        self.as_map()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// What kind of value it is, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The place of what a JSON pointer leads to, or of its nearest ancestor that exists. For errors of validators,
    /// which speak in pointers.
    pub fn position_at(&self, pointer: &str) -> Position {
        let mut tree = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match &tree.value {
                Value::Map(_) => tree.get(&step),
                Value::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            tree = next;
        }
        tree.position
    }
}

/// Reads one YAML document.
///
/// # Errors
/// It is not YAML, has a duplicate key, a tag, several documents, a number that JSON cannot say, or breaks a limit of
/// this module. Codes: `yaml-syntax`, `yaml-duplicate-key`, `yaml-unsupported`, `yaml-too-large`.
pub fn parse(text: &str, path: &str) -> Result<Tree, Diagnostic> {
    let source = Source { path, text };
    if text.len() > BYTES_MAX {
        let message = format!("the file has {} bytes, more than the {BYTES_MAX} that are read", text.len());
        return Err(Diagnostic::error("yaml-too-large", source, Position::START, message).cure("split the file"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Reader { source, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, bytes: 0 }.document()
}

/// Reads YAML into a type, without positions.
///
/// # Errors
/// The text is not YAML or does not fit the type; the error says where.
pub fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// Writes a value as YAML.
///
/// # Errors
/// The value has a map key that YAML text cannot be made of.
pub fn to_yaml(value: &impl Serialize) -> Result<String, String> {
    serde_yaml::to_string(value).map_err(|error| error.to_string())
}

/// An anchored tree with what another copy of it costs.
struct Anchored {
    tree: Tree,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Reader<'a> {
    source: Source<'a>,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    bytes: usize,
}

impl<'a> Reader<'a> {
    fn document(mut self) -> Result<Tree, Diagnostic> {
        let mut tree = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if tree.is_some() => {
                    return Err(self.refuse("yaml-unsupported", position(span), "a second document in one file"));
                }
                event => tree = Some(self.node(event, span, 0)?),
            }
        }
        Ok(tree.unwrap_or(Tree { position: Position::START, value: Value::Null }))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Tree, Diagnostic> {
        let at = position(span);
        let (nodes, bytes) = (self.nodes, self.bytes);
        self.spend(at, 1, 0, depth)?;
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(at, 0, text.len(), depth)?;
                (self.scalar(text.into_owned(), style, tag.as_deref(), at)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at)?;
                (self.map(depth)?, anchor)
            }
            _ => return Err(self.refuse("yaml-syntax", at, "a value is missing here")),
        };
        let tree = Tree { position: at, value };
        // The parser numbers anchors from 1; 0 stands for none.
        if anchor != 0 {
            let anchored = Anchored {
                tree: tree.clone(),
                nodes: self.nodes - nodes,
                bytes: self.bytes - bytes,
                depth: depth_of(&tree),
            };
            // The copy that is kept counts as well.
            self.spend(at, anchored.nodes, anchored.bytes, depth)?;
            self.anchors.insert(anchor, anchored);
        }
        Ok(tree)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Diagnostic> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Diagnostic> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Map(entries));
            }
            let at = position(span);
            let key = self.key(event, at)?;
            if !seen.insert(key.clone()) {
                let message = format!("the key `{key}` stands twice in this mapping");
                return Err(self.refuse("yaml-duplicate-key", at, message).cure("remove or rename one of the two"));
            }
            let (event, span) = self.next()?;
            entries.push(Entry { key, position: at, value: self.node(event, span, depth + 1)? });
        }
    }

    fn key(&mut self, event: Event<'a>, at: Position) -> Result<String, Diagnostic> {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, _, _) if text == "<<" => {
                let message = "merge keys (`<<`) are no part of YAML 1.2, and would be a member of that name";
                Err(self
                    .refuse("yaml-unsupported", at, message)
                    .cure("write the members out, or alias the whole value"))
            }
            Event::Scalar(text, _, 0, None) => {
                self.spend(at, 1, text.len(), 0)?;
                Ok(text.into_owned())
            }
            _ => Err(self.refuse("yaml-unsupported", at, "a key has to be plain or quoted text").cure(
                "a value that starts with `{` or `[` is read as a mapping or a list: put `${ … }` between quotes",
            )),
        }
    }

    fn alias(&mut self, anchor: usize, at: Position, depth: usize) -> Result<Tree, Diagnostic> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.refuse("yaml-syntax", at, "the alias stands inside of what it names"));
        };
        let (nodes, bytes, below) = (anchored.nodes, anchored.bytes, anchored.depth);
        self.spend(at, nodes, bytes, depth + below)?;
        Ok(self.anchors[&anchor].tree.clone())
    }

    fn spend(&mut self, at: Position, nodes: usize, bytes: usize, depth: usize) -> Result<(), Diagnostic> {
        self.nodes += nodes;
        self.bytes += bytes;
        let broken = if depth > DEPTH_MAX {
            format!("nested deeper than {DEPTH_MAX} levels")
        } else if self.nodes > NODES_MAX {
            format!("more than {NODES_MAX} values, those behind aliases counted each time")
        } else if self.bytes > EXPANDED_BYTES_MAX {
            format!("more than {EXPANDED_BYTES_MAX} bytes of text, that behind aliases counted each time")
        } else {
            return Ok(());
        };
        Err(self.refuse("yaml-too-large", at, broken))
    }

    fn scalar(&self, text: String, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Result<Value, Diagnostic> {
        let text_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !text_tag {
            self.refuse_tag(tag, at)?;
        }
        if text_tag || style != ScalarStyle::Plain {
            return Ok(Value::Text(text));
        }
        plain(text).map_err(|message| {
            self.refuse("yaml-unsupported", at, message).cure("write it between quotes if text is meant")
        })
    }

    fn refuse_tag(&self, tag: Option<&Tag>, at: Position) -> Result<(), Diagnostic> {
        match tag {
            None => Ok(()),
            Some(tag) => {
                let message = format!("the YAML tag `{tag}` is not supported");
                Err(self.refuse("yaml-unsupported", at, message).cure("remove the tag; `!!str` alone is understood"))
            }
        }
    }

    fn refuse(&self, code: &'static str, at: Position, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, self.source, at, message)
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let at = marker(error.marker());
        let found = self.refuse("yaml-syntax", at, format!("not YAML: {}", error.info()));
        match () {
            () if found.excerpt.contains("${") => {
                found.cure("put `${ … }` between quotes: `: ` and ` #` mean something to YAML")
            }
            () if error.info().contains("mapping values") => {
                found.cure("put a text with `: ` in it, such as an expression, between quotes")
            }
            () => found,
        }
    }
}

fn position(span: Span) -> Position {
    marker(&span.start)
}

fn marker(marker: &saphyr_parser::Marker) -> Position {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(marker.line()).max(1), column: number(marker.col()).saturating_add(1) }
}

fn depth_of(tree: &Tree) -> usize {
    let below = |trees: &mut dyn Iterator<Item = &Tree>| trees.map(|tree| depth_of(tree) + 1).max().unwrap_or(0);
    match &tree.value {
        Value::List(items) => below(&mut items.iter()),
        Value::Map(entries) => below(&mut entries.iter().map(|entry| &entry.value)),
        _ => 0,
    }
}

/// A plain scalar by the core schema (YAML 1.2.2, section 10.3.2).
fn plain(text: String) -> Result<Value, String> {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err(format!("`{text}` is a number that JSON cannot say")),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Err(format!("`{text}` is a number that JSON cannot say"));
    }
    match number(&text, unsigned) {
        None => Ok(Value::Text(text)),
        Some(None) => Err(format!("the number `{text}` is larger than JSON numbers reach without loss")),
        Some(Some(number)) => Ok(Value::Number(number)),
    }
}

/// `None`: no number. `Some(None)`: a number out of range.
fn number(text: &str, unsigned: &str) -> Option<Option<serde_json::Number>> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(unsigned) {
        let text = text.strip_prefix('+').unwrap_or(text);
        return Some(text.parse::<i64>().map(Into::into).or_else(|_| text.parse::<u64>().map(Into::into)).ok());
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|char| char.is_digit(radix))
        {
            return Some(u64::from_str_radix(digits, radix).map(Into::into).ok());
        }
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        None => (unsigned, None),
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let well_formed = (digits(whole) && (fraction.is_empty() || digits(fraction))
        || whole.is_empty() && digits(fraction))
        && exponent.is_none_or(digits);
    well_formed.then(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Json) {
        match parse(text, "a.yaml") {
            Ok(tree) => assert_eq!(tree.to_json(), expected, "{text}"),
            Err(found) => panic!("{text}\n{found}"),
        }
    }

    fn refused(text: &str, code: &str, line: u32, column: u32) {
        let found = parse(text, "a.yaml").expect_err(text);
        assert_eq!((found.code, found.line, found.column), (code, line, column), "{found}");
    }

    #[test]
    fn scalars_follow_the_core_schema_of_yaml_1_2() {
        for (text, expected) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("on", json!("on")),
            ("yes", json!("yes")),
            ("No", json!("No")),
            ("True", json!(true)),
            ("'true'", json!("true")),
            ("12", json!(12)),
            ("+12", json!(12)),
            ("-1", json!(-1)),
            ("0o17", json!(15)),
            ("0x1f", json!(31)),
            ("0x", json!("0x")),
            ("010", json!(10)),
            ("18446744073709551615", json!(18446744073709551615_u64)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("5.", json!(5.0)),
            ("1e3", json!(1000.0)),
            ("1.0.3", json!("1.0.3")),
            ("1_000", json!("1_000")),
            ("12:30", json!("12:30")),
            ("2026-01-12", json!("2026-01-12")),
            ("!!str 12", json!("12")),
            (".", json!(".")),
            ("-", json!([null])),
            ("e3", json!("e3")),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn collections_keep_their_order_and_their_texts() {
        check("on: {b: 1, a: [x, 'y', null]}\n1: one", json!({"on": {"b": 1, "a": ["x", "y", null]}, "1": "one"}));
        check("a: |\n  x\n  y\nb: >\n  x\n  y\n", json!({"a": "x\ny\n", "b": "x y\n"}));
        check("a: &x {k: [1]}\nb: *x", json!({"a": {"k": [1]}, "b": {"k": [1]}}));
        check("\u{feff}a: 1", json!({"a": 1}));
    }

    #[test]
    fn what_is_ambiguous_or_not_json_is_refused_with_its_place() {
        refused("a: 1\nb:\n  c: 1\n  c: 2\n", "yaml-duplicate-key", 4, 3);
        refused("a: .inf", "yaml-unsupported", 1, 4);
        refused("a: 99999999999999999999", "yaml-unsupported", 1, 4);
        refused("a: !mine 1", "yaml-unsupported", 1, 4);
        refused("{a: 1}: 2", "yaml-unsupported", 1, 1);
        refused("a: &a {b: 1}\nc: {<<: *a}", "yaml-unsupported", 2, 5);
        check("{'<<': 1}", json!({ "<<": 1 }));
        refused("a: 1\n---\nb: 2\n", "yaml-unsupported", 3, 1);
        refused("a: *missing", "yaml-syntax", 1, 4);
        refused("a: &x [*x]", "yaml-syntax", 1, 8);
    }

    #[test]
    fn a_colon_in_a_plain_text_is_told_how_to_be_quoted() {
        let found = parse("a: $context + { text: .text }\n", "a.yaml").expect_err("a colon");
        assert!(found.cure.as_deref().is_some_and(|cure| cure.contains("quotes")), "{found}");
    }

    #[test]
    fn an_unquoted_expression_that_yaml_misreads_is_told_how_to_be_quoted() {
        let found = parse("a: ${ \"x: y\" }\n", "a.yaml").expect_err("a colon");
        assert!(found.cure.as_deref().is_some_and(|cure| cure.contains("quotes")), "{found}");
    }

    #[test]
    fn sizes_are_bounded_before_memory_is() {
        refused(&" ".repeat(BYTES_MAX + 1), "yaml-too-large", 1, 1);
        let deep = "[".repeat(DEPTH_MAX + 10);
        assert_eq!(parse(&deep, "a").expect_err("deep").code, "yaml-too-large");
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let alias = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", "));
        }
        assert_eq!(parse(&bomb, "a").expect_err("bomb").code, "yaml-too-large");
        let wide = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 200].join(", "));
        assert_eq!(parse(&wide, "a").expect_err("wide").code, "yaml-too-large");
    }

    #[test]
    fn a_pointer_finds_its_place_or_its_nearest_ancestors() {
        let tree = parse("a:\n  - b/c: 1\n    d: 2\n", "a.yaml").expect("yaml");
        let place = |pointer| {
            let position = tree.position_at(pointer);
            (position.line, position.column)
        };
        assert_eq!(place("/a/0/b~1c"), (2, 10));
        assert_eq!(place("/a/0/x/y"), (2, 5));
        assert_eq!(place(""), (1, 1));
    }

    #[test]
    fn written_yaml_reads_back_as_the_same_data() {
        let data = json!({"a": ["on", "1", 1, null, true], "b": {"c": "x: y # z"}});
        let text = to_yaml(&data).expect("yaml");
        assert_eq!(from_yaml::<Json>(&text), Ok(data.clone()));
        check(&text, data);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_text_makes_the_reader_panic(text in r#"[a-c\-:\[\]{},&*!|>'"%@#~ \n\t0-9é]{0,80}"#) {
            let _ = parse(&text, "a.yaml");
        }
    }
}
