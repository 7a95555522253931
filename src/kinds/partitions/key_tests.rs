use super::*;
use crate::pg::Ident;

fn key(strategy: Strategy, kind: &str, format: &str) -> Result<Key, String> {
    let facts = KeyFacts {
        strategy,
        column: Some(Ident::new("at").unwrap()),
        definition: "RANGE (at)".into(),
        columns: 1,
        type_name: kind.into(),
        bytewise: false,
    };
    let format = (!format.is_empty()).then(|| format.parse::<KeyFormat>()).transpose()?;
    Key::of(&facts, format.as_ref(), Every::Months(1))
}

fn refused(strategy: Strategy, kind: &str, format: &str, why: &str) {
    let error = key(strategy, kind, format).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_key_and_a_format_that_do_not_fit_are_refused_with_what_would() {
    let range = Strategy::Range;
    refused(range, "timestamp with time zone", "%Y-%m", "remove key_format = \"%Y-%m\"");
    refused(range, "date", "epoch", "remove key_format");
    refused(range, "text", "", "add key_format, such as \"%Y-%m\"");
    refused(range, "text", "epoch", "write \"%Y-%m\"");
    refused(range, "integer", "", "add key_format, such as \"%Y%m\" or \"epoch\"");
    refused(range, "integer", "%Y-%m", "cannot be \"%Y-%m\": write \"%Y%m\"");
    refused(range, "uuid", "", "add key_format = \"uuidv7\"");
    refused(range, "uuid", "epoch", "only \"uuidv7\"");
    refused(
        range,
        "inet",
        "",
        "inet, which is not supported: pgtend makes partitions by RANGE and LIST of timestamptz",
    );
    refused(Strategy::Hash, "date", "", "hash partitions follow no time");
    refused(Strategy::List, "timestamp with time zone", "", "a list cannot name each value");
    refused(Strategy::List, "bigint", "epoch", "a list cannot name each value");
    refused(
        Strategy::List,
        "text",
        "%Y",
        "periods of 1 month cannot be told apart by a key that counts in steps of 1 year",
    );
    refused(Strategy::List, "character varying(6)", "%Y-%m", "texts of 7 characters");
    refused(range, "text", "%m-%Y", "it begins with %Y");
    refused(range, "text", "monthly", "it says no time");
}

#[test]
fn text_is_compared_by_range_only_where_bytes_decide() {
    refused(Strategy::Range, "text", "%Y-%m", "COLLATE \"C\" would");
    assert!(key(Strategy::List, "text", "%Y-%m").is_ok());
    assert!(key(Strategy::List, "character(7)", "%Y-%m").is_ok());
}

fn reads(key: &Key, text: &str) -> String {
    match key.bound(&Edge::Value(text.into())) {
        None => "unread".into(),
        Some(LAST) => "last".into(),
        Some(FIRST) => "first".into(),
        Some(at) => at.to_string(),
    }
}

#[test]
fn timestamps_are_read_as_the_server_writes_them() {
    let key = key(Strategy::Range, "timestamp(3) with time zone", "").unwrap();
    assert_eq!(reads(&key, "2026-11-01 00:00:00+00"), "2026-11-01 00:00:00");
    assert_eq!(reads(&key, "2026-11-01 05:30:00.123456+05:30"), "2026-11-01 00:00:00.123456");
    assert_eq!(reads(&key, "0044-03-15 12:00:00+00 BC"), "-0043-03-15 12:00:00");
    assert_eq!(reads(&key, "12026-11-01 00:00:00+00"), "+12026-11-01 00:00:00");
    assert_eq!(reads(&key, "294276-12-31 23:59:59+00"), "last");
    assert_eq!(reads(&key, "infinity"), "last");
    assert_eq!(reads(&key, "-infinity"), "first");
    // Without an offset, or in another DateStyle, it is anybody's guess.
    assert_eq!(reads(&key, "2026-11-01 00:00:00"), "unread");
    assert_eq!(reads(&key, "2026-11-01"), "unread");
    assert_eq!(reads(&key, "01.11.2026 00:00:00 UTC"), "unread");
    assert_eq!(reads(&Key::Timestamp, "2026-11-01 00:00:00"), "2026-11-01 00:00:00");
    assert_eq!(reads(&Key::Timestamp, "2026-11-01 00:00:00+00"), "unread");
    assert_eq!(reads(&Key::Date, "2026-11-01"), "2026-11-01 00:00:00");
    assert_eq!(reads(&Key::Date, "2026-02-30"), "unread");
}

#[test]
fn what_no_month_or_day_has_ends_it_as_a_bound_and_is_no_value() {
    let month = key(Strategy::List, "text", "%Y-%m").unwrap();
    assert_eq!(reads(&month, "2025-13"), "2026-01-01 00:00:00");
    assert_eq!(month.value("2025-13"), None);
    for odd in ["2025-1", "2025-00", "2025-09-30", "2025_09", "x", ""] {
        assert_eq!(reads(&month, odd), "unread", "{odd}");
    }
    let day = key(Strategy::List, "text", "%Y-%m-%d").unwrap();
    assert_eq!(reads(&day, "2025-02-29"), "2025-03-01 00:00:00");
    assert_eq!(reads(&day, "2025-12-32"), "2026-01-01 00:00:00");
    let hour = key(Strategy::List, "bigint", "%Y%m%d%H").unwrap();
    assert_eq!(reads(&hour, "2025022824"), "2025-03-01 00:00:00");
    let padded = key(Strategy::List, "character(9)", "%Y-%m").unwrap();
    assert_eq!(padded.value("2025-02  ").unwrap().to_string(), "2025-02-01 00:00:00");
}

#[test]
fn a_uuid_begins_with_its_millisecond() {
    let key = key(Strategy::Range, "uuid", "uuidv7").unwrap();
    let november = "2026-11-01T00:00:00".parse().unwrap();
    assert_eq!(key.encode(november).unwrap(), "01a19467-e800-0000-0000-000000000000");
    assert_eq!(
        reads(&key, "01a19467-e800-7000-8000-000000000000"),
        reads(&key, "01a19467-e800-0000-0000-000000000000")
    );
    // Within a millisecond: what is free beside it cannot be said.
    assert_eq!(reads(&key, "01a19467-e800-7abc-8000-000000000000"), "unread");
    assert_eq!(reads(&key, "01a19467e8007000800000000000"), "unread");
}

#[test]
fn a_numeric_with_decimals_is_as_whole_as_its_bounds() {
    let month = key(Strategy::Range, "numeric(8,2)", "%Y%m").unwrap();
    assert_eq!(reads(&month, "202611.00"), "2026-11-01 00:00:00");
    assert_eq!(reads(&month, "202611.50"), "unread");
    let epoch = key(Strategy::Range, "numeric(14,3)", "epoch").unwrap();
    assert_eq!(reads(&epoch, "1793491200.000"), "2026-11-01 00:00:00");
    assert_eq!(reads(&epoch, "1793491200.001"), "unread");
}

#[test]
fn an_epoch_may_be_long_ago_or_far_away() {
    let key = key(Strategy::Range, "bigint", "epoch_ms").unwrap();
    assert_eq!(reads(&key, "-1"), "1969-12-31 23:59:59.999");
    assert_eq!(reads(&key, "9223372036854775807"), "last");
    assert_eq!(reads(&key, "1.5"), "unread");
}
