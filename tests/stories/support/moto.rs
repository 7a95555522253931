//! moto: an S3 server that is not ours, which therefore knows nothing of what we take for granted. It checks no signatures.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use pgtend::store::{Settings, Store, s3};

use super::keeper;
use super::program::free_port;

/// The server, with one empty bucket, `backups`; dropping it ends it.
pub struct Moto {
    child: Child,
    port: u16,
    credentials: PathBuf,
}

impl Moto {
    /// Lists give at most `page` objects at once.
    pub fn start(page: usize) -> Self {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/moto");
        assert!(lib.join("complete").exists(), "moto is not installed: run `make deps`");
        let folder = keeper::new_folder("moto");
        let port = free_port();
        let mut command = Command::new("python3");
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        command.env("PYTHONPATH", lib).env("MOTO_S3_DEFAULT_MAX_KEYS", page.to_string()).current_dir(&folder);
        let log = fs::File::create(folder.join("log")).expect("a log");
        command.stdout(log.try_clone().expect("the log, twice")).stderr(log);
        let child = keeper::spawn(command, libc::SIGKILL).expect("start moto");
        let credentials = folder.join("credentials");
        fs::write(&credentials, "[default]\naws_access_key_id = any\naws_secret_access_key = any\n").expect("write");
        let mut moto = Self { child, port, credentials };
        moto.make_bucket(&folder.join("log"));
        moto
    }

    fn make_bucket(&mut self, log: &Path) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let request = "PUT /backups HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\nAuthorization: \
                       AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
                       Signature=any\r\n\r\n";
        loop {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                stream.write_all(request.as_bytes()).expect("ask moto");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("moto's answer");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                return;
            }
            let ended = self.child.try_wait().expect("look after moto");
            let log = || fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "moto ended at once ({ended:?}); its log:\n{}", log());
            assert!(Instant::now() < deadline, "moto does not listen; its log:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn settings(&self) -> s3::Settings {
        s3::Settings {
            bucket: "backups".into(),
            prefix: "pg/".into(),
            region: Some("us-east-1".into()),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            path_style: true,
            credentials_file: Some(self.credentials.clone()),
            ..Default::default()
        }
    }

    pub fn store(&self) -> Store {
        Store::new("moto", &Settings::S3(Box::new(self.settings()))).expect("settings that can be used")
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
