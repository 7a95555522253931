//! What was flipped or cut is found with a key and without, and with one also when somebody has forged the digest.

use std::fs;

use super::{Pair, forge, readable, verified};
use crate::backup::fill;
use crate::backup_commands::{back_up, cut_off, dump_file, flip, into};
use crate::support::on_newest_or_all;

/// What the format of age closes at once, as stored.
const CHUNK: usize = (64 << 10) + 16;

#[tokio::test]
async fn a_flipped_byte_or_a_cut_is_found_in_every_packing() {
    on_newest_or_all(async |db| {
        fill(&db, 3_000).await;
        for config in [
            "",
            "compression = \"gzip:1\"",
            "compression = \"none\"",
            "format = \"plain\"\ncompression = \"none\"",
            "format = \"plain\"\ncompression = \"zstd\"",
        ] {
            let (key, safe) = (Pair::new(), Pair::new());
            let setting = readable(&db, &[&key, &safe], config);
            let id = back_up(&setting).await;
            cut_off(&setting, &db);
            let whole = flip(&setting, &id);
            let damaged = async |words: &str| {
                let output = setting.program.run(["backup", "verify", &id]).await.exits(1);
                for words in ["DAMAGED", "app.", words] {
                    assert!(output.stderr.contains(words), "{config}: {words}: {}", output.stderr);
                }
                assert_eq!(verified(&setting, &id).unwrap()["good"], false, "{config}");
                setting.program.run(["backup", "fetch", &id, "dump"]).await.exits(1);
                assert!(!setting.program.folder().join("dump").exists(), "{config}");
            };
            damaged("SHA-256").await;
            fs::write(dump_file(&setting, &id), &whole[..whole.len() - 1]).unwrap();
            damaged("were written").await;

            // The digest is right, by whoever changed it.
            let header = whole.windows(4).position(|window| window == b"\n---").unwrap();
            let payload = whole[header + 1..].iter().position(|byte| *byte == b'\n').unwrap() + header + 2 + 16;
            for at in [payload - 1, payload + 5, whole.len() / 2, whole.len() - 1] {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                forge(&setting, &id, &flipped);
                damaged("cannot be unpacked").await;
            }
            // In the middle of a chunk, and where one ends.
            for length in [whole.len() - 1, payload + CHUNK, payload + 3 * CHUNK, payload] {
                forge(&setting, &id, &whole[..length]);
                damaged("cannot be unpacked").await;
            }
            let mut swapped = whole.clone();
            swapped[payload..payload + 2 * CHUNK].rotate_left(CHUNK);
            forge(&setting, &id, &swapped);
            damaged("cannot be unpacked").await;
            let output = setting
                .program
                .run(["backup", "restore", &id, "--into", &into(db.cluster(), "damaged")])
                .await
                .exits(1);
            assert!(output.stderr.contains("must not be used"), "{}", output.stderr);
            db.execute("drop database if exists damaged").await;

            forge(&setting, &id, &whole);
            setting.program.run(["backup", "verify", &id]).await.exits(0);
        }
    })
    .await;
}
