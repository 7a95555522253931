//! Sizes around the edge of a part, and names that begin like others.

use std::collections::BTreeSet;

use super::bin;
use super::buckets::both;
use crate::support::s3::{Op, S3Server};
use crate::support::{Cluster, Pgtend, newest_major, on_each_major};

const PART: usize = 5 << 20;

#[tokio::test]
async fn a_dump_of_a_byte_less_or_more_than_a_part_is_whole() {
    on_each_major(async |db| {
        let server = S3Server::start();
        let setting = both(&db, &server, "[{ store = \"offsite\" }]", "part_size = \"5 MiB\"");
        let config = std::fs::read_to_string(setting.program.config()).unwrap();
        // As text it has as many bytes more as the value has.
        setting.program.configure(&config.replace(
            "[jobs.nightly.backup]",
            "[jobs.nightly.backup]\nformat = \"plain\"\nglobals = false\nexclude_schemas = [\"pgtend\"]",
        ));
        db.execute("create table padding (text text); insert into padding values ('')").await;
        let dumped = async |setting: &super::Setting| {
            let run = setting.run(0).await;
            let key = format!("pg/nightly/{}/app.sql", run["details"]["backup"].as_str().unwrap());
            server.objects()[&key].bytes.len()
        };
        let empty = dumped(&setting).await;
        for (size, parts) in [(PART - 1, 0), (PART, 1), (PART + 1, 2), (2 * PART, 2), (2 * PART + 1, 3)] {
            db.execute(&format!("update padding set text = repeat('x', {})", size - empty)).await;
            let before = server.asked(Op::Part);
            assert_eq!(dumped(&setting).await, size);
            assert_eq!(server.asked(Op::Part) - before, parts, "what is less than a part is put as a whole");
            assert!(server.uploads().is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_that_begins_like_another_is_another() {
    let cluster = Cluster::shared(newest_major());
    let (first, second) = (cluster.database().await, cluster.database().await);
    super::fill(&first, 200).await;
    super::fill(&second, 400).await;
    let server = S3Server::start();
    let job = |name: &str, databases: &str| {
        format!(
            "[jobs.{name}]\n{databases}\n[jobs.{name}.backup]\npg_bin = \"{}\"\n\
             to = [{{ store = \"offsite\", keep = {{ last = 1 }} }}, {{ store = \"local\", keep = {{ last = 1 }} }}]\n",
            bin(&first).display()
        )
    };
    let config = format!(
        "[databases.app]\nurl = \"{}\"\n[databases.app-2]\nurl = \"{}\"\n[stores.local.directory]\npath = \"store\"\n{}{}{}{}",
        first.url(),
        second.url(),
        server.config("offsite"),
        job("all", "databases = [\"*\"]"),
        job("night", "database = \"app\""),
        job("nightly", "database = \"app\""),
    );
    let mut program = Pgtend::new(&config);
    for (name, value) in server.env() {
        program = program.env(name, value);
    }
    let folders = ["all@app", "all@app-2", "night", "nightly"];
    for _ in 0..3 {
        program.run(["run", "all", "night", "nightly"]).await.exits(0);
    }
    let manifests = || -> Vec<String> {
        let objects = server.objects().into_keys().filter(|key| key.ends_with("/manifest.json"));
        let files = super::files(&program.folder().join("store")).into_iter().filter(|f| f.ends_with("/manifest.json"));
        objects.map(|key| key["pg/".len()..].to_owned()).chain(files).collect()
    };
    // Two of each in each store: the last, and the one that was the newest verified when the last began.
    for folder in folders {
        let own: Vec<_> = manifests().into_iter().filter(|key| key.starts_with(&format!("{folder}/"))).collect();
        assert_eq!(own.len(), 4, "{folder}: {own:?} of {:?}", manifests());
    }
    // What one of them has left behind is no business of those whose names begin alike.
    for (job, database, folder, other, of_its) in
        [("all", "app", "all@app", "all@app-2", "app-2"), ("night", "app", "night", "nightly", "app")]
    {
        let left = format!("pg/{other}/2026-01-01T000000Z/app.dump.zst");
        server.plant(&left, b"half");
        let others = || -> BTreeSet<String> {
            manifests().into_iter().filter(|key| !key.starts_with(&format!("{folder}/"))).collect()
        };
        let before = others();
        program.run(["run", job, "--database", database]).await.exits(0);
        assert!(server.objects().contains_key(&left), "{left}");
        assert_eq!(others(), before);
        let owner = other.split('@').next().expect("a job");
        program.run(["run", owner, "--database", of_its]).await.exits(0);
        assert!(!server.objects().contains_key(&left), "its own run clears it away");
    }
}
