//! The last request of an upload: whatever becomes of it and of its answer, the object's head says what came of it.

use pgtend::store::{Settings, Store, s3};

use super::{PART, PARTS, bytes, key, said, upload};
use crate::support::S3Server;
use crate::support::s3::{Fault, Harm, Op};

const SIZE: usize = PART + 1000;

fn few_tries(server: &S3Server) -> Store {
    let settings = s3::Settings { attempts: 3, ..server.settings() };
    Store::new("offsite", &Settings::S3(Box::new(settings))).unwrap()
}

#[tokio::test]
async fn an_answer_that_was_lost_is_no_failure() {
    let server = S3Server::start();
    server.fail(Fault::new(Op::Complete, Harm::LoseAnswer));
    upload(&server.store(), &key("a"), PARTS, &bytes(SIZE)).await.unwrap();
    assert!(server.objects()["pg/a"].bytes == bytes(SIZE));
    assert_eq!(server.asked(Op::Complete), 1, "the head said enough");
    assert_eq!(server.uploads().len(), 0);
}

#[tokio::test]
async fn nor_is_one_after_which_the_upload_is_not_known_any_more() {
    for code in ["NoSuchUpload", "AccessDenied", "InvalidPart"] {
        let server = S3Server::start();
        server.fail(Fault::new(Op::Complete, Harm::LoseAnswer));
        // The head cannot be had just then, so that it is asked a second time.
        server.fail(Fault::new(Op::Head, Harm::Refuse(403, "AccessDenied")));
        server.fail(Fault::new(Op::Complete, Harm::Refuse(404, code)));
        upload(&server.store(), &key("a"), PARTS, &bytes(SIZE))
            .await
            .unwrap_or_else(|error| panic!("{code}: {error:#}"));
        assert_eq!(server.asked(Op::Complete), 2, "{code}");
    }
}

#[tokio::test]
async fn an_error_in_an_answer_that_says_ok_is_an_error() {
    let server = S3Server::start();
    server.fail(Fault::new(Op::Complete, Harm::OkWithError("InternalError")));
    upload(&server.store(), &key("a"), PARTS, &bytes(SIZE)).await.unwrap();
    assert_eq!(server.asked(Op::Complete), 2);

    server.fail(Fault::new(Op::Complete, Harm::OkWithError("InternalError")).always());
    let said = said(upload(&few_tries(&server), &key("b"), PARTS, &bytes(SIZE)).await);
    assert!(said.contains("CompleteMultipartUpload s3://backups/pg/b: InternalError"), "{said}");
    assert!(!server.objects().contains_key("pg/b"));
    assert_eq!(server.uploads().len(), 0, "and it is cleared away");
}

#[tokio::test]
async fn an_object_of_old_is_not_taken_for_the_new_one() {
    let server = S3Server::start();
    let store = few_tries(&server);
    upload(&store, &key("a"), PARTS, &bytes(SIZE)).await.unwrap();
    // As large, and in a bucket whose ETags say nothing.
    let changed: bytes::Bytes = bytes(SIZE).iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into();
    server.fail(Fault::new(Op::Complete, Harm::Refuse(404, "NoSuchUpload")).always());
    let said = said(upload(&store, &key("a"), PARTS, &changed).await);
    assert!(said.contains("NoSuchUpload"), "{said}");
    assert!(server.objects()["pg/a"].bytes == bytes(SIZE), "the old one is still there");
}

#[tokio::test]
async fn an_object_that_is_not_there_in_the_end_is_a_failure() {
    let server = S3Server::start();
    server.fail(Fault::new(Op::Head, Harm::Refuse(404, "NoSuchKey")).always());
    let said = said(upload(&few_tries(&server), &key("a"), PARTS, &bytes(SIZE)).await);
    assert!(said.contains("the store said that it was done, and the object is not there"), "{said}");
}

#[tokio::test]
async fn one_that_appears_a_little_later_is_none() {
    let server = S3Server::start();
    server.fail(Fault::new(Op::Head, Harm::Refuse(404, "NoSuchKey")).times(2));
    upload(&few_tries(&server), &key("a"), PARTS, &bytes(SIZE)).await.unwrap();
}
