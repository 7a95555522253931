//! A store that speaks the S3 protocol, in this process and as a rule its memory, which can be told to go wrong.
//!
//! Signatures are checked. It insists on what any of the stores out there insists on: Content-MD5, parts of at least 5 MiB and
//! of one size, ETags that are those of the parts, a limit of parts.

mod backend;
mod fault;
mod serve;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pgtend::store::{Settings, Store, s3};

use self::backend::Bucket;
pub use self::backend::Stored;
pub use self::fault::{Fault, Faults, Harm, Op};
use self::serve::{Serving, Ways};
use super::keeper;

pub const ACCESS_KEY: &str = "AKIAPGTENDSTORIES";
pub const SECRET_KEY: &str = "story-secret/s3cr-et+of+nobody";

/// The server; dropping it ends it.
pub struct S3Server {
    bucket: Bucket,
    ways: Ways,
    faults: Arc<Mutex<Faults>>,
    /// What was asked, in order.
    asked: Arc<Mutex<Vec<Op>>>,
    serving: Serving,
    credentials: PathBuf,
}

/// An upload that was begun and is not completed.
#[derive(Debug, Clone)]
pub struct Pending {
    pub id: String,
    pub key: String,
    pub parts: Vec<i32>,
}

impl S3Server {
    /// With one empty bucket, `backups`.
    pub fn start() -> Self {
        Self::start_with(None, None)
    }

    /// As [`S3Server::start`], for more than fits into memory.
    pub fn start_in_files() -> Self {
        Self::start_with(None, Some(keeper::new_folder("objects")))
    }

    /// With TLS: certificate and key, in PEM.
    pub fn start_tls(certificate: &str, key: &str) -> Self {
        Self::start_with(Some((certificate, key)), None)
    }

    fn start_with(tls: Option<(&str, &str)>, folder: Option<PathBuf>) -> Self {
        let bucket = Bucket::new("backups", folder);
        let (faults, asked) = (Arc::default(), Arc::default());
        let ways = Ways::default();
        ways.lock().access_key = ACCESS_KEY.into();
        ways.lock().secret_key = SECRET_KEY.into();
        let serving = Serving::start(bucket.clone(), ways.clone(), Arc::clone(&faults), Arc::clone(&asked), tls);
        let credentials = keeper::new_folder("bucket").join("credentials");
        let text = format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
        std::fs::write(&credentials, text).expect("write the credentials");
        Self { bucket, ways, faults, asked, serving, credentials }
    }

    pub fn endpoint(&self) -> String {
        self.serving.endpoint()
    }

    /// Goes wrong from now on.
    pub fn fail(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).add(fault);
    }

    /// Nothing goes wrong from now on.
    pub fn heal(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often it was asked for this.
    pub fn asked(&self, op: Op) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|asked| **asked == op).count()
    }

    /// How often it was asked for anything.
    pub fn asked_at_all(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The objects by their whole keys.
    pub fn objects(&self) -> BTreeMap<String, Stored> {
        self.bucket.lock().objects.clone()
    }

    pub fn uploads(&self) -> Vec<Pending> {
        let state = self.bucket.lock();
        state
            .uploads
            .iter()
            .map(|(id, upload)| Pending {
                id: id.clone(),
                key: upload.key.clone(),
                parts: upload.parts.keys().copied().collect(),
            })
            .collect()
    }

    /// Makes all uploads that are pending so much older.
    pub fn age_uploads(&self, by: Duration) {
        for upload in self.bucket.lock().uploads.values_mut() {
            upload.initiated = upload.initiated.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH);
        }
    }

    /// How many parts it takes of an object.
    pub fn limit_parts(&self, most: i32) {
        self.bucket.lock().max_parts = most;
    }

    /// From now on only this pair of keys is good.
    pub fn change_keys(&self, access_key: &str, secret_key: &str) {
        let mut way = self.ways.lock();
        way.access_key = access_key.into();
        way.secret_key = secret_key.into();
    }

    /// It refuses what has checksums of the newer kinds, as many stores do.
    pub fn refuse_checksums(&self) {
        self.ways.lock().refuses_checksums = true;
    }

    /// It does not implement ListMultipartUploads.
    pub fn hide_uploads(&self) {
        self.bucket.lock().lists_uploads = false;
    }

    /// How many entries a list has on a page.
    pub fn page(&self, entries: usize) {
        self.bucket.lock().page = entries;
    }

    /// Changes an object behind everybody's back.
    pub fn tamper(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.bucket.lock();
        let stored = state.objects.get_mut(key).unwrap_or_else(|| panic!("there is no object {key}"));
        let mut bytes = stored.bytes.to_vec();
        change(&mut bytes);
        stored.bytes = bytes.into();
    }

    /// Puts an object there that nobody of ours made.
    pub fn plant(&self, key: &str, bytes: &[u8]) {
        let stored = Stored {
            bytes: bytes::Bytes::copy_from_slice(bytes),
            etag: "foreign".into(),
            metadata: s3s::dto::Metadata::default(),
            storage_class: None,
            sse: None,
        };
        self.bucket.lock().objects.insert(key.into(), stored);
    }

    /// The store's table for a config; prefix `pg`. The program needs [`S3Server::env`] besides.
    pub fn config(&self, name: &str) -> String {
        let endpoint = self.endpoint();
        format!(
            "[stores.{name}.s3]\nbucket = \"backups\"\nprefix = \"pg\"\nregion = \"eu-west-1\"\nendpoint = \"{endpoint}\"\n\
             path_style = true\n"
        )
    }

    /// What the program finds its credentials by.
    pub fn env(&self) -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
    }

    pub fn settings(&self) -> s3::Settings {
        s3::Settings {
            bucket: "backups".into(),
            prefix: "pg/".into(),
            region: Some("eu-west-1".into()),
            endpoint: Some(self.endpoint()),
            path_style: true,
            credentials_file: Some(self.credentials.clone()),
            ..Default::default()
        }
    }

    /// The bucket as the library's store.
    pub fn store(&self) -> Store {
        Store::new("offsite", &Settings::S3(Box::new(self.settings()))).expect("settings that can be used")
    }
}
