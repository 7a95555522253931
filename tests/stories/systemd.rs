//! What systemd hears of a daemon: sd_notify(3), over the socket it gives.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{Cluster, GATED, Pgtend, newest_major, wait_for};

/// The manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn of(program: Pgtend) -> (Pgtend, Self) {
        let path = program.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("the notify socket");
        socket.set_nonblocking(true).expect("a socket to poll");
        let program = program.env("NOTIFY_SOCKET", &path.display().to_string());
        (program, Self(socket))
    }

    /// The next message, its assignments as lines.
    async fn next(&self) -> String {
        wait_for("a message for systemd", async || {
            let mut buffer = [0; 4096];
            let length = self.0.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
        .await
    }

    /// The next message in which a line begins so; what comes before it is let go.
    async fn next_with(&self, start: &str) -> String {
        loop {
            let message = self.next().await;
            if message.lines().any(|line| line.starts_with(start)) {
                return message;
            }
        }
    }
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// What CLOCK_MONOTONIC says, in microseconds.
fn monotonic_usec() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to the struct it is given.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

#[tokio::test]
async fn a_daemon_says_when_it_is_ready_reloads_and_stops() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let (program, manager) = Manager::of(Pgtend::tending(&db, GATED));
    let daemon = program.daemon();
    assert!(manager.next().await.starts_with("READY=1"), "the first word is not READY");
    let status = manager.next_with("STATUS=").await;
    assert_eq!(field(&status, "STATUS"), Some("1 job, 0 running"));

    daemon.signal(libc::SIGUSR1);
    wait_for("the running job in the status", async || {
        manager.next_with("STATUS=").await.contains("1 job, 1 running").then_some(())
    })
    .await;
    db.open_gate().await;
    wait_for("its end in the status", async || {
        manager.next_with("STATUS=").await.contains("1 job, 0 running").then_some(())
    })
    .await;

    let before = monotonic_usec();
    daemon.signal(libc::SIGHUP);
    let reloading = manager.next_with("RELOADING=1").await;
    let stamp: i64 = field(&reloading, "MONOTONIC_USEC").expect("a time stamp").parse().expect("a number");
    assert!((before..=monotonic_usec()).contains(&stamp), "{stamp} is not between {before} and now");
    manager.next_with("READY=1").await;

    // Refused or not, a reload is over at some time: systemd waits for it.
    program.configure("nonsense = true");
    daemon.signal(libc::SIGHUP);
    manager.next_with("RELOADING=1").await;
    manager.next_with("READY=1").await;

    daemon.signal(libc::SIGTERM);
    manager.next_with("STOPPING=1").await;
    daemon.wait().await.exits(0);
}

/// `Type=notify` units that come after this one may need nothing of the database.
#[tokio::test]
async fn a_daemon_whose_server_is_away_is_ready_all_the_same() {
    let cluster = Cluster::stopped(newest_major(), &[]);
    let db = crate::support::Database::named(cluster, "postgres");
    let (program, manager) = Manager::of(Pgtend::tending(&db, GATED));
    let daemon = program.daemon();
    manager.next_with("READY=1").await;
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn the_watchdog_is_fed_for_as_long_as_the_daemon_lives() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, GATED).env("WATCHDOG_USEC", &Duration::from_secs(3).as_micros().to_string());
    let (program, manager) = Manager::of(program);
    let daemon = program.daemon();
    for _ in 0..3 {
        manager.next_with("WATCHDOG=1").await;
    }
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn a_watchdog_of_another_process_is_not_fed() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, GATED).env("WATCHDOG_USEC", "3000000").env("WATCHDOG_PID", "1");
    let (program, manager) = Manager::of(program);
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGTERM);
    daemon.wait().await.exits(0);
    let mut said = String::new();
    while !said.contains("STOPPING=1") {
        said.push_str(&manager.next().await);
    }
    assert!(!said.contains("WATCHDOG=1"), "{said}");
}
