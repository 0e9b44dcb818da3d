//! What a setting is, and the macro that declares a section of them. A declaration is the only place of a setting: the
//! flag, the environment variable, the key of the file, `--help`, `config check`, `config show` and the reference all
//! come from it.

use super::found::Found;

/// How a setting's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One scalar.
    One,
    /// Scalars: a list in the file, a repeated flag, separated text in the environment.
    Many,
    /// A flag that needs no value.
    Switch,
    /// A mapping or list in the file, JSON elsewhere.
    Json,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the file, `eventWindow`; `tls.certificate` is `certificate` in the mapping `tls`.
    pub key: &'static str,
    /// The value it has when nobody sets it, as text.
    pub default: Option<&'static str>,
    /// What it does: a sentence, and what else the reference says.
    pub help: &'static str,
    /// How its value is written.
    pub shape: Shape,
    /// What its value is called in help texts, `FILE`.
    pub word: &'static str,
    /// Whether its value is shown to nobody.
    pub secret: bool,
    /// What stands between several values in one text.
    pub separators: &'static [char],
}

impl Setting {
    /// Its flag, without the hyphens before it: `eventSinks`, of which each flag gives one, is `event-sink`.
    pub fn flag(&self) -> String {
        let key = if self.shape == Shape::Many { self.key.strip_suffix('s').unwrap_or(self.key) } else { self.key };
        words(key, '-')
    }

    /// Its environment variable: `ORCHESTRATOR_EVENT_SINKS`.
    pub fn variable(&self) -> String {
        format!("ORCHESTRATOR_{}", words(self.key, '_').to_ascii_uppercase())
    }

    /// Its help on one line.
    pub fn help_line(&self) -> String {
        self.help.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// `tls.clientCa` as `tls-client-ca`.
fn words(key: &str, between: char) -> String {
    let mut words = String::with_capacity(key.len() + 8);
    for letter in key.chars() {
        match letter {
            '.' => words.push(between),
            letter if letter.is_ascii_uppercase() => {
                words.push(between);
                words.push(letter.to_ascii_lowercase());
            }
            letter => words.push(letter),
        }
    }
    words
}

/// Settings that belong together, with their values.
pub trait Section: Sized {
    /// The heading over them.
    const TITLE: &'static str;
    /// What is said below the heading.
    const ABOUT: &'static str;
    /// The settings, in the order of the reference.
    const SETTINGS: &'static [Setting];

    /// Reads all of them; what is wrong with one stays in `found`, and the others are still read.
    fn read(found: &mut Found) -> Option<Self>;
}

/// A section without its values, for lists over all.
#[derive(Debug, Clone, Copy)]
pub struct SectionTable {
    /// The heading over its settings.
    pub title: &'static str,
    /// What is said below the heading.
    pub about: &'static str,
    /// The settings.
    pub settings: &'static [Setting],
}

impl SectionTable {
    /// The table of a section.
    pub const fn of<S: Section>() -> Self {
        Self { title: S::TITLE, about: S::ABOUT, settings: S::SETTINGS }
    }
}

/// Declares a section: a struct whose fields are settings. A field is `/// help`, `name as "key.in.the.file": Type`, and
/// perhaps `= "default as text"`; its type is a [`Value`](super::value::Value). A new section is also named in
/// `sections!` in `config/mod.rs`; rules between settings stand in `Config::cross_check` there.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident titled $title:literal {
            $( $(#[doc = $help:literal])+ $field:ident as $key:literal : $type:ty $(= $default:literal)? ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $( $(#[doc = $help])+ pub $field: $type, )+ }

        impl $crate::config::setting::Section for $name {
            const TITLE: &'static str = $title;
            const ABOUT: &'static str = concat!($($about, "\n"),+);
            const SETTINGS: &'static [$crate::config::setting::Setting] = &[
                $( $crate::config::setting::Setting {
                    key: $key,
                    default: $crate::config::setting::settings!(@default $($default)?),
                    help: concat!($($help, "\n"),+),
                    shape: <$type as $crate::config::value::Value>::SHAPE,
                    word: <$type as $crate::config::value::Value>::WORD,
                    secret: <$type as $crate::config::value::Value>::SECRET,
                    separators: <$type as $crate::config::value::Value>::SEPARATORS,
                } ),+
            ];

            fn read(found: &mut $crate::config::found::Found) -> Option<Self> {
                $( let $field = found.take::<$type>($key); )+
                Some(Self { $( $field: $field? ),+ })
            }
        }
    };
    (@default $default:literal) => { Some($default) };
    (@default) => { None };
}

pub(crate) use settings;

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &'static str, shape: Shape) -> Setting {
        Setting { key, default: None, help: "", shape, word: "", secret: false, separators: &[] }
    }

    #[test]
    fn flags_and_variables_follow_from_the_key() {
        for (key, shape, flag, variable) in [
            ("data", Shape::One, "data", "ORCHESTRATOR_DATA"),
            ("eventSinks", Shape::Many, "event-sink", "ORCHESTRATOR_EVENT_SINKS"),
            ("tls.clientCa", Shape::One, "tls-client-ca", "ORCHESTRATOR_TLS_CLIENT_CA"),
            (
                "insecureNoAuthentication",
                Shape::Switch,
                "insecure-no-authentication",
                "ORCHESTRATOR_INSECURE_NO_AUTHENTICATION",
            ),
        ] {
            let setting = setting(key, shape);
            assert_eq!((setting.flag().as_str(), setting.variable().as_str()), (flag, variable));
        }
    }
}
