//! Who a letter may go to, what it looks like, and what is refused before anything is sent. The conversation with a server
//! is tested against doubles and a real server in `tests/tests/mail.rs`.

use std::sync::atomic::AtomicBool;

use serde_json::{Value as Json, json};

use super::*;
use crate::connection::registry::{ConnectionError, validate};
use crate::connection::secrets::SecretStore;
use crate::journal::memory::MemoryJournal;

fn declaration(mail: Json) -> Connection {
    let mut settings = json!({"from": "Orchestrator <flow@example.org>", "tls": "none"});
    for (member, value) in mail.as_object().unwrap() {
        settings[member] = value.clone();
    }
    serde_json::from_value(json!({"baseUrl": "smtp://127.0.0.1:1", "mail": settings, "timeoutMs": 2000})).unwrap()
}

fn mailer(mail: Json) -> Mailer {
    let directory = tempfile::tempdir().unwrap();
    let secrets = SecretStore::open(Arc::new(MemoryJournal::new()), &directory.path().join("key"))
        .unwrap()
        .of(&Default::default());
    let declaration = declaration(mail);
    validate(&declaration).unwrap();
    let (name, settings) = (ConnectionName::parse("post").unwrap(), declaration.mail.clone().unwrap());
    Mailer::new(&name, &declaration, &settings, secrets, Arc::new(Semaphore::new(4))).unwrap()
}

fn letter(to: &[&str]) -> Letter {
    Letter {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        subject: "Disk full".to_owned(),
        text: Some("Act now.".to_owned()),
        ..Letter::default()
    }
}

fn addressed(mailer: &Mailer, letter: &Letter) -> Result<(Vec<String>, Vec<String>), String> {
    let (addressed, missing) = mailer.addressed(letter).map_err(|error| error.to_string())?;
    Ok((addressed.to.iter().map(|to| to.email.to_string()).collect(), missing))
}

#[test]
fn a_recipient_is_an_address_or_a_name_of_the_book() {
    let mailer = mailer(json!({"recipients": {
        "user:default/ann": ["ann@example.org"],
        "group:default/ops": ["ann@example.org", "bob@example.org"],
        "broadcast": ["all@example.org"],
    }}));
    let check = |to: &[&str], expected: &[&str], missing: &[&str]| {
        let (found, left) = addressed(&mailer, &letter(to)).unwrap();
        assert_eq!(
            (found, left),
            (expected.iter().map(ToString::to_string).collect(), missing.iter().map(ToString::to_string).collect())
        );
    };
    check(&["Eve <eve@example.net>"], &["eve@example.net"], &[]);
    check(&["user:default/ann", "group:ops"], &["ann@example.org"], &["group:ops"]);
    check(&["User:Default/Ann", "group:default/ops"], &["ann@example.org", "bob@example.org"], &[]);
    check(&["broadcast"], &["all@example.org"], &[]);
    assert!(addressed(&mailer, &letter(&["user:default/eve"])).unwrap_err().contains("mail.recipients"));
    assert!(addressed(&mailer, &letter(&[])).is_err());
}

#[test]
fn only_allowed_domains_are_written_to_and_from() {
    let mailer = mailer(json!({"recipientDomains": ["example.org"]}));
    assert!(addressed(&mailer, &letter(&["ann@EXAMPLE.org"])).is_ok());
    let error = addressed(&mailer, &letter(&["ann@example.net"])).unwrap_err();
    assert!(error.contains("recipientDomains"), "{error}");
    let sender = |sender: &str| Letter { sender: Some(sender.to_owned()), ..letter(&["a@example.org"]) };
    assert!(addressed(&mailer, &sender("other@example.org")).is_ok());
    assert!(addressed(&mailer, &sender("ceo@example.net")).is_err());
}

#[test]
fn nothing_of_a_letter_makes_a_header_of_its_own() {
    let mailer = mailer(json!({}));
    let written = |letter: &Letter| {
        let (addressed, _) = mailer.addressed(letter).map_err(|error| error.to_string())?;
        message::write(letter, &addressed, "key-1").map_err(|error| error.to_string())
    };
    let base = letter(&["ann@example.org"]);
    let check = |letter: Letter| assert!(written(&letter).is_err(), "{letter:?}");
    check(Letter { subject: "a\r\nBcc: eve@example.net".to_owned(), ..base.clone() });
    check(Letter { subject: "a\nb".to_owned(), ..base.clone() });
    check(letter(&["ann@example.org\r\nBcc: eve@example.net"]));
    check(letter(&["\"a\r\nX: y\" <ann@example.org>"]));
    check(Letter { reply_to: Some("a@example.org\nX: y".to_owned()), ..base.clone() });
    let field = |name: &str, value: &str| Letter { headers: vec![(name.to_owned(), value.to_owned())], ..base.clone() };
    check(field("X-A", "a\r\nBcc: eve@example.net"));
    check(field("X-A\r\nBcc", "eve@example.net"));
    check(field("Bcc", "eve@example.net"));
    check(field("From", "eve@example.net"));
    check(field("Message-ID", "<a@b>"));
    check(Letter { text: None, ..base.clone() });
    let fine = written(&field("X-Instance", "ä 1")).unwrap();
    let text = String::from_utf8(fine.bytes).unwrap();
    assert!(text.contains("X-Instance: =?utf-8?b?") && text.contains("Auto-Submitted: auto-generated"), "{text}");
}

