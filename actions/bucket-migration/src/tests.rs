//! The migration against two buckets in memory: every order, every loss, every kill.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use orchestrator_sdk::testing::Outside;
use orchestrator_sdk::{Json, json};

use crate::compare::Verdict;
use crate::double::{Double, Killed, World, etag};
use crate::input::{Buckets, Compare, ServerSide};
use crate::{abort, copy, delete, extra, plan, report, verify};

const MIB: usize = 1024 * 1024;

fn body(length: usize, seed: u8) -> Vec<u8> {
    // A prime length, so that no two parts are alike.
    let pattern: Vec<u8> = (0..65_521_usize).map(|n| (n / 3) as u8 ^ (n >> 11) as u8 ^ seed).collect();
    let mut body = pattern.repeat(length / pattern.len() + 1);
    body.truncate(length);
    body
}

/// A bucket with every way an object can go: empty, small, streamed, in parts, with odd names.
fn fill(double: &Double, small: usize) {
    let mut world = double.0.borrow_mut();
    for n in 0..small {
        world.put(&format!("small/{n:04}"), body(n * 37 % 900, n as u8), None);
    }
    for (n, name) in ["a b+c%2F", "ü/日本", "empty", "z&<x>\"'"].iter().enumerate() {
        world.put(name, body(n * 2, n as u8), None);
    }
    world.put("middle", body(MIB, 9), None);
    world.put("large", body(17 * MIB, 3), Some(6 * MIB));
    world.put("large in parts of five", body(18 * MIB, 4), Some(5 * MIB));
}

fn check_equal(world: &World) {
    let destination = world.destination.as_ref().expect("a destination");
    assert_eq!(world.source.keys().collect::<Vec<_>>(), destination.keys().collect::<Vec<_>>());
    for (key, stored) in &world.source {
        assert!(stored.body == destination[key].body, "{key}");
        let kept: BTreeMap<_, _> = destination[key].headers.iter().cloned().collect();
        stored.headers.iter().for_each(|(name, value)| assert_eq!(kept.get(name), Some(value), "{key}"));
    }
}

