//! A wire between a program and its server that is cut at a chosen message.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::database::Database;

/// Which message it is that everything ends at, and whether the server still hears it.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Counted from 1 over all connections, without those that begin one.
    pub at: u64,
    /// The server gets it, and its answer is lost.
    pub heard: bool,
}

/// Listens until it is dropped. From the cut on every connection is closed and none is taken.
pub struct Proxy {
    folder: tempfile::TempDir,
    name: String,
    seen: Arc<AtomicU64>,
    over: CancellationToken,
}

impl Proxy {
    pub fn before(db: &Database, cut: Cut) -> Self {
        Self::at(db, cut, None)
    }

    /// Cuts nothing, and says the second text to the server where it is told the first; both are of one length.
    pub fn garbling(db: &Database, garbled: (&'static str, &'static str)) -> Self {
        assert_eq!(garbled.0.len(), garbled.1.len());
        Self::at(db, Cut { at: u64::MAX, heard: true }, Some(garbled))
    }

    fn at(db: &Database, cut: Cut, garbled: Option<(&'static str, &'static str)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let server = db.cluster().host().join(format!(".s.PGSQL.{}", db.cluster().port()));
        let proxy = Self { folder, name: db.name().into(), seen: Arc::default(), over: CancellationToken::new() };
        let (seen, over) = (Arc::clone(&proxy.seen), proxy.over.clone());
        #[expect(clippy::disallowed_methods, reason = "it ends with the proxy")]
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = over.run_until_cancelled(listener.accept()).await {
                let wire = wire(client, server.clone(), (cut, garbled), Arc::clone(&seen), over.clone());
                tokio::spawn(wire);
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("postgresql://postgres@/{}?host={}&port=5432", self.name, self.folder.path().display())
    }

    /// Whether the message came at which it was to be cut.
    pub fn has_cut(&self) -> bool {
        self.over.is_cancelled()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

async fn wire(
    client: UnixStream,
    server: PathBuf,
    (cut, garbled): (Cut, Option<(&'static str, &'static str)>),
    seen: Arc<AtomicU64>,
    over: CancellationToken,
) {
    let Ok(server) = UnixStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let mut begun = false;
        loop {
            // The first message has no letter before its length.
            let mut head = vec![0; if begun { 5 } else { 4 }];
            from_client.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes(head[head.len() - 4..].try_into().expect("four bytes"));
            let mut body = vec![0; length as usize - 4];
            from_client.read_exact(&mut body).await.ok()?;
            if let Some((said, heard)) = garbled
                && let Some(at) = body.windows(said.len()).position(|text| text == said.as_bytes())
            {
                body[at..at + heard.len()].copy_from_slice(heard.as_bytes());
            }
            let is_it = begun && seen.fetch_add(1, Ordering::SeqCst) + 1 == cut.at;
            if !is_it || cut.heard {
                to_server.write_all(&[head, body].concat()).await.ok()?;
            }
            if is_it {
                over.cancel();
                return Some(());
            }
            begun = true;
        }
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        _ = there => {}
        _ = back => {}
        () = over.cancelled() => {}
    }
}
