//! What is made of statements, transaction ids, replication, transactions and archiving. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::config::{Health, Size};
use super::facts::{Age, Archiving, Holder, Holds, Queries, Query, Replication, Transactions, Wraparound};
use super::plan::{OTHER, Told, names};
use super::sizes::{count, number};
use crate::run::GaugeName;

/// `vacuum_failsafe_age`: from here on VACUUM leaves everything else aside, whatever autovacuum_freeze_max_age says.
const FAILSAFE: i64 = 1_600_000_000;

pub fn queries(health: &Health, read: &Queries) -> Told {
    let mut told = Told::default();
    let queries = match read {
        Queries::Absent { why, mend } => {
            told.find("slow_queries", format!("{why}; {mend}, or leave slow_queries out of `collect`"));
            return told;
        }
        Queries::Of(queries) => queries,
    };
    let most = *health.queries.get_ref() as usize;
    let mut by_mean: Vec<&Query> = queries.iter().collect();
    by_mean.sort_by(|a, b| b.mean().total_cmp(&a.mean()).then(a.id.cmp(&b.id)));
    let mut by_total: Vec<&Query> = queries.iter().collect();
    by_total.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then(a.id.cmp(&b.id)));
    let named: BTreeSet<i64> =
        by_mean.iter().take(most).chain(by_total.iter().take(most)).map(|query| query.id).collect();
    let (ours, others): (Vec<&Query>, Vec<&Query>) = by_total.iter().partition(|query| named.contains(&query.id));
    for query in ours {
        statement(&mut told, &query.id.to_string(), query);
    }
    if !others.is_empty() {
        statement(&mut told, OTHER, &Query::together(&others));
    }
    let limit = health.warn.query_mean.0.as_secs_f64();
    let slow: Vec<String> = by_mean
        .iter()
        .filter(|query| query.mean() >= limit)
        .map(|query| format!("{} ({:.3} s, {} times)", query.id, query.mean(), query.calls))
        .collect();
    if !slow.is_empty() {
        told.find(
            "slow queries",
            format!(
                "they take {limit} s or more on average; SELECT query FROM pg_stat_statements WHERE queryid = … shows them: {}",
                names(&slow)
            ),
        );
    }
    told
}

fn statement(told: &mut Told, label: &str, query: &Query) {
    told.of(GaugeName::QueryMean, label, query.mean());
    told.of(GaugeName::QueryTime, label, query.seconds);
    told.of(GaugeName::QueryCalls, label, number(query.calls));
    told.of(GaugeName::QueryMin, label, query.min);
    told.of(GaugeName::QueryMax, label, query.max);
    told.of(GaugeName::QueryStddev, label, query.stddev);
}

pub fn wraparound(health: &Health, read: &Wraparound) -> Told {
    let mut told = Told::default();
    for (age, name, ratio, what, setting) in [
        (&read.xid, GaugeName::XidAge, GaugeName::XidAgeRatio, "transaction ids", "autovacuum_freeze_max_age"),
        (
            &read.multixact,
            GaugeName::MultixactAge,
            GaugeName::MultixactAgeRatio,
            "multixacts",
            "autovacuum_multixact_freeze_max_age",
        ),
    ] {
        let share = number(age.age) / number(age.freeze_max.max(1));
        told.all(name, number(age.age));
        told.all(ratio, share);
        if share >= health.warn.wraparound_ratio || age.age >= FAILSAFE {
            told.find("wraparound", old(age, share, what, setting));
        }
    }
    told
}

fn old(age: &Age, share: f64, what: &str, setting: &str) -> String {
    let oldest = match &age.oldest {
        Some((table, own)) => format!("; the oldest is {table}, with {own}: VACUUM (FREEZE) it"),
        None => String::new(),
    };
    format!(
        "the oldest {what} are {} old, {share:.1} times {setting}, and at about 2,000,000,000 the server takes no more \
         writes{oldest}. Transactions, prepared transactions and replication slots that stay open keep VACUUM from it",
        age.age
    )
}

pub fn replication(health: &Health, read: &Replication, role: &str) -> Told {
    let mut told = Told::default();
    for slot in &read.slots {
        told.of(GaugeName::SlotActive, &slot.name, if slot.active { 1.0 } else { 0.0 });
        if let Some(bytes) = slot.retained {
            told.of(GaugeName::SlotRetained, &slot.name, number(bytes));
        }
        let status = slot.wal_status.as_deref().and_then(|status| {
            ["reserved", "extended", "unreserved", "lost"].iter().position(|known| *known == status)
        });
        if let Some(status) = status {
            told.of(GaugeName::SlotWalStatus, &slot.name, count(status));
        }
        let target = format!("replication slot {}", slot.name);
        let retained = Size(slot.retained.unwrap_or_default().unsigned_abs());
        let idle = if slot.active {
            "its reader is behind"
        } else {
            "nobody is connected to it; pg_drop_replication_slot() ends it, if nobody will be"
        };
        if slot.wal_status.as_deref() == Some("lost") {
            told.find(target, "the WAL that its reader would need is gone: it has to be made anew, and its reader too");
        } else if retained >= health.warn.slot_retained {
            told.find(target, format!("keeps {retained} of WAL on the server's disk: {idle}"));
        }
    }
    for standby in &read.standbys {
        told.of(GaugeName::StandbyLag, &standby.name, number(standby.lag));
        let lag = Size(standby.lag.unsigned_abs());
        if lag >= health.warn.standby_lag {
            told.find(format!("standby {}", standby.name), format!("is {lag} of WAL behind"));
        }
    }
    if read.hidden {
        told.refused = Some(format!(
            "role {role} may not see how far the connected standbys are; GRANT pg_monitor TO {role} (pg_read_all_stats is \
             enough). The slots are published"
        ));
    }
    told
}

