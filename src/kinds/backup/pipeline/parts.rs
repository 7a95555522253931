//! A stream cut into parts of one size, as stores want them.

use std::io::{self, Write};

/// Collects what is written, and hands it on a part at a time, counted from 1; only the last is smaller.
pub struct Cutter<F> {
    size: usize,
    buffer: Vec<u8>,
    number: u32,
    total: u64,
    hand_on: F,
}

impl<F: FnMut(u32, Vec<u8>) -> io::Result<()>> Cutter<F> {
    pub fn new(size: usize, hand_on: F) -> Self {
        Self { size: size.max(1), buffer: Vec::new(), number: 0, total: 0, hand_on }
    }

    /// Hands on what is left, and gives the bytes of all parts together.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn finish(mut self) -> io::Result<u64> {
        if !self.buffer.is_empty() {
            self.hand_on()?;
        }
        Ok(self.total)
    }

    fn hand_on(&mut self) -> io::Result<()> {
        self.number = self.number.checked_add(1).ok_or_else(|| io::Error::other("more parts than can be counted"))?;
        (self.hand_on)(self.number, std::mem::take(&mut self.buffer))
    }
}

impl<F: FnMut(u32, Vec<u8>) -> io::Result<()>> Write for Cutter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            // All of it at once: a buffer that grows is for a moment there twice. Pages that are not written cost nothing.
            self.buffer.reserve_exact(self.size);
        }
        let taken = bytes.len().min(self.size - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.total += taken as u64;
        if self.buffer.len() == self.size {
            self.hand_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(size: usize, chunks: &[Vec<u8>]) -> Vec<(u32, Vec<u8>)> {
        let mut parts = Vec::new();
        let mut cutter = Cutter::new(size, |number, part| {
            parts.push((number, part));
            Ok(())
        });
        for chunk in chunks {
            cutter.write_all(chunk).unwrap();
        }
        let total = cutter.finish().unwrap();
        assert_eq!(total, chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
        parts
    }

    #[test]
    fn a_stream_that_ends_with_a_part_has_no_empty_one_after_it() {
        assert_eq!(cut(3, &[b"abcdef".to_vec()]), [(1, b"abc".to_vec()), (2, b"def".to_vec())]);
        assert_eq!(cut(3, &[b"abcd".to_vec()]), [(1, b"abc".to_vec()), (2, b"d".to_vec())]);
        assert_eq!(cut(3, &[]), []);
    }

    #[test]
    fn a_part_that_nobody_takes_is_an_error() {
        let mut cutter = Cutter::new(2, |_, _| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(cutter.write_all(b"abc").is_err());
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_however_it_comes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            size in 1_usize..64,
        ) {
            let parts = cut(size, &chunks);
            prop_assert_eq!(parts.iter().flat_map(|(_, part)| part.clone()).collect::<Vec<_>>(), chunks.concat());
            prop_assert!(parts.iter().map(|(number, _)| *number).eq(1..=u32::try_from(parts.len()).unwrap()));
            prop_assert!(parts.iter().rev().skip(1).all(|(_, part)| part.len() == size));
            prop_assert!(parts.iter().all(|(_, part)| !part.is_empty()));
        }
    }
}
