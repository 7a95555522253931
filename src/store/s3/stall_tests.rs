//! Tokio's clock stands still here, and goes on when everybody waits: nothing is measured.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);
const NEARLY: Duration = Duration::from_secs(59);
const PIECES: usize = 20;

/// A network that takes a piece of what is sent each `sends`, and of which `answers` after that there is an answer.
#[derive(Debug, Clone)]
struct Network {
    sends: Duration,
    answers: Duration,
    /// How long each piece of the answer takes.
    gives: Duration,
}

impl HttpConnector for Network {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let Network { sends, answers, gives } = self.clone();
        HttpConnectorFuture::new(async move {
            let mut body = request.take_body();
            let mut taken = 0;
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let piece = frame.expect("a piece").into_data().expect("bytes");
                assert!(piece.len() <= PIECE);
                taken += piece.len();
                sleep(sends).await;
            }
            assert_eq!(taken, PIECES * PIECE, "all of it");
            sleep(answers).await;
            let body = Slowly { left: 3, gives, rest: Box::pin(sleep(gives)) };
            Ok(HttpResponse::new(StatusCode::try_from(200).expect("a status"), SdkBody::from_body_1_x(body)))
        })
    }
}

struct Slowly {
    left: usize,
    gives: Duration,
    rest: Pin<Box<Sleep>>,
}

impl Body for Slowly {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.rest.as_mut().poll(cx));
        self.left -= 1;
        self.rest = Box::pin(sleep(self.gives));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

/// Sends twenty pieces, and gives the answer's body or what went wrong.
async fn ask(network: Network) -> Result<usize, String> {
    let connector = WatchedConnector { inner: SharedHttpConnector::new(network), patience: PATIENCE };
    let mut request = HttpRequest::new(SdkBody::from(vec![1; PIECES * PIECE]));
    request.set_uri("http://store/object").expect("an address");
    let mut response = connector.call(request).await.map_err(|error| {
        assert!(error.is_timeout());
        error.into_source().to_string()
    })?;
    let mut length = 0;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(response.body_mut()).poll_frame(cx)).await {
        length += frame.map_err(|error| error.to_string())?.into_data().expect("bytes").len();
    }
    Ok(length)
}

#[tokio::test(start_paused = true)]
async fn slow_is_not_stalled_however_long_it_takes() {
    assert_eq!(ask(Network { sends: NEARLY, answers: Duration::ZERO, gives: NEARLY }).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_move_is_cut_wherever_it_stands() {
    let brisk = Network { sends: Duration::ZERO, answers: NEARLY, gives: Duration::ZERO };
    assert_eq!(ask(brisk.clone()).await, Ok(3));
    for stalled in [
        Network { sends: PATIENCE * 2, ..brisk.clone() },
        Network { answers: PATIENCE * 2, ..brisk.clone() },
        Network { gives: PATIENCE * 2, ..brisk },
    ] {
        assert_eq!(ask(stalled.clone()).await, Err("no byte has moved for 60 s".into()), "{stalled:?}");
    }
}
