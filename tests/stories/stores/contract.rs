//! What every store does, whichever it is.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use pgtend::store::{Deleted, Key, Object, Parts, Settings, Store, directory};

use super::{PARTS, bytes, key, read, said, upload};
use crate::support::moto::Moto;
use crate::support::{S3Server, keeper};

const LONG_AGO: chrono::DateTime<chrono::Utc> = chrono::DateTime::UNIX_EPOCH;
const LATER: chrono::DateTime<chrono::Utc> = chrono::DateTime::from_timestamp_nanos(i64::MAX);

/// `dated`: it knows when an upload was begun.
async fn keeps_the_contract(store: &Store, parts: Parts, dated: bool) {
    objects_of_all_sizes_come_back(store, parts).await;
    odd_names_are_kept_apart(store).await;
    long_lists_are_whole(store).await;
    what_is_not_completed_is_not_there(store, parts, dated).await;
    what_is_deleted_is_gone(store).await;
}

async fn objects_of_all_sizes_come_back(store: &Store, parts: Parts) {
    let part = parts.size;
    let at = key("sizes/app.dump");
    // Each replaces the one before it.
    for size in [0, 1, part - 1, part, part + 1, 3 * part, 2 * part + 7] {
        let whole = bytes(size);
        upload(store, &at, parts, &whole).await.unwrap_or_else(|error| panic!("{size} bytes: {error:#}"));
        assert_eq!(store.size(&at).await.unwrap(), Some(size as u64));
        assert!(read(store, &at).await.unwrap() == whole, "{size} bytes are not what was sent");
    }
    for size in [0, 1, 100_000] {
        store.put(&at, bytes(size)).await.unwrap();
        assert!(read(store, &at).await.unwrap() == bytes(size), "{size} bytes are not what was put");
    }
}

async fn odd_names_are_kept_apart(store: &Store) {
    let names = ["it's \"so\"", "a b", "Ωμέγα", "100%", "100%25", "a+b", ".hidden", "..", "a/b", "x&y<z>?#", "\\", "~"];
    let folder = Key::new("odd");
    for (n, name) in names.iter().enumerate() {
        store
            .put(&folder.join(name).join("app.dump"), bytes(n + 1))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
    let mut listed: Vec<_> = store
        .list(&folder)
        .await
        .unwrap()
        .into_iter()
        .map(|object| (object.size, object.key.segments()[1].clone()))
        .collect();
    listed.sort();
    let expected: Vec<_> = (1_u64..).zip(names.map(String::from)).collect();
    assert_eq!(listed, expected);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(read(store, &folder.join(name).join("app.dump")).await.unwrap(), bytes(n + 1), "{name}");
    }
    // One name begins with another.
    for at in ["near/ap/x", "near/app/x", "near/ap"] {
        if at == "near/ap" {
            continue;
        }
        store.put(&key(at), bytes(1)).await.unwrap();
    }
    assert_eq!(store.list(&key("near/ap")).await.unwrap(), [Object { key: key("near/ap/x"), size: 1 }]);
    assert_eq!(store.list(&key("near/app/x")).await.unwrap().len(), 1, "an object lies at or below its own key");
    assert_eq!(store.list(&key("nothing")).await.unwrap(), []);
}

async fn long_lists_are_whole(store: &Store) {
    let folder = Key::new("many");
    let keys: Vec<Key> = (0..45).map(|n| folder.join(&format!("{n:03}")).join("manifest.json")).collect();
    futures_util::stream::iter(keys.clone())
        .map(|key| async move { store.put(&key, bytes(1)).await })
        .buffer_unordered(8)
        .try_collect::<Vec<()>>()
        .await
        .unwrap();
    let listed: Vec<Key> = store.list(&folder).await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(listed, keys, "all, by key");
}

async fn what_is_not_completed_is_not_there(store: &Store, parts: Parts, dated: bool) {
    let part = bytes(parts.size);
    let at = key("pending/a");
    let begun = store.begin(&at, parts).await.unwrap();
    begun.part(1, part.clone()).await.unwrap();
    assert_eq!(store.list(&key("pending")).await.unwrap(), []);
    assert_eq!(store.size(&at).await.unwrap(), None);
    assert!(read(store, &at).await.is_err());
    begun.abort(Duration::from_secs(60)).await.unwrap();
    assert_eq!(store.sweep(&key("pending"), LATER).await.unwrap(), 0, "nothing of it is left");

    // A part is missing, or the size is another than was meant: no object, and nothing is left.
    for (number, size) in [(2, 2 * parts.size), (1, parts.size + 1)] {
        let begun = store.begin(&at, parts).await.unwrap();
        begun.part(number, part.clone()).await.unwrap();
        let said = said(begun.complete(size as u64).await);
        assert!(said.contains("part 1 was never sent") || said.contains("bytes instead of"), "{said}");
        assert_eq!(store.size(&at).await.unwrap(), None);
        assert_eq!(store.sweep(&key("pending"), LATER).await.unwrap(), 0);
    }

    // Left by runs that were killed.
    for left in ["pending/a", "pending/b", "pending-other/a"] {
        let begun = store.begin(&key(left), parts).await.unwrap();
        begun.part(1, part.clone()).await.unwrap();
        drop(begun);
    }
    if dated {
        assert_eq!(store.sweep(&key("pending"), LONG_AGO).await.unwrap(), 0, "of somebody who may be at it");
    }
    assert_eq!(store.sweep(&key("pending"), LATER).await.unwrap(), 2);
    assert_eq!(store.sweep(&key("pending-other"), LATER).await.unwrap(), 1, "others' are left alone");
}

async fn what_is_deleted_is_gone(store: &Store) {
    let at = key("gone/a b/x".replace(' ', "%20").as_str());
    store.put(&at, bytes(10)).await.unwrap();
    assert_eq!(store.delete(&at).await.unwrap(), Deleted::Gone);
    assert_eq!(store.size(&at).await.unwrap(), None);
    assert_eq!(store.list(&key("gone")).await.unwrap(), []);
    assert_eq!(store.delete(&at).await.unwrap(), Deleted::Absent);
    assert_eq!(store.probe(true).await, [], "and a probe finds nothing wrong");
}

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    let path = keeper::new_folder("store").join("made");
    let store = Store::new("local", &Settings::Directory(directory::Settings { path })).unwrap();
    keeps_the_contract(&store, Parts { size: 10_000, most: 100 }, true).await;
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    let server = S3Server::start();
    server.page(20);
    keeps_the_contract(&server.store(), PARTS, true).await;
    let objects = server.objects();
    assert!(
        objects.keys().all(|key| key.starts_with("pg/")),
        "under the prefix, and no probe is left: {:?}",
        objects.keys()
    );
}

#[tokio::test]
async fn a_bucket_of_another_make_keeps_the_contract() {
    let server = Moto::start(20);
    // It says of every upload that it was begun in 2010.
    keeps_the_contract(&server.store(), PARTS, false).await;
}

#[tokio::test]
async fn what_others_keep_in_the_bucket_is_not_seen() {
    let server = S3Server::start();
    for foreign in ["pg/job/.hidden", "pg/job/a//b", "pg/job/%zz", "pg/job/ü", "pg/job/", "pgx/job/a", "job/a"] {
        server.plant(foreign, b"x");
    }
    for n in 0..2100 {
        server.plant(&format!("pg/job/{n}"), b"x");
    }
    let store = server.store();
    assert_eq!(store.list(&key("job")).await.unwrap().len(), 2100);
}
