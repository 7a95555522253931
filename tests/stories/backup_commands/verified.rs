//! A backup is read back, and what was found stands beside it.

use std::fs;

use super::{back_up, cut_off, dump_file, flip, two_stores};
use crate::backup::{fill, json, setting};
use crate::support::s3::{Fault, Harm, Op, S3Server};
use crate::support::{Cluster, newest_major, on_each_major};

#[tokio::test]
async fn a_flipped_byte_is_found_in_every_packing_and_written_down() {
    on_each_major(async |db| {
        fill(&db, 2_000).await;
        for config in
            ["", "compression = \"gzip:1\"", "compression = \"none\"", "format = \"plain\"\ncompression = \"none\""]
        {
            let setting = setting(&db, config);
            let id = back_up(&setting).await;
            cut_off(&setting, &db);
            let sidecar = setting.folder(&id).join("verified.json");
            fs::remove_file(&sidecar).unwrap();
            let output = setting.program.run(["backup", "verify", &id]).await.exits(0);
            assert!(output.stdout.contains(&id) && output.stdout.contains("good"), "{}", output.stdout);
            let verified = json(&sidecar);
            assert_eq!((&verified["good"], &verified["id"]), (&true.into(), &id.as_str().into()));
            let how = if config.contains("plain") { "end marker" } else { "pg_restore" };
            assert!(verified["how"].as_str().unwrap().contains(how), "{verified}");

            let bytes = flip(&setting, &id);
            let name = dump_file(&setting, &id).file_name().unwrap().to_str().unwrap().to_owned();
            let output = setting.program.run(["backup", "verify", "--json"]).await.exits(1);
            let found = output.json().remove(0);
            assert_eq!(found["good"], false, "{config}: {found}");
            for said in [output.stderr.as_str(), found["error"].as_str().unwrap()] {
                assert!(said.contains(&name) && said.contains("SHA-256"), "{config}: {said}");
            }
            let verified = json(&sidecar);
            assert_eq!(verified["good"], false, "{verified}");
            assert!(verified["error"].as_str().unwrap().contains("SHA-256"), "{verified}");

            for (harm, words) in [("cut", "were written"), ("gone", "not there")] {
                match harm {
                    "cut" => fs::write(dump_file(&setting, &id), &bytes[..bytes.len() - 1]).unwrap(),
                    _ => fs::remove_file(dump_file(&setting, &id)).unwrap(),
                }
                let output = setting.program.run(["backup", "verify", &id]).await.exits(1);
                assert!(output.stderr.contains(words) && output.stderr.contains(&name), "{harm}: {}", output.stderr);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_proves_nothing() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 2_000).await;
    let server = S3Server::start();
    let setting = two_stores(&db, &server, "");
    let config = fs::read_to_string(setting.program.config()).unwrap();
    setting.program.configure(&config.replace("path_style = true", "path_style = true\nattempts = 1"));
    let id = back_up(&setting).await;
    let key = |name: &str| format!("pg/nightly/{id}/{name}");
    let before = server.objects()[&key("verified.json")].bytes.clone();
    let verify = ["backup", "verify", &id, "--store", "offsite", "--json"];
    for harm in [Harm::Refuse(503, "SlowDown"), Harm::CutBody(100)] {
        // Manifest and sidecar go well.
        server.fail(Fault::new(Op::Get, harm).after(2).always());
        let output = setting.program.run(verify).await.exits(1);
        assert!(output.json()[0]["good"].is_null(), "{}", output.stdout);
        assert!(output.stderr.contains("nothing is known"), "{}", output.stderr);
        assert_eq!(server.objects()[&key("verified.json")].bytes, before, "what it was when it was last read stands");
        server.heal();
    }
    let output = setting.program.run(verify).await.exits(0);
    assert_eq!(output.json()[0]["good"], true);
    assert_ne!(server.objects()[&key("verified.json")].bytes, before);
    server.tamper(&key("app.dump.zst"), |bytes| bytes[200] ^= 1);
    let output = setting.program.run(verify).await.exits(1);
    assert_eq!(output.json()[0]["good"], false);
    let verified = String::from_utf8(server.objects()[&key("verified.json")].bytes.to_vec()).unwrap();
    assert!(verified.contains("\"good\": false"), "{verified}");
    // The other store's is as good as it was.
    setting.program.run(["backup", "verify", &id, "--store", "local"]).await.exits(0);
}
