//! What `heliostatctl top` and Prometheus see of a real desktop on a real terminal.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hil_local::{Lent, Site, SiteOptions, Terminal, programs};
use hil_rig::Lack;
use nix::unistd::{Uid, User};
use serde_json::Value;

const CARD: &str = "piv:00000000000000000000000000000a11";
/// Nothing here takes longer on a machine that works.
const STEP: Duration = Duration::from_secs(30);

/// Whose desktop it is: a user that every machine has, as root has no desktop.
fn person() -> String {
    match Uid::effective().is_root() {
        true => "nobody".to_owned(),
        false => User::from_uid(Uid::effective()).unwrap().unwrap().name,
    }
}

/// A site whose desktops have a window in which a cell blinks, and where its metrics are. Its
/// program goes with what is returned last.
fn start() -> (Site, SocketAddr, Lent) {
    let probe = Lent::new("hil-probe").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = free.local_addr().unwrap();
    drop(free);
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().min(65_000);
    drop(free);
    let options = SiteOptions {
        port,
        session_ports: (port + 1, port + 50),
        session_toml: format!("autostart = [\"{} blink\"]\n", probe.path().display()),
        more: format!("min_uid = 1\n[metrics]\nlisten = \"{metrics}\"\n"),
        ..SiteOptions::default()
    };
    (Site::start(&options).unwrap(), metrics, probe)
}

/// A terminal on which the cell has blinked some times.
fn attach(site: &Site) -> Terminal {
    site.add_card(CARD, &person()).unwrap();
    let mut terminal = site.headless("desk", (640, 480)).unwrap();
    terminal.wait_named("connected", STEP).unwrap();
    terminal.insert_card(CARD).unwrap();
    let blinks = terminal.wait_for("blinks", STEP, |event| {
        event.name() == "frame_shown" && event.number("serial") > Some(4)
    });
    blinks.unwrap();
    terminal
}

fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(STEP)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer
}

/// The value of the first sample of this name.
fn value(text: &str, name: &str) -> f64 {
    let is_it = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
    let line = text.lines().find(is_it);
    let line = line.unwrap_or_else(|| panic!("no {name}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_blinking_desktop_has_numbers_and_is_lossless_between_two_blinks() {
    let needed = [
        "heliostat-broker",
        "heliostat-session",
        "heliostat-terminal",
    ];
    if let Some(missing) = programs::missing(&needed) {
        return Lack::Part(missing).skip();
    }
    let (site, metrics, _probe) = start();
    let _terminal = attach(&site);
    let round = site.ctl(&["top", "--once", "--interval", "3"]).unwrap();
    let session = &round["sessions"][0];
    assert_eq!(session["person"], person());
    assert_eq!(session["terminal"], "desk");
    for number in [
        "fps",
        "sent_bytes_per_s",
        "tiles_per_s",
        "encode_p50_us",
        "encode_p99_us",
        "rtt_us",
        "congestion_window_bytes",
        "windows",
        "private_bytes",
    ] {
        assert!(session[number].as_f64() > Some(0.0), "{number}: {round}");
    }
    for known in ["frames_in_flight", "tiles_behind", "lost_packets_per_s"] {
        assert!(session[known].is_number(), "{known}: {round}");
    }
    assert_eq!(round["totals"]["attached"], 1);
    assert_eq!(round["totals"]["fps"], session["fps"]);

    // Between two blinks it is lossless; a look may meet a blink that is on its way.
    let started = Instant::now();
    loop {
        let text = scrape(metrics);
        assert!(value(&text, "heliostat_session_frames_total") > 4.0);
        assert!(value(&text, "heliostat_link_sent_bytes_total") > 1000.0);
        if value(&text, "heliostat_link_lossless") == 1.0 {
            break;
        }
        assert!(started.elapsed() < STEP, "never lossless: {text}");
    }
    let frames = |text: &Value| {
        value(
            text["metrics"].as_str().unwrap(),
            "heliostat_session_frames_shown_total",
        )
    };
    assert!(frames(&site.ctl(&["metrics"]).unwrap()) > 0.0);
}