#[test]
fn a_message_says_who_when_and_which_and_hides_blind_copies() {
    let mailer = mailer(json!({"replyTo": "ops@example.org"}));
    let letter = Letter {
        cc: vec!["bob@example.org".to_owned()],
        bcc: vec!["eve@example.org".to_owned()],
        html: Some("<p>Act now.</p>".to_owned()),
        subject: "Größe".to_owned(),
        ..letter(&["ann@example.org"])
    };
    let (addressed, _) = mailer.addressed(&letter).unwrap();
    let written = message::write(&letter, &addressed, "key-1").unwrap();
    let text = String::from_utf8(written.bytes.clone()).unwrap();
    for part in ["From: Orchestrator <flow@example.org>", "To: ann@example.org", "Cc: bob@example.org"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["Reply-To: ops@example.org", "Date: ", "Subject: =?utf-8?b?", "multipart/alternative"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("eve@") && written.addresses() == 3);
    assert!(text.contains(&format!("Message-ID: {}", written.id)));
    let id = |key: &str, part: &str| {
        message::write(&Letter { part: part.to_owned(), ..letter.clone() }, &addressed, key).unwrap().id
    };
    assert_eq!(id("key-1", ""), written.id, "a repeat carries the same");
    assert_ne!(id("key-2", ""), written.id);
    assert_ne!(id("key-1", "b"), written.id);
    assert!(!written.id.contains("key-1") && written.id.ends_with("@example.org>"));
}

#[tokio::test]
async fn the_filter_keeps_back_by_severity_and_topic() {
    let mailer =
        mailer(json!({"filter": {"minSeverity": "normal", "maxSeverity": "high", "excludedTopics": ["noise"]}}));
    let check = |severity: Option<Severity>, topic: Option<&str>, kept_back: bool| {
        let letter = Letter { severity, topic: topic.map(str::to_owned), ..letter(&["ann@example.org"]) };
        assert_eq!(mailer.settings.filter.keeps_back(&letter).is_some(), kept_back, "{letter:?}");
    };
    check(None, None, false);
    check(Some(Severity::Low), None, true);
    check(Some(Severity::High), Some("disks"), false);
    check(Some(Severity::Critical), None, true);
    check(None, Some("noise"), true);
    let low = Letter { severity: Some(Severity::Low), ..letter(&["ann@example.org"]) };
    let sent = mailer.send(&low, "k", &AtomicBool::new(false)).await.unwrap();
    assert!(matches!(sent, Sent::Filtered(rule) if rule.contains("`normal`")));
}

#[tokio::test]
async fn the_hour_s_budget_counts_only_what_was_sent() {
    let mailer = mailer(json!({"messagesPerHour": 1}));
    // Nobody listens on port 1: nothing is sent, and the budget stays.
    for _ in 0..3 {
        let handed_over = AtomicBool::new(false);
        let error = mailer.send(&letter(&["ann@example.org"]), "k", &handed_over).await.unwrap_err();
        assert!(matches!(error, MailError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
        assert!(!handed_over.into_inner());
    }
    mailer.take_place().unwrap();
    let error = mailer.send(&letter(&["ann@example.org"]), "k", &AtomicBool::new(false)).await.unwrap_err();
    assert!(matches!(&error, MailError::Exhausted(text) if text.contains("there is place again in")), "{error}");
}

#[test]
fn a_wrong_declaration_is_refused_at_its_member() {
    let check = |change: &dyn Fn(&mut Json), expected: Option<&str>| {
        let mut json = json!({"baseUrl": "smtp://mail.example:587", "mail": {"from": "a@example.org"}});
        change(&mut json);
        let member = match validate(&serde_json::from_value(json.clone()).unwrap()) {
            Ok(()) => None,
            Err(ConnectionError::Invalid { member, .. }) => Some(member),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(member, expected, "{json}");
    };
    let basic = json!({"scheme": "basic", "username": "u", "password": "p"});
    check(&|_| {}, None);
    check(&|json| json["baseUrl"] = json!("https://mail.example"), Some("baseUrl"));
    check(&|json| json["baseUrl"] = json!("smtp://u:p@mail.example"), Some("baseUrl"));
    check(&|json| json["baseUrl"] = json!("smtp://mail.example/x"), Some("baseUrl"));
    check(&|json| json["mail"]["from"] = json!("nobody"), Some("mail.from"));
    check(&|json| json["mail"]["recipients"] = json!({"ann": ["a@example.org"]}), Some("mail.recipients"));
    check(&|json| json["mail"]["recipients"] = json!({"user:default/ann": []}), Some("mail.recipients"));
    check(&|json| json["mail"]["recipients"] = json!({"user:default/ann": ["a@example.org"]}), None);
    check(&|json| json["mail"]["messagesPerHour"] = json!(0), Some("mail.messagesPerHour"));
    check(&|json| json["authentication"] = basic.clone(), None);
    check(&|json| (json["authentication"], json["mail"]["tls"]) = (basic.clone(), json!("none")), Some("mail.tls"));
    check(&|json| json["authentication"] = json!({"scheme": "bearer", "token": "t"}), Some("authentication"));
}
