//! What a walk looks at: the tables beside the ledger, the history, the stores.

use chrono::TimeDelta;
use pgtend::run::Severity;
use tokio_postgres::types::FromSqlOwned;

use super::Walk;
use crate::shipped_backup::contents;
use crate::shipped_partitions::fingerprint;
use crate::support::Database;

impl Walk {
    /// What `pgtend check` asks each job, switched off or not, at the moment of the walk: nothing would keep it from its work.
    pub async fn is_fit(&self) {
        for job in &self.config.jobs {
            let cx = self.engine.read_only(job, Some(self.now)).await.unwrap_or_else(|e| panic!("{}: {e:?}", job.name));
            let found = job.spec.check(&cx).await.unwrap_or_else(|e| panic!("{}: {e:?}", job.name));
            let errors: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Error).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", job.name);
        }
    }

    /// Two queries give the same rows.
    pub async fn same(&self, what: &str, expected: &str, actual: &str) {
        let differences = format!(
            "WITH expected AS MATERIALIZED ({expected}), actual AS MATERIALIZED ({actual})
             (SELECT 'is missing: ' || e::text FROM (TABLE expected EXCEPT ALL TABLE actual) AS e LIMIT 5) UNION ALL
             (SELECT 'should not be there: ' || a::text FROM (TABLE actual EXCEPT ALL TABLE expected) AS a LIMIT 5)"
        );
        let rows =
            self.sql.query(&differences, &[]).await.unwrap_or_else(|e| panic!("{what}: {e:?}\nin: {differences}"));
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(found.is_empty(), "{}, {what}: {found:#?}", self.now);
    }

    /// The rows of a table are those of the ledger that are to be kept, neither more nor fewer, and each is what it was; `keep`
    /// is a condition on `at`, the time that the ledger has of the row.
    pub async fn keeps(&self, table: &str, keep: &str) {
        self.holds(table, table, keep).await;
        let ever: i64 = self.one(&format!("SELECT count(*) FROM walk.ledger WHERE \"table\" = '{table}'")).await;
        assert!(ever > 0, "{table}: nothing has ever been written");
    }

    /// As [`Walk::keeps`], for rows of one table that are in another.
    pub async fn holds(&self, there: &str, table: &str, which: &str) {
        let expected = format!("SELECT id, content FROM walk.ledger WHERE \"table\" = '{table}' AND ({which})");
        self.same(there, &expected, &format!("SELECT t.id::text, md5(t::text) FROM {there} AS t")).await;
    }

    /// How many rows have ever been written into a table and are not there any more.
    pub async fn gone(&self, table: &str) -> i64 {
        let ever = format!("SELECT count(*) FROM walk.ledger WHERE \"table\" = '{table}'");
        self.one(&format!("SELECT ({ever}) - (SELECT count(*) FROM {table})")).await
    }

    /// How many backups of a job are in the bucket.
    pub fn offsite(&self, job: &str) -> usize {
        let keys = self.bucket.objects().into_keys();
        keys.filter(|key| key.contains(&format!("/{job}/")) && key.ends_with("/manifest.json")).count()
    }

    /// The only column of the only row.
    pub async fn one<T: FromSqlOwned>(&self, sql: &str) -> T {
        self.sql.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{}: {e:?}\nin: {sql}", self.now)).get(0)
    }

    /// What every application has in common, at any time: its untouchable tables are what they were, no row lies in a default
    /// partition, and every partition belongs to whom its table belongs to; those that were made since are open to whom that is.
    pub async fn is_unharmed(&self) {
        assert_eq!(self.fingerprints().await, self.never, "{}", self.now);
        let defaults: i64 = self
            .one("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND pg_get_expr(relpartbound, oid) = 'DEFAULT'")
            .await;
        assert_eq!(defaults, 0, "there is no default partition that a row could lie in");
        let rights = |class: &str| {
            format!(
                "(SELECT array_agg(a::text ORDER BY a::text)
                  FROM aclexplode(coalesce({class}.relacl, acldefault('r', {class}.relowner))) AS a)"
            )
        };
        let others = format!(
            "SELECT c.oid::regclass::text FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid JOIN pg_class AS p ON p.oid = inhparent
             WHERE c.relkind = 'r' AND (c.relowner <> p.relowner
                 OR c.oid NOT IN (SELECT inhrelid FROM walk.given) AND {} IS DISTINCT FROM {})",
            rights("c"),
            rights("p")
        );
        let rows = self.sql.query(&others, &[]).await.expect("the partitions");
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(names.is_empty(), "{}: not owned or granted as their tables: {names:?}", self.now);
    }

    pub(super) async fn fingerprints(&self) -> Vec<String> {
        let mut found = Vec::new();
        for table in self.application.never {
            let rows: i64 = self.one(&format!("SELECT count(*) FROM {table} AS t")).await;
            assert!(rows > 0, "{table} is empty, so that nothing could be found missing in it");
            found.push(format!("{table} {rows} {}", fingerprint(&self.db, table).await));
        }
        found
    }

    /// The history tells of each job so many runs that succeeded, and of no other run. What the walk has run by hand is left
    /// out.
    pub async fn history_tells(&self, expected: &[(&str, i64)]) {
        let sql = "SELECT job, coalesce(outcome, 'open'), count(*) FROM pgtend.run WHERE trigger <> 'cli' GROUP BY 1, 2 ORDER BY 1, 2";
        let rows = self.sql.query(sql, &[]).await.expect("the history");
        let told: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {} {}", row.get::<_, &str>(0), row.get::<_, &str>(1), row.get::<_, i64>(2)))
            .collect();
        let mut expected: Vec<String> = expected
            .iter()
            .filter(|(_, runs)| *runs > 0)
            .map(|(job, runs)| format!("{job} succeeded {runs}"))
            .collect();
        expected.sort();
        assert_eq!(told, expected);
        // And those are what the schedules have given.
        assert_eq!(told, self.rung.iter().map(|(job, runs)| format!("{job} succeeded {runs}")).collect::<Vec<_>>());
    }

    /// The sum of a number in the details of all runs of a job.
    pub async fn told(&self, job: &str, number: &str) -> i64 {
        self.one(&format!(
            "SELECT coalesce(sum((details->>'{number}')::bigint), 0)::bigint FROM pgtend.run WHERE job = '{job}'"
        ))
        .await
    }

    /// The history tells a number as it is, counted otherwise; and it is not 0.
    pub async fn has_told(&self, job: &str, number: &str, expected: i64) {
        assert_eq!(self.told(job, number).await, expected, "{}: {number} of {job}", self.now);
        assert!(expected > 0, "{}: {job} has never had any {number}", self.now);
    }

    /// The newest backup of each store comes back by `pgtend backup restore`, row for row what the database is now: so one
    /// more is made first.
    pub async fn comes_back(&mut self, job: &str, stores: &[&str]) {
        self.by_hand(job, TimeDelta::hours(1)).await;
        let before = contents(&self.db).await;
        for store in stores {
            let name = format!("{job} restored from {store}");
            let restored = Database::named(self.db.cluster().clone(), &name);
            let url = restored.url().replace(' ', "%20");
            self.program
                .run(["backup", "restore", "latest", "--job", job, "--store", store, "--into", &url])
                .await
                .exits(0);
            let after = contents(&restored).await;
            let apart = |these: &[String], those: &[String]| {
                these.iter().filter(|one| !those.contains(one)).take(5).cloned().collect::<Vec<_>>()
            };
            assert_eq!(
                apart(&before, &after),
                apart(&after, &before),
                "what the database has, and what came back from {store}"
            );
        }
    }
}
