//! The name somebody probably meant.

/// The known name nearest to `word`, if any is so near that a slip of the hand explains it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), name))
        // A name of which nothing is right was not meant.
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// How a message about an unknown name ends: with the name that was meant, or with what there is.
pub fn advice(word: &str, known: &[&str], what: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None if known.is_empty() => format!("; there is no {what}"),
        None => format!("; known are {}", list(known)),
    }
}

/// `a, b, c`, cut short where nobody would read on.
pub fn list(names: &[&str]) -> String {
    const SHOWN: usize = 24;
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not_twisted() {
        let keys = ["schedule", "lock_timeout", "timeout", "database", "databases"];
        assert_eq!(nearest("lock_timout", keys), Some("lock_timeout"));
        assert_eq!(nearest("shcedule", keys), Some("schedule"));
        assert_eq!(nearest("Databases", keys), Some("databases"));
        assert_eq!(nearest("cron", keys), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
