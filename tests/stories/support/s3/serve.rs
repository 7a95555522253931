//! Connections and answers, and what is done to them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse, S3Result, s3_error};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::backend::Bucket;
use super::fault::{Faults, Harm, Op};

/// A thread that serves until this is dropped.
pub struct Serving {
    address: SocketAddr,
    tls: bool,
    _end: DropGuard,
}

/// The one pair of keys that is good just now, and what else the store insists on.
#[derive(Debug, Clone, Default)]
pub struct Ways(Arc<Mutex<Way>>);

#[derive(Debug, Default)]
pub struct Way {
    pub access_key: String,
    pub secret_key: String,
    /// What has checksums of the newer kinds is refused, whole or in trailers, as many stores do.
    pub refuses_checksums: bool,
}

impl Ways {
    pub fn lock(&self) -> std::sync::MutexGuard<'_, Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl S3Auth for Ways {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let way = self.lock();
        if way.access_key == access_key {
            Ok(way.secret_key.clone().into())
        } else {
            Err(s3_error!(InvalidAccessKeyId))
        }
    }
}

#[derive(Clone)]
struct Shared {
    ways: Ways,
    service: S3Service,
    faults: Arc<Mutex<Faults>>,
    asked: Arc<Mutex<Vec<Op>>>,
}

impl Serving {
    pub fn start(
        bucket: Bucket,
        ways: Ways,
        faults: Arc<Mutex<Faults>>,
        asked: Arc<Mutex<Vec<Op>>>,
        tls: Option<(&str, &str)>,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("its address");
        let acceptor = tls.map(|(certificate, key)| acceptor(certificate, key));
        let is_tls = acceptor.is_some();
        let mut builder = S3ServiceBuilder::new(bucket);
        builder.set_auth(ways.clone());
        let shared = Shared { ways, service: builder.build(), faults, asked };
        let end = CancellationToken::new();
        let ending = end.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                let connections = TaskTracker::new();
                loop {
                    let accepted = tokio::select! {
                        accepted = listener.accept() => accepted,
                        () = ending.cancelled() => break,
                    };
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(connection(stream, acceptor.clone(), shared.clone()));
                    }
                }
            });
        });
        Self { address, tls: is_tls, _end: end.drop_guard() }
    }

    pub fn endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.address.port())
    }
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificates = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(certificates.expect("certificates"), key)
        .expect("a certificate with its key");
    TlsAcceptor::from(Arc::new(config))
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, shared: Shared) {
    let socket = stream.as_raw_fd();
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { shared.answer(request, socket).await }
    });
    let http = hyper::server::conn::http1::Builder::new();
    // A connection that ends in an error is one that was to end so.
    let _ = match acceptor {
        None => http.serve_connection(TokioIo::new(stream), service).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => http.serve_connection(TokioIo::new(stream), service).await,
            Err(_) => return,
        },
    };
}

/// The connection ends with a reset instead of an orderly end.
fn reset(socket: i32) -> io::Error {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of::<libc::linger>()).expect("a small struct");
    // SAFETY: the socket is that of the connection which is being served; the struct lives through the call.
    unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size) };
    io::ErrorKind::ConnectionReset.into()
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>, socket: i32) -> io::Result<Response<Served>> {
        let (op, part) = operation(&request);
        if let Some(name) = has_checksum(&request).filter(|_| self.ways.lock().refuses_checksums) {
            let mut body = Body::from(request.into_body());
            while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
            return Ok(refused(400, "InvalidArgument", &format!("<Header>{name}</Header>"), None));
        }
        let harm = op.and_then(|op| {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(op);
            self.faults.lock().unwrap_or_else(PoisonError::into_inner).happen(op, part)
        });
        if let Some(Harm::Refuse(..) | Harm::Elsewhere(..) | Harm::OkWithError(_)) = harm {
            // Whoever is still sending would hear of the closed connection before it hears of the refusal.
            let mut body = Body::from(request.into_body());
            while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
            return Ok(match harm {
                Some(Harm::Refuse(status, code)) => refused(status, code, "", None),
                Some(Harm::Elsewhere(status, code, region)) => {
                    refused(status, code, &format!("<Region>{region}</Region>"), Some(region))
                }
                Some(Harm::OkWithError(code)) => refused(200, code, "", None),
                _ => unreachable!("those above"),
            });
        }
        match harm {
            Some(Harm::Reset) => return Err(reset(socket)),
            Some(Harm::Stall) => return std::future::pending().await,
            Some(Harm::Late(milliseconds)) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
            _ => {}
        }
        let mut answer = self.serve(request).await?;
        let mut harmed = BodyHarm::None;
        match harm {
            Some(Harm::LoseAnswer) => return Err(reset(socket)),
            Some(Harm::WrongEtag) => {
                let other = HeaderValue::from_static("\"00000000000000000000000000000000\"");
                answer.headers_mut().insert(ETAG, other);
            }
            Some(Harm::CutBody(at)) => harmed = BodyHarm::Cut(at),
            Some(Harm::StallBody(at)) => harmed = BodyHarm::Stall(at),
            Some(Harm::FlipByte(at)) => harmed = BodyHarm::Flip(at),
            _ => {}
        }
        Ok(answer.map(|body| Served { body, harm: harmed, at: 0, rest: Bytes::new(), breath: false }))
    }

    async fn serve(&self, request: Request<Incoming>) -> io::Result<HttpResponse> {
        self.service.call(request.map(Body::from)).await.map_err(|error| io::Error::other(format!("{error:?}")))
    }
}

