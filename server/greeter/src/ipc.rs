//! The way to the broker: a socket on threads of its own, so that the window never waits.
//!
//! One connection carries the login; a second one waits for news of the context.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use calloop::channel::Sender;
use heliostat_control::greetd::frame::{self, FrameReader};
use heliostat_control::greetd::{GreeterContext, Request, Response};
use tracing::{debug, warn};
use zeroize::Zeroizing;

/// How long to wait before the next try.
const AGAIN: Duration = Duration::from_millis(500);
/// A broker that takes no request for this long is as good as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(4);

/// What comes of it.
#[derive(Debug)]
pub enum News {
    /// The broker is there.
    Connected,
    /// The broker is not there; why.
    Lost(String),
    /// The broker has answered.
    Answer(Response),
    /// What is to be shown.
    Context(GreeterContext),
}

/// Sends requests for logins.
#[derive(Debug, Clone)]
pub struct Ipc(mpsc::Sender<Request>);

impl Ipc {
    /// Connects to `socket` for ever, and posts what comes of it.
    pub fn start(socket: Option<PathBuf>, news: Sender<News>) -> io::Result<Self> {
        let (sender, requests) = mpsc::channel();
        let ipc = Self(sender);
        let Some(socket) = socket else {
            let why = "GREETD_SOCK is not set: this program is started by the broker.";
            let _ = news.send(News::Lost(why.to_owned()));
            return Ok(ipc);
        };
        let present: Present = Arc::default();
        let writers = present.clone();
        named("requests", move || write_all(requests, &writers))?;
        let (path, post) = (socket.clone(), news.clone());
        named("context", move || watch(&path, &post))?;
        named("answers", move || read_all(&socket, &present, &news))?;
        Ok(ipc)
    }

    /// Sends a request on the present connection; without one it is lost with it.
    pub fn send(&self, request: Request) {
        let _ = self.0.send(request);
    }
}

type Present = Arc<Mutex<Option<UnixStream>>>;

fn named(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map(drop)
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(stream)
}

fn write_all(requests: mpsc::Receiver<Request>, present: &Present) {
    for request in requests {
        let mut place = present.lock().expect("no thread panics with it");
        let Some(stream) = place.as_mut() else {
            debug!("a request goes nowhere");
            continue;
        };
        let sent = frame::encode(&request)
            .map_err(io::Error::other)
            .and_then(|bytes| stream.write_all(&bytes));
        if let Err(problem) = sent {
            warn!(%problem, "a request could not be sent");
            // Whoever reads learns it at once.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn read_all(socket: &Path, present: &Present, news: &Sender<News>) {
    loop {
        let ended = connect(socket).and_then(|stream| {
            *present.lock().expect("no thread panics with it") = Some(stream.try_clone()?);
            let _ = news.send(News::Connected);
            receive(stream, |response| {
                let _ = news.send(News::Answer(response));
                Ok(())
            })
        });
        *present.lock().expect("no thread panics with it") = None;
        let why = match ended {
            Ok(()) => format!("{}: the connection was closed.", socket.display()),
            Err(error) => format!("{}: {error}.", socket.display()),
        };
        if news.send(News::Lost(why)).is_err() {
            return;
        }
        thread::sleep(AGAIN);
    }
}

/// Asks for the context again and again; each answer comes when there is something new.
fn watch(socket: &Path, news: &Sender<News>) {
    loop {
        let ended = connect(socket).and_then(|stream| {
            let mut asking = stream.try_clone()?;
            let mut ask = move |after| {
                let request = Request::HeliostatContext { after };
                let bytes = frame::encode(&request).map_err(io::Error::other)?;
                asking.write_all(&bytes)
            };
            ask(None)?;
            receive(stream, |response| {
                if let Response::HeliostatContext(answer) = response {
                    let _ = news.send(News::Context(answer.context));
                    ask(Some(answer.revision))?;
                }
                Ok(())
            })
        });
        if let Err(problem) = ended {
            debug!(%problem, "the context cannot be asked for");
        }
        thread::sleep(AGAIN);
    }
}

/// Takes answers until the connection is closed.
fn receive(
    mut stream: UnixStream,
    mut take: impl FnMut(Response) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = FrameReader::default();
    let mut bytes = Zeroizing::new([0; 4096]);
    loop {
        while let Some(response) = reader.message().map_err(io::Error::other)? {
            take(response)?;
        }
        match stream.read(&mut *bytes)? {
            0 => return Ok(()),
            length => reader.push(&bytes[..length]),
        }
    }
}
