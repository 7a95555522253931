//! What goes wrong while an object is on its way into a bucket.

use std::time::Duration;

use pgtend::store::{Settings, Store, s3};

use super::{PART, PARTS, bytes, key, read, said, upload};
use crate::support::S3Server;
use crate::support::s3::{Fault, Harm, Op};

/// Three parts, the last one short.
const SIZE: usize = 2 * PART + 1000;

fn store_with(server: &S3Server, change: impl FnOnce(&mut s3::Settings)) -> Store {
    let mut settings = server.settings();
    change(&mut settings);
    Store::new("offsite", &Settings::S3(Box::new(settings))).unwrap()
}

/// The upload goes well, whatever happens on the way.
async fn gets_over(faults: impl IntoIterator<Item = Fault>) -> S3Server {
    let server = S3Server::start();
    let store = store_with(&server, |settings| settings.stall_timeout = Duration::from_secs(2));
    let faults: Vec<Fault> = faults.into_iter().collect();
    for fault in &faults {
        server.fail(fault.clone());
    }
    let whole = bytes(SIZE);
    upload(&store, &key("job/app.dump"), PARTS, &whole).await.unwrap_or_else(|error| panic!("{faults:?}: {error:#}"));
    assert!(server.objects()["pg/job/app.dump"].bytes == whole, "{faults:?}");
    assert_eq!(read(&store, &key("job/app.dump")).await.unwrap(), whole);
    server
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for harm in [
        Harm::Refuse(500, "InternalError"),
        Harm::Refuse(503, "SlowDown"),
        Harm::Refuse(400, "RequestTimeout"),
        Harm::Reset,
        Harm::Stall,
    ] {
        let server = gets_over([
            Fault::new(Op::Create, harm.clone()),
            Fault::new(Op::Part, harm.clone()).part(1),
            Fault::new(Op::Part, harm.clone()).part(3).times(2),
            Fault::new(Op::Complete, harm.clone()),
            Fault::new(Op::Head, harm.clone()),
        ])
        .await;
        assert_eq!(server.asked(Op::Part), 6, "{harm:?}: three parts, three times again");
        assert_eq!(server.uploads().len(), 0, "{harm:?}");
    }
}

#[tokio::test]
async fn a_part_that_arrives_as_another_is_sent_again() {
    let server = gets_over([Fault::new(Op::Part, Harm::WrongEtag).part(2)]).await;
    assert_eq!(server.asked(Op::Part), 4);
}

#[tokio::test]
async fn a_store_whose_etags_are_no_md5_can_be_told_so() {
    let server = S3Server::start();
    server.fail(Fault::new(Op::Put, Harm::WrongEtag).always());
    let wary = store_with(&server, |settings| settings.attempts = 2);
    let said = said(wary.put(&key("a"), bytes(10)).await);
    assert!(said.contains("what arrived has the MD5 0000") && said.contains("check_etags = false"), "{said}");
    let trusting = store_with(&server, |settings| settings.check_etags = false);
    trusting.put(&key("a"), bytes(10)).await.unwrap();
}

#[tokio::test]
async fn an_encrypted_objects_etag_is_not_taken_for_a_digest() {
    let server = S3Server::start();
    let store = store_with(&server, |settings| {
        settings.sse = Some(s3::Sse::Kms { key: Some("alias/backups".into()) });
        settings.storage_class = Some("STANDARD_IA".into());
    });
    let whole = bytes(SIZE);
    upload(&store, &key("large"), PARTS, &whole).await.unwrap();
    store.put(&key("small"), bytes(10)).await.unwrap();
    for stored in server.objects().values() {
        assert_eq!(stored.sse.as_deref(), Some("aws:kms"));
        assert_eq!(stored.storage_class.as_deref(), Some("STANDARD_IA"));
    }
}

#[tokio::test]
async fn what_does_not_pass_is_told_at_once_and_nothing_is_left() {
    for (op, code, times) in
        [(Op::Create, "AccessDenied", 1), (Op::Part, "AccessDenied", 1), (Op::Complete, "MalformedXML", 1)]
    {
        let server = S3Server::start();
        server.fail(Fault::new(op, Harm::Refuse(403, code)).always());
        let said = said(upload(&server.store(), &key("job/app.dump"), PARTS, &bytes(SIZE)).await);
        assert!(said.starts_with("store offsite: "), "{said}");
        assert!(said.contains("s3://backups/pg/job/app.dump") && said.contains(code), "{said}");
        assert!(said.contains("HTTP 403, request story-request"), "{said}");
        assert!(!said.contains("tried"), "{said}");
        assert_eq!(server.objects().len(), 0);
        assert_eq!(server.uploads().len(), 0);
        assert!(server.asked(op) >= times);
    }
}

#[tokio::test]
async fn what_does_not_end_is_given_up_after_so_many_tries() {
    let server = S3Server::start();
    server.fail(Fault::new(Op::Part, Harm::Refuse(503, "SlowDown")).part(2).always());
    let store = store_with(&server, |settings| settings.attempts = 3);
    let said = said(upload(&store, &key("job/app.dump"), PARTS, &bytes(SIZE)).await);
    assert!(
        said.contains("UploadPart s3://backups/pg/job/app.dump, part 2: SlowDown: As the story wants it"),
        "{said}"
    );
    assert!(said.contains("tried 3 times"), "{said}");
    assert_eq!(server.uploads().len(), 0);
}

#[tokio::test]
async fn more_parts_than_the_store_takes_are_refused_before_they_are_sent() {
    let server = S3Server::start();
    server.limit_parts(2);
    let store = store_with(&server, |settings| settings.max_parts = 2);
    let parts = store.parts(0);
    assert_eq!((parts.size, parts.most), (8 << 20, 2));
    let said = said(upload(&store, &key("a"), pgtend::store::Parts { size: PART, most: 2 }, &bytes(SIZE)).await);
    assert!(said.contains("the store takes 2 parts of 5242880 bytes"), "{said}");
    assert_eq!((server.objects().len(), server.uploads().len()), (0, 0));
    // Whoever expects as much gets larger ones.
    let fitting = store.parts(SIZE as u64);
    assert_eq!(fitting.size, 11 << 20, "twice the size, in two parts of whole MiB");
    upload(&store, &key("a"), fitting, &bytes(SIZE)).await.unwrap();
}
