use super::*;

fn every(text: &str) -> String {
    match text.parse::<Period>().map(Every::try_from) {
        Ok(Ok(every)) => every.to_string(),
        Ok(Err(why)) => why,
        Err(error) => error.to_string(),
    }
}

#[test]
fn periods_are_of_one_unit_from_an_hour_up() {
    assert_eq!(every("1 month"), "1 month");
    assert_eq!(every("1 quarter"), "3 months");
    assert_eq!(every("2 years"), "2 years");
    assert_eq!(every("7 days"), "1 week");
    assert_eq!(every("36 hours"), "36 hours");
    for wrong in ["30 minutes", "90 minutes", "1 month 1 day", "1 day 12 hours", "0 days"] {
        assert!(every(wrong).contains("periods are whole hours, days, weeks, months"), "{}", every(wrong));
    }
    assert!(every("2000 years").contains("longer than 1000 years"));
}

/// The period that holds an instant: its beginning and end, in UTC.
fn holds(text: &str, zone: Tz, at: &str) -> String {
    let every = Every::try_from(text.parse::<Period>().unwrap()).unwrap();
    let periods = Periods { every, zone, line: Line::Instant };
    let index = periods.holding(at.parse::<DateTime<Utc>>().unwrap().naive_utc());
    let edge = |index| periods.start(index).unwrap().format("%Y-%m-%d %H:%M").to_string();
    format!("{} to {}", edge(index), edge(index + 1))
}

#[test]
fn weeks_begin_on_monday_and_months_with_january() {
    let utc = Tz::UTC;
    assert_eq!(holds("1 week", utc, "2026-11-15T12:00:00Z"), "2026-11-09 00:00 to 2026-11-16 00:00");
    assert_eq!(holds("2 weeks", utc, "2026-11-15T12:00:00Z"), "2026-11-02 00:00 to 2026-11-16 00:00");
    assert_eq!(holds("1 quarter", utc, "2026-11-15T12:00:00Z"), "2026-10-01 00:00 to 2027-01-01 00:00");
    assert_eq!(holds("4 months", utc, "2026-11-15T12:00:00Z"), "2026-09-01 00:00 to 2027-01-01 00:00");
    assert_eq!(holds("6 hours", utc, "2026-11-15T13:00:00Z"), "2026-11-15 12:00 to 2026-11-15 18:00");
    // Odd ones are counted from 1970: November 2026 is month 682 from there, its 15th day 20772.
    assert_eq!(holds("5 months", utc, "2026-11-15T12:00:00Z"), "2026-09-01 00:00 to 2027-02-01 00:00");
    assert_eq!(holds("10 days", utc, "2026-11-15T12:00:00Z"), "2026-11-13 00:00 to 2026-11-23 00:00");
    assert_eq!(holds("1 month", utc, "1969-12-31T23:59:59Z"), "1969-12-01 00:00 to 1970-01-01 00:00");
}

#[test]
fn periods_follow_the_clock_of_the_zone() {
    let berlin = Tz::Europe__Berlin;
    assert_eq!(holds("1 month", berlin, "2026-10-31T23:30:00Z"), "2026-10-31 23:00 to 2026-11-30 23:00");
    assert_eq!(holds("1 day", berlin, "2026-03-29T10:00:00Z"), "2026-03-28 23:00 to 2026-03-29 22:00");
    // Half past is a full hour there.
    assert_eq!(holds("1 hour", Tz::Asia__Kolkata, "2026-11-15T12:45:00Z"), "2026-11-15 12:30 to 2026-11-15 13:30");
    // A clock that goes back by half an hour makes an hour of one and a half.
    assert_eq!(
        holds("1 hour", Tz::Australia__Lord_Howe, "2026-04-04T15:10:00Z"),
        "2026-04-04 14:00 to 2026-04-04 15:30"
    );
    // Midnight that does not exist: the day begins at one.
    assert_eq!(holds("1 day", Tz::America__Havana, "2026-03-08T12:00:00Z"), "2026-03-08 05:00 to 2026-03-09 04:00");
    // A day that never was.
    assert_eq!(holds("1 day", Tz::Pacific__Apia, "2011-12-30T10:00:00Z"), "2011-12-30 10:00 to 2011-12-31 10:00");
    // The clock goes back over midnight, at one minute past: the day that it shows again is over.
    assert_eq!(holds("1 day", Tz::America__St_Johns, "2006-10-29T02:45:00Z"), "2006-10-29 02:30 to 2006-10-30 03:30");
}

/// Each minute of the years around belongs to exactly one period, which begins with a full one of the clock.
#[test]
fn a_sweep_over_daylight_saving() {
    for zone in [Tz::Europe__Berlin, Tz::Australia__Lord_Howe, Tz::America__Havana, Tz::Asia__Beirut] {
        for every in [Every::Hours(1), Every::Hours(6), Every::Days(1), Every::Days(7), Every::Months(1)] {
            let periods = Periods { every, zone, line: Line::Instant };
            let mut at: NaiveDateTime = "2026-01-01T00:00:00".parse().unwrap();
            let mut index = periods.holding(at);
            while at < "2027-01-01T00:00:00".parse().unwrap() {
                let next = periods.holding(at);
                assert!(next >= index && periods.start(next).unwrap() <= at && at < periods.start(next + 1).unwrap());
                (index, at) = (next, at + TimeDelta::minutes(10));
            }
        }
    }
}
