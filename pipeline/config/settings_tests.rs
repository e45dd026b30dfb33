//! Tests of the configuration machinery.

use serde::Deserialize;
use toml::{Table, Value};

use crate::config::schema::{Kind, Origin, Schema, line_of};
use crate::config::settings::{apply_set, merge, parse, parse_set, read};
use crate::terminal::exit::Failure;

const DEFAULTS: &str = "
seed = 1
device = 'auto'
[search]
samples = 8
temperature = 0.8
shuffle = true
stop = ['x']
[[policies]]
kind = 'rules'
share = 1.0
[endpoint]
url = ''
[endpoint.extra_body]
";

fn schema() -> Result<Schema, Failure> {
    Ok(Schema {
        defaults: parse(DEFAULTS, "defaults")?,
        optional: &[
            ("search.limit", Kind::Integer),
            ("policies.path", Kind::Text),
            ("model.path", Kind::Text),
        ],
        free: &["endpoint.extra_body"],
    })
}

/// What `check` says of a file; empty if all is well.
fn said(text: &str) -> Result<String, Failure> {
    let checked = schema()?.check(&parse(text, "a.toml")?, &Origin { name: "a.toml", text: Some(text) });
    Ok(match checked {
        Ok(()) => String::new(),
        Err(failure) if failure.hint.is_empty() => failure.what,
        Err(failure) => format!("{} ({})", failure.what, failure.hint),
    })
}

#[test]
fn tables_merge_and_values_replace() -> Result<(), Failure> {
    let mut base = parse("a = 1\nl = [1, 2]\n[t]\nx = 1\ny = 2", "")?;
    merge(&mut base, parse("l = [3]\nb = 2\n[t]\ny = 3\n[t.u]\nz = 1", "")?);
    assert_eq!(base, parse("a = 1\nl = [3]\nb = 2\n[t]\nx = 1\ny = 3\n[t.u]\nz = 1", "")?);
    Ok(())
}

