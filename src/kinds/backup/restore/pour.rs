//! From the store through `pg_restore` or `psql` into the database, up to the first error.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use super::Load;
use crate::kinds::backup::child::{Pipe, Program};
use crate::kinds::backup::config::Format;
use crate::kinds::backup::directory::unpack::beside;
use crate::kinds::backup::pg_dump::Tools;
use crate::kinds::backup::read::read;
use crate::kinds::backup::verify::stream_format;
use crate::pg::libpq::LibpqEnv;

/// A setting that programs of 17 and newer make, and that older servers refuse. It stands in the first lines.
const UNKNOWN_BEFORE_17: &[u8] = b"SET transaction_timeout = 0;\n";
/// So much of a script is looked through for it.
const HEAD: usize = 4096;

/// Fills a database with a dump; `options` are for `pg_restore`, so that a plain dump knows none. Of a stream it is not known
/// before its end whether the dump was what had been written.
///
/// # Errors
/// The server refuses something, the store cannot be read, or what it has is damaged.
pub async fn pour(
    load: Load<'_>,
    format: Format,
    tools: &Tools,
    env: &LibpqEnv,
    version: i32,
    options: &[&str],
) -> Result<()> {
    let source = match load {
        Load::Stream(source) => source,
        Load::Unpacked(spool, jobs) => {
            let restored = by_workers(&spool.dump(), jobs, tools, env, options).await;
            spool.remove().await;
            return restored;
        }
    };
    let older = needs_script(tools, version);
    read(source, async |raw| match format {
        Format::Plain => {
            let mut script = Script::new(raw, older);
            into(psql(tools, env)?, async |stdin| script.write(stdin).await).await
        }
        Format::Directory => beside(raw, async |raw| from_archive(raw, format, older, tools, env, options).await).await,
        Format::Custom => from_archive(raw, format, older, tools, env, options).await,
    })
    .await
    .map(drop)
}

async fn from_archive(
    raw: &mut mpsc::Receiver<Bytes>,
    format: Format,
    older: bool,
    tools: &Tools,
    env: &LibpqEnv,
    options: &[&str],
) -> Result<()> {
    let as_stream = stream_format(format);
    if older {
        return as_script(raw, as_stream, tools, env, options).await;
    }
    let dbname = format!("--dbname={}", env.conninfo);
    let args = [&[as_stream, "--exit-on-error", "--no-password", &dbname], options].concat();
    let program = start(&tools.program("pg_restore"), &args, env, Pipe::In)?;
    into(program, async |stdin| archive(raw, stdin).await).await
}

/// Whether `pg_restore` would tell an older server of a setting that it does not know.
pub fn needs_script(tools: &Tools, version: i32) -> bool {
    tools.major >= 17 && version < 170_000
}

/// From a folder, by several workers.
async fn by_workers(folder: &Path, jobs: u16, tools: &Tools, env: &LibpqEnv, options: &[&str]) -> Result<()> {
    let (dbname, jobs) = (format!("--dbname={}", env.conninfo), format!("--jobs={jobs}"));
    let folder = folder.display().to_string();
    let args = ["--format=directory", "--exit-on-error", "--no-password", &dbname, &jobs];
    let args = [&args, options, &[folder.as_str()]].concat();
    start(&tools.program("pg_restore"), &args, env, Pipe::None)?.finished().await
}

fn psql(tools: &Tools, env: &LibpqEnv) -> Result<Program> {
    let dbname = format!("--dbname={}", env.conninfo);
    let args = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--file=-", &dbname];
    start(&tools.program("psql"), &args, env, Pipe::In)
}

fn start(path: &Path, args: &[&str], env: &LibpqEnv, pipe: Pipe) -> Result<Program> {
    // What they complain of is a statement, which may hold a password.
    Ok(Program::start(path, args.iter().copied(), env.variables(), pipe)?.discreet())
}

