//! Packing and unpacking, block by block. Each packed stream carries checksums of its own: a flipped byte in a bare dump
//! would pass pg_restore unseen.

use std::io::{self, Read, Write};

use super::gzip::Gzip;
use crate::kinds::backup::config::Compression;

/// Packs what is written to it into `W`.
pub enum Packer<W: Write> {
    None(W),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
    Gzip(Gzip<W>),
}

impl<W: Write> Packer<W> {
    /// # Errors
    /// No thread or no memory for it.
    pub fn new(compression: Compression, inner: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Packer::None(inner),
            Compression::Zstd(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(inner, level.into())?;
                encoder.include_checksum(true)?;
                Packer::Zstd(Box::new(encoder))
            }
            Compression::Gzip(level) => Packer::Gzip(Gzip::new(inner, level)?),
        })
    }

    /// # Errors
    /// The inner writer takes no more.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Packer::None(inner) => Ok(inner),
            Packer::Zstd(encoder) => encoder.finish(),
            Packer::Gzip(gzip) => gzip.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::None(inner) => inner.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
            Packer::Gzip(gzip) => gzip.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was packed, as it was before.
///
/// # Errors
/// No memory for it. What is damaged is an error of the reader's.
pub fn unpacked(compression: Compression, packed: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::None => Box::new(packed),
        Compression::Zstd(_) => Box::new(zstd::stream::read::Decoder::new(packed)?),
        Compression::Gzip(_) => Box::new(flate2::read::MultiGzDecoder::new(packed)),
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 4] = [Compression::None, Compression::Zstd(1), Compression::Gzip(1), Compression::Gzip(6)];

    fn packed(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut packer = Packer::new(compression, Vec::new())?;
        packer.write_all(bytes)?;
        packer.finish()
    }

    fn unpack(compression: Compression, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        unpacked(compression, io::Cursor::new(bytes))?.read_to_end(&mut out)?;
        Ok(out)
    }

    /// Something that is packed with some effort, of so many bytes.
    fn text(length: usize) -> Vec<u8> {
        (0_u64..)
            .flat_map(|n| format!("{},{}\n", n, n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).into_bytes())
            .take(length)
            .collect()
    }

    fn through(program: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
        let child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.ok()?;
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", output.status);
        Some(output.stdout)
    }

    #[test]
    fn the_standard_tools_open_it() {
        // Around the edges of a block, and of several.
        for length in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
            let text = text(length);
            let gzip = packed(Compression::Gzip(1), &text).unwrap();
            assert_eq!(through("gzip", &["-dc"], &gzip).expect("gzip is there"), text, "gzip, {length}");
            through("gzip", &["-t"], &gzip);
            let zstd = packed(Compression::Zstd(1), &text).unwrap();
            // Not everywhere installed; where it is, it must agree.
            if let Some(opened) = through("zstd", &["-dc"], &zstd) {
                assert_eq!(opened, text, "zstd, {length}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_flipped_is_seen() {
        let text = text(3_000_000);
        for compression in [Compression::Zstd(1), Compression::Gzip(6)] {
            let whole = packed(compression, &text).unwrap();
            for cut in [1, 9, whole.len() / 2] {
                let short = whole[..whole.len() - cut].to_vec();
                assert!(unpack(compression, short).is_err(), "{compression}, {cut} bytes cut off");
            }
            for at in [whole.len() / 3, whole.len() / 2, whole.len() - 6] {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x10;
                assert!(unpack(compression, flipped).is_err(), "{compression}, flipped at {at}");
            }
        }
    }

    #[test]
    fn a_writer_that_takes_no_more_ends_the_packing() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for compression in ALL {
            let mut packer = Packer::new(compression, Full).unwrap();
            let written = packer.write_all(&text(20_000_000)).and_then(|()| packer.finish().map(|_| ()));
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull, "{compression}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_packed_comes_back(
            chunks in prop::collection::vec((0_usize..600_000, any::<u8>()), 0..6),
            which in 0..ALL.len(),
        ) {
            let compression = ALL[which];
            let mut packer = Packer::new(compression, Vec::new()).unwrap();
            let mut whole = Vec::new();
            for (length, seed) in chunks {
                let chunk: Vec<u8> = text(length).into_iter().map(|byte| byte ^ seed).collect();
                packer.write_all(&chunk).unwrap();
                whole.extend(chunk);
            }
            let packed = packer.finish().unwrap();
            prop_assert!(unpack(compression, packed).unwrap() == whole);
        }
    }
}
