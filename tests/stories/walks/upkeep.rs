//! What leaves no row behind: VACUUM, ANALYZE and readings. That a job has done them is seen by what only it can have moved, the
//! server's counts of those that somebody asked for, which autovacuum has no part in.

use std::collections::BTreeMap;

use super::Walk;
use crate::support::wait_until;

/// What there was at the edge before.
#[derive(Default)]
pub struct Seen {
    counts: BTreeMap<String, Counts>,
    sundays: i64,
    gauges: Option<String>,
}

struct Counts {
    kind: char,
    vacuumed: i64,
    analyzed: i64,
}

/// Of which kinds of relations (`r`, `m`, `p` as the catalog has them) a job sees to each.
pub struct Upkeep {
    /// On Sundays.
    pub vacuumed: &'static str,
    /// Each day.
    pub analyzed: &'static str,
}

impl Walk {
    /// Since the edge before each relation has been vacuumed and analyzed that there was then, as far as it is of a kind that a
    /// job sees to; and the database has been read for metrics, last at the last run of the job that does.
    pub async fn is_kept_up(&mut self, health: &str, upkeep: &Upkeep) {
        // Before PostgreSQL 15 what is counted arrives when a process of its own gets to it.
        if self.db.cluster().major() < 15 {
            wait_until("the counts", async || self.left_out(upkeep).await.is_empty()).await;
        }
        let left_out = self.left_out(upkeep).await;
        assert!(left_out.is_empty(), "{}, since the edge before: {left_out:?}", self.now);
        let last = self.last(health);
        let read = format!("SELECT gauges::text FROM pgtend.reading WHERE job = '{health}' AND taken_at = {last}");
        let gauges = self.sql.query_opt(&read, &[]).await.expect("the readings").map(|row| row.get::<_, String>(0));
        assert!(
            gauges.as_ref().is_some_and(|gauges| gauges.len() > 2),
            "{}: {health} has written {gauges:?}",
            self.now
        );
        assert_ne!(gauges, self.seen.gauges, "{}: what {health} has read is what it had read a month ago", self.now);
        self.seen = Seen { counts: self.counts().await, sundays: self.sunday_runs(), gauges };
    }

    /// What was to be vacuumed or analyzed, and was not.
    async fn left_out(&self, upkeep: &Upkeep) -> Vec<String> {
        let counts = self.counts().await;
        let mut found = Vec::new();
        for (name, before) in &self.seen.counts {
            // A partition may have gone since.
            let Some(now) = counts.get(name) else { continue };
            let is_sunday_over = self.sunday_runs() > self.seen.sundays;
            if upkeep.vacuumed.contains(now.kind) && is_sunday_over && now.vacuumed <= before.vacuumed {
                found.push(format!("nobody has vacuumed {name}"));
            }
            // Before PostgreSQL 14 a partitioned table is in no count.
            let is_counted = now.kind != 'p' || self.db.cluster().major() >= 14;
            if upkeep.analyzed.contains(now.kind) && is_counted && now.analyzed <= before.analyzed {
                found.push(format!("nobody has analyzed {name}"));
            }
        }
        found
    }

    /// By the application's relations; what pgtend keeps for itself is its own.
    async fn counts(&self) -> BTreeMap<String, Counts> {
        let sql = "SELECT c.oid::regclass::text, c.relkind::text, pg_stat_get_vacuum_count(c.oid), pg_stat_get_analyze_count(c.oid)
                   FROM pg_class AS c WHERE relkind IN ('r', 'm', 'p')
                     AND relnamespace::regnamespace::text !~ '^(pg_.*|information_schema|pgtend|walk)$'";
        let rows = self.sql.query(sql, &[]).await.expect("the counts");
        let counts = rows.iter().map(|row| {
            let kind = row.get::<_, &str>(1).chars().next().expect("a kind");
            (row.get(0), Counts { kind, vacuumed: row.get(2), analyzed: row.get(3) })
        });
        counts.collect()
    }
}
