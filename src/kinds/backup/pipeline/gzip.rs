//! gzip on several threads: each block of a mebibyte becomes a member of its own, and a file of many members is one gzip
//! file to every tool that reads them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 1 << 20;
/// One pg_dump does not keep more of them busy.
const MOST: usize = 4;

/// A block, and where its member goes.
type Order = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// Packs what is written to it, in order, into `inner`.
pub struct Gzip<W> {
    inner: W,
    block: Vec<u8>,
    /// Nothing, once all has been ordered.
    orders: Option<Sender<Order>>,
    /// What is being packed, the first block first.
    waiting: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    threads: Vec<JoinHandle<()>>,
    began: bool,
}

impl<W: Write> Gzip<W> {
    /// # Errors
    /// No thread can be started.
    pub fn new(inner: W, level: u8) -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(2, NonZero::get).clamp(1, MOST);
        let (orders, taken) = channel::<Order>();
        let taken = Arc::new(Mutex::new(taken));
        let mut threads = Vec::new();
        for _ in 0..count {
            let taken = Arc::clone(&taken);
            let work = move || {
                loop {
                    // Held only while waiting: the guard is gone before the block is packed.
                    let order = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((block, answer)) = order else { return };
                    // Whoever ordered it may have given up.
                    let _ = answer.send(member(&block, level));
                }
            };
            threads.push(std::thread::Builder::new().name("gzip".into()).spawn(work)?);
        }
        Ok(Self { inner, block: Vec::new(), orders: Some(orders), waiting: VecDeque::new(), threads, began: false })
    }

    /// # Errors
    /// A block could not be packed, or the inner writer takes no more.
    pub fn finish(mut self) -> io::Result<W> {
        // Nothing at all is one empty member: an empty file is no gzip file.
        if !self.block.is_empty() || !self.began {
            self.order()?;
        }
        self.orders = None;
        while !self.waiting.is_empty() {
            self.take()?;
        }
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| io::Error::other("a gzip thread panicked"))?;
        }
        Ok(self.inner)
    }

    fn order(&mut self) -> io::Result<()> {
        self.began = true;
        let (answer, answered) = sync_channel(1);
        let block = std::mem::take(&mut self.block);
        let gone = || io::Error::other("the gzip threads are gone");
        self.orders.as_ref().ok_or_else(gone)?.send((block, answer)).map_err(|_| gone())?;
        self.waiting.push_back(answered);
        // One block more than there are hands, so that none of them waits for us.
        if self.waiting.len() > self.threads.len() + 1 {
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        let Some(answered) = self.waiting.pop_front() else { return Ok(()) };
        let member = answered.recv().map_err(|_| io::Error::other("a gzip thread panicked"))??;
        self.inner.write_all(&member)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(BLOCK);
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.order()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn member(block: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(block.len() / 2), Compression::new(level.into()));
    encoder.write_all(block)?;
    encoder.finish()
}