/// Gives a program what `feed` writes, until it ends; one that ends badly ends the feeding.
async fn into(mut program: Program, feed: impl AsyncFnOnce(ChildStdin)) -> Result<()> {
    let stdin = program.stdin()?;
    let feeding = feed(stdin);
    let finished = program.finished();
    tokio::pin!(feeding);
    tokio::pin!(finished);
    tokio::select! {
        ended = &mut finished => ended,
        () = &mut feeding => finished.await,
    }
}

/// Why a program takes no more is its own to say.
async fn archive(raw: &mut mpsc::Receiver<Bytes>, mut stdin: ChildStdin) {
    while let Some(chunk) = raw.recv().await {
        if stdin.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

/// `pg_restore` connected to an older server would end at a setting of its own: so it writes its script, which goes to `psql`
/// without that line.
async fn as_script(
    raw: &mut mpsc::Receiver<Bytes>,
    as_stream: &str,
    tools: &Tools,
    env: &LibpqEnv,
    options: &[&str],
) -> Result<()> {
    let args = [&[as_stream, "--exit-on-error", "--file=-"], options].concat();
    let mut pg_restore = start(&tools.program("pg_restore"), &args, env, Pipe::Through)?;
    let mut sql = pg_restore.stdout()?;
    let (to_psql, mut sql_for_psql) = mpsc::channel::<Bytes>(4);
    let reading = async move {
        loop {
            let chunk = chunk(&mut sql).await.context("read from pg_restore")?;
            // Where psql takes no more, the pipe is closed with `sql`, and pg_restore ends too.
            if chunk.is_empty() || to_psql.send(chunk).await.is_err() {
                return anyhow::Ok(());
            }
        }
    };
    let psql = psql(tools, env)?;
    // Its end of the channel goes with it.
    let taking = async move {
        let mut script = Script::new(&mut sql_for_psql, true);
        into(psql, async |stdin| script.write(stdin).await).await
    };
    let unpacking = into(pg_restore, async |stdin| archive(raw, stdin).await);
    let (taken, unpacked, read) = futures_util::join!(taking, unpacking, reading);
    // Where psql ends, pg_restore has nobody to write to.
    taken?;
    unpacked?;
    read
}

async fn chunk(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Bytes> {
    let mut chunk = bytes::BytesMut::with_capacity(64 << 10);
    from.read_buf(&mut chunk).await?;
    Ok(chunk.freeze())
}

/// SQL on its way to `psql`.
struct Script<'a> {
    chunks: &'a mut mpsc::Receiver<Bytes>,
    older: bool,
}

impl<'a> Script<'a> {
    fn new(chunks: &'a mut mpsc::Receiver<Bytes>, older: bool) -> Self {
        Self { chunks, older }
    }

    async fn write(&mut self, mut stdin: ChildStdin) {
        let mut head = Vec::new();
        while self.older && head.len() < HEAD {
            let Some(chunk) = self.chunks.recv().await else { break };
            head.extend_from_slice(&chunk);
        }
        if stdin.write_all(&known_before_17(head)).await.is_ok() {
            archive(self.chunks, stdin).await;
        }
    }
}

/// The beginning of a script without the setting that older servers do not know.
fn known_before_17(mut head: Vec<u8>) -> Vec<u8> {
    let length = UNKNOWN_BEFORE_17.len();
    let line = |at: &usize| *at == 0 || head[*at - 1] == b'\n';
    let found = head.windows(length).take(HEAD).position(|window| window == UNKNOWN_BEFORE_17).filter(line);
    if let Some(at) = found {
        head.drain(at..at + length);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_servers_do_not_know_is_left_out() {
        let script = b"SET lock_timeout = 0;\nSET transaction_timeout = 0;\nSET client_encoding = 'UTF8';\n".to_vec();
        assert_eq!(known_before_17(script), b"SET lock_timeout = 0;\nSET client_encoding = 'UTF8';\n");
        for same in ["", "SELECT 1;\n", "x SET transaction_timeout = 0;\n"] {
            assert_eq!(known_before_17(same.into()), same.as_bytes());
        }
    }
}
