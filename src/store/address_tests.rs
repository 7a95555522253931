use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn bucket(prefix: &str, endpoint: Option<&str>) -> Addresses {
    let settings = s3::Settings {
        bucket: "artifacts".into(),
        prefix: prefix.into(),
        region: Some("eu-west-1".into()),
        endpoint: endpoint.map(Into::into),
        ..s3::Settings::default()
    };
    Addresses::of_bucket(&settings, format!("s3://artifacts/{prefix}"))
}

fn directory() -> Addresses {
    Addresses::of_directory(&directory::Settings { path: PathBuf::from("/srv/my files") }, "/srv/my files".into())
}

/// The key that an address is read as, or why it is not.
fn read(addresses: &Addresses, address: &str) -> Result<String, String> {
    addresses.locate(address).map(|located| located.as_str().to_owned())
}

fn reads(addresses: &Addresses, address: &str, key: &str) {
    assert_eq!(read(addresses, address).as_deref(), Ok(key), "{address}");
}

fn refuses(addresses: &Addresses, address: &str, why: &str) {
    match read(addresses, address) {
        Ok(key) => panic!("{address:?} was read as {key:?}"),
        Err(said) => assert!(said.contains(why), "{address:?}: {said:?} does not say {why:?}"),
    }
}

#[test]
fn every_form_of_an_address_is_one_key() {
    let own = bucket("tmp/", Some("https://Objects.internal:443/"));
    for address in [
        "s3://artifacts/tmp/a b.txt",
        "https://objects.internal/artifacts/tmp/a%20b.txt",
        "HTTPS://OBJECTS.internal:443/artifacts/tmp/a%20b.txt",
        "https://artifacts.objects.internal/tmp/a%20b.txt",
        "https://artifacts.objects.internal/tmp%2Fa%20b.txt",
        "tmp/a b.txt",
    ] {
        reads(&own, address, "tmp/a b.txt");
    }
    let amazon = bucket("", None);
    for host in [
        "s3.amazonaws.com/artifacts",
        "artifacts.s3.amazonaws.com",
        "s3.eu-west-1.amazonaws.com/artifacts",
        "artifacts.s3.eu-west-1.amazonaws.com",
        "artifacts.s3-eu-west-1.amazonaws.com",
        "artifacts.s3.dualstack.eu-west-1.amazonaws.com",
    ] {
        reads(&amazon, &format!("https://{host}/%C3%A4/1"), "ä/1");
    }
    for address in ["a/b.txt", "/srv/my files/a/b.txt", "file:///srv/my%20files/a/b.txt"] {
        reads(&directory(), address, "a/b.txt");
    }
}

#[test]
fn odd_keys_are_read_as_they_are() {
    let own = bucket("", None);
    for key in
        ["a?b#c", "100%", "5 % off", "a+b", "a//b", "ä\u{1F600}", "…", ".hidden", "a/.b", "x\\y", "tab\there", "a/b:c"]
    {
        reads(&own, &format!("s3://artifacts/{key}"), key);
        reads(&own, key, key);
    }
    reads(&own, "s3://artifacts//a", "/a");
}

