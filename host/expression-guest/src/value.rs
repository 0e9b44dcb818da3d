//! The values of programs: jaq's own, with jq's manners where jaq has others. Paths lead and assign through `null`, keys
//! are text, indices may have fractions, `4 / 2` is the integer 2, and nothing is divided by zero.

use std::cmp::Ordering;
use std::fmt;
use std::iter::once;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Error, Exn, ValR, ValX};
use jaq_json::{Map, Num, Rc, Val};
use jaq_std::ValT as _;

type BoxIter<T> = Box<dyn Iterator<Item = T>>;

/// The longest text that a program makes by repeating one, in bytes; what is longer would not fit into its memory.
const LENGTH_MAX: usize = 32 << 20;
/// The longest array that a program makes by assigning to an index, for the same reason.
const ITEMS_MAX: usize = 2 << 20;
/// Up to here a float holds each integer exactly, so that one without fraction can stand as an integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value.
#[derive(Debug, Clone, Default)]
pub struct Value(pub Val, Origin);

/// Where a value came from. An update is handed `null` for what is missing; what it gives back untouched, because the rest
/// of the path led nowhere, is not put there: `(.a | select(.b) | .c) = 1` leaves `{}` as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Origin {
    #[default]
    Made,
    Missing,
}

impl Value {
    /// The value of one of jaq's.
    pub fn of(value: Val) -> Self {
        Self(value, Origin::Made)
    }

    /// What stands for a missing child.
    fn missing() -> Self {
        Self(Val::Null, Origin::Missing)
    }

    /// The value, unless it is what stood for a missing child.
    fn if_made(self) -> Option<Val> {
        (self.1 == Origin::Made).then_some(self.0)
    }

    /// An array.
    pub fn array(items: Vec<Val>) -> Self {
        Self::of(Val::Arr(Rc::new(items)))
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Val::utf8_str(text.into().into_bytes()))
    }

    /// An object of a few fields.
    pub fn object<const N: usize>(fields: [(&str, Val); N]) -> Self {
        Self::of(Val::obj(fields.into_iter().map(|(key, value)| (Self::text(key).0, value)).collect()))
    }

    /// What a program makes of an error of jaq's values.
    fn failed<T>(result: Result<T, Error<Val>>) -> Result<T, Error<Self>> {
        result.map_err(|error| Error::new(Self::of(error.into_val())))
    }

    fn number(result: Result<Val, Error<Val>>) -> ValR<Self> {
        Self::failed(result).map(|value| match value {
            Val::Num(Num::Float(number)) => Self::from(number),
            value => Self::of(value),
        })
    }

    /// What a key or an index leads to; nothing if there is none.
    ///
    /// # Errors
    /// The value has no such things.
    pub fn child(self, key: &Self) -> Result<Option<Self>, Error<Self>> {
        match (&self.0, &key.0) {
            (Val::Null, _) => Ok(None),
            (Val::Obj(fields), Val::TStr(_)) => Ok(fields.get(&key.0).cloned().map(Self::of)),
            (Val::Arr(items), Val::Num(number)) => {
                Ok(position(number, items.len()).and_then(|at| items.get(at)).cloned().map(Self::of))
            }
            (Val::Arr(_), Val::Arr(part)) if part.is_empty() => Ok(None),
            (Val::Arr(_), Val::Arr(_)) => {
                Self::failed(jaq_core::ValT::index(self.0, &key.0)).map(|at| Some(Self::of(at)))
            }
            (Val::Arr(_) | Val::TStr(_), Val::Obj(bounds)) => {
                let (start, end) = bounds_of(bounds);
                jaq_core::ValT::range(self, start.as_ref()..end.as_ref()).map(Some)
            }
            _ => Err(Error::index(self, key.clone())),
        }
    }

    /// Where a number points in an array, or in the one that `null` becomes.
    fn place(&self, number: &Num) -> Option<usize> {
        let length = if let Val::Arr(items) = &self.0 { items.len() } else { 0 };
        position(number, length).filter(|at| *at < ITEMS_MAX)
    }

    /// An object, or `null`, with another value at the key.
    fn map_field<'a, I: Iterator<Item = ValX<'a, Self>>>(self, key: &Val, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        let Val::Obj(mut fields) = self.0 else {
            let new = f(Self::missing()).next().transpose()?.and_then(Self::if_made);
            return Ok(new.map_or(self, |new| Self::of(Val::obj(once((key.clone(), new)).collect()))));
        };
        let map = Rc::make_mut(&mut fields);
        let old = map.get_mut(key).map(std::mem::take);
        let known = old.is_some();
        match f(old.map_or_else(Self::missing, Self::of)).next().transpose()? {
            Some(new) if known || new.1 == Origin::Made => drop(map.insert(key.clone(), new.0)),
            Some(_) => {}
            None => drop(map.shift_remove(key)),
        }
        Ok(Self::of(Val::Obj(fields)))
    }

    /// An array, or `null`, with another value at the place; made longer as far as that needs.
    fn map_item<'a, I: Iterator<Item = ValX<'a, Self>>>(self, at: usize, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        let (null, origin) = (self.0 == Val::Null, self.1);
        let mut items = if let Val::Arr(items) = self.0 { items } else { Rc::default() };
        let list = Rc::make_mut(&mut items);
        let old = list.get_mut(at).map(std::mem::take);
        let known = old.is_some();
        match f(old.map_or_else(Self::missing, Self::of)).next().transpose()? {
            Some(new) if known => list[at] = new.0,
            Some(Self(new, Origin::Made)) => {
                list.resize(at + 1, Val::Null);
                list[at] = new;
            }
            None if known => drop(list.remove(at)),
            _ if null => return Ok(Self(Val::Null, origin)),
            _ => {}
        }
        Ok(Self::of(Val::Arr(items)))
    }

    /// The value without what a path leads to.
    ///
    /// # Errors
    /// A part of the path does not fit.
    pub fn without(self, path: &[Val]) -> ValR<Self> {
        match path {
            [] => Ok(Self::default()),
            [key] => self.without_child(key),
            [key, rest @ ..] => {
                let key = Self::of(key.clone());
                if self.clone().child(&key)?.is_none_or(|child| child.0 == Val::Null) {
                    return Ok(self);
                }
                let result: ValX<'_, Self> = jaq_core::ValT::map_index(self, &key, Opt::Essential, |child| {
                    once(child.without(rest).map_err(Exn::from))
                });
                result.map_err(|exception| exception.get_err().unwrap_or_else(|_| Error::str("cannot delete")))
            }
        }
    }

    fn without_child(self, key: &Val) -> ValR<Self> {
        match (self.0, key) {
            (Val::Null, _) => Ok(Self::default()),
            (Val::Obj(mut fields), Val::TStr(_)) => {
                Rc::make_mut(&mut fields).shift_remove(key);
                Ok(Self::of(Val::Obj(fields)))
            }
            (Val::Arr(mut items), Val::Num(number)) => {
                if let Some(at) = position(number, items.len()).filter(|at| *at < items.len()) {
                    Rc::make_mut(&mut items).remove(at);
                }
                Ok(Self::of(Val::Arr(items)))
            }
            (Val::Arr(mut items), Val::Obj(bounds)) => {
                let (start, end) = bounds_of(bounds);
                let range = slice(start.as_ref()..end.as_ref(), items.len())?;
                Rc::make_mut(&mut items).drain(range);
                Ok(Self::of(Val::Arr(items)))
            }
            (value, key) => Err(Error::str(format_args!("cannot delete {key} of {value}"))),
        }
    }
}

