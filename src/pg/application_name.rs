//! What `pg_stat_activity` calls the sessions of a job.

use super::exclusion::advisory_key;

/// The server cuts an `application_name` after so many bytes.
const MOST: usize = 63;

/// `pgtend/JOB`, and `suffix` after that, whole: by it a session is looked for. A name that would be cut for it is cut here,
/// and bears a sign by which it is told from others that begin like it.
pub fn application_name(job: &str, suffix: &str) -> String {
    let whole = format!("pgtend/{job}{suffix}");
    if whole.len() <= MOST {
        return whole;
    }
    let sign = format!("~{:04x}", advisory_key(job) & 0xffff);
    let room = MOST.saturating_sub("pgtend/".len() + sign.len() + suffix.len());
    format!("pgtend/{}{sign}{suffix}", &job[..job.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_stays_however_long_the_name_is() {
        assert_eq!(application_name("sessions", " (lock)"), "pgtend/sessions (lock)");
        let just = "j".repeat(63 - "pgtend/ (lock)".len());
        assert_eq!(application_name(&just, " (lock)"), format!("pgtend/{just} (lock)"));
        for long in ["j".repeat(63), format!("{}@{}", "j".repeat(63), "d".repeat(63)), "ψ".repeat(63), just + "k"] {
            for suffix in ["", " (lock)", " (dump)", " (beside the dump)"] {
                let name = application_name(&long, suffix);
                let start: String = long.chars().take(10).collect();
                assert!(name.len() <= MOST, "{name} is {} bytes long", name.len());
                assert!(name.starts_with(&format!("pgtend/{start}")) && name.ends_with(suffix), "{name}");
            }
        }
    }

    #[test]
    fn names_that_begin_alike_are_told_apart() {
        // The session of a dump is ended by this name.
        let (one, other) = ("j".repeat(62) + "1", "j".repeat(62) + "2");
        assert_ne!(application_name(&one, " (dump)"), application_name(&other, " (dump)"));
        assert_eq!(application_name(&one, " (dump)"), application_name(&one, " (dump)"));
    }
}