/// The header by which a request gives a checksum, or asks for one.
fn has_checksum(request: &Request<Incoming>) -> Option<String> {
    let of = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = value.to_str().unwrap_or_default();
        let named = ["x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer"];
        let is_one = named.iter().any(|known| name.as_str().starts_with(known))
            || value.contains("aws-chunked")
            || value.starts_with("STREAMING-");
        is_one.then(|| name.to_string())
    };
    request.headers().iter().find_map(of)
}

/// What a request asks for, and for which part.
fn operation(request: &Request<Incoming>) -> (Option<Op>, Option<u32>) {
    let query = request.uri().query().unwrap_or_default();
    let value = |name: &str| {
        query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let part = value("partNumber").and_then(|number| number.parse().ok());
    let in_upload = value("uploadId").is_some();
    let op = match *request.method() {
        Method::PUT if in_upload => Op::Part,
        Method::PUT => Op::Put,
        Method::POST if in_upload => Op::Complete,
        Method::POST if value("uploads").is_some() => Op::Create,
        Method::DELETE if in_upload => Op::Abort,
        Method::DELETE => Op::Delete,
        Method::HEAD => Op::Head,
        Method::GET if value("list-type").is_some() => Op::List,
        Method::GET if value("uploads").is_some() => Op::ListUploads,
        Method::GET => Op::Get,
        _ => return (None, None),
    };
    (Some(op), part)
}

fn refused(status: u16, code: &str, more: &str, region: Option<&'static str>) -> Response<Served> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>As the story wants it</Message>\
         {more}<RequestId>story-request</RequestId></Error>"
    );
    let body = Served { body: Body::from(text), harm: BodyHarm::None, at: 0, rest: Bytes::new(), breath: false };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.headers_mut().insert("x-amz-request-id", HeaderValue::from_static("story-request"));
    if let Some(region) = region {
        response.headers_mut().insert("x-amz-bucket-region", HeaderValue::from_static(region));
    }
    response
}

enum BodyHarm {
    None,
    Cut(usize),
    Stall(usize),
    Flip(usize),
}

/// The body of an answer, in small pieces.
struct Served {
    body: Body,
    harm: BodyHarm,
    /// Bytes that have gone.
    at: usize,
    rest: Bytes,
    breath: bool,
}

const PIECE: usize = 16 << 10;

impl HttpBody for Served {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rest = bytes,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error.to_string())))),
                None => return Poll::Ready(None),
            }
        }
        let mut length = self.rest.len().min(PIECE);
        match self.harm {
            BodyHarm::Cut(end) if self.at >= end => {
                // What was given so far goes on its way first.
                if self.breath {
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
                }
                self.breath = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            BodyHarm::Stall(end) if self.at >= end => return Poll::Pending,
            BodyHarm::Cut(end) | BodyHarm::Stall(end) => length = length.min(end - self.at),
            _ => {}
        }
        let mut piece = self.rest.split_to(length);
        if let BodyHarm::Flip(at) = self.harm
            && (self.at..self.at + length).contains(&at)
        {
            let mut bytes = piece.to_vec();
            bytes[at - self.at] ^= 1;
            piece = bytes.into();
        }
        self.at += length;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        if self.at == 0 && self.rest.is_empty() { self.body.size_hint() } else { hyper::body::SizeHint::new() }
    }
}
