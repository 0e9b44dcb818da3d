//! One action without an outside: it makes a greeting of words and a name. The smallest action there can be, for the
//! guide to authors.

use orchestrator_sdk::{Context, Error, export_actions, log};
use serde::{Deserialize, Serialize};

/// What [`greet_person`] takes.
#[derive(Debug, Deserialize)]
pub struct GreetPerson {
    /// How people are greeted in the language, `Hello`.
    pub words: String,
    /// Whom.
    pub name: String,
}

/// What [`greet_person`] gives.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Greeting {
    /// The whole greeting.
    pub text: String,
}

/// Greets somebody.
///
/// # Errors
/// There is nobody to greet: the name is blank.
pub fn greet_person(_: &Context, input: GreetPerson) -> Result<Greeting, Error> {
    let name = input.name.trim();
    if name.is_empty() {
        return Err(Error::validation("the name is blank").cure("order the greeting with the name of somebody"));
    }
    log::info!("greeting {name}");
    Ok(Greeting { text: format!("{}, {name}!", input.words) })
}

export_actions! { "greet-person" => greet_person }

#[cfg(test)]
mod tests {
    use orchestrator_sdk::testing::Outside;

    use super::*;

    fn greeted(words: &str, name: &str) -> Result<Greeting, Error> {
        greet_person(&Outside::new().context(), GreetPerson { words: words.to_owned(), name: name.to_owned() })
    }

    #[test]
    fn somebody_is_greeted_by_name() {
        for (words, name, expected) in [("Hello", "Ann", "Hello, Ann!"), ("Saludos", " Ben ", "Saludos, Ben!")] {
            assert_eq!(greeted(words, name).unwrap().text, expected);
        }
    }

    #[test]
    fn nobody_is_not_greeted() {
        let error = greeted("Hello", " ").unwrap_err();
        assert!(error.to_string().contains("blank"), "{error}");
    }
}
