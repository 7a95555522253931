//! A directory that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgtend::store::{Parts, Settings, Store, directory};

use super::{MIB, bytes, key, read, said, upload};
use crate::support::keeper;

/// A file system of one MiB; dropping it unmounts it.
struct Small(PathBuf);

impl Small {
    fn mount() -> Self {
        let path = keeper::new_folder("small");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a small file system can be mounted: run the tests as root"
        );
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[tokio::test]
async fn a_full_disk_is_a_clean_failure_that_leaves_nothing() {
    let small = Small::mount();
    let store = Store::new("local", &Settings::Directory(directory::Settings { path: small.0.join("b") })).unwrap();
    let parts = Parts { size: MIB / 4, most: 100 };
    let said = said(upload(&store, &key("job/app.dump"), parts, &bytes(2 * MIB)).await);
    assert!(said.contains("store local: write ") && said.contains("b/job/app.dump: No space left on device"), "{said}");
    assert_eq!(files(&small.0), Vec::<PathBuf>::new());
    let said = super::said(store.put(&key("job/x"), bytes(2 * MIB)).await);
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(files(&small.0), Vec::<PathBuf>::new());
    // And what fits goes well afterwards.
    upload(&store, &key("job/app.dump"), parts, &bytes(MIB / 2)).await.unwrap();
    assert!(read(&store, &key("job/app.dump")).await.unwrap() == bytes(MIB / 2));
}

#[tokio::test]
async fn a_path_that_is_a_file_is_told() {
    let path = keeper::new_folder("file").join("f");
    fs::write(&path, "x").unwrap();
    let store = Store::new("local", &Settings::Directory(directory::Settings { path })).unwrap();
    let said = said(store.put(&key("a/b"), bytes(1)).await);
    assert!(said.contains("store local: ") && said.contains("/f"), "{said}");
}