#[test]
fn a_known_configuration_passes() -> Result<(), Failure> {
    for text in [
        DEFAULTS,
        "",
        "search.temperature = 1",
        "search.limit = 3",
        "[model]\npath = 'x'",
        "[[policies]]\nkind = 'model'\npath = 'x'\nshare = 1",
        "[endpoint.extra_body]\nany = { thing = [1, 'two'] }",
        "search.stop = []",
    ] {
        assert_eq!(said(text)?, "", "{text}");
    }
    Ok(())
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known() -> Result<(), Failure> {
    let cases = [
        (
            "seed = 1\n[search]\n# samples\nsample = 4",
            "a.toml line 4: unknown key `search.sample` (did you mean `search.samples`?)",
        ),
        ("samples = 4", "a.toml line 1: unknown key `samples` (did you mean `search.samples`?)"),
        ("[serach]\nsamples = 4", "a.toml line 1: unknown key `serach` (did you mean `search`?)"),
        ("[search]\nlimti = 4", "a.toml line 2: unknown key `search.limti` (did you mean `search.limit`?)"),
        (
            "[[policies]]\nkind = 'a'\nshare = 1\nshares = 2",
            "a.toml line 4: unknown key `policies.shares` (did you mean `policies.share`?)",
        ),
        (
            "[search]\nqq = 4",
            "a.toml line 2: unknown key `search.qq` (known in `search`: samples, temperature, shuffle, stop)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(said(text)?, expected);
    }
    Ok(())
}

#[test]
fn a_wrong_type_is_named_with_what_was_found() -> Result<(), Failure> {
    let cases = [
        (
            "[search]\nsamples = 'many'",
            "a.toml line 2: `search.samples` must be a whole number of 0 or more, and is text, \"many\"",
        ),
        (
            "search.samples = 1.5",
            "a.toml line 1: `search.samples` must be a whole number of 0 or more, and is a number, 1.5",
        ),
        ("search.temperature = nan", "a.toml line 1: `search.temperature` must be a number, and is nan"),
        (
            "search.shuffle = 1",
            "a.toml line 1: `search.shuffle` must be true or false, and is a whole number, 1",
        ),
        ("search = 3", "a.toml line 1: `search` must be a table, and is a whole number, 3"),
        ("search.stop = [1]", "a.toml line 1: `search.stop` must be text, and is a whole number, 1"),
        (
            "search.limit = 'x'",
            "a.toml line 1: `search.limit` must be a whole number of 0 or more, and is text, \"x\"",
        ),
        (
            "endpoint = { extra_body = 1 }",
            "a.toml line 1: `endpoint.extra_body` must be a table, and is a whole number, 1",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(said(text)?, expected);
    }
    Ok(())
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    let failure = parse("seed = 1\nsamples = = 2", "a.toml").err().map(|f| f.what).unwrap_or_default();
    assert!(failure.starts_with("a.toml line 2: "), "{failure}");
    assert!(!failure.contains('\n'));
}

#[test]
fn overrides_are_read() -> Result<(), Failure> {
    let value = |text: &str| parse_set(text).map(|set| set.value);
    assert_eq!(parse_set("search.samples=16")?.path, ["search", "samples"]);
    assert_eq!(parse_set("a.\"b.c\".d=16")?.path, ["a", "b.c", "d"]);
    assert_eq!(value("a=16")?, Value::Integer(16));
    assert_eq!(value("a = true")?, Value::Boolean(true));
    assert_eq!(value("a=[1, 2]")?, Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
    assert_eq!(value("a={ x = 1 }")?.as_table().map(Table::len), Some(1));
    for text in ["foo/bar", "", "2026-01-01", "[1, 2", "1\nb = 2", "a=b", "it's"] {
        assert_eq!(value(&format!("a={text}"))?, Value::String(text.to_owned()));
    }
    for text in ["search.samples", "=3", "a b=3", "a\nb=3", "a.=3"] {
        assert!(parse_set(text).is_err(), "{text}");
    }
    Ok(())
}

#[test]
fn overrides_are_checked_and_applied() -> Result<(), Failure> {
    let schema = schema()?;
    let mut config = schema.defaults.clone();
    for text in
        ["search.samples=16", "device=7", "model.path=a/b", "search.limit=5", "endpoint.extra_body.x=1"]
    {
        apply_set(&mut config, &parse_set(text)?, &schema)?;
    }
    let at = |path: &str| {
        path.split('.').try_fold(&Value::Table(config.clone()), |v, k| v.get(k)).map(ToString::to_string)
    };
    assert_eq!(at("search.samples").as_deref(), Some("16"));
    assert_eq!(at("search.temperature").as_deref(), Some("0.8"));
    assert_eq!(at("device").as_deref(), Some("\"7\""));
    assert_eq!(at("model.path").as_deref(), Some("\"a/b\""));
    let before = config.clone();
    let Err(failure) = apply_set(&mut config, &parse_set("search.sampels=16")?, &schema) else {
        panic!("accepted")
    };
    assert_eq!(failure.what, "--set search.sampels=16: unknown key `search.sampels`");
    assert_eq!(failure.hint, "did you mean `search.samples`?");
    assert_eq!(config, before);
    Ok(())
}

#[test]
fn a_value_that_is_not_allowed_is_told_in_one_line() -> Result<(), Failure> {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Device {
        Auto,
    }
    #[derive(Debug, Deserialize)]
    struct Config {
        device: Device,
    }
    let Config { device: Device::Auto } = read(parse("device = 'auto'", "")?, "a.toml")?;
    let Err(failure) = read::<Config>(parse("device = 'gpu'", "")?, "a.toml") else { panic!("accepted") };
    assert!(failure.what.contains("unknown variant `gpu`") && !failure.what.contains('\n'), "{failure}");
    assert!(failure.what.contains("`device`"), "{failure}");
    Ok(())
}

#[test]
fn lines_are_found() {
    let text = "a = 1\n[t]\n# b = 0\nb.c = 2\n[[l]]\n\"k\" = 3\nd = { e = 1 }\n";
    let line = |path: &str| line_of(text, &path.split('.').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!([line("a"), line("t"), line("t.b.c"), line("l.k"), line("l.d.e")], [1, 2, 4, 6, 7].map(Some));
    assert_eq!(line("none"), None);
}
