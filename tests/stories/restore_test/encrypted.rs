//! Encrypted backups are proven with the key that the backup job names, and with no other.

use super::*;
use crate::backup::json;
use crate::backup_commands::back_up;
use crate::backup_encrypted::Pair;
use crate::support::on_each_major;

#[tokio::test]
async fn with_its_key_an_encrypted_backup_is_proven_and_with_another_it_is_not_blamed() {
    on_each_major(async |db| {
        db.execute("CREATE TABLE t AS SELECT generate_series(1, 500) AS n").await;
        let server = db.cluster().database().await;
        let pair = Pair::new();
        let keys = format!("encrypt_to = [\"{}\"]\nidentity_file = \"key\"\nrow_counts = true\n", pair.public);
        let setting = setting(&db, &server, &keys, "queries = [\"SELECT count(*) = 500 FROM t\"]");
        setting.program.file("key", &pair.file());
        let id = back_up(&setting).await;
        assert!(setting.files().iter().any(|file| file.ends_with("app.dump.zst.age")), "{:?}", setting.files());
        let run = prove(&setting, &db, 0).await;
        assert!(run["details"]["targets"][0]["rows_compared"].as_u64() >= Some(500), "{run}");
        assert!(setting.folder(&id).join("restored.json").exists());

        let verified = json(&setting.folder(&id).join("verified.json"));
        setting.program.file("key", &Pair::new().file());
        let run = prove(&setting, &db, 1).await;
        assert!(error(&run).contains("key"), "{run}");
        assert_eq!(json(&setting.folder(&id).join("verified.json")), verified, "nothing is said of the backup");
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_prove_and_the_config_says_so() {
    on_each_major(async |db| {
        let setting = setting(&db, &db, &format!("encrypt_to = [\"{}\"]\n", Pair::new().public), "");
        let output = setting.program.run(["check", "--offline"]).await.exits(2);
        assert!(output.stderr.contains("identity_file"), "{output:?}");
    })
    .await;
}