#[test]
fn what_is_elsewhere_is_refused() {
    let own = bucket("tmp/", Some("https://objects.internal"));
    for address in [
        "s3://other/tmp/a",
        "s3://artifacts",
        "s3://artifacts/a",
        "s3://artifacts/tmpx",
        "s3://Artifacts/tmp/a",
        "s3://artifacts-2/tmp/a",
        "S3://artifacts/tmp/a",
        "s3a://artifacts/tmp/a",
        "gs://artifacts/tmp/a",
        "arn:aws:s3:::artifacts/tmp/a",
        "data:text/plain,x",
        "a",
        "permanent/a",
        "http://objects.internal/artifacts/tmp/a",
        "https://objects.internal:9000/artifacts/tmp/a",
        "https://objects.internal/other/tmp/a",
        "https://objects.internal/artifacts/a",
        "https://objects.internal.evil.org/artifacts/tmp/a",
        "https://objects.internal@evil.org/artifacts/tmp/a",
        "https://me@objects.internal/artifacts/tmp/a",
        "https://other.objects.internal/tmp/a",
        "https://artifacts.s3.amazonaws.com/tmp/a",
        "//objects.internal/artifacts/tmp/a",
    ] {
        assert!(read(&own, address).is_err(), "{address}");
    }
    let amazon = bucket("", None);
    for host in
        ["artifacts.s3.us-east-1.amazonaws.com", "artifacts.s3.cn-north-1.amazonaws.com.cn", "artifacts.s3.evil.org"]
    {
        refuses(&amazon, &format!("https://{host}/a"), "it is not in s3://artifacts/");
    }
    for address in
        ["/etc/passwd", "/srv/my files2/a", "file:///etc/passwd", "file://host/srv/my%20files/a", "s3://artifacts/a"]
    {
        refuses(&directory(), address, "it is not in /srv/my files");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let own = bucket("tmp/", Some("https://objects.internal"));
    refuses(&own, "s3://artifacts/tmp/a%20b", "%20 in it");
    refuses(&own, "tmp/a%20b", "%20 in it");
    refuses(&own, "s3://artifacts/tmp/a?versionId=3", "version");
    for (address, why) in [
        ("tmp/a+b", "may stand for itself"),
        ("tmp/a?versionId=3", "more than an object's name"),
        ("tmp/a#b", "more than an object's name"),
        ("tmp/a%2", "no two digits"),
        ("tmp/a%+1", "no two digits"),
        ("tmp/%FF", "no UTF-8"),
        ("tmp/a b", "belongs into no URL"),
        ("tmp/a\\b", "belongs into no URL"),
        ("tmp/%00", "NUL"),
        ("tmp%2F..%2Fpermanent/a", "a segment of it"),
        ("tmp/%2e%2e/permanent/a", "a segment of it"),
    ] {
        refuses(&own, &format!("https://objects.internal/artifacts/{address}"), why);
    }
    for key in ["tmp/../a", "tmp/./a", "tmp/a/.."] {
        refuses(&own, &format!("s3://artifacts/{key}"), "a segment of it");
        refuses(&own, key, "a segment of it");
    }
    for folder in ["tmp/", "tmp/a/"] {
        refuses(&own, folder, "a folder");
        refuses(&own, &format!("s3://artifacts/{folder}"), "a folder");
    }
    refuses(&own, " tmp/a", "white space");
    refuses(&own, "tmp/a\n", "white space");
    refuses(&own, "/tmp/a", "a slash begins it");
    refuses(&own, &format!("tmp/{}", "x".repeat(LONGEST)), "1024 bytes");
    refuses(&directory(), "a//b", "two slashes");
    refuses(&directory(), "/srv/my files//b", "two slashes");
    refuses(&directory(), "/srv/my files/", "a folder");
    refuses(&directory(), "a/../../etc/passwd", "a segment of it");
}

#[test]
fn what_has_no_name_is_in_no_address_but_a_key() {
    let settings = s3::Settings { bucket: "arn:aws:s3:eu-west-1:1:accesspoint/a".into(), ..s3::Settings::default() };
    let point = Addresses::of_bucket(&settings, "s3://arn".into());
    reads(&point, "a/b", "a/b");
    assert!(read(&point, "s3://arn:aws:s3:eu-west-1:1:accesspoint/a/b").is_err());
}

/// What people call objects, and what they had better not.
fn key() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-zA-Z0-9 ._~!*'();:@&=+$,?#%äΩ-]{1,12}", 1..4).prop_map(|segments| segments.join("/"))
}

proptest! {
    #[test]
    fn whatever_the_address_only_a_key_below_the_prefix_comes_of_it(address in ".{0,60}", own: bool) {
        let addresses = bucket("tmp/", own.then_some("https://objects.internal"));
        for address in [address.clone(), format!("s3://artifacts/{address}"), format!("s3://artifacts/tmp/{address}"),
            format!("https://objects.internal/artifacts/tmp/{address}"), format!("tmp/{address}")] {
            if let Ok(located) = addresses.locate(&address) {
                let key = located.as_str();
                prop_assert!(key.starts_with("tmp/") && key.len() > 4, "{key}");
                prop_assert!(!key.split('/').any(|segment| matches!(segment, "." | "..")), "{key}");
            }
        }
    }

    #[test]
    fn no_address_leads_out_of_a_directory(address in ".{0,60}", dots in "(\\.\\./|/|[a-z]{1,3}/|%2e%2e/|%2F){0,8}[a-z]{0,3}") {
        for address in [address.clone(), dots.clone(), format!("/srv/my files/{dots}"), format!("file:///srv/my%20files/{dots}")] {
            if let Ok(located) = directory().locate(&address) {
                let path = std::path::Path::new(located.as_str());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
            }
        }
    }

    #[test]
    fn each_way_to_spell_an_object_that_is_read_is_read_as_that_object(key in key(), own: bool) {
        let addresses = bucket("", own.then_some("https://objects.internal:9000/base"));
        let key = Located(key);
        let spelled = addresses.spelled(&key);
        let whole = format!("s3://artifacts/{}", key.as_str());
        prop_assert!(spelled.contains(&whole), "{whole}");
        for address in spelled {
            if let Ok(read) = addresses.locate(&address) {
                prop_assert_eq!(&read, &key, "{}", address);
            }
        }
    }

    #[test]
    fn what_is_read_is_among_the_ways_to_spell_it_if_it_is_literal(key in key()) {
        let addresses = bucket("", None);
        for address in [key.clone(), format!("s3://artifacts/{key}")] {
            if let Ok(read) = addresses.locate(&address) {
                prop_assert!(addresses.spelled(&read).contains(&address));
            }
        }
    }
}