/// Where in an array of this length a number points, counted from the end if it is negative.
fn position(number: &Num, length: usize) -> Option<usize> {
    let at = floor(number)?;
    usize::try_from(if at < 0 { at.checked_add(i64::try_from(length).ok()?)? } else { at }).ok()
}

fn floor(number: &Num) -> Option<i64> {
    match number {
        Num::Int(number) => i64::try_from(*number).ok(),
        number => float(number).filter(|number| !number.is_nan()).map(|number| number.floor() as i64),
    }
}

fn float(number: &Num) -> Option<f64> {
    Val::Num(number.clone()).as_f64()
}

/// The integer of the same value, as far as a float is exact.
fn plain(number: f64) -> Num {
    let negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() == 0.0 && number.abs() < EXACT_MAX && !negative_zero {
        Num::from_integral(number as i64)
    } else {
        Num::Float(number)
    }
}

fn bounds_of(bounds: &Map) -> (Option<Value>, Option<Value>) {
    let bound = |name| bounds.get(&Value::text(name).0).cloned().map(Value::of);
    (bound("start"), bound("end"))
}

/// One bound of a slice: rounded outwards, and within the length.
fn bound(value: Option<&Value>, length: usize, none: usize, round: fn(f64) -> f64) -> Result<usize, Error<Value>> {
    match value.map(|value| &value.0) {
        None | Some(Val::Null) => Ok(none),
        Some(Val::Num(number)) => {
            let at = float(number).map_or(0.0, round);
            let at = if at < 0.0 { at + length as f64 } else { at };
            Ok((at.max(0.0) as usize).min(length))
        }
        Some(_) => Err(Error::str("the start and the end of a slice must be numbers")),
    }
}

fn slice(range: Range<&Value>, length: usize) -> Result<std::ops::Range<usize>, Error<Value>> {
    let start = bound(range.start, length, 0, f64::floor)?;
    let end = bound(range.end, length, length, f64::ceil)?;
    Ok(start..end.max(start))
}

