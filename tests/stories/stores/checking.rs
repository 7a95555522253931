//! Whether a store can be used, asked before it has to be.

use std::fs;

use pgtend::run::Severity;
use pgtend::store::{Settings, Store, directory};

use crate::support::s3::{Fault, Harm, Op};
use crate::support::{Pgtend, S3Server, keeper};

#[tokio::test]
async fn a_probe_writes_reads_and_deletes() {
    let server = S3Server::start();
    assert_eq!(server.store().probe(false).await, []);
    assert_eq!((server.asked(Op::Put), server.asked(Op::Get), server.asked(Op::Delete)), (1, 1, 1));
    assert_eq!(server.objects().len(), 0);
}

#[tokio::test]
async fn what_it_may_not_do_is_a_finding() {
    for (op, deletes, severity, says) in [
        (Op::Put, false, Severity::Error, "let it write to s3://backups/pg"),
        (Op::Get, false, Severity::Error, "let it read from s3://backups/pg"),
        (Op::Delete, false, Severity::Warning, "what was tried with stays there, .pgtend-probe-"),
        (Op::Delete, true, Severity::Error, "or take `keep` out"),
    ] {
        let server = S3Server::start();
        server.fail(Fault::new(op, Harm::Refuse(403, "AccessDenied")).always());
        let findings = server.store().probe(deletes).await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].severity, severity);
        assert!(
            findings[0].message.contains("store offsite: ") && findings[0].message.contains("AccessDenied"),
            "{findings:?}"
        );
        assert!(findings[0].mend.contains(says), "{findings:?}");
    }
}

#[tokio::test]
async fn a_store_that_gives_back_something_else_is_found_out() {
    let server = S3Server::start();
    server.fail(Fault::new(Op::Get, Harm::FlipByte(3)));
    let findings = server.store().probe(false).await;
    assert!(findings[0].message.contains("is not what was written"), "{findings:?}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_found_out() {
    let path = keeper::new_folder("file").join("f");
    fs::write(&path, "x").unwrap();
    let store = Store::new("local", &Settings::Directory(directory::Settings { path })).unwrap();
    assert_eq!(store.probe(false).await[0].severity, Severity::Error);
}

#[tokio::test]
async fn mistakes_in_a_store_are_told_with_their_place() {
    let program = Pgtend::new("[databases.main]\n\n[stores.offsite.s3]\nbuckt = \"backups\"\n");
    let output = program.run(["check", "--offline"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output.stderr.contains("pgtend.toml:4:1: unknown key `buckt`; did you mean `bucket`?"),
        "{}",
        output.stderr
    );
}
