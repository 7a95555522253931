use std::io::Read as _;
use std::path::Path;

use super::*;
use crate::store::{Key, Parts, Settings, Store, directory};

fn store(folder: &Path) -> Store {
    Store::new("local", &Settings::Directory(directory::Settings { path: folder.into() })).unwrap()
}

/// Hard to pack, so that parts come often.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    (0..length).map(|_| next()).collect()
}

async fn poured(
    source: &[u8],
    compression: Compression,
    part_size: usize,
    uploads: &[&Upload],
) -> (Result<Poured>, Vec<Result<()>>) {
    let outlets: Vec<_> = uploads.iter().map(|upload| Outlet { upload, in_flight: 2 }).collect();
    pour(source, compression, part_size, &outlets, &Arc::default(), "job").await
}

#[tokio::test]
async fn all_stores_get_the_same_bytes() {
    let source = noise(3_000_000);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for compression in [Compression::None, Compression::Zstd(1), Compression::Gzip(1)] {
        let key = Key::new("job").join("app.dump");
        let parts = Parts { size: 100_000, most: 1_000 };
        let mut uploads = Vec::new();
        for folder in &folders {
            uploads.push(store(folder.path()).begin(&key, parts).await.unwrap());
        }
        let (poured, outcomes) = poured(&source, compression, parts.size, &uploads.iter().collect::<Vec<_>>()).await;
        let poured = poured.unwrap();
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!((poured.raw, poured.head.as_slice()), (source.len() as u64, &source[..16]));
        assert_eq!(poured.tail, &source[source.len() - TAIL..]);
        for (upload, folder) in uploads.into_iter().zip(&folders) {
            upload.complete(poured.stored).await.unwrap();
            let stored = std::fs::read(folder.path().join("job/app.dump")).unwrap();
            assert_eq!(hex(&Sha256::digest(&stored)), poured.sha256);
            let mut out = Vec::new();
            compress::unpacked(compression, io::Cursor::new(stored)).unwrap().read_to_end(&mut out).unwrap();
            assert!(out == source, "{compression}");
        }
    }
}

#[tokio::test]
async fn one_store_that_fails_stops_no_other_and_all_that_fail_stop_the_dump() {
    let source = noise(3_000_000);
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| Key::new("job").join(name);
    let store = store(folder.path());
    // The first takes no more than three parts.
    let (size, few, many) = (100_000, Parts { size: 100_000, most: 3 }, Parts { size: 100_000, most: 1_000 });
    let (full, good) = (store.begin(&key("full"), few).await.unwrap(), store.begin(&key("good"), many).await.unwrap());
    let (poured_one, outcomes) = poured(&source, Compression::None, size, &[&full, &good]).await;
    assert_eq!(poured_one.unwrap().stored, 3_000_000);
    assert!(outcomes[0].is_err() && outcomes[1].is_ok());
    good.complete(3_000_000).await.unwrap();
    assert!(std::fs::read(folder.path().join("job/good")).unwrap() == source);

    let again = store.begin(&key("full"), few).await.unwrap();
    let (poured_none, outcomes) = poured(&source, Compression::Zstd(1), size, &[&full, &again]).await;
    assert!(poured_none.is_err());
    assert!(outcomes.iter().all(Result::is_err));
}

#[cfg(feature = "encrypt")]
#[tokio::test]
async fn what_is_stored_can_be_encrypted_after_it_was_packed() {
    use crate::kinds::backup::crypt::{Identities, decrypt};
    let secret = age::x25519::Identity::generate();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, age::secrecy::ExposeSecret::expose_secret(&secret.to_string())).unwrap();
    let identities = Identities::read(file.path()).unwrap();
    let (source, folder) = (noise(1_000_000), tempfile::tempdir().unwrap());
    for compression in [Compression::None, Compression::Zstd(1), Compression::Gzip(1)] {
        let packing = Packing { compression, keys: vec![secret.to_public().to_string().parse().unwrap()] };
        let parts = Parts { size: 100_000, most: 1_000 };
        let upload = store(folder.path()).begin(&Key::new("sealed"), parts).await.unwrap();
        let outlets = [Outlet { upload: &upload, in_flight: 2 }];
        let (poured, _) = pour(source.as_slice(), packing.clone(), parts.size, &outlets, &Arc::default(), "job").await;
        let poured = poured.unwrap();
        upload.complete(poured.stored).await.unwrap();
        let stored = std::fs::read(folder.path().join("sealed")).unwrap();
        assert!(stored.starts_with(b"age-encryption.org/v1\n"));
        // The digest is of what is stored: whoever has no key can compare it.
        assert_eq!((hex(&Sha256::digest(&stored)), poured.raw), (poured.sha256, source.len() as u64));
        for stored in [stored, packing.packed(&source).unwrap()] {
            let mut out = Vec::new();
            let opened = decrypt(&identities, io::Cursor::new(stored)).unwrap();
            compress::unpacked(compression, opened).unwrap().read_to_end(&mut out).unwrap();
            assert!(out == source, "{compression}");
        }
    }
}

#[tokio::test]
async fn an_empty_source_is_nothing_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let upload = store(folder.path()).begin(&Key::new("x"), Parts { size: 10, most: 1 }).await.unwrap();
    let (poured, _) = poured(&[], Compression::None, 10, &[&upload]).await;
    let poured = poured.unwrap();
    assert_eq!((poured.raw, poured.stored, poured.head.len()), (0, 0, 0));
}
