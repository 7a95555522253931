//! A dump beside schema changes, beside other dumps, and on a standby.

use super::{Setting, bin, fill, setting, shell};
use crate::support::{Cluster, PgBouncer, Pgtend, free_port, newest_major, on_each_major, wait_until};

/// The key that dumps hold shared and schema changes of ours take alone; the same in every version.
const KEY: i64 = 6_967_320_981_967_411_622;

#[tokio::test]
async fn while_a_dump_runs_no_schema_change_of_ours_begins() {
    on_each_major(async |db| {
        fill(&db, 24_000).await;
        let setting = setting(&db, "");
        let (program, hold) = setting.program.holding("backup.middle");
        let process = program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        let client = db.client().await;
        let had = async |shared: &str| -> bool {
            let sql = format!("select pg_try_advisory_xact_lock{shared}({KEY})");
            client.query_one(&sql, &[]).await.unwrap().get(0)
        };
        assert!(!had("").await, "a schema change would begin beside a dump");
        assert!(had("_shared").await, "two dumps do not disturb each other");
        // Making a partition apart and attaching it takes no lock that a dump minds.
        db.execute("create table apart (like filling)").await;
        hold.go_on();
        process.wait().await.exits(0);
        assert!(had("").await, "the key is given back");
    })
    .await;
}

#[tokio::test]
async fn a_dump_waits_for_a_schema_change_and_says_whose_it_is() {
    on_each_major(async |db| {
        let setting = setting(&db, "");
        let changing = db.client().await;
        changing.batch_execute(&format!("begin; select pg_advisory_xact_lock({KEY})")).await.unwrap();
        let process = setting.program.start(["run", "nightly", "--json"]);
        let line = process.wait_for_log("waits for a change of the schema").await;
        assert!(line.contains("(story)"), "{line}");
        changing.batch_execute("commit").await.unwrap();
        process.wait().await.exits(0);
        assert_eq!(setting.backups().len(), 1);

        // And not for ever.
        changing.batch_execute(&format!("begin; select pg_advisory_xact_lock({KEY})")).await.unwrap();
        let impatient = super::setting(&db, "lock_wait = \"400ms\"");
        let run = impatient.run(1).await;
        assert!(run["error"].as_str().unwrap().contains("under way for 400 ms"), "{run}");
    })
    .await;
}

