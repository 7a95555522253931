//! What may stand in each field of a cron expression. Looked at before the parser does, whose errors name no field and
//! which lets a few slips pass: an empty list entry, a weekday's name among the minutes.

use super::CronError;

struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    /// The last one to count: 7 is Sunday again.
    last: u8,
    /// The names of its values, from `min` on.
    names: &'static [&'static str],
    example: &'static str,
}

const FIELDS: [Field; 6] = [
    Field { name: "second", min: 0, max: 59, last: 59, names: &[], example: "*/10" },
    Field { name: "minute", min: 0, max: 59, last: 59, names: &[], example: "*/15" },
    Field { name: "hour", min: 0, max: 23, last: 23, names: &[], example: "8-18" },
    Field { name: "day of month", min: 1, max: 31, last: 31, names: &[], example: "1,15" },
    Field {
        name: "month",
        min: 1,
        max: 12,
        last: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        example: "1,4,7,10",
    },
    Field {
        name: "day of week",
        min: 0,
        max: 7,
        last: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        example: "MON-FRI",
    },
];
const DAY_OF_MONTH: usize = 3;
const DAY_OF_WEEK: usize = 5;

/// The fields of `text`, each one looked at.
pub(super) fn split(text: &str) -> Result<Vec<&str>, CronError> {
    let values: Vec<&str> = text.split_whitespace().collect();
    if !(5..=6).contains(&values.len()) {
        return Err(CronError::Fields { text: text.into(), count: values.len() });
    }
    for (index, value) in (FIELDS.len() - values.len()..).zip(&values) {
        let entries: Vec<String> = value.split(',').map(str::to_ascii_lowercase).collect();
        let all = entries.len() > 1 && entries.iter().any(|entry| entry == "*" || entry == "?");
        let alone =
            if all { Err("a star means every value, so nothing can stand beside it".to_owned()) } else { Ok(()) };
        alone.and_then(|()| entries.iter().try_for_each(|entry| check(index, entry))).map_err(|mend| {
            CronError::Field { text: text.into(), field: FIELDS[index].name, value: (*value).into(), mend }
        })?;
    }
    Ok(values)
}

/// Looks at one entry of a list; the error says what would be right.
fn check(index: usize, entry: &str) -> Result<(), String> {
    let field = &FIELDS[index];
    match index {
        DAY_OF_MONTH if entry == "l" || entry == "lw" || entry == "?" => return Ok(()),
        DAY_OF_MONTH if entry.ends_with('w') => {
            return field.value(entry.strip_suffix('w').unwrap_or(entry)).map(|_| ());
        }
        DAY_OF_WEEK if entry == "?" => return Ok(()),
        DAY_OF_WEEK if entry.len() > 1 && entry.ends_with('l') => {
            return field.value(entry.strip_suffix('l').unwrap_or(entry)).map(|_| ());
        }
        DAY_OF_WEEK if entry.contains('#') => {
            let (day, nth) = entry.split_once('#').unwrap_or((entry, ""));
            let known = matches!(nth, "1" | "2" | "3" | "4" | "5");
            return if known { field.value(day).map(|_| ()) } else { Err("after # comes 1 to 5, as in MON#2".into()) };
        }
        _ => {}
    }
    let (range, step) = entry.split_once('/').map_or((entry, None), |(range, step)| (range, Some(step)));
    match range.split_once('-') {
        Some((from, to)) => {
            let (low, high) = (field.value(from)?, field.value(to)?);
            // As a name Sunday ends a week as well as it begins one.
            if low > high && !(index == DAY_OF_WEEK && to == "sun") {
                return Err(format!("a range goes upwards; write {from}-{},{}-{to}", field.last, field.min));
            }
        }
        None if range == "*" => {}
        None => {
            field.value(range)?;
            if let Some(step) = step {
                return Err(format!("a step needs a range: */{step} or {range}-{}/{step}", field.last));
            }
        }
    }
    match step.map(|step| (step, step.parse::<u8>())) {
        None => Ok(()),
        Some((_, Ok(n))) if n >= 1 && n <= field.last => Ok(()),
        Some((step, _)) => Err(format!(
            "the step {step:?} is none from 1 to {}; it counts anew in each {}",
            field.last,
            match index {
                0 => "minute",
                1 => "hour",
                2 => "day",
                3 => "month",
                4 => "year",
                _ => "week",
            }
        )),
    }
}

impl Field {
    fn value(&self, text: &str) -> Result<u8, String> {
        if let Some(at) = self.names.iter().position(|name| *name == text) {
            return Ok(self.min + u8::try_from(at).unwrap_or_default());
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && (self.min..=self.max).contains(n));
        number.ok_or_else(|| {
            let names = if self.names.is_empty() { "" } else { ", or its name in three letters" };
            format!("it takes {} to {}{names}, such as {}", self.min, self.max, self.example)
        })
    }
}
