//! The rules of all settings at once, and what single ones refuse.

use std::ffi::OsString;
use std::path::Path;

use jiff::SignedDuration;

use super::*;
use crate::identity::settings::Mode;

/// What a command line, an environment and a file say.
fn sources(line: &str, environment: &[(&str, &str)], file: &str) -> Sources {
    let matches =
        command().try_get_matches_from(std::iter::once("orchestrator").chain(line.split_whitespace())).unwrap();
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let mut sources = Invocation::read(&matches, environment).unwrap().sources;
    sources.file = Some(("o.yaml".to_owned(), file.to_owned()));
    sources
}

fn settle(line: &str, file: &str) -> Result<Config, ConfigError> {
    Config::resolve(&sources(line, &[], file))
}

fn refused(line: &str, file: &str) -> String {
    settle(line, file).unwrap_err().to_string()
}

fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

#[test]
fn every_setting_is_taken_from_arguments_before_environment_before_file() {
    for setting in all() {
        let (flag, variable) = (setting.flag(), setting.variable());
        let file = format!("{}: file", setting.key);
        let found = |line: &str, environment: &[(&str, &str)], file: &str| {
            let given = Found::collect(SECTIONS, &sources(line, environment, file)).given(setting.key).cloned();
            given.map(|given| (given.texts.join(" "), given.origin))
        };
        let (line, environment) = (format!("--{flag}=argument"), [(variable.as_str(), "environment")]);
        let text =
            |text: &str| if setting.shape == setting::Shape::Json { format!("{text:?}") } else { text.to_owned() };
        assert_eq!(found(&line, &environment, &file), Some(("argument".to_owned(), Origin::Argument(flag))));
        assert_eq!(found("", &environment, &file), Some(("environment".to_owned(), Origin::Environment(variable))));
        let path = "o.yaml".into();
        assert_eq!(found("", &[], &file), Some((text("file"), Origin::File { path, line: 1 })));
        assert_eq!(found("", &[], "").map(|(text, _)| text), setting.default.map(str::to_owned));
    }
}

#[test]
fn keys_flags_and_variables_are_each_given_once_and_helped() {
    let mut seen = std::collections::HashSet::new();
    for setting in all() {
        for name in [setting.key.to_owned(), format!("--{}", setting.flag()), setting.variable()] {
            assert!(seen.insert(name.clone()), "`{name}` stands twice");
        }
        assert!(setting.help_line().len() > 20, "`{}` has no help", setting.key);
    }
    command().debug_assert();
}

#[test]
fn the_defaults_make_a_server_on_loopback() {
    let config = settle("--data /d", "").unwrap();
    assert_eq!(config.general.data, Path::new("/d"));
    assert_eq!(config.general.cache(), Path::new("/d/cache"));
    assert_eq!(config.listening.addresses(false), ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.listening.addresses(true), []);
    assert_eq!(config.listening.unix_mode.0, 0o600);
    assert_eq!(config.events.settings(), crate::coordinator::EventSettings::default());
}

#[test]
fn groups_are_written_nested_or_with_points() {
    for file in ["tls: {certificate: /c, key: /k}", "tls.certificate: /c\ntls.key: /k"] {
        assert_eq!(settle("--data /d", file).unwrap().tls.key.as_deref(), Some(Path::new("/k")), "{file}");
    }
}

#[test]
fn lists_are_repeated_flags_separated_text_or_lists() {
    let names =
        |config: Config| -> Vec<String> { config.listening.allow_hosts.into_iter().map(|name| name.0).collect() };
    for line in ["--allow-host A.example --allow-host b.example", "--allow-host a.example,b.example"] {
        assert_eq!(names(settle(&format!("--data /d {line}"), "").unwrap()), ["a.example", "b.example"]);
    }
    assert_eq!(names(settle("--data /d", "allowHosts: [a.example, b.example]").unwrap()).len(), 2);
    let environment = [("ORCHESTRATOR_EVENT_SINKS", "http://a.example/?x=1,2 https://b.example")];
    let config = Config::resolve(&sources("--data /d", &environment, "")).unwrap();
    assert_eq!(config.events.sinks.len(), 2, "a comma belongs to a URL");
}

#[test]
fn an_empty_variable_and_a_key_without_value_set_nothing() {
    let config = Config::resolve(&sources("--data /d", &[("ORCHESTRATOR_LISTEN", "")], "logFormat:\n")).unwrap();
    assert_eq!((config.listening.addresses.len(), config.general.log_format), (0, LogFormat::Text));
}

#[test]
fn a_switch_may_be_turned_off_again() {
    let file = "listen: 10.0.0.1:80\ninsecureNoAuthentication: true";
    assert!(settle("--data /d", file).is_ok());
    assert_eq!(settle("--data /d", file).unwrap().identity().authentication, Mode::None);
    let config = settle("--data /d --insecure-no-authentication=false", file).unwrap();
    assert_eq!(config.identity().authentication, Mode::Required);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let file = "data: /d\nlisten: localhost\ntls:\n  certificat: /c\n  key: [/k]\nlogFromat: json\nallowHosts: [a/b]\neventWindow: 25h";
    let text = refused("--event-dedup 31d --event-sink ftp://a/", file);
    for expected in [
        "\n  o.yaml:2: `listen`: `localhost` is not an address",
        "\n  o.yaml:4: `tls.certificat`: there is no such setting; did you mean `tls.certificate`?",
        "\n  o.yaml:5: `tls.key`: one value is expected, not a list",
        "\n  o.yaml:6: `logFromat`: there is no such setting; did you mean `logFormat`?",
        "\n  o.yaml:7: `allowHosts`: `a/b` is no host name",
        "\n  o.yaml:8: `eventWindow`: `25h` is not between nothing and 24 hours",
        "\n  --event-dedup: `31d` is not",
        "\n  --event-sink: `ftp://a/` takes no events",
    ] {
        assert!(text.contains(expected), "{expected}\nis missing in\n{text}");
    }
}

