//! The secret key is read, and goes nowhere.

use std::fs;

use super::{Pair, readable};
use crate::backup::{files, fill};
use crate::backup_commands::into;
use crate::support::{Cluster, newest_major};

#[tokio::test]
async fn the_secret_key_is_on_no_command_line_and_in_no_word_of_ours() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    fill(&db, 24_000).await;
    let key = Pair::new();
    let mut setting = readable(&db, &[&key], "");
    // Without what stands before it, and in small letters, too.
    let secret = key.secret["AGE-SECRET-KEY-1".len()..].to_owned();
    let tells = |text: &str| text.to_uppercase().contains(&secret);
    let on_a_command_line = || {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            for file in ["cmdline", "environ"] {
                let text = fs::read(entry.path().join(file)).unwrap_or_default();
                assert!(!tells(&String::from_utf8_lossy(&text)), "{file} of {:?}", entry.file_name());
            }
        }
    };
    let target = into(&cluster, "again");
    let runs: [(&str, &[&str]); 4] = [
        ("backup.middle", &["run", "nightly", "--json"]),
        ("backup.reading", &["backup", "verify", "--json"]),
        ("backup.reading", &["backup", "fetch", "latest", "dump", "--identity", "key"]),
        ("backup.reading", &["backup", "restore", "--json", "--into", &target]),
    ];
    for (point, args) in runs {
        let folder = setting.program.folder().to_owned();
        for file in [format!("go-{point}"), format!("go-{point}.reached")] {
            let _ = fs::remove_file(folder.join(file));
        }
        let (program, hold) = setting.program.holding(point);
        setting.program = program;
        let process = setting.program.start(args.iter().chain(&["--log-level", "trace"]));
        hold.reached().await;
        on_a_command_line();
        hold.go_on();
        let output = process.wait().await.exits(0);
        assert!(!tells(&output.stdout) && !tells(&output.stderr), "{args:?}");
    }
    let history: String = db.scalar("select coalesce(string_agg(run::text, e'\\n'), '') from pgtend.run").await;
    assert!(history.contains("decryption") && !tells(&history), "{history}");
    assert!(!tells(&cluster.log()));
    let stored = files(&setting.store);
    assert!(stored.len() == 4, "{stored:?}");
    for file in stored {
        assert!(!tells(&String::from_utf8_lossy(&fs::read(setting.store.join(&file)).unwrap())), "{file}");
    }
}
