//! The defaults are safe, mistakes are told, and passwords are not.

use super::*;

fn parse(text: &str) -> OptimizerConfig {
    toml::from_str(text).expect("it parses")
}

#[test]
fn nothing_is_applied_by_default() {
    let config = parse("");
    assert!(config.dry_run && !config.auto_approve && !config.create_index);
    assert!(!config.allow.contains(&ActionKind::CreateIndex));
    assert!(!config.allow.contains(&ActionKind::DropIndex));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn unknown_options_are_refused() {
    assert!(toml::from_str::<OptimizerConfig>("dry_runn = false").is_err());
}

#[test]
fn what_is_configured_is_checked() {
    let server = "[[server]]\nname = 'a'\nkind = 'postgres'\nurl = 'postgres://u@h/d'\n";
    let cases = [
        ("hours = [5, 5]".to_owned(), "optimizer.hours"),
        ("window = '1ms'".to_owned(), "optimizer.window"),
        ("windows_min = 9\nwindows_max = 3".to_owned(), "windows_max"),
        (
            "[warm]\nbackend_ms_per_s = 0.0".to_owned(),
            "optimizer.warm",
        ),
        (format!("{server}{server}"), "name of its own"),
        (
            "[[loader]]\npattern = 'p:*'\nttl = '1m'".to_owned(),
            "either sql or get",
        ),
        (
            format!("{server}[[loader]]\npattern = 'p:*'\nttl = '1m'\nsql = 'select 1'"),
            "needs server",
        ),
        (
            "[[loader]]\npattern = 'p'\nttl = '1m'\nget = 'http://h/{1}'".to_owned(),
            "needs a *",
        ),
    ];
    for (text, expected) in cases {
        let told = parse(&text).check().expect_err(&text).to_string();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn debug_shows_no_password() {
    let text = "[[server]]\nname = 'a'\nkind = 'postgres'\nurl = 'postgres://u:s3cret@h:5/d?password=s3cret'";
    let shown = format!("{:?}", parse(text));
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("postgres://u@h:5/d"), "{shown}");
}
