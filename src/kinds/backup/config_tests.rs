use super::*;

fn check(toml: &str, expect: &str) {
    let said = match toml::from_str::<Backup>(toml) {
        Ok(backup) => {
            backup.mistakes().iter().map(|f| format!("{}; {}", f.message, f.mend)).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.message().to_owned(),
    };
    if expect.is_empty() {
        assert_eq!(said, "", "{toml}");
    }
    assert!(said.contains(expect), "{toml}\n{said}");
}

#[test]
fn mistakes_are_seen_before_anything_connects() {
    check("to = [{ store = 'a' }]", "");
    check("to = [{ store = 'a', keep = { last = 3 } }, { store = 'b' }]\ncompression = 'gzip:6'", "");
    check("to = []", "goes nowhere");
    check("to = [{ store = 'a' }, { store = 'a' }]", "named twice");
    check("to = [{ store = 'a', keep = {} }]", "keeps nothing");
    check("to = [{ store = 'a', keep = { daily = 0 } }]", "keeps nothing");
    check("to = [{ store = 'a' }]\nrow_counts = true", "");
    for wrong in ["zstd:0", "zstd:20", "gzip:10", "lz4", "none:1", "gzip:fast"] {
        check(&format!("to = [{{ store = 'a' }}]\ncompression = '{wrong}'"), "is no compression");
    }
}

#[test]
fn a_spool_is_for_the_directory_format_which_has_one_in_any_case() {
    let with = |lines: &str| format!("to = [{{ store = 'a' }}]\n{lines}");
    let whole = with("format = 'directory'\nspool = '/s'\nspool_max = '1 GB'");
    check(&whole, "");
    check(&format!("{whole}\njobs = 64"), "");
    for some in
        ["format = 'directory'", "format = 'directory'\nspool_max = '1 GB'", "format = 'directory'\nspool = '/s'"]
    {
        check(&with(some), "");
    }
    check(&format!("{whole}\njobs = 0"), "`jobs` is 0, and has to be 1 to 64");
    check(&format!("{whole}\njobs = 65"), "`jobs` is 65");
    check(&whole.replace("1 GB", "0 GB"), "holds no dump");
    check(&whole.replace("1 GB", "1"), "is not a size");
    for (line, key) in [("jobs = 1", "jobs"), ("spool = '/s'", "spool"), ("spool_max = '1 GB'", "spool_max")] {
        for format in ["", "format = 'custom'\n", "format = 'plain'\n"] {
            check(&with(&format!("{format}{line}")), &format!("`{key}` is for `format = \"directory\"` alone"));
        }
    }
    let spooling = toml::from_str::<Backup>(&whole).unwrap().spooling().unwrap();
    assert_eq!((spooling.jobs, spooling.most), (2, Some(1_000_000_000)));
    let spooling = toml::from_str::<Backup>(&with("format = 'directory'")).unwrap().spooling().unwrap();
    assert_eq!((spooling.folder.clone(), spooling.most), (std::env::temp_dir(), None));
    assert!(spooling.limit().unwrap() > 0);
    assert!(toml::from_str::<Backup>(&with("")).unwrap().spooling().is_none());
}

#[cfg(feature = "encrypt")]
#[test]
fn keys_are_public_and_right_or_the_config_is_refused() {
    const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let with = |keys: &str| format!("to = [{{ store = 'a' }}]\nencrypt_to = {keys}");
    check(&with(&format!("['{KEY}']\nidentity_file = 'key'")), "");
    check(&with("[]"), "nobody could read");
    check(&with(&format!("['{KEY}', '{}']", KEY.to_uppercase())), "named twice");
    check(&with(&format!("['{KEY}', '{}']", KEY.replace("8p", "8q"))), "is no public key of age");
    check(&with("['ssh-ed25519 AAAA']"), "SSH");
    check(&with("['AGE-SECRET-KEY-1QQ']"), "keep the secret one elsewhere");
    let mut backup: Backup = toml::from_str(&with(&format!("['{}']", KEY.to_uppercase()))).unwrap();
    assert_eq!((backup.recipients(), backup.keys().unwrap().len()), (vec![KEY.to_owned()], 1));
    // Whatever should have refused the config: what is to be encrypted is not written as it is.
    for wrong in ["[]", "['age1x']"] {
        backup.encrypt_to = toml::from_str::<Backup>(&with(wrong)).unwrap().encrypt_to;
        assert!(backup.is_encrypted() && backup.packing().is_err(), "{wrong}");
    }
}

#[cfg(not(feature = "encrypt"))]
#[test]
fn a_build_without_encryption_refuses_to_back_up_what_should_be_encrypted() {
    let toml = "to = [{ store = 'a' }]\nencrypt_to = ['age1x']\nidentity_file = 'key'";
    check(toml, "built without encryption");
    assert!(toml::from_str::<Backup>(toml).unwrap().packing().is_err());
}

#[test]
fn a_compression_is_written_as_it_is_read() {
    for text in ["zstd:1", "zstd:19", "gzip:6", "none"] {
        assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
    }
    assert_eq!("zstd".parse(), Ok(Compression::Zstd(1)));
    assert_eq!("gzip".parse(), Ok(Compression::Gzip(6)));
}
