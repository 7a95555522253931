//! `sslmode` with libpq's meanings, on rustls.
//!
//! Nothing is loaded before a server has agreed to TLS, and nothing is kept after: certificates and keys are read at each
//! handshake, so that new ones need no restart, and a daemon that is idle holds no certificate store.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::{ConninfoError, Settings};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: [(&str, SslMode); 6] = [
    ("prefer", SslMode::Prefer),
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MODES.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name))
    }
}

/// What the connection string says about TLS; paths only, nothing loaded.
#[derive(Debug)]
pub(super) struct TlsSettings {
    pub mode: SslMode,
    roots: Roots,
    /// The client's certificate and key.
    identity: Option<Identity>,
    sni: bool,
    direct: bool,
    versions: Vec<&'static SupportedProtocolVersion>,
}

/// The authorities that may have signed the server's certificate.
#[derive(Debug)]
enum Roots {
    /// The operating system's.
    System,
    Named(PathBuf),
    /// libpq's usual place. A weak `sslmode` verifies if the file is there, and does not if it is not.
    Usual(Option<PathBuf>),
}

#[derive(Debug)]
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    /// Nobody asked for it; without the file there is no client certificate.
    usual: bool,
}

/// A fault on our side of the handshake, which no other way to the server would mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct TlsFault(String);

impl TlsSettings {
    pub(super) fn read(settings: &Settings, home: Option<&Path>) -> Result<Self, ConninfoError> {
        let usual = |file: &str| home.map(|home| home.join(".postgresql").join(file));
        let roots = match settings.text("sslrootcert") {
            None => Roots::Usual(usual("root.crt")),
            Some(word) if word == "system" => Roots::System,
            Some(path) => Roots::Named(path.into()),
        };
        let system = matches!(roots, Roots::System);
        // Any certificate in the world is signed by an authority that the system trusts; only the name tells them apart.
        let mode = match settings.text("sslmode") {
            None if system => SslMode::VerifyFull,
            _ => settings.choice("sslmode", &MODES)?,
        };
        if system && mode != SslMode::VerifyFull {
            return Err(ConninfoError(format!(
                "sslmode={mode} is too weak for sslrootcert=system: use sslmode=verify-full"
            )));
        }
        let direct = settings.choice("sslnegotiation", &[("postgres", false), ("direct", true)])?;
        if direct && mode < SslMode::Require {
            return Err(ConninfoError(format!(
                "sslmode={mode} is too weak for sslnegotiation=direct: use sslmode=require or stronger"
            )));
        }
        let certificate = settings.text("sslcert").map(PathBuf::from);
        let asked = certificate.is_some();
        let key = settings.text("sslkey").map(PathBuf::from).or_else(|| usual("postgresql.key"));
        let identity = certificate.or_else(|| usual("postgresql.crt")).zip(key).map(|(certificate, key)| Identity {
            certificate,
            key,
            usual: !asked,
        });
        // What is older than 1.2 is not spoken, and does no harm as the lower end.
        let lowest = [("TLSv1.2", 2), ("TLSv1.3", 3), ("TLSv1.1", 1), ("TLSv1", 0)];
        let highest = [("TLSv1.3", 3), ("TLSv1.2", 2), ("TLSv1.1", 1), ("TLSv1", 0)];
        let lowest = settings.choice("ssl_min_protocol_version", &lowest)?;
        let highest = settings.choice("ssl_max_protocol_version", &highest)?;
        let versions: Vec<_> = [(2, &rustls::version::TLS12), (3, &rustls::version::TLS13)]
            .into_iter()
            .filter(|(number, _)| (lowest..=highest).contains(number))
            .map(|(_, version)| version)
            .collect();
        if versions.is_empty() {
            return Err(ConninfoError(
                "ssl_min_protocol_version and ssl_max_protocol_version leave no version of TLS that is supported: TLSv1.2 and TLSv1.3 are"
                    .into(),
            ));
        }
        let sni = settings.choice("sslsni", &[("1", true), ("0", false)])?;
        Ok(Self { mode, roots, identity, sni, direct, versions })
    }

