//! What goes wrong while an object is read.

use std::time::Duration;

use pgtend::store::{Settings, Store, s3};

use super::{MIB, bytes, key, read, said};
use crate::support::S3Server;
use crate::support::s3::{Fault, Harm, Op};

const SIZE: usize = MIB;

async fn with_object() -> (S3Server, Store) {
    let server = S3Server::start();
    let settings = s3::Settings { attempts: 3, stall_timeout: Duration::from_secs(2), ..server.settings() };
    let store = Store::new("offsite", &Settings::S3(Box::new(settings))).unwrap();
    store.put(&key("a"), bytes(SIZE)).await.unwrap();
    (server, store)
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_reading_goes_on_where_it_was() {
    for harm in [Harm::CutBody(100_000), Harm::StallBody(100_000)] {
        let (server, store) = with_object().await;
        server.fail(Fault::new(Op::Get, harm.clone()).times(4));
        assert!(read(&store, &key("a")).await.unwrap() == bytes(SIZE), "{harm:?}");
        assert_eq!(server.asked(Op::Get), 5, "{harm:?}: each time something came, so it is never too often");
    }
}

#[tokio::test]
async fn one_that_never_gives_a_byte_is_given_up() {
    let (server, store) = with_object().await;
    server.fail(Fault::new(Op::Get, Harm::CutBody(0)).always());
    let said = said(read(&store, &key("a")).await);
    assert!(said.contains("lost after 0 of 1048576 bytes") && said.contains("tried 3 times"), "{said}");
}

#[tokio::test]
async fn an_object_that_is_replaced_meanwhile_is_not_mixed_with_the_old_one() {
    let (server, store) = with_object().await;
    server.fail(Fault::new(Op::Get, Harm::CutBody(100_000)));
    let mut stream = store.get(&key("a")).await.unwrap();
    store.put(&key("a"), bytes(SIZE + 1)).await.unwrap();
    let error = loop {
        match futures_util::StreamExt::next(&mut stream).await.expect("an end with an error") {
            Ok(_) => {}
            Err(error) => break format!("{error:#}"),
        }
    };
    assert!(error.contains("the object was replaced while it was read"), "{error}");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_is_not_there_is_told() {
    let (server, store) = with_object().await;
    server.fail(Fault::new(Op::Get, Harm::Refuse(503, "SlowDown")));
    server.fail(Fault::new(Op::Head, Harm::Reset));
    server.fail(Fault::new(Op::List, Harm::Refuse(500, "InternalError")));
    assert!(read(&store, &key("a")).await.is_ok());
    assert_eq!(store.size(&key("a")).await.unwrap(), Some(SIZE as u64));
    assert_eq!(store.list(&key("a")).await.unwrap().len(), 1);
    let said = said(read(&store, &key("b")).await);
    assert!(said.contains("store offsite: GetObject s3://backups/pg/b: NoSuchKey"), "{said}");
}

/// The store cannot know; whoever reads compares digests.
#[tokio::test]
async fn a_store_that_lies_gives_other_bytes_of_the_same_length() {
    let (server, store) = with_object().await;
    server.fail(Fault::new(Op::Get, Harm::FlipByte(500_000)));
    let read = read(&store, &key("a")).await.unwrap();
    assert_eq!(read.len(), SIZE);
    let different: Vec<usize> =
        read.iter().zip(bytes(SIZE).iter()).enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
    assert_eq!(different, [500_000]);
}
