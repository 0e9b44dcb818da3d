//! The language suite: cases as data (`tests/language/**/*.yaml`), run through the real front end, the real evaluator of
//! expressions and the real engine. How a case is written is told in `tests/language/README.md`.

pub mod case;
pub mod client;
pub mod coordinated;
pub mod declared;
pub mod doomed;
pub mod judge;
pub mod killed;
pub mod mutant;
pub mod prepared;
pub mod pure;
pub mod quiet;
pub mod sink;
pub mod struck;
pub mod world;

/// The hour at which every instance of the suite is born.
pub fn birth() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_767_225_600).expect("2026-01-01T00:00:00Z is a time")
}
