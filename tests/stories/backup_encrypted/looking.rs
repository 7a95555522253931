//! What `check` and `plan` say of keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Pair, encrypted, readable};
use crate::support::{Cluster, newest_major};

#[tokio::test]
async fn check_says_whether_what_is_written_now_can_be_read() {
    let db = Cluster::shared(newest_major()).database().await;
    let (ours, other) = (Pair::new(), Pair::new());
    let (setting, kept_elsewhere) = (readable(&db, &[&ours], "globals = false"), Pair::new());
    let check = async |code| setting.program.run(["check"]).await.exits(code);
    let output = check(0).await;
    for words in ["every key of `encrypt_to`", "name a second key", "kept elsewhere", "pgtend.toml:"] {
        assert!(output.stdout.contains(words), "{words}: {}", output.stdout);
    }
    let config = fs::read_to_string(setting.program.config()).unwrap();
    let one = format!("[{:?}]", ours.public);
    setting.program.configure(&config.replace(&one, &format!("[{:?}, {:?}]", ours.public, kept_elsewhere.public)));
    let output = check(0).await;
    assert!(!output.stdout.contains("identity") && !output.stderr.contains("identity"), "{}", output.stdout);

    let file = setting.program.file("key", &other.file());
    let output = check(0).await;
    for words in ["cannot be read with it", "warning", "age-keygen -y", "pgtend.toml:"] {
        assert!(output.stdout.contains(words), "{words}: {}", output.stdout);
    }
    // One of several is enough.
    setting.program.file("key", &(other.file() + &ours.file()));
    assert!(!check(0).await.stdout.contains("cannot be read"));

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = check(0).await;
    assert!(output.stderr.contains("chmod 0600") && output.stderr.contains("key"), "{}", output.stderr);

    setting.program.file("key", &ours.secret[..50]);
    let output = check(1).await;
    assert!(output.stdout.contains("line 1 is no identity"), "{}", output.stdout);
    assert!(!output.stdout.contains(&ours.secret[..50]), "{}", output.stdout);
    fs::remove_file(file).unwrap();
    let output = check(1).await;
    assert!(output.stdout.contains("cannot be read: No such file"), "{}", output.stdout);
}

#[tokio::test]
async fn a_plan_says_to_whom_it_is_encrypted() {
    let db = Cluster::shared(newest_major()).database().await;
    let (one, two) = (Pair::new(), Pair::new());
    let plan = encrypted(&db, &[&one, &two], "").program.run(["plan", "--json"]).await.exits(0).json();
    assert_eq!(plan[0]["detail"]["encrypt_to"], serde_json::json!([one.public, two.public]), "{plan:?}");
}

#[tokio::test]
async fn a_secret_key_in_the_config_is_refused_and_not_told() {
    let db = Cluster::shared(newest_major()).database().await;
    let key = Pair::new();
    let secret = Pair { public: key.secret.clone(), secret: String::new() };
    let setting = encrypted(&db, &[&key, &secret], "");
    let output = setting.program.run(["run", "nightly", "--log-level", "trace"]).await.exits(2);
    assert!(output.stderr.contains("pgtend.toml:") && output.stderr.contains("secret key"), "{}", output.stderr);
    assert!(!output.stderr.to_uppercase().contains(&key.secret), "{}", output.stderr);
    assert!(!setting.store.exists());
}
