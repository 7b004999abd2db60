//! The HTTP server: a thread of its own, so that nobody who asks keeps the agent from its work.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener as Socket},
    sync::Arc,
    thread,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore, oneshot},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    agent::Tally,
    error::{Context as _, Error, Result},
};

/// Connections at a time; others wait in the kernel.
const CONNECTIONS: usize = 16;

/// How long somebody may take to say what he wants,
const REQUEST: Duration = Duration::from_secs(2);
/// and to have got it.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait where the kernel has no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Prometheus's text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An address that is ours, and nobody is answered at yet.
#[derive(Debug)]
pub struct Bound {
    asked: SocketAddr,
    socket: Socket,
}

/// A server. It stops when dropped.
#[derive(Debug)]
pub struct Serving {
    asked: SocketAddr,
    _stop: oneshot::Sender<Infallible>,
}

/// Takes an address of this thread's network namespace.
///
/// # Errors
///
/// [`Error::Failed`] if it is in use, or none of this host's.
pub fn bind(address: SocketAddr) -> Result<Bound> {
    let socket = Socket::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    let what = || format!("cannot serve metrics at {address} (choose another by --metrics ADDR:PORT)");
    Ok(Bound { asked: address, socket: socket.context(what)? })
}

impl Bound {
    /// Answers from now on.
    ///
    /// # Errors
    ///
    /// Fails if the kernel gives no thread.
    pub fn serve(self, name: &str, tally: &Tally) -> Result<Serving> {
        let what = || "cannot serve metrics";
        let address = self.socket.local_addr().context(what)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .context(what)?;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let source = Source { name: name.to_owned(), tally: tally.clone(), turn: Arc::default() };
        let socket = self.socket;
        let work = move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(socket) else { return };
                tokio::select! {
                    () = accept(listener, source) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(work).context(what)?;
        tracing::info!("metrics are at http://{address}/metrics");
        Ok(Serving { asked: self.asked, _stop: stop })
    }
}

impl Serving {
    /// The address that was asked for.
    pub(crate) const fn asked(&self) -> SocketAddr {
        self.asked
    }
}

/// Where the metrics come from.
#[derive(Clone)]
struct Source {
    name: String,
    tally: Tally,
    /// One reads the maps at a time.
    turn: Arc<Mutex<()>>,
}

async fn accept(listener: TcpListener, source: Source) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let source = source.clone();
                tokio::spawn(async move {
                    if timeout(PATIENCE, answer(stream, source)).await.is_err() {
                        tracing::debug!("cut off somebody who took too long to fetch metrics");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot take a connection for metrics: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers one request. What becomes of the answer is for whoever asked.
async fn answer(stream: TcpStream, source: Source) {
    let service = service_fn(|request| {
        let source = source.clone();
        async move { Ok::<_, Infallible>(respond(&request, source).await) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(request: &Request<Incoming>, source: Source) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are understood\n");
    }
    match request.uri().path() {
        "/metrics" => match source.read().await {
            Ok(text) => response(StatusCode::OK, FORMAT, text),
            Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}\n")),
        },
        "/" => plain(StatusCode::OK, "overlay: metrics are at /metrics\n"),
        _ => plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
    }
}

impl Source {
    /// Reads the maps, on a thread that may wait for the kernel. Who goes away meanwhile does not let the next one in before.
    async fn read(self) -> Result<String> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let read = move || {
            let _turn = turn;
            super::text(&self.name, &self.tally)
        };
        spawn_blocking(read).await.map_err(|error| Error::failed("cannot gather metrics", error))?
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, format: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(format));
    response
}
