//! The daemon's signals, all caught before anything else is done: the default of most is to end the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// `SIGRTMIN` as users of `kill` and systemd count it, whichever libc we are built with.
pub const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// What somebody wants of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Stop,
    Reload,
    RunAll,
    LogStatus,
    /// The job with `signal = "RTMIN+n"`.
    Run(u8),
}

/// The ears.
pub struct Signals(Vec<(Signal, Wish)>);

impl Signals {
    /// # Errors
    /// A handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        let mut signals = vec![
            (signal(SignalKind::terminate())?, Wish::Stop),
            (signal(SignalKind::interrupt())?, Wish::Stop),
            (signal(SignalKind::hangup())?, Wish::Reload),
            (signal(SignalKind::user_defined1())?, Wish::RunAll),
            (signal(SignalKind::user_defined2())?, Wish::LogStatus),
        ];
        for number in RTMIN..=RTMAX {
            let n = u8::try_from(number - RTMIN).unwrap_or_default();
            signals.push((signal(SignalKind::from_raw(number))?, Wish::Run(n)));
        }
        Ok(Self(signals))
    }

    /// Waits for the next. It may be dropped and called again, and loses none.
    pub async fn next(&mut self) -> Wish {
        std::future::poll_fn(|cx| {
            for (signal, wish) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*wish);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