#[tokio::test]
async fn partitions_are_made_beside_a_dump() {
    on_each_major(async |db| {
        fill(&db, 24_000).await;
        db.execute("create table events (at timestamptz not null) partition by range (at)").await;
        let setting = setting(&db, "");
        let (program, hold) = setting.program.holding("backup.middle");
        let setting = Setting { program, ..setting };
        let process = setting.program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        let partitions = Pgtend::tending(
            &db,
            "[jobs.partitions.partitions]\ntables = [{ table = \"public.events\", every = \"1 month\", ahead = 3 }]\n",
        );
        let run = partitions.run(["run", "partitions", "--json"]).await.exits(0).json().remove(0);
        assert_eq!(run["details"]["partitions_created"], 4, "{run}");
        hold.go_on();
        process.wait().await.exits(0);
        assert_eq!(setting.backups().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_dump_lets_partitions_be_made_and_has_those_that_are_old_wait_for_its_end() {
    on_each_major(async |db| {
        fill(&db, 24_000).await;
        db.execute(
            "create table events (at timestamptz not null) partition by range (at);
             create table events_old partition of events for values from ('2020-01-01 00:00Z') to ('2020-02-01 00:00Z');
             insert into events values ('2020-01-05')",
        )
        .await;
        let jobs = |ahead: u32| {
            format!(
                "[jobs.partitions.partitions]\ntables = [{{ table = \"public.events\", every = \"1 month\", ahead = {ahead} }}]\n\
                 [jobs.old.retention]\ntables = [{{ table = \"public.events\", keep = \"12 months\" }}]\n"
            )
        };
        let others = Pgtend::tending(&db, &jobs(1));
        others.run(["run", "partitions"]).await.exits(0);
        others.configure_tending(&db, &jobs(4));
        let setting = setting(&db, "");
        let (program, hold) = setting.program.holding("backup.middle");
        let setting = Setting { program, ..setting };
        let dump = setting.program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        let old = others.start(["run", "old", "--json"]);
        let said = old.wait_for_log("lock not had in time, trying again later").await;
        assert!(said.contains("(pgtend/nightly (beside the dump)"), "{said}");
        // Meanwhile neither the other job nor the application waits, nor does the dump.
        let made = others.run(["run", "partitions", "--json"]).await.exits(0).json().remove(0);
        assert_eq!(made["details"]["partitions_created"], 3, "{made}");
        let application = db.client().await;
        application
            .batch_execute(
                "set lock_timeout = '10ms'; insert into events values (now()), ('2020-01-06'); select * from events",
            )
            .await
            .expect("nobody stands before the application");
        hold.go_on();
        dump.wait().await.exits(0);
        let gone = old.wait().await.exits(0).json().remove(0);
        assert_eq!(
            (&gone["outcome"], &gone["details"]["partitions_dropped"]),
            (&"succeeded".into(), &1.into()),
            "{gone}"
        );
        // What was let go is in the dump: its rows of that time, and none that came later.
        let scratch = db.cluster().database().await;
        let folder = setting.folder(&setting.backups()[0]);
        shell(&scratch, "zstd -dc app.dump.zst | pg_restore --exit-on-error --dbname \"$URL\"", &folder);
        assert_eq!((scratch.count("events").await, scratch.count("events_old").await), (1, 1));
        assert_eq!(db.count("events").await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_instances_of_several_databases_have_folders_of_their_own() {
    let cluster = Cluster::shared(newest_major());
    let (first, second) = (cluster.database().await, cluster.database().await);
    fill(&first, 1_000).await;
    fill(&second, 2_000).await;
    let config = format!(
        "[databases.one]\nurl = \"{}\"\n[databases.two]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n\
         [stores.local.directory]\npath = \"store\"\n[jobs.nightly]\nschedule = \"* * * * * *\"\ndatabases = [\"*\"]\n\
         [jobs.nightly.backup]\nto = [{{ store = \"local\", keep = {{ last = 1 }} }}]\npg_bin = \"{}\"\n",
        first.url(),
        second.url(),
        bin(&first).display()
    );
    // Both are due in the same second.
    let program = Pgtend::new(&config);
    let daemon = program.daemon().ready().await;
    first.wait_for_ended("nightly@one", 2).await;
    second.wait_for_ended("nightly@two", 2).await;
    daemon.stop().await.exits(0);
    let store = program.folder().join("store");
    for (job, db) in [("nightly@one", &first), ("nightly@two", &second)] {
        let good = db.runs(job).await.into_iter().find(|run| run.outcome == "succeeded").expect("one that went well");
        assert!(good.details["bytes"].as_u64().is_some(), "{good:?}");
        let all = super::backups(&store.join(job));
        assert!(!all.is_empty(), "{job}");
        let manifest = super::json(&store.join(job).join(&all[0]).join("manifest.json"));
        assert_eq!(manifest["database"], db.name());
    }
}

#[tokio::test]
async fn a_database_out_of_reach_keeps_no_other_from_its_backups_nor_from_letting_old_ones_go() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 100).await;
    let config = format!(
        "[databases.away]\nurl = \"postgresql://nobody@127.0.0.1:{}/app?connect_timeout=2\"\n[databases.here]\nurl = \"{}\"\n\
         [http]\nlisten = \"off\"\n[stores.local.directory]\npath = \"store\"\n[jobs.nightly]\ndatabases = [\"*\"]\n\
         [jobs.nightly.backup]\nto = [{{ store = \"local\", keep = {{ last = 1 }} }}]\npg_bin = \"{}\"\n",
        free_port(),
        db.url(),
        bin(&db).display()
    );
    let program = Pgtend::new(&config);
    let mut made = Vec::new();
    for _ in 0..3 {
        let runs = program.run(["run", "nightly", "--json"]).await.exits(1).json();
        let of =
            |job: &str| runs.iter().find(|run| run["job"] == job).unwrap_or_else(|| panic!("no {job} in {runs:?}"));
        assert_eq!(of("nightly@away")["outcome"], "failed", "{runs:?}");
        assert_eq!(of("nightly@here")["outcome"], "succeeded", "{runs:?}");
        made.push(of("nightly@here")["details"]["backup"].as_str().expect("an id").to_owned());
    }
    // The plan is made before the new one is verified, so that the one before it stays.
    assert_eq!(super::backups(&program.folder().join("store/nightly@here")), made[1..]);
}

#[tokio::test]
async fn a_standby_is_dumped_as_well() {
    let primary = Cluster::own(newest_major());
    let db = primary.database().await;
    fill(&db, 1_000).await;
    let standby = primary.standby();
    let there = crate::support::Database::named(standby.clone(), db.name());
    wait_until("the standby to have the rows", async || {
        there.try_client_as("postgres").await.is_ok() && there.count("filling").await == 1_000
    })
    .await;
    let setting = setting(&there, "");
    let output = setting.program.run(["run", "nightly", "--json"]).await.exits(0);
    assert_eq!(output.json()[0]["outcome"], "succeeded", "{output:?}");
    assert!(!output.stderr.contains("ERROR"), "that it takes no history is no error:\n{}", output.stderr);
    let manifest = setting.manifest(&setting.backups()[0]);
    assert_eq!(manifest["standby"], true);
}

#[tokio::test]
async fn a_pooler_that_hands_out_whole_sessions_does_no_harm() {
    on_each_major(async |db| {
        fill(&db, 100).await;
        let pooler = PgBouncer::start(&db, "session", &[]);
        let config = format!(
            "[databases.main]\nurl = \"{}\"\n{}",
            pooler.url(),
            super::jobs(&db, "to = [{ store = \"local\" }]")
        );
        let run = Pgtend::new(&config).run(["run", "nightly", "--json"]).await.exits(0).json().remove(0);
        assert_eq!(run["outcome"], "succeeded", "{run}");
    })
    .await;
}
