use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use futures_util::TryStreamExt;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn directory() -> (TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::new(&Settings { path: folder.path().join("made/by us") });
    (folder, directory)
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

async fn read(directory: &Directory, key: &Key) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = directory.get(key).await?.try_collect().await?;
    Ok(chunks.concat())
}

fn everything(folder: &Path) -> Vec<String> {
    let all = disk::walk(folder, folder).unwrap();
    all.iter().map(|found| found.path.strip_prefix(folder).unwrap().display().to_string()).collect()
}

const TEN: Parts = Parts { size: 10, most: 100 };
const LONG_AGO: DateTime<Utc> = DateTime::<Utc>::UNIX_EPOCH;
const LATER: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

#[tokio::test]
async fn nothing_is_there_until_it_is_whole_and_it_is_ours_alone() {
    let (folder, directory) = directory();
    let upload = directory.begin(&key("job/stamp/app.dump"), TEN).await.unwrap();
    upload.part(3, Bytes::from_static(b"end")).await.unwrap();
    upload.part(1, Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(directory.list(&key("job")).await.unwrap(), []);
    assert_eq!(directory.size(&key("job/stamp/app.dump")).await.unwrap(), None);
    upload.part(2, Bytes::from_static(b"abcdefghij")).await.unwrap();
    upload.complete(23).await.unwrap();

    assert_eq!(everything(folder.path()), ["made/by us/job/stamp/app.dump"]);
    assert_eq!(read(&directory, &key("job/stamp/app.dump")).await.unwrap(), b"0123456789abcdefghijend");
    let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("made/by us/job/stamp/app.dump"), 0o600);
    for made in ["made", "made/by us", "made/by us/job", "made/by us/job/stamp"] {
        assert_eq!(mode(made), 0o700, "{made}");
    }
}

#[tokio::test]
async fn a_missing_part_or_a_wrong_size_is_no_object() {
    let (folder, directory) = directory();
    for (numbers, size, said) in [(vec![1, 3], 20, "part 2 was never sent"), (vec![1, 2], 21, "20 bytes instead of 21")]
    {
        let upload = directory.begin(&key("a"), TEN).await.unwrap();
        for number in numbers {
            upload.part(number, Bytes::from_static(b"0123456789")).await.unwrap();
        }
        let error = format!("{:#}", upload.complete(size).await.unwrap_err());
        assert!(error.contains(said), "{error}");
        assert_eq!(everything(folder.path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_upload_is_given_up_or_swept() {
    let (folder, directory) = directory();
    directory.begin(&key("job/a"), TEN).await.unwrap().abort(Duration::from_secs(60)).await.unwrap();
    assert_eq!(everything(folder.path()), Vec::<String>::new());

    directory.put(&key("job/whole"), Bytes::from_static(b"x")).await.unwrap();
    for left in ["job/a", "job/deep/er/b", "other/c"] {
        drop(directory.begin(&key(left), TEN).await.unwrap());
    }
    assert_eq!(directory.sweep(&key("job"), LONG_AGO, |_| true).await.unwrap(), 0);
    assert_eq!(directory.sweep(&key("job"), LATER, |_| true).await.unwrap(), 2);
    assert!(!folder.path().join("made/by us/job/deep").exists(), "emptied");
    assert_eq!(directory.list(&key("job")).await.unwrap(), [Object { key: key("job/whole"), size: 1 }]);
    assert_eq!(directory.sweep(&key("other"), LATER, |_| true).await.unwrap(), 1, "of others it was not ours to clear");
}

#[tokio::test]
async fn deleting_takes_emptied_directories_along() {
    let (folder, directory) = directory();
    for made in ["a/b/c/d", "a/e"] {
        directory.put(&key(made), Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(directory.delete(&key("a/b/c/d")).await.unwrap(), Deleted::Gone);
    assert_eq!(directory.delete(&key("a/b/c/d")).await.unwrap(), Deleted::Absent);
    assert_eq!(directory.delete(&key("a")).await.unwrap(), Deleted::Absent, "a directory is no object");
    assert!(!folder.path().join("made/by us/a/b").exists());
    assert_eq!(directory.delete(&key("a/e")).await.unwrap(), Deleted::Gone);
    assert!(folder.path().join("made/by us").exists(), "the store itself stays");
}

#[tokio::test]
async fn no_link_leads_out() {
    let (folder, directory) = directory();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    directory.put(&key("job/a"), Bytes::from_static(b"x")).await.unwrap();
    let root = folder.path().join("made/by us");
    symlink(&outside, root.join("job/link")).unwrap();
    symlink(outside.join("precious"), root.join("job/one")).unwrap();

    assert_eq!(directory.list(&key("job")).await.unwrap(), [Object { key: key("job/a"), size: 1 }]);
    assert!(directory.list(&key("job/link")).await.is_err());
    let said = format!("{:#}", directory.delete(&key("job/link/precious")).await.unwrap_err());
    assert!(said.contains("job/link is a symbolic link"), "{said}");
    assert!(directory.delete(&key("job/one")).await.is_err());
    assert!(directory.begin(&key("job/link/b"), TEN).await.is_err());
    assert!(read(&directory, &key("job/one")).await.is_err());
    assert!(outside.join("precious").exists());
}

#[tokio::test]
async fn a_name_that_has_objects_under_it_is_no_object() {
    let (_folder, directory) = directory();
    directory.put(&key("a/b"), Bytes::from_static(b"x")).await.unwrap();
    let said = format!("{:#}", directory.begin(&key("a"), TEN).await.unwrap_err());
    assert!(said.contains("it is a directory"), "{said}");
    assert!(directory.begin(&key("a/b/c"), TEN).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn parts_in_any_order_make_one_object(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        size in 1_usize..20,
        seed in prop::collection::vec(any::<u16>(), 60),
    ) {
        let (_folder, directory) = directory();
        let mut parts: Vec<_> = (1..).zip(bytes.chunks(size).map(Bytes::copy_from_slice)).collect();
        parts.sort_by_key(|(number, _)| seed[*number as usize - 1]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let back = runtime.block_on(async {
            let upload = directory.begin(&key("a/b"), Parts { size, most: 100 }).await?;
            futures_util::future::try_join_all(parts.into_iter().map(|(number, part)| upload.part(number, part))).await?;
            upload.complete(bytes.len() as u64).await?;
            read(&directory, &key("a/b")).await
        });
        prop_assert_eq!(back.unwrap(), bytes);
    }
}
