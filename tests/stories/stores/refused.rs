//! What a store says no with, and what is said of it.

use std::fs;

use pgtend::store::{Deleted, Settings, Store, s3};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{PART, PARTS, bytes, key, read, said, upload};
use crate::support::s3::{Fault, Harm, Op, SECRET_KEY};
use crate::support::{S3Server, keeper};

fn store_with(server: &S3Server, change: impl FnOnce(&mut s3::Settings)) -> Store {
    let mut settings = server.settings();
    settings.attempts = 2;
    change(&mut settings);
    Store::new("offsite", &Settings::S3(Box::new(settings))).unwrap()
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    for (status, code, advice) in [
        (403, "AccessDenied", "let these credentials do s3:PutObject there"),
        (403, "InvalidAccessKeyId", "the access key is not known there"),
        (403, "RequestTimeTooSkewed", "this host's clock and the store's are too far apart"),
        (400, "ExpiredToken", "get new ones"),
        (400, "InvalidStorageClass", "correct `storage_class`"),
        (400, "KMS.DisabledException", "see that the key of `kms_key` is there"),
        (400, "EntityTooLarge", "set `part_size` and `max_parts`"),
    ] {
        let server = S3Server::start();
        server.fail(Fault::new(Op::Put, Harm::Refuse(status, code)).always());
        let said = said(server.store().put(&key("a"), bytes(1)).await);
        assert!(said.contains(code) && said.contains(advice), "{said}");
        assert_eq!(server.asked(Op::Put), 1, "{code} does not pass");
    }
}

#[tokio::test]
async fn a_bucket_elsewhere_says_where() {
    for (status, code) in [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")] {
        let server = S3Server::start();
        server.fail(Fault::new(Op::Put, Harm::Elsewhere(status, code, "eu-central-1")).always());
        let said = said(server.store().put(&key("a"), bytes(1)).await);
        assert!(said.contains("write region = \"eu-central-1\" in the store's table"), "{said}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let server = S3Server::start();
    let store = store_with(&server, |settings| settings.bucket = "backup".into());
    let said = said(upload(&store, &key("a"), PARTS, &bytes(PART)).await);
    assert!(said.contains("NoSuchBucket") && said.contains("make the bucket, or correct `bucket`"), "{said}");
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_no_secret_is_shown() {
    let server = S3Server::start();
    let file = keeper::new_folder("wrong").join("credentials");
    fs::write(
        &file,
        format!("[spare]\naws_access_key_id = AKIAPGTENDSTORIES\naws_secret_access_key = x{SECRET_KEY}\n"),
    )
    .unwrap();
    let store = store_with(&server, |settings| {
        settings.credentials_file = Some(file.clone());
        settings.profile = Some("spare".into());
    });
    let error = store.put(&key("a"), bytes(1)).await.unwrap_err();
    let text = format!("{error:#}\n{error:?}\n{store:?}");
    assert!(text.contains("SignatureDoesNotMatch") && text.contains("does not belong to the access key"), "{text}");
    assert!(!text.contains(SECRET_KEY), "{text}");

    let none = store_with(&server, |settings| {
        settings.credentials_file = Some(file.clone());
        settings.profile = Some("other".into());
    });
    let said = said(none.put(&key("a"), bytes(1)).await);
    assert!(
        said.contains("there are no credentials for s3://backups") && said.contains("the profile other in /"),
        "{said}"
    );
}

#[tokio::test]
async fn a_store_that_keeps_what_it_has_says_so() {
    let server = S3Server::start();
    let store = server.store();
    store.put(&key("a"), bytes(1)).await.unwrap();
    server.fail(Fault::new(Op::Delete, Harm::Refuse(403, "AccessDenied")).always());
    match store.delete(&key("a")).await.unwrap() {
        Deleted::Refused(words) => assert!(words.contains("AccessDenied: As the story wants it"), "{words}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.objects().len(), 1);

    server.heal();
    server.fail(Fault::new(Op::Delete, Harm::Refuse(503, "SlowDown")).times(2));
    assert_eq!(store.delete(&key("a")).await.unwrap(), Deleted::Gone);
}

#[tokio::test]
async fn nobody_there_is_told_with_the_networks_words() {
    let server = S3Server::start();
    let store = store_with(&server, |settings| settings.endpoint = Some("http://127.0.0.1:1".into()));
    let said = said(read(&store, &key("a")).await);
    assert!(said.contains("Connection refused") && said.contains("tried 2 times"), "{said}");
}

/// A store with a certificate that an authority of one's own has signed.
#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key_pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = params.signed_by(&key_pair, &authority).unwrap();
    let server = S3Server::start_tls(&certificate.pem(), &key_pair.serialize_pem());

    let stranger = store_with(&server, |_| {});
    let said = said(stranger.put(&key("a"), bytes(1)).await);
    assert!(said.contains("put the certificate of the authority that signed the endpoint's into `ca_file`"), "{said}");
    assert!(!said.contains("tried"), "it does not pass: {said}");

    let ca = keeper::new_folder("ca").join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let trusting = store_with(&server, |settings| settings.ca_file = Some(ca.clone()));
    upload(&trusting, &key("a"), PARTS, &bytes(PART + 1)).await.unwrap();
    assert!(read(&trusting, &key("a")).await.unwrap() == bytes(PART + 1));

    fs::write(&ca, "no certificate").unwrap();
    let settings = s3::Settings { ca_file: Some(ca), ..server.settings() };
    let said = super::said(Store::new("offsite", &Settings::S3(Box::new(settings))));
    assert!(said.contains("there is no certificate in the file"), "{said}");
}
