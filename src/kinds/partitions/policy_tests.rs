use super::*;

fn read(text: &str) -> Result<Partitions, String> {
    toml::from_str(text).map_err(|error| error.message().to_string())
}

fn mistakes(tables: &str) -> String {
    let lines = read(&format!("tables = [{tables}]")).unwrap().mistakes().into_iter();
    lines.map(|found| format!("{}; {}\n", found.message, found.mend)).collect()
}

#[test]
fn the_defaults_are_those_of_the_interface() {
    let job = read(r#"tables = [{ table = "test_runs" }]"#).unwrap();
    assert!(job.mistakes().is_empty());
    let table = job.tables[0].get_ref();
    assert_eq!((table.every().unwrap(), table.ahead, table.behind), (Every::Months(1), 12, 0));
    assert_eq!((table.default_rows, table.default_rows_max), (DefaultRows::Move, 10_000));
    assert_eq!(table.zone(Tz::Europe__Berlin), Tz::Europe__Berlin);
    let own = read(r#"tables = [{ table = "a", timezone = "Asia/Kolkata" }]"#).unwrap();
    assert_eq!(own.tables[0].get_ref().zone(Tz::UTC), Tz::Asia__Kolkata);
}

#[test]
fn what_cannot_be_meant_is_said_with_what_can() {
    assert!(mistakes("").contains("partitions.tables is empty"));
    assert_eq!(
        mistakes(r#"{ table = "a", every = "15 minutes" }"#),
        "every of public.a: \"15 minutes\" is no period of partitions; periods are whole hours, days, weeks, months, \
         quarters or years, of one unit; write it like \"1 month\"\n"
    );
    assert_eq!(
        mistakes(r#"{ table = "a", every = "1 day", name = "{table}_%Y_%m" }"#),
        "name of public.a: with \"{table}_%Y_%m\" several periods of 1 day would have one name: %d is missing; write \
         \"{table}_%Y_%m_%d\", or leave it out\n"
    );
    assert_eq!(
        mistakes(r#"{ table = "a", every = "1 day", key_format = "%Y-%m" }"#),
        "key_format of public.a: \"%Y-%m\" counts in steps of 1 month, and periods of 1 day need finer ones; make the \
         periods longer, or the format finer\n"
    );
    assert!(mistakes(r#"{ table = "a", ahead = 10001 }"#).contains("ahead of public.a is 10001"));
    assert!(mistakes(r#"{ table = "a", behind = 10001 }"#).contains("behind of public.a is 10001"));
    assert!(mistakes(r#"{ table = "a", default_rows_max = 0 }"#).contains("write default_rows = \"refuse\""));
    assert!(mistakes(r#"{ table = "a" }, { table = "public.A" }"#).contains("public.a stands twice"));
    assert_eq!(mistakes(r#"{ table = "a", ahead = 0 }"#), "");
}

#[test]
fn each_key_says_what_it_takes() {
    let error = |keys: &str| read(&format!(r#"tables = [{{ table = "a", {keys} }}]"#)).unwrap_err();
    assert!(error(r#"key_format = "YYYY-MM""#).contains("it says no time; supported are \"%Y_%m\""));
    assert!(error(r#"timezone = "Berlin""#).contains("unknown time zone \"Berlin\"; write it like \"UTC\""));
    assert!(error(r#"timezone = "Europe/Berln""#).contains("did you mean \"Europe/Berlin\"?"));
    assert!(error(r#"name = "%x""#).contains("unknown %x"));
    assert!(error("every = 1").contains("no unit"));
    assert!(error(r#"default_rows = "keep""#).contains("move"));
    assert!(error("aheads = 1").contains("aheads"));
}
