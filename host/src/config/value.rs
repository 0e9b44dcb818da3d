//! What types settings may have: text in, value out, with a cure where it does not fit.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use url::Url;

use super::setting::Shape;

/// A type that settings have.
pub trait Value: Sized {
    /// How it is written.
    const SHAPE: Shape = Shape::One;
    /// What it is called in help texts.
    const WORD: &'static str;
    /// Whether it is shown to nobody.
    const SECRET: bool = false;
    /// What stands between several of it in one text.
    const SEPARATORS: &'static [char] = &[',', ' '];

    /// The value that these texts give: one of them, unless the shape is [`Shape::Many`].
    ///
    /// # Errors
    /// They give none; the text says what would.
    fn read(texts: &[&str]) -> Result<Self, String>;

    /// The value when nobody set it; `None` where somebody must.
    fn unset() -> Option<Self> {
        None
    }
}

fn one<'a>(texts: &[&'a str]) -> Result<&'a str, String> {
    match texts {
        [text] => Ok(text),
        _ => Err(format!("{} values were given; give one", texts.len())),
    }
}

/// A value that `FromStr` reads.
macro_rules! parsed {
    ($($type:ty, $word:literal, $cure:literal;)+) => { $(
        impl Value for $type {
            const WORD: &'static str = $word;

            fn read(texts: &[&str]) -> Result<Self, String> {
                let text = one(texts)?;
                text.parse().map_err(|_| format!("`{}` is not {}", shortened(text), $cure))
            }
        }
    )+ };
}

parsed! {
    SocketAddr, "ADDRESS:PORT", "an address with a port: write for example `127.0.0.1:8080` or `[::1]:8080`";
    SignedDuration, "DURATION", "a duration: write for example `10m`, `24h` or `PT10M`";
    u16, "NUMBER", "a whole number from 0 to 65535";
    u32, "NUMBER", "a whole number from 0 to 4294967295";
    u64, "NUMBER", "a whole number";
    f64, "NUMBER", "a number";
}

/// What a message shows of a wrong value.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

impl Value for Url {
    const WORD: &'static str = "URL";
    const SEPARATORS: &'static [char] = &[' '];

    fn read(texts: &[&str]) -> Result<Self, String> {
        let text = one(texts)?;
        let wrong = |error| {
            format!("`{}` is not a URL ({error}): write for example `https://host.example/path`", shortened(text))
        };
        text.parse().map_err(wrong)
    }
}

impl Value for String {
    const WORD: &'static str = "TEXT";

    fn read(texts: &[&str]) -> Result<Self, String> {
        one(texts).map(str::to_owned)
    }
}

impl Value for PathBuf {
    const WORD: &'static str = "PATH";

    fn read(texts: &[&str]) -> Result<Self, String> {
        match one(texts)? {
            "" => Err("the path is empty: name a file or folder, or leave the setting out".to_owned()),
            text => Ok(Self::from(text)),
        }
    }
}

impl Value for bool {
    const SHAPE: Shape = Shape::Switch;
    const WORD: &'static str = "true|false";

    fn read(texts: &[&str]) -> Result<Self, String> {
        match one(texts)? {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            text => Err(format!("`{}` is neither `true` nor `false`", shortened(text))),
        }
    }

    fn unset() -> Option<Self> {
        Some(false)
    }
}

impl<T: Value> Value for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const WORD: &'static str = T::WORD;
    const SECRET: bool = T::SECRET;
    const SEPARATORS: &'static [char] = T::SEPARATORS;

    fn read(texts: &[&str]) -> Result<Self, String> {
        T::read(texts).map(Some)
    }

    fn unset() -> Option<Self> {
        Some(None)
    }
}

/// A list is as long as a person writes it; each item may cost a listener, a task or a look at every request.
const ITEMS_MAX: usize = 100;

impl<T: Value> Value for Vec<T> {
    const SHAPE: Shape = Shape::Many;
    const WORD: &'static str = T::WORD;
    const SECRET: bool = T::SECRET;
    const SEPARATORS: &'static [char] = T::SEPARATORS;

    fn read(texts: &[&str]) -> Result<Self, String> {
        if texts.len() > ITEMS_MAX {
            return Err(format!("{} values were given; at most {ITEMS_MAX} are taken", texts.len()));
        }
        texts.iter().map(|text| T::read(&[text])).collect()
    }

    fn unset() -> Option<Self> {
        Some(Self::new())
    }
}

/// A value with parts: a mapping or a list in the file, JSON in the environment and as an argument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Structured<T>(pub T);

impl<T: DeserializeOwned + Default> Value for Structured<T> {
    const SHAPE: Shape = Shape::Json;
    const WORD: &'static str = "JSON";

    fn read(texts: &[&str]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_str(one(texts)?);
        serde_path_to_error::deserialize(&mut reader).map(Self).map_err(|error| error.to_string())
    }

    fn unset() -> Option<Self> {
        Some(Self::default())
    }
}

/// Text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(hidden)")
    }
}

impl Value for Hidden {
    const WORD: &'static str = "TEXT";
    const SECRET: bool = true;

    fn read(texts: &[&str]) -> Result<Self, String> {
        one(texts).map(|text| Self(text.to_owned()))
    }
}

/// The value of one of a few words.
///
/// # Errors
/// It is none of them; the text names them.
pub fn choice<T: Copy>(texts: &[&str], choices: &[(&str, T)]) -> Result<T, String> {
    let text = one(texts)?;
    let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("`{}` is none of {}", shortened(text), words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_values_and_what_does_not_fit_says_what_would() {
        assert_eq!(<Vec<SocketAddr>>::read(&["127.0.0.1:1", "[::1]:2"]).unwrap().len(), 2);
        assert_eq!(<Option<PathBuf>>::unset(), Some(None));
        assert_eq!(bool::read(&["1"]), Ok(true));
        assert_eq!(Structured::<Vec<u32>>::read(&["[1, 2]"]), Ok(Structured(vec![1, 2])));
        assert_eq!(SignedDuration::read(&["10m"]), SignedDuration::read(&["PT10M"]));
        for (text, cure) in [("localhost:80", "127.0.0.1:8080"), ("8080", "127.0.0.1:8080")] {
            assert!(SocketAddr::read(&[text]).unwrap_err().contains(cure), "{text}");
        }
        assert!(String::read(&["a", "b"]).is_err());
        assert!(PathBuf::read(&[""]).is_err());
        assert!(bool::read(&["yes"]).is_err());
        assert!(Structured::<Vec<u32>>::read(&["[1, \"a\"]"]).unwrap_err().contains("[1]"));
        assert!(choice(&["tetx"], &[("text", 1), ("json", 2)]).unwrap_err().contains("`json`"));
    }

    #[test]
    fn what_is_hidden_is_not_printed() {
        assert_eq!(format!("{:?}", Hidden("hunter2".to_owned())), "(hidden)");
        const { assert!(<Option<Hidden>>::SECRET) };
    }
}
