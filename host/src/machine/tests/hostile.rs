//! Stored bytes that nobody wrote: whatever stands in a journal is read, refused or applied, and never brings the
//! program down.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SAMPLES: &str = include_str!("../fixtures/records-v1.json");

/// Changes one place in a document: its kind, its number, its name, or its being there.
fn spoil(value: &mut Json, at: usize, with: &Json) {
    let mut places = Vec::new();
    collect(value, String::new(), &mut places);
    let pointer = places[at % places.len()].clone();
    if let Some(place) = value.pointer_mut(&pointer) {
        *place = with.clone();
    }
}

fn collect(value: &Json, pointer: String, places: &mut Vec<String>) {
    match value {
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(item, format!("{pointer}/{at}"), places));
        }
        Json::Object(members) => {
            members.iter().for_each(|(name, member)| collect(member, format!("{pointer}/{name}"), places));
        }
        _ => {}
    }
    places.push(pointer);
}

fn odd() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(u64::MAX)),
        Just(json!(-1)),
        Just(json!({ "node": 4_000_000 })),
        Just(json!([])),
        Just(json!("2026-01-01T00:00:00Z")),
        any::<u32>().prop_map(|number| json!(number)),
        ".{0,8}".prop_map(Json::from),
    ]
}

/// What stands in the place of something else.
fn oddities() -> [Json; 9] {
    let far = json!("9999-12-31T23:59:59Z");
    [
        json!(null),
        json!(u64::MAX),
        json!(-1),
        json!(0),
        json!({ "node": 4_000_000 }),
        json!([]),
        json!({}),
        json!("?"),
        far,
    ]
}

/// Takes a record after so many sound ones, and goes on where it is legal.
fn feed(bench: &Bench, prefix: usize, record: Json) {
    let Ok(mut stamped) = serde_json::from_value::<Stamped>(record) else { return };
    let mut state = State::new(bench.state.id());
    for sound in bench.history.iter().take(prefix) {
        state.apply(&bench.program, sound).unwrap();
    }
    stamped.seq = state.seq() + 1;
    if state.apply(&bench.program, &stamped).is_ok() {
        let moment = Moment { now: bench.now, chance: 0.5 };
        let events = [Event::Recovered, Event::WakeUp, Event::ResumeRequested { by: None }];
        advance(&bench.program, &mut state, events, moment, &Plain);
    }
}

#[test]
fn every_kind_of_record_is_refused_or_applied_with_anything_in_any_of_its_places() {
    let benches = [
        json!([{ "c": { "call": "c" } }, { "l": { "listen": { "to": { "any": [] } } } }]),
        json!([{ "l": { "listen": { "to": { "any": [] } } } }]),
        json!([{ "f": { "for": { "in": [1, 2] }, "do": [{ "w": { "wait": { "seconds": 1 } } }] } }]),
        json!([{ "t": { "try": [{ "c": { "call": "c" } }], "catch": { "retry": { "delay": { "seconds": 1 } } } } }]),
    ];
    let benches = benches.map(Bench::of);
    let samples: Vec<Json> = serde_json::from_str(SAMPLES).unwrap();
    for (sample, odd) in samples.iter().flat_map(|sample| oddities().map(|odd| (sample, odd))) {
        let mut places = Vec::new();
        collect(sample, String::new(), &mut places);
        for at in 0..places.len() {
            let mut record = sample.clone();
            spoil(&mut record, at, &odd);
            for bench in &benches {
                for prefix in [1, bench.history.len()] {
                    feed(bench, prefix, record.clone());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn bytes_are_records_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = serde_json::from_slice::<Vec<Stamped>>(&bytes);
    }

    #[test]
    fn spoiled_records_are_refused_or_applied(
        sample in 0..64_usize, at in any::<usize>(), with in odd(), prefix in 1..8_usize,
    ) {
        let bench = Bench::of(json!([
            { "c": { "call": "c" } }, { "l": { "listen": { "to": { "any": [] } } } },
        ]));
        let mut state = State::new(bench.state.id());
        for stamped in bench.history.iter().take(prefix) {
            state.apply(&bench.program, stamped).unwrap();
        }
        let samples: Vec<Json> = serde_json::from_str(SAMPLES).unwrap();
        let mut record = samples[sample % samples.len()].clone();
        spoil(&mut record, at, &with);
        if let Ok(mut stamped) = serde_json::from_value::<Stamped>(record) {
            stamped.seq = state.seq() + 1;
            if state.apply(&bench.program, &stamped).is_ok() {
                let moment = Moment { now: bench.now, chance: 0.5 };
                advance(&bench.program, &mut state, [Event::Recovered], moment, &Plain);
            }
        }
    }
}
