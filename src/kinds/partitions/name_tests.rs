use super::*;

fn pattern(text: &str) -> Result<Pattern, String> {
    text.parse()
}

#[test]
fn a_pattern_knows_few_letters_and_says_which() {
    assert!(pattern("{table}_p%Y%m%d").is_ok());
    assert_eq!(
        pattern("{table}_%Q").unwrap_err(),
        "unknown %Q in \"{table}_%Q\"; known are {table}, %Y, %m, %d and %H"
    );
    assert!(pattern("{tabel}_%Y").unwrap_err().contains("unknown braces"));
    assert!(pattern("{table}_%").unwrap_err().contains("ends in a percent sign"));
}

#[test]
fn a_pattern_must_tell_the_periods_apart() {
    let mistake = |text: &str, every| pattern(text).unwrap().mistake(every);
    assert_eq!(
        mistake("{table}_%Y", Every::Months(1)).unwrap(),
        "with \"{table}_%Y\" several periods of 1 month would have one name: %m is missing"
    );
    assert_eq!(mistake("{table}_%Y", Every::Months(12)), None);
    assert_eq!(mistake("{table}_%Y_%m", Every::Months(3)), None);
    assert!(mistake("{table}_%Y_%m", Every::Days(7)).unwrap().contains("%d is missing"));
    assert!(mistake("{table}_%%Y", Every::Months(12)).is_some());
    for every in [Every::Hours(2), Every::Days(1), Every::Months(2), Every::Months(24)] {
        assert_eq!(Pattern::of(every).mistake(every), None);
    }
}

#[test]
fn what_is_too_long_is_cut_before_the_time_and_marked() {
    let start = "2026-11-01T00:00:00".parse().unwrap();
    let named = pattern("{table}_%Y_%m").unwrap().name(&"x".repeat(60), start);
    assert_eq!(named.name.len(), 63);
    assert!(named.name.starts_with("xxx") && named.name.ends_with("_2026_11"), "{}", named.name);
    assert_eq!(named.too_long.unwrap(), format!("{}_2026_11", "x".repeat(60)));
    // A table's own percent signs and braces are none of the pattern's.
    assert_eq!(pattern("{table}_%Y_%%").unwrap().name("%Y{table}", start).name, "%Y{table}_2026_%");
}
