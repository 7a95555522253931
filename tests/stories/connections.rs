//! Connections as libpq users expect them, against real servers: one with TLS, and one without that takes no writes.

mod server;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use pgtend::pg::{Access, ConnectError, Conninfo, Database, Link, Sessions, connect};
use tokio_postgres::error::SqlState;

use server::{Bare, LIMITS, open, plain_server, tls_server};

async fn refused(info: &Conninfo) -> anyhow::Error {
    match connect(info, "stories", LIMITS).await {
        Ok(_) => panic!("{info:?} was taken"),
        Err(error) => error,
    }
}

/// The connection is refused, and the message says all of `words`.
async fn refused_with(info: &Conninfo, words: &[&str]) {
    let message = refused(info).await.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

async fn is_encrypted(link: &Link) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    link.client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn port_of(link: &Link) -> u16 {
    let row = link.client.query_one("SELECT current_setting('port')::int", &[]).await.unwrap();
    u16::try_from(row.get::<_, i32>(0)).unwrap()
}

#[tokio::test]
async fn require_encrypts_and_asks_nothing_of_the_certificate() {
    let server = tls_server();
    let link = open(&server.info("host=localhost port=PORT sslmode=require")).await;
    assert!(is_encrypted(&link).await);
}

#[tokio::test]
async fn require_looks_at_the_authority_where_a_root_file_is_there() {
    let server = tls_server();
    open(&server.info("host=localhost port=PORT sslmode=require sslrootcert=HERE/ca.crt")).await;
    let info = server.info("host=localhost port=PORT sslmode=require sslrootcert=HERE/other.crt");
    refused_with(&info, &["not signed by an authority in", "other.crt"]).await;
    let info = server.info("host=localhost port=PORT sslmode=require sslrootcert=HERE/absent.crt");
    refused_with(&info, &["sslrootcert", "absent.crt cannot be read: No such file"]).await;
}

#[tokio::test]
async fn verify_ca_asks_for_the_authority_and_not_for_the_name() {
    let server = tls_server();
    let link = open(&server.info("host=localhost port=PORT sslmode=verify-ca sslrootcert=HERE/ca.crt")).await;
    assert!(is_encrypted(&link).await);
    let info = server.info("host=127.0.0.1 port=PORT sslmode=verify-ca sslrootcert=HERE/other.crt");
    refused_with(&info, &["not signed by an authority in", "other.crt"]).await;
    let info = server.info("host=127.0.0.1 port=PORT sslmode=verify-ca");
    refused_with(&info, &["sslmode=verify-ca needs the authority", "sslrootcert=system"]).await;
}

#[tokio::test]
async fn verify_full_asks_for_the_name_too() {
    let server = tls_server();
    let info = server.info("host=localhost port=PORT user=postgres sslmode=verify-full sslrootcert=HERE/ca.crt");
    refused_with(
        &info,
        &["postgres@localhost:", "is for db.example, 127.0.0.1, not for localhost", "sslmode=verify-ca"],
    )
    .await;
    for host in ["host=127.0.0.1", "host=db.example hostaddr=127.0.0.1", "hostaddr=127.0.0.1"] {
        let info = server.info(&format!("{host} port=PORT sslmode=verify-full sslrootcert=HERE/ca.crt"));
        assert!(is_encrypted(&open(&info).await).await, "{host}");
    }
}

#[tokio::test]
async fn prefer_takes_what_the_server_has() {
    let (with, without) = (tls_server(), plain_server());
    with.admin("CREATE ROLE plain_only LOGIN").await;
    assert!(is_encrypted(&open(&with.info("host=127.0.0.1 port=PORT")).await).await);
    assert!(!is_encrypted(&open(&without.info("host=127.0.0.1 port=PORT")).await).await);
    // A handshake that fails, and a pg_hba.conf that wants none, are no end either.
    let distrusted = with.info("host=127.0.0.1 port=PORT sslrootcert=HERE/other.crt");
    assert!(!is_encrypted(&open(&distrusted).await).await);
    let unwanted = with.info("host=127.0.0.1 port=PORT user=plain_only dbname=postgres");
    assert!(!is_encrypted(&open(&unwanted).await).await);
}

#[tokio::test]
async fn allow_encrypts_only_where_the_server_insists() {
    let server = tls_server();
    server.admin("CREATE ROLE tls_only LOGIN").await;
    assert!(!is_encrypted(&open(&server.info("host=127.0.0.1 port=PORT sslmode=allow")).await).await);
    let info = server.info("host=127.0.0.1 port=PORT user=tls_only dbname=postgres sslmode=allow");
    assert!(is_encrypted(&open(&info).await).await);
    let info = server.info("host=127.0.0.1 port=PORT user=tls_only dbname=postgres sslmode=disable");
    refused_with(&info, &["SQLSTATE 28000", "pg_hba.conf", "sslmode"]).await;
}

#[tokio::test]
async fn require_does_not_go_without_tls() {
    let server = plain_server();
    let info = server.info("host=127.0.0.1 port=PORT sslmode=require");
    refused_with(&info, &["the server offers no TLS, and sslmode=require asks for it"]).await;
}

#[tokio::test]
async fn a_socket_is_never_encrypted() {
    let server = tls_server();
    let link = open(&server.info("host=HERE port=PORT sslmode=verify-full")).await;
    assert!(!is_encrypted(&link).await);
}

#[tokio::test]
async fn a_client_certificate_is_as_good_as_a_password() {
    let server = tls_server();
    server.admin("CREATE ROLE carla LOGIN").await;
    let words = "host=127.0.0.1 port=PORT user=carla dbname=postgres sslmode=require";
    refused_with(&server.info(words), &["SQLSTATE 28000", "client certificate (sslcert, sslkey)"]).await;
    let own = tempfile::tempdir().unwrap();
    let key = own.path().join("client.key");
    // The server's user owns the files there; a key must be the client's own.
    fs::copy(server.path("client.key"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let words = format!("{words} sslcert=HERE/client.crt sslkey={}", key.display());
    open(&server.info(&words)).await;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused_with(&server.info(&words), &["sslkey", "can be read by others", "chmod 0600"]).await;
}

#[tokio::test]
async fn a_password_file_is_read_anew_for_each_connection() {
    let server = tls_server();
    let file = tempfile::NamedTempFile::new().unwrap();
    let info = server.info_with("host=127.0.0.1 port=PORT user=anna dbname=postgres", Some(file.path()));
    server.admin("CREATE ROLE anna LOGIN PASSWORD 'first word'").await;
    fs::write(file.path(), "first word\n").unwrap();
    open(&info).await;
    server.admin("ALTER ROLE anna PASSWORD 'second word'").await;
    let error = refused(&info).await;
    let message = format!("{error:#}");
    assert!(message.contains("SQLSTATE 28P01") && message.contains(&file.path().display().to_string()), "{message}");
    assert!(!message.contains("first word"), "{message}");
    fs::write(file.path(), "second word\n").unwrap();
    open(&info).await;
}

#[tokio::test]
async fn a_passfile_gives_each_host_its_own_password() {
    let server = tls_server();
    server.admin("CREATE ROLE berta LOGIN PASSWORD 'b:word'").await;
    let own = tempfile::tempdir().unwrap();
    let passfile = own.path().join("pgpass");
    fs::write(&passfile, format!("localhost:*:*:berta:wrong\n127.0.0.1:{}:postgres:berta:b\\:word\n", server.port))
        .unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    let words = format!("port=PORT user=berta dbname=postgres passfile={}", passfile.display());
    open(&server.info(&format!("host=127.0.0.1 {words}"))).await;
    refused_with(&server.info(&format!("host=localhost hostaddr=127.0.0.1 {words}")), &["28P01", "was taken from"])
        .await;
}

#[tokio::test]
async fn without_a_password_it_is_said_where_one_may_be_put() {
    let server = tls_server();
    server.admin("CREATE ROLE doris LOGIN PASSWORD 'd'").await;
    let info = server.info("host=127.0.0.1 port=PORT user=doris dbname=postgres");
    refused_with(
        &info,
        &["no password was found: give one in password_file, PGPASSWORD, or a line of", "home/.pgpass"],
    )
    .await;
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_is_dead() {
    let server = plain_server();
    // Bound and not listening: the port is ours, and refuses.
    let dead = tokio::net::TcpSocket::new_v4().unwrap();
    dead.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead_port = dead.local_addr().unwrap().port();
    let link = open(&server.info(&format!("host=127.0.0.1,127.0.0.1 port={dead_port},PORT"))).await;
    assert_eq!(port_of(&link).await, server.port);
    let info = server.info(&format!("host=127.0.0.1,/nowhere port={dead_port},1"));
    let first = format!("127.0.0.1:{dead_port}: Connection refused");
    refused_with(&info, &[&first, "listen_addresses", "/nowhere:1: No such file", "unix_socket_directories"]).await;
}

#[tokio::test]
async fn a_refused_password_is_not_carried_to_the_next_host() {
    let (refusing, trusting) = (tls_server(), plain_server());
    refusing.admin("CREATE ROLE emil LOGIN PASSWORD 'e'").await;
    let ports = format!("port={},{}", refusing.port, trusting.port);
    let info = refusing
        .info(&format!("host=127.0.0.1,127.0.0.1 {ports} user=emil dbname=postgres password=other sslmode=require"));
    let error = refused(&info).await;
    assert_eq!(error.downcast_ref::<ConnectError>().unwrap().code(), Some(&SqlState::INVALID_PASSWORD));
    let message = format!("{error:#}");
    assert!(!message.contains("; then ") && !message.contains("other"), "{message}");
}

#[tokio::test]
async fn target_session_attrs_chooses_the_server() {
    let (primary, read_only) = (tls_server(), plain_server());
    let hosts = |attrs: &str| {
        let words =
            format!("host=127.0.0.1,127.0.0.1 port={},{} target_session_attrs={attrs}", read_only.port, primary.port);
        primary.info(&words)
    };
    for (attrs, expect) in [
        ("any", read_only.port),
        ("read-write", primary.port),
        ("read-only", read_only.port),
        ("primary", read_only.port),
        ("prefer-standby", read_only.port),
    ] {
        assert_eq!(port_of(&open(&hosts(attrs)).await).await, expect, "{attrs}");
    }
    refused_with(&hosts("standby"), &["it is no standby, and target_session_attrs=standby"]).await;
    let info = read_only.info("host=127.0.0.1 port=PORT target_session_attrs=read-write");
    refused_with(&info, &["it is read-only, and target_session_attrs=read-write"]).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let words = format!("host=127.0.0.1 port={port} user=anna connect_timeout=1");
    let info = Conninfo::parse_with(&words, None, &Bare("/nowhere".into())).unwrap();
    refused_with(&info, &["no connection within 1 s"]).await;
}

#[tokio::test]
async fn the_servers_answer_can_be_told_by_its_sqlstate() {
    let server = plain_server();
    let error = refused(&server.info("host=127.0.0.1 port=PORT dbname=absent")).await;
    let message = error.to_string();
    assert!(message.contains("SQLSTATE 3D000") && message.contains("create database absent"), "{message}");
    let answer = error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).unwrap();
    assert_eq!(answer.code(), Some(&SqlState::INVALID_CATALOG_NAME));
    assert_eq!(error.downcast_ref::<ConnectError>().unwrap().code(), answer.code());
}

#[tokio::test]
async fn the_pool_passes_our_own_errors_on_and_connects_once_they_are_mended() {
    let server = plain_server();
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("password");
    let info = server.info_with("host=127.0.0.1 port=PORT", Some(&file));
    let database = Arc::new(Database::new("main", info, 1).unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
    let sessions = Sessions::new(database, "story", Access::ReadOnly, Duration::from_millis(300), deadline);
    let Err(error) = sessions.open().await else { panic!("connected without a password file") };
    assert!(error.is::<ConnectError>(), "{error:?}");
    let message = format!("{error:#}");
    assert!(message.contains(&format!("password_file {} cannot be read: No such file", file.display())), "{message}");
    fs::write(&file, "any").unwrap();
    sessions.open().await.unwrap().close().await;
}

#[tokio::test]
async fn a_statement_is_cancelled_over_tls() {
    let server = tls_server();
    let info = server.info("host=127.0.0.1 port=PORT sslmode=verify-full sslrootcert=HERE/ca.crt");
    let link = open(&info).await;
    let pid: i32 = link.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let canceller = info.canceller(&link.client);
    let watcher = open(&info).await;
    let cancel = async {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
        while watcher.client.query_one(sql, &[&pid]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
        canceller.cancel().await.unwrap();
    };
    let (slept, ()) = tokio::join!(link.client.batch_execute("SELECT pg_sleep(600)"), cancel);
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

#[tokio::test]
async fn that_notifications_came_is_heard_once_and_then_that_the_connection_ended() {
    let server = plain_server();
    let info = server.info("host=HERE port=PORT");
    let mut link = open(&info).await;
    let many =
        "DO $$ BEGIN RAISE NOTICE 'hello'; FOR n IN 1..1000 LOOP PERFORM pg_notify('bell', n::text); END LOOP; END $$";
    link.client.batch_execute("LISTEN bell").await.unwrap();
    link.client.batch_execute(many).await.unwrap();
    link.client.simple_query("").await.unwrap();
    assert!(link.heard.recv().await.is_some());
    assert!(link.heard.try_recv().is_err(), "however many there were");
    let pid: i32 = link.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    open(&info).await.client.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    assert!(link.heard.recv().await.is_none());
}