    /// There is a client certificate to show, if a server asks.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| !identity.usual || identity.certificate.exists())
    }

    /// Where the authorities come from, for messages.
    pub(super) fn roots_place(&self) -> String {
        match &self.roots {
            Roots::System => "the system's certificates (sslrootcert=system)".into(),
            Roots::Named(path) | Roots::Usual(Some(path)) => path.display().to_string(),
            Roots::Usual(None) => "sslrootcert".into(),
        }
    }

    /// Reads files, so it may block.
    fn client_config(&self) -> Result<ClientConfig, TlsFault> {
        // Named here, since a second provider in the program would make rustls's own choice panic.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .map_err(|error| TlsFault(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(provider)?));
        let mut config = match self.identity()? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                TlsFault(format!(
                    "sslcert and sslkey cannot be used together: {error}; is the key that of the certificate?"
                ))
            })?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.sni;
        if self.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(config)
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Verifier, TlsFault> {
        let trusted = self.trusted()?;
        let chain = match &trusted {
            None => None,
            Some(trusted) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(trusted.iter().cloned());
                let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
                Some(built.map_err(|error| TlsFault(format!("{} cannot be used: {error}", self.roots_place())))?)
            }
        };
        // Of the system's store a certificate is never trusted by itself, only through its signature.
        let pinned = if matches!(self.roots, Roots::System) { Vec::new() } else { trusted.unwrap_or_default() };
        Ok(Verifier { chain, pinned, check_name: self.mode == SslMode::VerifyFull, provider })
    }

    /// `None`: any certificate will do.
    fn trusted(&self) -> Result<Option<Vec<CertificateDer<'static>>>, TlsFault> {
        let path = match &self.roots {
            Roots::System => {
                let found = rustls_native_certs::load_native_certs();
                if found.certs.is_empty() {
                    return Err(TlsFault(
                        "sslrootcert=system, but the system has no certificates: install ca-certificates, or name a file".into(),
                    ));
                }
                return Ok(Some(found.certs));
            }
            Roots::Named(path) => path,
            Roots::Usual(Some(path)) if path.exists() => path,
            Roots::Usual(_) if self.mode < SslMode::VerifyCa => return Ok(None),
            Roots::Usual(_) => {
                return Err(TlsFault(format!(
                    "sslmode={} needs the authority that signed the server's certificate: name its file in sslrootcert, or \
                     write sslrootcert=system if it is a public one",
                    self.mode
                )));
            }
        };
        certificates(path, "sslrootcert").map(Some)
    }

    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsFault> {
        let Some(Identity { certificate, key, .. }) = self.identity.as_ref().filter(|_| self.has_identity()) else {
            return Ok(None);
        };
        let chain = certificates(certificate, "sslcert")?;
        let metadata = fs::metadata(key).map_err(|error| unreadable(key, "sslkey", &error))?;
        // root may share a key with a group, as Debian's ssl-cert does; anybody else may not.
        let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
        if metadata.permissions().mode() & forbidden != 0 {
            return Err(TlsFault(format!("sslkey {} can be read by others: chmod 0600 it", key.display())));
        }
        match PrivateKeyDer::from_pem_file(key) {
            Ok(key) => Ok(Some((chain, key))),
            Err(error) => Err(TlsFault(format!("sslkey {} holds no private key in PEM: {error}", key.display()))),
        }
    }
}

fn unreadable(path: &Path, called: &str, error: &io::Error) -> TlsFault {
    TlsFault(format!("{called} {} cannot be read: {error}", path.display()))
}

fn certificates(path: &Path, called: &str) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let content = fs::read(path).map_err(|error| unreadable(path, called, &error))?;
    match CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsFault(format!("{called} {} holds no certificate in PEM", path.display()))),
        Err(error) => Err(TlsFault(format!("{called} {} cannot be read as PEM: {error}", path.display()))),
    }
}

/// Looks at the server's certificate as far as the `sslmode` asks. That the server holds its key is checked always.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates of the root file.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext, Other};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, so that all else was found good.
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if !self.check_name =>
            {
                Ok(ServerCertVerified::assertion())
            }
            // A server's self-signed certificate, given as root file: PostgreSQL's manual makes one that calls itself an
            // authority, which is no certificate of a server to webpki (its dates are looked at before that).
            Err(rustls::Error::InvalidCertificate(Other(_))) if self.pinned.iter().any(|pin| pin == end_entity) => {
                if self.check_name {
                    rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// How far a connection got; the driver's errors do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Plain,
    Handshake,
    Encrypted,
}

/// The driver's way to TLS. The configuration is made when a handshake begins.
#[derive(Clone)]
pub(super) struct Tls {
    settings: Arc<TlsSettings>,
    stage: Arc<AtomicU8>,
}

/// One handshake to come.
pub(super) struct Handshake {
    tls: Tls,
    hostname: String,
}

type TlsError = Box<dyn std::error::Error + Send + Sync>;
type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
pub(super) type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Tls {
    pub(super) fn new(settings: &Arc<TlsSettings>) -> Self {
        Self { settings: Arc::clone(settings), stage: Arc::default() }
    }

    pub(super) fn stage(&self) -> Stage {
        [Stage::Plain, Stage::Handshake, Stage::Encrypted][usize::from(self.stage.load(Ordering::Relaxed))]
    }

    fn reached(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = TlsStream;
    type TlsConnect = Handshake;
    type Error = std::convert::Infallible;

    fn make_tls_connect(&mut self, hostname: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake { tls: self.clone(), hostname: hostname.into() })
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = TlsStream;
    type Error = TlsError;
    type Future = Pin<Box<dyn Future<Output = Result<TlsStream, TlsError>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            self.tls.reached(Stage::Handshake);
            let settings = Arc::clone(&self.tls.settings);
            let config = tokio::task::spawn_blocking(move || settings.client_config()).await??;
            let connect: Rustls =
                MakeTlsConnect::<Socket>::make_tls_connect(&mut MakeRustlsConnect::new(config), &self.hostname)?;
            let stream = TlsConnect::connect(connect, socket).await?;
            self.tls.reached(Stage::Encrypted);
            Ok(stream)
        })
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
