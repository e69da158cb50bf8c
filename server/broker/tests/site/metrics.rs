//! Figures for Prometheus, over HTTP.

#[path = "../../src/metrics/parser.rs"]
mod parser;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;

use heliostat_control::admin::{Reply, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::broker::{Broker, eventually, people};
use crate::terminal::DEADLINE;
use parser::Sample;

/// A broker that serves metrics, and where.
fn start() -> (Broker, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let broker = Broker::with(&format!("[metrics]\nlisten = \"{address}\"\n"), &[]);
    (broker, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Status, head in small letters, body.
fn ask(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = connect(address);
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn scrape(address: SocketAddr) -> Vec<Sample> {
    let (status, head, body) = ask(address, "GET /metrics");
    assert_eq!(status, 200, "{head}");
    samples(&body)
}

fn samples(text: &str) -> Vec<Sample> {
    let families = parser::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    families.into_iter().flat_map(|f| f.samples).collect()
}

fn value(samples: &[Sample], name: &str) -> Option<f64> {
    let sample = samples.iter().find(|sample| sample.name == name)?;
    Some(sample.value)
}

#[tokio::test]
async fn prometheus_reads_what_the_admin_socket_says_too() {
    let (broker, address) = start();
    let person = people()[0].clone();
    broker.add_card("c1", &person);
    let mut terminal = broker.terminal("a").await;
    let _desktop = terminal.desktop("c1").await;
    let (status, head, body) = ask(address, "GET /metrics");
    assert_eq!(status, 200);
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    for samples in [samples(&body), {
        let Reply::Metrics(text) = broker.ask(Request::Metrics) else {
            panic!("no metrics");
        };
        samples(&text)
    }] {
        assert_eq!(value(&samples, "heliostat_terminals_online"), Some(1.0));
        assert_eq!(value(&samples, "heliostat_sessions_attached"), Some(1.0));
        assert_eq!(value(&samples, "heliostat_attaches_total"), Some(1.0));
        let frames = "heliostat_session_frames_total";
        let frames = samples.iter().find(|s| s.name == frames).unwrap();
        assert_eq!(frames.label("person"), Some(person.as_str()));
    }
}

#[tokio::test]
async fn a_stuck_session_lacks_its_series_and_holds_nobody_up() {
    let (broker, address) = start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let _desktop = terminal.desktop("c1").await;
    let frames = "heliostat_session_frames_total";
    let answers = "heliostat_session_answers";
    assert!(value(&scrape(address), frames).is_some());
    let pid = Pid::from_raw(broker.sessions()[0].pid as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        let samples = scrape(address);
        assert!(started.elapsed() < DEADLINE);
        assert_eq!(value(&samples, frames), None);
        assert_eq!(value(&samples, answers), Some(0.0));
        assert_eq!(value(&samples, "heliostat_terminals_online"), Some(1.0));
    }
    // The hub does other things while a scrape waits.
    terminal.silence().await;
    kill(pid, Signal::SIGCONT).unwrap();
    eventually("the session answers again", || {
        value(&scrape(address), answers) == Some(1.0)
    })
    .await;
}

#[test]
fn nothing_but_metrics_is_there_and_they_are_only_read() {
    let (_broker, address) = start();
    for path in ["/", "/metrics/", "/admin", "/../metrics"] {
        let (status, _, body) = ask(address, &format!("GET {path}"));
        assert_eq!(status, 404, "{path}: {body}");
    }
    let (status, head, _) = ask(address, "POST /metrics");
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head"), "{head}");
    let (status, head, body) = ask(address, "HEAD /metrics");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: "), "{head}");
}

#[tokio::test]
async fn idle_connections_are_few_and_short() {
    let (_broker, address) = start();
    let mut idle: Vec<TcpStream> = (0..8).map(|_| connect(address)).collect();
    for stream in &mut idle {
        stream.write_all(b"GET /metr").unwrap();
    }
    let mut refused = connect(address);
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
    for stream in &mut idle {
        // What hyper says to half a request does not matter, only that it ends.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    eventually("a place comes back", || {
        let mut stream = connect(address);
        let _ = stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.contains("200 OK")
    })
    .await;
}

#[test]
fn a_port_that_is_taken_stops_the_start_and_is_named() {
    let (broker, address) = start();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("broker.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstate_dir = \"{folder}/state\"\nrun_dir = \"{folder}/run\"\n\
         session_command = [\"/bin/false\"]\n[metrics]\nlisten = \"{address}\"\n",
        folder = folder.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_heliostat-broker"))
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    let problem = format!("metrics.listen: cannot listen on {address}/tcp");
    assert!(said.contains(&problem), "{said}");
    drop(broker);
}