pub fn transactions(health: &Health, read: &Transactions, role: &str) -> Told {
    let mut told = Told::default();
    let of = |what: Holds| read.holders.iter().filter(move |holder| holder.what == what);
    let oldest = |what: Holds| {
        of(what).filter_map(|holder| Some((holder, holder.seconds?))).max_by(|(_, a), (_, b)| a.total_cmp(b))
    };
    let mut tell = |what, name, limit: Duration, mend: &str| {
        let oldest: Option<(&Holder, f64)> = oldest(what);
        told.all(name, oldest.map_or(0.0, |(_, seconds)| seconds.max(0.0)));
        if let Some((holder, seconds)) = oldest.filter(|(_, seconds)| *seconds >= limit.as_secs_f64()) {
            told.find(
                holder.words.clone(),
                format!("{} for {}: what was deleted since then stays. {mend}", spelled(what), length(seconds)),
            );
        }
    };
    tell(
        Holds::Prepared,
        GaugeName::OldestPrepared,
        health.warn.prepared_transaction.0,
        "COMMIT PREPARED or ROLLBACK PREPARED ends it; nothing else does, a restart neither",
    );
    if !read.hidden {
        tell(
            Holds::Transaction,
            GaugeName::OldestTransaction,
            health.warn.transaction.0,
            "pg_terminate_backend() ends it",
        );
    }
    told.all(GaugeName::Prepared, count(of(Holds::Prepared).count()));
    for (what, label) in [
        (Holds::Transaction, "transaction"),
        (Holds::Prepared, "prepared_transaction"),
        (Holds::Slot, "replication_slot"),
        (Holds::Standby, "standby"),
    ] {
        let age = of(what).filter_map(|holder| holder.xids).max().unwrap_or_default();
        told.of(GaugeName::OldestSnapshot, label, number(age));
    }
    if read.hidden {
        told.refused = Some(format!(
            "role {role} may not see since when other roles are in a transaction; GRANT pg_monitor TO {role} \
             (pg_read_all_stats is enough). Prepared transactions and snapshots are published"
        ));
    }
    told
}

const fn spelled(what: Holds) -> &'static str {
    match what {
        Holds::Prepared => "prepared, and open",
        Holds::Transaction | Holds::Slot | Holds::Standby => "open",
    }
}

pub fn archiving(health: &Health, read: &Archiving, role: &str) -> Told {
    let mut told = Told::default();
    told.all(GaugeName::WalArchiveEnabled, if read.enabled { 1.0 } else { 0.0 });
    let off = match (read.enabled, read.idle) {
        (false, _) => Some((
            "archive_mode is off",
            "archive_mode = on, which takes a restart, and archive_command or archive_library",
        )),
        (true, true) => {
            Some(("neither archive_command nor archive_library is set", "one of them, and reload the server"))
        }
        (true, false) => None,
    };
    match off {
        Some((why, mend)) if health.warn.archive_off => told.find(
            "wal_archiving",
            format!("{why}: no WAL is archived, and no backup can be brought forward beyond its own time; set {mend}"),
        ),
        Some((why, _)) => told.notes.push(("wal_archiving".into(), format!("{why}: no WAL is archived"))),
        None => {}
    }
    if !read.enabled {
        return told;
    }
    let last = read.last_archived_at.map_or(0, |at| at.timestamp());
    told.all(GaugeName::WalArchiveSuccess, number(last));
    told.all(GaugeName::WalArchiveFailures, number(read.failures));
    if let Some((segment, at)) = &read.failing {
        let at = at.format("%Y-%m-%d %H:%M:%SZ");
        told.find("wal_archiving", format!("the last attempt failed: {segment} at {at}; the server's log says why"));
    }
    let Some(waiting) = &read.waiting else {
        told.refused = Some(format!(
            "role {role} may not see which WAL segments are waiting to be archived, the one thing that tells whether a command \
             is missing; GRANT pg_monitor TO {role} (or GRANT EXECUTE ON FUNCTION pg_ls_archive_statusdir() TO {role})"
        ));
        return told;
    };
    let oldest = waiting.oldest_seconds.unwrap_or_default().max(0.0);
    told.all(GaugeName::WalArchiveWaiting, number(waiting.segments));
    told.all(GaugeName::WalArchiveOldest, oldest);
    if waiting.segments > 0 && oldest >= health.warn.archive_waiting.0.as_secs_f64() {
        let last = read.last_archived_at.map_or_else(
            || "none was ever archived".into(),
            |at| format!("the last was archived at {}", at.format("%Y-%m-%d %H:%M:%SZ")),
        );
        told.find(
            "wal_archiving",
            format!(
                "{} segments are waiting to be archived, the oldest for {}; {last}. They stay in pg_wal until its disk is full: \
                 look at archive_command (one that is missing is not counted as failed) and at the server's log",
                waiting.segments,
                length(oldest)
            ),
        );
    }
    told
}

/// `2 h 5 min`.
fn length(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length that somebody has waited")]
    let s = seconds.max(0.0) as u64;
    match (s / 86_400, s / 3_600 % 24, s / 60 % 60) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} days {hours} h"),
    }
}
