//! What a person sees while a command is at work: bars that move, and log lines that do not end up in them.

use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shows it, until it is finished.
pub fn show(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// Where log lines go: to stderr, the bars out of the way for as long.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