#[test]
fn a_file_that_is_no_mapping_is_refused_with_its_line() {
    assert!(refused("--data /d", "[1]").contains("o.yaml:1: a mapping of settings is expected, not a list"));
    assert!(refused("--data /d", "tls: 5").contains("o.yaml:1: `tls`: a mapping"));
    assert!(refused("--data /d", "a: 1\na: 2").contains("o.yaml:2: "));
}

#[test]
fn what_must_be_set_says_how() {
    let text = refused("", "");
    for cure in ["`data`", "--data PATH", "ORCHESTRATOR_DATA", "`data:`"] {
        assert!(text.contains(cure), "{text}");
    }
}

#[test]
fn listening_beyond_this_machine_must_be_asked_for() {
    for address in ["0.0.0.0:8080", "[::]:8080", "10.1.2.3:80"] {
        let mode =
            |more: &str| settle(&format!("--data /d --listen {address} {more}"), "").unwrap().identity().authentication;
        assert_eq!(mode(""), Mode::Required, "{address}");
        assert_eq!(mode("--insecure-no-authentication"), Mode::None, "{address}");
        let line = format!("--data /d --listen {address} --authentication none");
        assert!(refused(&line, "").contains("not to be authenticated"), "{address}");
        assert!(settle(&format!("{line} --insecure-no-authentication"), "").is_ok(), "{address}");
    }
    for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8080"] {
        assert!(settle(&format!("--data /d --listen {address}"), "").is_ok(), "{address}");
    }
}

#[test]
fn a_certificate_and_its_key_go_together() {
    for (line, missing) in [
        ("--tls-certificate c", "tls.key"),
        ("--tls-key k", "tls.certificate"),
        ("--tls-client-ca a", "tls.certificate"),
    ] {
        assert!(refused(&format!("--data /d {line}"), "").contains(missing), "{line}");
    }
}

#[test]
fn events_are_kept_and_sent_as_asked() {
    let file = "data: /d\neventWindow: 5m\neventSinks: ['http://a.example/in']";
    let config = settle("--event-dedup PT48H", file).unwrap().events.settings();
    assert_eq!((config.window, config.dedup), (SignedDuration::from_mins(5), SignedDuration::from_hours(48)));
    assert_eq!(config.sinks, ["http://a.example/in".parse().unwrap()]);
    let config = settle("--event-sink http://b.example --event-sink https://c.example", file).unwrap().events;
    assert_eq!(config.sinks.len(), 2, "arguments go before the file");
}

/// What `orchestrator config <task>` prints, and whether all is well.
fn answer(task: Task, sources: Sources) -> (String, bool) {
    Invocation { task, sources }.answer()
}

#[test]
fn the_reference_in_the_repository_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIGURATION.md");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(reference() == kept, "the settings changed: run this test with UPDATE_SNAPSHOTS=1");
    for setting in all() {
        assert!(kept.contains(&format!("### `{}`\n", setting.key)), "{}", setting.key);
    }
}

#[test]
fn what_is_shown_is_a_settings_file_that_says_the_same_and_who_says_so() {
    let file = "data: /d\nallowHosts: [a.example, b.example]\ntls: {certificate: '/c: d', key: /k}";
    let first = sources("--listen 127.0.0.1:9 --event-window PT5M", &[("ORCHESTRATOR_LOG", "debug")], file);
    let (text, _) = answer(Task::Show, first.clone());
    for line in [
        "data: /d  # from o.yaml:1",
        "allowHosts: [a.example, b.example]  # from o.yaml:2",
        "tls.certificate: \"/c: d\"  # from o.yaml:3",
        "listen: [\"127.0.0.1:9\"]  # from --listen",
        "log: debug  # from ORCHESTRATOR_LOG",
        "logFormat: text  # default",
        "# cache:",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\nis missing in\n{text}");
    }
    let second = Sources { file: Some(("shown.yaml".to_owned(), text)), ..Sources::default() };
    assert_eq!(Config::resolve(&second).unwrap(), Config::resolve(&first).unwrap());
}

#[test]
fn a_check_tells_faults_of_texts_and_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let good = sources("", &[("ORCHESTRATOR_LISTN", "1")], &format!("data: {path}/data\nlisten: 127.0.0.1:0"));
    let (text, fine) = answer(Task::Check, good);
    assert!(
        fine && text.contains("did you mean `ORCHESTRATOR_LISTEN`") && text.ends_with("the settings are right\n"),
        "{text}"
    );
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let file = format!(
        "data: {0}\ntls:\n  certificate: {0}\n  key: {0}\nlisten: 192.0.2.1:1\ninsecureNoAuthentication: true",
        empty.display()
    );
    let (text, fine) = answer(Task::Check, sources("", &[], &file));
    assert!(!fine && text.ends_with("3 settings are wrong\n"), "{text}");
    for expected in [
        "wrong  o.yaml:1: `data`: `",
        "is no folder",
        "wrong  o.yaml:3: `tls.certificate`: cannot find a certificate",
        "wrong  o.yaml:5: `listen`: 192.0.2.1:1 cannot be listened on",
    ] {
        assert!(text.contains(expected), "{expected}\nis missing in\n{text}");
    }
}
