//! What is left of an upload that came to nothing.

use std::time::Duration;

use super::{PART, PARTS, bytes, key, said};
use crate::support::S3Server;
use crate::support::s3::{Fault, Harm, Op};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn giving_up_is_tried_again_until_it_is_done() {
    let server = S3Server::start();
    let upload = server.store().begin(&key("a"), PARTS).await.unwrap();
    upload.part(1, bytes(PART)).await.unwrap();
    server.fail(Fault::new(Op::Abort, Harm::Refuse(500, "InternalError")));
    server.fail(Fault::new(Op::Abort, Harm::Reset));
    upload.abort(PATIENCE).await.unwrap();
    assert_eq!(server.uploads().len(), 0);
    assert_eq!(server.asked(Op::Abort), 3);
}

#[tokio::test]
async fn what_is_gone_already_is_given_up() {
    let server = S3Server::start();
    let upload = server.store().begin(&key("a"), PARTS).await.unwrap();
    upload.part(1, bytes(PART)).await.unwrap();
    server.fail(Fault::new(Op::Abort, Harm::LoseAnswer));
    upload.abort(PATIENCE).await.unwrap();
    assert_eq!(server.asked(Op::Abort), 2);
}

#[tokio::test]
async fn patience_with_a_silent_store_has_an_end() {
    let server = S3Server::start();
    let upload = server.store().begin(&key("a"), PARTS).await.unwrap();
    upload.part(1, bytes(PART)).await.unwrap();
    server.fail(Fault::new(Op::Abort, Harm::Stall).always());
    let said = said(upload.abort(Duration::from_millis(300)).await);
    assert!(said.contains("s3://backups/pg/a was given up, and the store did not answer"), "{said}");
    assert_eq!(server.uploads().len(), 1);
}

#[tokio::test]
async fn an_object_of_one_part_leaves_nothing_even_unfinished() {
    let server = S3Server::start();
    let upload = server.store().begin(&key("a"), PARTS).await.unwrap();
    upload.part(1, bytes(1000)).await.unwrap();
    assert_eq!(server.uploads().len(), 0);
    upload.abort(PATIENCE).await.unwrap();
    assert_eq!((server.asked(Op::Create), server.asked(Op::Abort), server.objects().len()), (0, 0, 0));
}

#[tokio::test]
async fn a_sweep_takes_what_is_old_and_ours() {
    let server = S3Server::start();
    server.page(2);
    let store = server.store();
    let begin = async |at: &str| {
        let upload = store.begin(&key(at), PARTS).await.unwrap();
        upload.part(1, bytes(PART)).await.unwrap();
    };
    for at in ["job/old/a", "job/old/b", "job/c", "job2/x", "jo"] {
        begin(at).await;
    }
    server.age_uploads(Duration::from_secs(86_400));
    begin("job/young").await;
    let before = pgtend::clock::Clock::default().host() - chrono::TimeDelta::hours(1);
    assert_eq!(store.sweep(&key("job"), before).await.unwrap(), 3);
    let mut left: Vec<String> = server.uploads().into_iter().map(|upload| upload.key).collect();
    left.sort();
    assert_eq!(left, ["pg/jo", "pg/job/young", "pg/job2/x"]);
}

#[tokio::test]
async fn a_store_that_lists_no_uploads_is_not_swept() {
    let server = S3Server::start();
    server.hide_uploads();
    assert_eq!(server.store().sweep(&key("job"), chrono::DateTime::from_timestamp_nanos(i64::MAX)).await.unwrap(), 0);
}