/// Runs until it is not killed any more; how often it was.
fn survive<T>(double: &Double, mut run: impl FnMut() -> T) -> (T, u32) {
    let mut kills = 0;
    loop {
        match catch_unwind(AssertUnwindSafe(&mut run)) {
            Ok(done) => return (done, kills),
            Err(panic) if panic.is::<Killed>() => {
                kills += 1;
                let mut world = double.0.borrow_mut();
                world.kill_after = (kills < 25).then(|| 1 + world.random(20));
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}

#[test]
fn a_bucket_is_planned_copied_verified_and_emptied() {
    let _outside = Outside::new();
    let double = Double::new(1);
    fill(&double, 60);
    double.0.borrow_mut().page = 7;
    let input = Double::input();
    let planned = plan::plan(&double, &input).expect("a plan");
    assert_eq!((planned.objects, planned.largest, planned.destination_created), (67, 18 * MIB as u64, false));
    let copied = copy::copy(&double, &input, None).expect("copied");
    assert_eq!((copied.objects, copied.copied, copied.bytes), (67, 67, planned.bytes));
    check_equal(&double.0.borrow());
    assert!(double.0.borrow().writes.values().all(|writes| *writes == 1));
    let found = verify::verify(&double, &input, None).expect("verified");
    // The large object in parts of an unusual length has another entity tag; the one in parts of five was cut alike.
    assert_eq!((found.objects, found.by_content, found.difference_count), (67, 1, 0));
    let deleted = delete::delete(&double, &input).expect("deleted");
    assert_eq!((deleted.deleted, deleted.kept, deleted.bytes), (67, 0, planned.bytes));
    assert!(double.0.borrow().source.is_empty());
}

#[test]
fn a_repeated_copy_writes_nothing() {
    let _outside = Outside::new();
    let double = Double::new(2);
    fill(&double, 20);
    copy::copy(&double, &Double::input(), None).expect("copied");
    let again = copy::copy(&double, &Double::input(), None).expect("nothing to do");
    assert_eq!((again.copied, again.already_right, again.objects), (0, 27, 27));
    assert!(double.0.borrow().writes.values().all(|writes| *writes == 1));
}

#[test]
fn no_kill_and_no_trouble_loses_or_repeats_an_object() {
    let _outside = Outside::new();
    for seed in 1..8 {
        let double = Double::new(seed);
        fill(&double, 300);
        {
            let mut world = double.0.borrow_mut();
            world.page = 50;
            world.trouble = if seed % 2 == 0 { 5 } else { 0 };
            world.kill_after = Some(5);
        }
        let (copied, kills) =
            survive(&double, || copy::copy(&double, &Double::input(), double.stored()).expect("copied"));
        let world = double.0.borrow();
        assert_eq!((kills, copied.objects), (25, 307), "seed {seed}");
        check_equal(&world);
        // An upload whose identifier the process never learned is the only thing that can be left.
        assert!(world.dangling() <= 8, "seed {seed}: {} uploads", world.dangling());
        if world.trouble == 0 {
            // Without lost answers, an object is written again only if its write was under way when a kill came.
            let again: u32 = world.writes.values().map(|writes| writes - 1).sum();
            assert_eq!(again, 0, "seed {seed}: what took effect is seen in the destination's listing");
        }
    }
}

#[test]
fn a_killed_upload_goes_on_with_the_parts_it_has() {
    let _outside = Outside::new();
    let double = Double::new(5);
    double.0.borrow_mut().put("large", body(40 * MIB, 1), Some(8 * MIB));
    let input = Buckets { concurrency: Some(1), ..Double::input() };
    // Two listings, head, begin, and three parts; the kill comes at the fourth.
    double.0.borrow_mut().kill_after = Some(8);
    let killed = catch_unwind(AssertUnwindSafe(|| copy::copy(&double, &input, None)));
    assert!(killed.is_err());
    let before = double.0.borrow().parts_written;
    assert!((3..=4).contains(&before));
    copy::copy(&double, &input, double.stored()).expect("resumed");
    assert_eq!(double.0.borrow().parts_written, 5);
    assert_eq!(double.0.borrow().dangling(), 0);
    check_equal(&double.0.borrow());
}

#[test]
fn a_completion_whose_answer_is_lost_is_not_repeated() {
    let _outside = Outside::new();
    let double = Double::new(13);
    double.0.borrow_mut().put("large", body(17 * MIB, 1), Some(8 * MIB));
    // Two listings, head, begin, three parts; the eighth exchange is the completion.
    double.0.borrow_mut().lose_answer = Some(8);
    let input = Buckets { concurrency: Some(1), ..Double::input() };
    copy::copy(&double, &input, None).expect("copied");
    let world = double.0.borrow();
    assert_eq!((world.writes["large"], world.parts_written, world.lose_answer), (1, 3, None));
}

#[test]
fn a_large_object_goes_in_one_stream_and_in_parts_once_that_broke() {
    let _outside = Outside::new();
    let input = Buckets { concurrency: Some(1), ..Double::input() };
    for (lost, parts) in [(None, 0), (Some(4), 3)] {
        let double = Double::new(13);
        double.0.borrow_mut().put("large", body(17 * MIB, 1), None);
        // Two listings and the head; the fourth exchange is the stream.
        double.0.borrow_mut().lose_answer = lost;
        copy::copy(&double, &input, None).expect("copied");
        assert_eq!(double.0.borrow().parts_written, parts);
        check_equal(&double.0.borrow());
    }
}

#[test]
fn an_object_that_changes_while_it_is_copied_arrives_whole() {
    let _outside = Outside::new();
    let double = Double::new(6);
    double.0.borrow_mut().put("large", body(40 * MIB, 1), Some(8 * MIB));
    double.0.borrow_mut().meanwhile = Some((6, |world| world.put("large", body(30 * MIB, 2), None)));
    copy::copy(&double, &Double::input(), None).expect("copied");
    check_equal(&double.0.borrow());
    assert_eq!(double.0.borrow().dangling(), 0);
}

#[test]
fn an_object_that_leaves_is_counted_and_not_an_error() {
    let _outside = Outside::new();
    let double = Double::new(7);
    fill(&double, 5);
    double.0.borrow_mut().meanwhile = Some((3, |world| {
        world.source.remove("small/0004");
    }));
    let copied = copy::copy(&double, &Double::input(), None).expect("copied");
    assert_eq!((copied.vanished, copied.objects), (1, 12));
}

#[test]
fn a_destination_that_stays_away_is_a_transient_failure_with_a_checkpoint() {
    let _outside = Outside::new();
    let double = Double::new(8);
    fill(&double, 5);
    double.0.borrow_mut().trouble = 100;
    let error = copy::copy(&double, &Double::input(), None).expect_err("away");
    assert!(error.is_transient(), "{error}");
    double.0.borrow_mut().trouble = 0;
    copy::copy(&double, &Double::input(), double.stored()).expect("back again");
    check_equal(&double.0.borrow());
}

#[test]
fn each_kind_of_difference_is_found_and_spared_by_the_deletion() {
    let _outside = Outside::new();
    let double = Double::new(9);
    fill(&double, 3);
    copy::copy(&double, &Double::input(), None).expect("copied");
    {
        let mut world = double.0.borrow_mut();
        let destination = world.destination.as_mut().expect("a destination");
        destination.remove("small/0000");
        destination.get_mut("small/0001").expect("there").body.push(1);
        let spoiled = destination.get_mut("large").expect("there");
        spoiled.body[16 * MIB + 5] ^= 1;
        spoiled.etag = etag(&spoiled.body);
    }
    let found = verify::verify(&double, &Double::input(), None).expect("verified");
    let differences: Vec<_> = found.differences.iter().map(|found| (found.key.as_str(), found.reason)).collect();
    let expected =
        [("large", Verdict::ContentDiffers), ("small/0000", Verdict::Missing), ("small/0001", Verdict::SizeDiffers)];
    assert_eq!(differences, expected);
    assert_eq!(found.difference_count, 3);
    let deleted = delete::delete(&double, &Double::input()).expect("deleted");
    assert_eq!(deleted.kept, 3);
    let world = double.0.borrow();
    assert_eq!(world.source.keys().collect::<Vec<_>>(), ["large", "small/0000", "small/0001"]);
}

#[test]
fn verification_goes_on_after_a_kill_where_it_was() {
    let _outside = Outside::new();
    let double = Double::new(10);
    {
        let mut world = double.0.borrow_mut();
        (0..2_500).for_each(|n| world.put(&format!("{n:05}"), vec![n as u8], None));
        world.destination = Some(world.source.clone());
        world.kill_after = Some(6);
    }
    let (found, kills) =
        survive(&double, || verify::verify(&double, &Double::input(), double.stored()).expect("verified"));
    assert_eq!((found.objects, found.by_etag), (2_500, 2_500));
    assert!(kills > 0);
}

#[test]
fn a_missing_destination_is_created_only_when_asked() {
    let _outside = Outside::new();
    let double = Double::new(11);
    fill(&double, 1);
    double.0.borrow_mut().destination = None;
    let refused = plan::plan(&double, &Double::input()).expect_err("no bucket");
    assert!(refused.problem.detail.contains("createDestination"), "{refused}");
    let input = Buckets { create_destination: true, ..Double::input() };
    assert!(plan::plan(&double, &input).expect("a plan").destination_created);
    assert!(!plan::plan(&double, &input).expect("a plan").destination_created);
}

#[test]
fn only_the_prefix_is_moved() {
    let _outside = Outside::new();
    let double = Double::new(12);
    fill(&double, 4);
    let input = Buckets { prefix: "small/".into(), ..Double::input() };
    assert_eq!(copy::copy(&double, &input, None).expect("copied").objects, 4);
    assert_eq!(double.0.borrow().destination.as_ref().expect("there").len(), 4);
}

fn automatic() -> Buckets {
    Buckets { server_side: ServerSide::Auto, ..Double::input() }
}

#[test]
fn a_destination_that_has_the_source_copies_by_itself() {
    let _outside = Outside::new();
    let double = Double::new(21);
    fill(&double, 30);
    double.0.borrow_mut().source.get_mut("middle").expect("there").tags = "a=b".into();
    double.0.borrow_mut().one_service = true;
    let copied = copy::copy(&double, &automatic(), None).expect("copied");
    // The two empty objects have nothing to copy.
    assert_eq!((copied.copied, copied.server_side, copied.failed), (37, 35, 0));
    {
        let world = double.0.borrow();
        check_equal(&world);
        assert_eq!(world.destination.as_ref().expect("there")["middle"].tags, "a=b");
        assert!(world.bytes_read <= 2, "{} bytes went through the host", world.bytes_read);
        // Parts are cut as the source's were, so that the tags are equal.
        let (from, to) = (&world.source, world.destination.as_ref().expect("there"));
        assert_eq!(from["large in parts of five"].etag, to["large in parts of five"].etag);
    }
    let again = copy::copy(&double, &automatic(), None).expect("nothing to do");
    assert_eq!((again.copied, again.already_right), (0, 37));
}

#[test]
fn a_destination_that_cannot_copy_gets_the_bytes() {
    let _outside = Outside::new();
    for knows_no_copies in [false, true] {
        let double = Double::new(22);
        fill(&double, 30);
        double.0.borrow_mut().knows_no_copies = knows_no_copies;
        let copied = copy::copy(&double, &automatic(), None).expect("copied");
        assert_eq!((copied.copied, copied.server_side), (37, 0));
        check_equal(&double.0.borrow());
        assert_eq!(double.0.borrow().dangling(), 0);
    }
}

#[test]
fn a_copy_by_the_destination_survives_kills_and_trouble() {
    let _outside = Outside::new();
    for seed in 31..33 {
        let double = Double::new(seed);
        fill(&double, 200);
        {
            let mut world = double.0.borrow_mut();
            (world.one_service, world.page, world.trouble) = (true, 50, 5);
            world.kill_after = Some(5);
        }
        let (copied, _) = survive(&double, || copy::copy(&double, &automatic(), double.stored()).expect("copied"));
        assert_eq!((copied.objects, copied.failed), (207, 0), "seed {seed}");
        check_equal(&double.0.borrow());
    }
}

#[test]
fn tags_go_along_unless_they_are_left_out() {
    let _outside = Outside::new();
    for without_tags in [false, true] {
        let double = Double::new(23);
        fill(&double, 2);
        for key in ["small/0001", "middle", "large"] {
            double.0.borrow_mut().source.get_mut(key).expect("there").tags = "team=ops&cost%20centre=7".into();
        }
        let input = Buckets { without_tags, ..Double::input() };
        copy::copy(&double, &input, None).expect("copied");
        let world = double.0.borrow();
        let tags = |key: &str| world.destination.as_ref().expect("there")[key].tags.clone();
        for key in ["small/0001", "middle", "large"] {
            assert_eq!(tags(key).is_empty(), without_tags, "{key}");
            assert!(without_tags || tags(key).starts_with("team=ops&"), "{key}: {}", tags(key));
        }
        assert_eq!(tags("small/0000"), "");
    }
}

#[test]
fn an_object_that_is_refused_is_told_and_the_others_arrive() {
    let _outside = Outside::new();
    for key in ["small/0001", "middle", "large"] {
        let double = Double::new(24);
        fill(&double, 3);
        double.0.borrow_mut().refused_key = Some(key.to_owned());
        let copied = copy::copy(&double, &Double::input(), None).expect("the others are copied");
        assert_eq!((copied.objects, copied.copied, copied.failed), (10, 9, 1));
        assert_eq!(copied.failures[0].key, key);
        assert!(copied.failures[0].reason.contains("AccessDenied"), "{}", copied.failures[0].reason);
        assert_eq!(double.0.borrow().dangling(), 0);
        let strict = Buckets { max_failures: Some(0), ..Double::input() };
        let refused = copy::copy(&double, &strict, None).expect_err("one failure is too much");
        assert!(refused.problem.detail.contains("maxFailures"), "{refused}");
    }
}

#[test]
fn a_corrupted_copy_is_found_and_copied_again() {
    let _outside = Outside::new();
    let double = Double::new(25);
    fill(&double, 3);
    copy::copy(&double, &Double::input(), None).expect("copied");
    let spoil = |key: &str, silently: bool| {
        let mut world = double.0.borrow_mut();
        let stored = world.destination.as_mut().and_then(|all| all.get_mut(key)).expect("there");
        let middle = stored.body.len() / 2;
        stored.body[middle] ^= 1;
        if !silently {
            stored.etag = etag(&stored.body);
        }
    };
    let run = |compare| {
        let input = Buckets { compare, ..Double::input() };
        copy::copy(&double, &input, None).expect("copied")
    };
    // Overwritten with as many other bytes: its entity tag tells.
    spoil("middle", false);
    assert_eq!((run(Compare::Size).copied, run(Compare::Etag).copied, run(Compare::Etag).copied), (0, 1, 0));
    // The note of its source is still there, so only its bytes tell.
    spoil("large", false);
    assert_eq!((run(Compare::Etag).copied, run(Compare::Proof).copied, run(Compare::Proof).copied), (0, 1, 0));
    // Rotten on the disk: nothing but reading tells.
    spoil("small/0002", true);
    assert_eq!((run(Compare::Proof).copied, run(Compare::Content).copied), (0, 1));
    let input = Buckets { compare: Compare::Content, ..Double::input() };
    assert_eq!(verify::verify(&double, &input, None).expect("verified").by_content, 10);
    check_equal(&double.0.borrow());
}

#[test]
fn only_what_is_chosen_is_planned_copied_proved_and_removed() {
    let _outside = Outside::new();
    let double = Double::new(26);
    fill(&double, 12);
    let stamp = |key: &str, at: &str| {
        let mut world = double.0.borrow_mut();
        let headers = &mut world.source.get_mut(key).expect("there").headers;
        headers.push(("modified".to_owned(), at.to_owned()));
    };
    stamp("small/0003", "2026-01-21T11:59:59.000Z");
    stamp("small/0004", "2026-01-31T11:00:00.000Z");
    let wanted = Buckets {
        include: vec!["small/*".into()],
        exclude: vec!["*7".into()],
        min_age_days: Some(0.0),
        max_age_days: Some(10.0),
        ..Double::input()
    };
    let planned = plan::plan(&double, &wanted).expect("a plan");
    // Twelve small ones, without the excluded, the too old, and those of this very second.
    assert_eq!(planned.modified_after.as_deref(), Some("2026-01-21T12:00:00Z"));
    assert_eq!(planned.modified_before.as_deref(), Some("2026-01-31T12:00:00Z"));
    assert_eq!((planned.objects, planned.to_copy, planned.filtered), (1, 1, 18));
    let modified_after = planned.modified_after.unwrap_or_default();
    let input = Buckets { modified_after, min_age_days: None, max_age_days: None, ..wanted };
    let copied = copy::copy(&double, &input, None).expect("copied");
    assert_eq!((copied.copied, copied.objects), (10, 10));
    assert_eq!(verify::verify(&double, &input, None).expect("verified").objects, 10);
    assert_eq!(delete::delete(&double, &input).expect("deleted").deleted, 10);
    assert_eq!(double.0.borrow().source.len(), 9);
}

#[test]
fn extra_objects_are_deleted_within_the_order_s_guard() {
    let _outside = Outside::new();
    let double = Double::new(27);
    fill(&double, 3);
    copy::copy(&double, &Double::input(), None).expect("copied");
    {
        let mut world = double.0.borrow_mut();
        let copy = world.source["middle"].clone();
        let destination = world.destination.as_mut().expect("there");
        for key in ["extra/1", "extra/2", "zz", "report.csv"] {
            destination.insert(key.to_owned(), copy.clone());
        }
    }
    let input = Buckets { report_key: "report.csv".into(), exclude: vec!["zz".into()], ..Double::input() };
    let planned = plan::plan(&double, &input).expect("a plan");
    assert_eq!((planned.extra, planned.already_right, planned.to_copy), (2, 9, 1));
    let careful = Buckets { max_delete: Some(1), ..input.clone() };
    let refused = extra::delete(&double, &careful).expect_err("two are more than one");
    assert!(refused.problem.detail.contains("maxDelete"), "{refused}");
    assert_eq!(extra::delete(&double, &input).expect("deleted").deleted, 2);
    assert_eq!(extra::delete(&double, &input).expect("nothing to do").deleted, 0);
    assert_eq!(double.0.borrow().destination.as_ref().expect("there").len(), 12);
    double.0.borrow_mut().source.clear();
    let refused = extra::delete(&double, &input).expect_err("the source is empty");
    assert!(refused.problem.detail.contains("allowEmptySource"), "{refused}");
    let sure = Buckets { allow_empty_source: true, ..input };
    assert_eq!(extra::delete(&double, &sure).expect("deleted").deleted, 10);
}

#[test]
fn a_bucket_is_never_migrated_to_itself() {
    let _outside = Outside::new();
    let double = Double::new(28);
    fill(&double, 3);
    {
        let mut world = double.0.borrow_mut();
        world.one_bucket = true;
        world.destination = Some(world.source.clone());
    }
    let input = Buckets { source_bucket: "to".into(), ..Double::input() };
    for refused in [plan::plan(&double, &input).map(drop), delete::delete(&double, &input).map(drop)] {
        let refused = refused.expect_err("one bucket");
        assert!(refused.problem.detail.contains("one bucket"), "{refused}");
    }
    assert_eq!(double.0.borrow().destination.as_ref().expect("there").len(), 10, "nothing is lost, no probe is left");
}

#[test]
fn a_dry_run_changes_nothing() {
    let _outside = Outside::new();
    let double = Double::new(29);
    fill(&double, 3);
    double.0.borrow_mut().destination = None;
    let input = Buckets { create_destination: true, dry_run: true, ..Double::input() };
    let planned = plan::plan(&double, &input).expect("a plan");
    assert_eq!((planned.to_copy, planned.destination_exists, planned.destination_created), (10, false, false));
    assert!(double.0.borrow().destination.is_none());
}

#[test]
fn the_report_tells_of_every_object() {
    let _outside = Outside::new();
    let double = Double::new(30);
    fill(&double, 3);
    let input =
        Buckets { report_key: "reports/one.csv".into(), planned_at: "2026-01-31T12:00:00Z".into(), ..Double::input() };
    copy::copy(&double, &input, None).expect("copied");
    double.0.borrow_mut().destination.as_mut().expect("there").remove("middle");
    for _ in 0..2 {
        let written = report::write(&double, &input, None).expect("written");
        assert_eq!(written.lines, 10);
        let world = double.0.borrow();
        let stored = &world.destination.as_ref().expect("there")["reports/one.csv"];
        let text = String::from_utf8(stored.body.clone()).expect("text");
        assert_eq!((text.lines().count(), text.matches(",copied\r\n").count()), (11, 9));
        assert!(text.contains("middle,1048576,") && text.contains(",missing\r\n"), "{text}");
    }
}

#[test]
fn a_long_report_goes_in_parts() {
    let _outside = Outside::new();
    let double = Double::new(33);
    {
        let mut world = double.0.borrow_mut();
        (0..14_000).for_each(|n| world.put(&format!("{n:05}/{}", "long".repeat(120)), vec![n as u8], None));
        world.destination = Some(world.source.clone());
    }
    let input = Buckets { report_key: "~report".into(), ..Double::input() };
    let written = report::write(&double, &input, None).expect("written");
    let world = double.0.borrow();
    let stored = &world.destination.as_ref().expect("there")["~report"];
    assert!(stored.etag.ends_with("-2"), "{}", stored.etag);
    assert_eq!((written.lines, written.bytes), (14_000, stored.body.len() as u64));
    assert_eq!(world.dangling(), 0);
}

/// What a cancelled order leaves: the workflow reads the uploads out of the last checkpoint, so its form is a promise.
#[test]
fn uploads_of_an_order_that_stopped_in_the_middle_are_aborted() {
    let _outside = Outside::new();
    let mut aborted = 0;
    for kill_after in 3..14 {
        let double = Double::new(kill_after);
        fill(&double, 0);
        double.0.borrow_mut().kill_after = Some(kill_after);
        let killed = catch_unwind(AssertUnwindSafe(|| copy::copy(&double, &Double::input(), None)));
        assert!(killed.is_err_and(|panic| panic.is::<Killed>()));
        let Some(checkpoint) = double.stored::<Json>() else { continue };
        let uploads: Vec<_> = checkpoint["uploads"].as_object().into_iter().flatten().collect();
        let named = uploads.iter().map(|(key, upload)| json!({ "key": key, "uploadId": upload["id"] }));
        let input = json!({ "destinationBucket": "to", "uploads": named.collect::<Vec<_>>() });
        let input: abort::Input = serde_json::from_value(input).expect("an input");
        let before = double.0.borrow().dangling();
        for _ in 0..2 {
            let output = abort::abort(&double, &input).expect("aborted");
            assert_eq!((output.gone, output.kept), (input.uploads.len() as u64, 0));
        }
        aborted += before - double.0.borrow().dangling();
    }
    assert!(aborted > 0, "some order stopped while an upload was under way");
}