fn text_slice(text: &[u8], range: Range<&Value>) -> Result<String, Error<Value>> {
    let text = String::from_utf8_lossy(text);
    let range = slice(range, text.chars().count())?;
    Ok(text.chars().skip(range.start).take(range.len()).collect())
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::of(Val::Bool(value))
    }
}

impl From<isize> for Value {
    fn from(value: isize) -> Self {
        Self::of(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::of(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::of(Val::Num(plain(value)))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::text(value)
    }
}

impl From<Range<Value>> for Value {
    fn from(range: Range<Value>) -> Self {
        let bound = |value: Option<Value>| value.unwrap_or_default().0;
        Self::object([("start", bound(range.start)), ("end", bound(range.end))])
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<T: IntoIterator<Item = Self>>(values: T) -> Self {
        Self::array(values.into_iter().map(|value| value.0).collect())
    }
}

impl Add for Value {
    type Output = ValR<Self>;
    fn add(self, right: Self) -> Self::Output {
        Self::number(self.0 + right.0)
    }
}

impl Sub for Value {
    type Output = ValR<Self>;
    fn sub(self, right: Self) -> Self::Output {
        Self::number(self.0 - right.0)
    }
}

impl Mul for Value {
    type Output = ValR<Self>;
    fn mul(self, right: Self) -> Self::Output {
        match (self.0, right.0) {
            (Val::TStr(text), Val::Num(times)) | (Val::Num(times), Val::TStr(text)) => repeated(&text, &times),
            (left, right) => Self::number(left * right),
        }
    }
}

fn repeated(text: &[u8], times: &Num) -> ValR<Value> {
    let times = float(times).filter(|times| *times > 0.0).map(|times| times.max(1.0) as usize);
    let Some(times) = times else { return Ok(Value::default()) };
    if text.len().saturating_mul(times) > LENGTH_MAX {
        return Err(Error::str("repeating the text so often needs more memory than a program has"));
    }
    Ok(Value::of(Val::utf8_str(text.repeat(times))))
}

impl Div for Value {
    type Output = ValR<Self>;
    fn div(self, right: Self) -> Self::Output {
        match (&self.0, &right.0) {
            (Val::Num(_), Val::Num(divisor)) if float(divisor) == Some(0.0) => Err(by_zero(&self)),
            _ => Self::number(self.0 / right.0),
        }
    }
}

impl Rem for Value {
    type Output = ValR<Self>;
    /// The remainder of the integer parts, as in jq.
    fn rem(self, right: Self) -> Self::Output {
        let whole = |number: &Num| match number {
            Num::Float(_) | Num::Dec(_) => float(number).filter(|number| !number.is_nan()).map(whole),
            number => Some(number.clone()),
        };
        let (left, divisor) = match (&self.0, &right.0) {
            (Val::Num(left), Val::Num(right)) => (whole(left), whole(right)),
            _ => return Err(Error::math(self, jaq_core::ops::Math::Rem, right)),
        };
        let (Some(left), Some(divisor)) = (left, divisor) else { return Ok(Self::from(f64::NAN)) };
        if float(&divisor) == Some(0.0) { Err(by_zero(&self)) } else { Ok(Self::of(Val::Num(left % divisor))) }
    }
}

fn whole(number: f64) -> Num {
    Num::from_integral(number.trunc() as i64)
}

fn by_zero(left: &Value) -> Error<Value> {
    Error::str(format_args!("{left} cannot be divided by zero"))
}

impl Neg for Value {
    type Output = ValR<Self>;
    fn neg(self) -> Self::Output {
        Self::number(-self.0)
    }
}

impl jaq_core::ValT for Value {
    fn from_num(number: &str) -> ValR<Self> {
        Self::failed(Val::from_num(number)).map(|value| {
            match &value {
                Val::Num(number @ Num::Dec(_)) => {
                    float(number).map(plain).filter(|plain| matches!(plain, Num::Int(_) | Num::BigInt(_)))
                }
                _ => None,
            }
            .map_or(Self::of(value), |plain| Self::of(Val::Num(plain)))
        })
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(fields: I) -> ValR<Self> {
        let field = |(key, value): (Self, Self)| match key.0 {
            Val::TStr(_) => Ok((key.0, value.0)),
            _ => Err(Error::typ(key, "the key of an object")),
        };
        fields.into_iter().map(field).collect::<Result<_, _>>().map(|fields| Self::of(Val::obj(fields)))
    }

    fn key_values(self) -> BoxIter<Result<(Self, Self), Error<Self>>> {
        match self.0 {
            Val::Arr(items) => {
                let pair = |(at, item): (usize, Val)| Ok((Self::from(at), Self::of(item)));
                Box::new(Rc::unwrap_or_clone(items).into_iter().enumerate().map(pair))
            }
            Val::Obj(fields) => Box::new(
                Rc::unwrap_or_clone(fields).into_iter().map(|(key, value)| Ok((Self::of(key), Self::of(value)))),
            ),
            value => Box::new(once(Err(Error::typ(Self::of(value), "an array or object")))),
        }
    }

    fn values(self) -> BoxIter<ValR<Self>> {
        match self.0 {
            Val::Arr(items) => Box::new(Rc::unwrap_or_clone(items).into_iter().map(|item| Ok(Self::of(item)))),
            Val::Obj(fields) => Box::new(Rc::unwrap_or_clone(fields).into_iter().map(|(_, value)| Ok(Self::of(value)))),
            value => Box::new(once(Err(Error::typ(Self::of(value), "an array or object")))),
        }
    }

    fn index(self, key: &Self) -> ValR<Self> {
        self.child(key).map(Option::unwrap_or_default)
    }

    fn range(self, range: Range<&Self>) -> ValR<Self> {
        match self.0 {
            Val::Null => Ok(Self::default()),
            Val::TStr(text) => text_slice(&text, range).map(Self::text),
            Val::Arr(items) => slice(range, items.len()).map(|range| Self::array(items[range].to_vec())),
            value => Err(Error::typ(Self::of(value), "an array or text to take a slice of")),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        let first = |value: Val| f(Self::of(value)).next().map(|result| result.map(|value| value.0));
        match self.0 {
            Val::Arr(items) => {
                let items = Rc::unwrap_or_clone(items).into_iter().filter_map(first);
                Ok(Self::array(items.collect::<Result<_, _>>()?))
            }
            Val::Obj(fields) => {
                let fields = Rc::unwrap_or_clone(fields).into_iter();
                let fields = fields.filter_map(|(key, value)| Some(first(value)?.map(|value| (key, value))));
                Ok(Self::of(Val::obj(fields.collect::<Result<_, Exn<'a, Self>>>()?)))
            }
            value => opt.fail(Self(value, self.1), |value| Exn::from(Error::typ(value, "an array or object"))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        key: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match (&self.0, &key.0) {
            (Val::Null | Val::Arr(_) | Val::TStr(_), Val::Obj(bounds)) => {
                let (start, end) = bounds_of(bounds);
                self.map_range(start.as_ref()..end.as_ref(), opt, f)
            }
            (Val::Null | Val::Obj(_), Val::TStr(_)) => self.map_field(&key.0, f),
            (Val::Null | Val::Arr(_), Val::Num(number)) => match self.place(number) {
                Some(at) => self.map_item(at, f),
                None => opt.fail(self, |_| Exn::from(Error::str(format_args!("the index {key} is out of bounds")))),
            },
            _ => opt.fail(self, |value| Exn::from(Error::index(value, key.clone()))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        let list = |value: Val| match value {
            Val::Arr(items) => Ok(items),
            value => Err(Exn::from(Error::typ(Self::of(value), "an array to put into a slice"))),
        };
        let first = |value: Self| f(value).next().transpose()?.and_then(Self::if_made).map(list).transpose();
        match self.0 {
            Val::Null => Ok(first(Self::missing())?.map_or(self, |items| Self::of(Val::Arr(items)))),
            Val::Arr(mut items) => {
                let range = match slice(range, items.len()) {
                    Ok(range) => range,
                    Err(error) => return opt.fail(Self::of(Val::Arr(items)), |_| Exn::from(error)),
                };
                let new = first(Self::array(items[range.clone()].to_vec()))?.unwrap_or_default();
                Rc::make_mut(&mut items).splice(range, new.iter().cloned());
                Ok(Self::of(Val::Arr(items)))
            }
            value => opt.fail(Self::of(value), |value| Exn::from(Error::typ(value, "an array to change a slice of"))),
        }
    }

    fn as_bool(&self) -> bool {
        !matches!(self.0, Val::Null | Val::Bool(false))
    }

    fn into_string(self) -> Self {
        Self::of(jaq_core::ValT::into_string(self.0))
    }
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self.0 {
            Val::Arr(items) => Ok(Rc::unwrap_or_clone(items).into_iter().map(Self::of).collect()),
            value => Err(Self::of(value)),
        }
    }

    fn is_int(&self) -> bool {
        self.0.is_int()
    }

    fn as_isize(&self) -> Option<isize> {
        self.0.as_isize()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn is_utf8_str(&self) -> bool {
        self.0.is_utf8_str()
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        self.0.as_bytes()
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Self::of(self.0.as_sub_str(part))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self::of(Val::from_utf8_bytes(bytes))
    }
}
