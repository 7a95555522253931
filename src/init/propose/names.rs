//! What a name says, as far as a name can. It decides nothing that is switched on by itself.

/// `userSession`, `user_session` and `UserSessions` in one form: lower case, words apart by `_`.
pub fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        if c.is_alphanumeric() { snake.extend(c.to_lowercase()) } else { snake.push('_') }
    }
    snake
}

/// Whether a column by its name says when something ends: `expires_at`, `token_expires_at`, `valid_until`.
pub fn is_expiry(column: &str) -> bool {
    const ENDINGS: &[&str] = &[
        "expires",
        "expires_at",
        "expires_on",
        "expire_at",
        "expire_date",
        "expires_date",
        "expired_at",
        "expiry",
        "expiry_at",
        "expiry_date",
        "expiry_time",
        "expiration",
        "expiration_at",
        "expiration_date",
        "expiration_time",
        "valid_until",
        "valid_till",
        "valid_to",
        "not_after",
    ];
    let name = snake(column);
    ENDINGS.iter().any(|ending| name.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('_')))
}

/// Whether a column by its name says when somebody ended a row before its time: `revoked_at`.
pub fn is_revocation(column: &str) -> bool {
    matches!(snake(column).as_str(), "revoked_at" | "revoked_on" | "revoked" | "revocation_date" | "invalidated_at")
}

/// Whether a column by its name says until when somebody is locked out: the row stays, and the lock goes.
pub fn is_lock(column: &str) -> bool {
    let known = ["locked_until", "locked_till", "lock_until", "lockout_until", "lockout_end", "blocked_until"];
    known.contains(&snake(column).as_str())
}

/// Whether a column by its name counts what leads to such a lock.
pub fn is_of_attempts(column: &str) -> bool {
    let known = ["failed_login_attempts", "failed_logins", "failed_attempts", "login_attempts", "failed_login_count"];
    known.contains(&snake(column).as_str())
}

pub fn is_ttl(column: &str) -> bool {
    matches!(snake(column).as_str(), "ttl" | "ttl_seconds" | "ttl_secs" | "ttl_ms" | "time_to_live")
}

/// Whether a table by its name holds the sessions of people who are logged in.
pub fn is_session(table: &str) -> bool {
    const OF: &[&str] =
        &["user", "users", "web", "http", "login", "auth", "account", "app", "browser", "django", "sso", "admin"];
    let name = snake(table);
    let mut words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    matches!(words.pop(), Some("session" | "sessions")) && words.iter().all(|word| OF.contains(word))
}

/// Whether a table by its name is written to and not changed.
pub fn is_log(table: &str) -> bool {
    const ANYWHERE: &[&str] = &["log", "logs", "audit", "audits", "history", "histories", "journal", "telemetry"];
    const AT_THE_END: &[&str] = &[
        "event",
        "events",
        "message",
        "messages",
        "usage",
        "activity",
        "activities",
        "delivery",
        "deliveries",
        "notification",
        "notifications",
        "metric",
        "metrics",
        "trace",
        "traces",
        "output",
        "outputs",
        "tracking",
        "hit",
        "hits",
        "visit",
        "visits",
        "click",
        "clicks",
        "sample",
        "samples",
        "reading",
        "readings",
        "alert",
        "alerts",
        "measurement",
        "measurements",
    ];
    let name = snake(table);
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    words.iter().any(|word| ANYWHERE.contains(word)) || words.last().is_some_and(|word| AT_THE_END.contains(word))
}

/// Columns that say when a row was written, the surest first.
pub const TIMES: &[&str] = &[
    "timestamp",
    "ts",
    "time",
    "event_time",
    "occurred_at",
    "logged_at",
    "recorded_at",
    "happened_at",
    "received_at",
    "triggered_at",
    "sent_at",
    "created_at",
    "created",
    "created_on",
    "inserted_at",
    "date_created",
    "at",
    "date",
    "day",
];

/// Whether a column is there because rows are changed, or marked.
pub fn is_of_change(column: &str) -> bool {
    let name = snake(column);
    ["updated", "modified", "deleted", "changed", "archived", "revoked"].iter().any(|word| name.starts_with(word))
}

/// Whether a column holds the address of something outside the database.
pub fn is_address(column: &str) -> bool {
    let name = snake(column);
    ["_uri", "_path", "_object", "object_key", "storage_key", "s3_key", "blob_key", "file_key"]
        .iter()
        .any(|end| name.ends_with(end))
        || matches!(name.as_str(), "uri" | "s3_url" | "file_url" | "blob_url")
}

/// Whether a column refers to something in another system.
pub fn is_foreign_id(column: &str) -> bool {
    let name = snake(column);
    ["embedding_id", "vector_id", "external_id", "point_id"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_spelling() {
        assert_eq!(snake("userSession"), "user_session");
        assert_eq!(snake("User Sessions"), "user_sessions");
        for name in ["expires_at", "expiresAt", "token_expires_at", "valid_until", "Expires", "expiry_date"] {
            assert!(is_expiry(name), "{name}");
        }
        for name in ["locked_until", "created_at", "next_expires_at_count", "unexpires"] {
            assert!(!is_expiry(name), "{name}");
        }
        assert!(is_revocation("revokedAt") && !is_revocation("revoked_by") && !is_revocation("updated_at"));
        assert!(is_lock("lockedUntil") && !is_lock("locked_at") && !is_lock("valid_until"));
        for name in ["sessions", "user_session", "Session", "django_session", "userSessions"] {
            assert!(is_session(name), "{name}");
        }
        for name in ["analysis_sessions", "training_session", "session_notes", "api_keys"] {
            assert!(!is_session(name), "{name}");
        }
        for name in ["audit_logs", "error_log", "agent_status_history", "agent_messages", "tool_audit_log", "EventLog"]
        {
            assert!(is_log(name), "{name}");
        }
        for name in ["catalog", "users", "message_queue", "blogs", "projects", "events_types"] {
            assert!(!is_log(name), "{name}");
        }
    }
}
