use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::*;

/// A certificate as PostgreSQL's manual has one made: signed by itself, and calling itself an authority.
fn self_signed(last_year: i32) -> rcgen::Certificate {
    let mut params = CertificateParams::new(vec!["db.example".into()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(last_year, 12, 31);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn settings(mode: SslMode, roots: Roots) -> TlsSettings {
    let versions = vec![&rustls::version::TLS13];
    TlsSettings { mode, roots, identity: None, sni: true, direct: false, versions }
}

fn root_file(certificate: &rcgen::Certificate) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), certificate.pem()).unwrap();
    file
}

/// What `mode` says to `shown`, where the root file holds `trusted`.
fn verdict(
    mode: SslMode,
    trusted: &rcgen::Certificate,
    shown: &rcgen::Certificate,
    name: &str,
) -> Result<(), rustls::Error> {
    let file = root_file(trusted);
    let settings = settings(mode, Roots::Named(file.path().into()));
    let verifier = settings.verifier(Arc::new(ring::default_provider())).unwrap();
    // 2026: of no account but to tell an expired certificate from one that is not.
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_790_000_000));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(shown.der(), &[], &name, &[], now).map(|_| ())
}

#[test]
fn a_self_signed_certificate_is_trusted_when_it_is_the_root_file() {
    let own = self_signed(2100);
    assert_eq!(verdict(SslMode::VerifyFull, &own, &own, "db.example"), Ok(()));
    assert_eq!(verdict(SslMode::VerifyCa, &own, &own, "other.example"), Ok(()));
    let wrong_name = verdict(SslMode::VerifyFull, &own, &own, "other.example");
    assert!(matches!(
        wrong_name,
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }))
    ));
}

#[test]
fn another_self_signed_certificate_of_that_name_is_not() {
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        assert!(verdict(mode, &self_signed(2100), &self_signed(2100), "db.example").is_err(), "{mode}");
    }
}

#[test]
fn an_expired_certificate_is_refused_even_as_root_file() {
    let old = self_signed(2020);
    let found = verdict(SslMode::VerifyCa, &old, &old, "db.example");
    assert!(
        matches!(found, Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))),
        "{found:?}"
    );
}

#[test]
fn nothing_is_loaded_before_a_handshake_and_what_is_missing_is_named() {
    let absent = || Roots::Named("/nowhere/root.crt".into());
    let fault = settings(SslMode::Require, absent()).client_config().err().unwrap();
    assert_eq!(
        fault.to_string(),
        "sslrootcert /nowhere/root.crt cannot be read: No such file or directory (os error 2)"
    );
    let fault = settings(SslMode::VerifyFull, Roots::Usual(None)).client_config().err().unwrap();
    assert!(fault.to_string().starts_with("sslmode=verify-full needs the authority"), "{fault}");
    assert!(settings(SslMode::Require, Roots::Usual(None)).client_config().is_ok());
    let certificate = root_file(&self_signed(2100));
    let mut no_key = settings(SslMode::Require, Roots::Usual(None));
    let key = PathBuf::from("/nowhere/key");
    no_key.identity = Some(Identity { certificate: certificate.path().into(), key, usual: false });
    let fault = no_key.client_config().err().unwrap();
    assert!(fault.to_string().starts_with("sslkey /nowhere/key cannot be read"), "{fault}");
}
