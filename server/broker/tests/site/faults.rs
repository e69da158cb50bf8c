//! What goes wrong, and what comes of it.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use heliostat_control::admin::Request;
use heliostat_link::{CloseCode, Dialer, Ended, Identity, Link, Main};
use heliostat_wire::control::{Attach, CardRefusal, DetachReason, ToBroker, ToTerminal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::broker::{Broker, eventually, people};
use crate::figures::rss_kib;
use crate::terminal::{Terminal, within};

#[tokio::test]
async fn a_session_that_crashes_on_start_is_offered_again_and_not_looped() {
    let broker = Broker::with("", &["--crash-on-start"]);
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    for start in 1..=3 {
        let (refusal, text) = terminal.refused().await;
        assert_eq!(refusal, CardRefusal::SessionFailed);
        assert!(text.contains("exited with code 3"), "{text}");
        assert!(text.contains(".log"), "{text}");
        terminal.silence().await;
        assert_eq!(broker.audited("session_start"), start);
        assert!(broker.sessions().is_empty());
        terminal.retry().await;
    }
    let logs = || std::fs::read_dir(broker.folder().join("state/log")).unwrap();
    for log in logs().flatten() {
        let log = || std::fs::read_to_string(log.path()).unwrap();
        eventually("the log is written", || log() == "crashing, as told to\n").await;
    }
    assert_eq!(logs().count(), 3);
}

#[tokio::test]
async fn a_session_that_says_much_fills_no_disk_and_holds_no_file_of_roots() {
    let says = "yes | head -c 9000000; readlink /proc/$$/fd/1 /proc/$$/fd/2; exit 3";
    let broker = Broker::with_session_command("/bin/sh", "", &["-c", says]);
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    let log = log_named(&terminal.refused().await.1);
    let ends = |log: &str| {
        let lines: Vec<_> = log.lines().rev().take(2).collect();
        lines.len() == 2 && lines.iter().all(|line| line.starts_with("pipe:"))
    };
    let read = || std::fs::read_to_string(&log).unwrap();
    eventually("the log is written", || ends(&read())).await;
    assert!(read().len() <= 4 << 20, "{}", read().len());
}

/// The log that a terminal's words point to.
fn log_named(text: &str) -> String {
    let named = text.split(['(', ')']).nth(1).unwrap();
    named.strip_prefix("see ").unwrap().to_owned()
}

#[tokio::test]
async fn a_session_program_that_is_not_there_is_a_clear_failure() {
    let broker = Broker::with_session_command("/nonexistent/heliostat-session", "", &[]);
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    let (refusal, text) = terminal.refused().await;
    assert_eq!(refusal, CardRefusal::SessionFailed);
    let log = log_named(&text);
    let expected = "cannot run /nonexistent/heliostat-session";
    let said = || std::fs::read_to_string(&log).unwrap().contains(expected);
    eventually("the log says why", said).await;
}

#[tokio::test]
async fn a_session_that_is_ended_while_it_starts_is_gone_and_said_to_be() {
    let broker = Broker::with("", &["--never-ready"]);
    let [person, _] = people();
    broker.add_card("c1", &person);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    assert!(matches!(terminal.recv().await, ToTerminal::Starting { .. }));
    broker.ask(Request::SessionEnd { session: person });
    assert_eq!(terminal.refused().await.0, CardRefusal::SessionFailed);
    eventually("the session goes", || broker.sessions().is_empty()).await;
}

#[tokio::test]
async fn a_session_that_dies_under_its_terminal_is_said_and_starts_again_when_asked() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let desktop = terminal.desktop("c1").await;
    let pid = broker.sessions()[0].pid;
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    let (attach, reason) = terminal.detached().await;
    assert_eq!(attach, desktop.attach_id);
    assert_eq!(reason, DetachReason::SessionCrashed);
    let (refusal, text) = terminal.refused().await;
    assert_eq!(refusal, CardRefusal::SessionFailed);
    assert!(text.contains("signal 9"), "{text}");
    terminal.silence().await;
    assert!(broker.sessions().is_empty());
    terminal.retry().await;
    let attach = terminal.attach().await;
    within(terminal.join(&attach)).await.unwrap();
    assert_ne!(broker.sessions()[0].pid, pid);
}

#[tokio::test]
async fn a_broken_session_link_is_offered_again() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let desktop = terminal.desktop("c1").await;
    desktop.connection.close(CloseCode::Done, "");
    let attach_id = desktop.attach_id;
    let reason = DetachReason::LinkLost;
    terminal
        .send(ToBroker::LinkEnded { attach_id, reason })
        .await;
    let attach = terminal.attach().await;
    assert_ne!(attach.attach_id, attach_id);
    within(terminal.join(&attach)).await.unwrap();
    assert_eq!(broker.sessions().len(), 1);
}

/// Says again on another control link that the card is there, as soon as a desktop was offered on the
/// first. Returns the offer.
async fn offered_and_said_again(terminal: &mut Terminal) -> Attach {
    let desktop = terminal.desktop("c1").await;
    desktop.connection.close(CloseCode::Done, "");
    let mut attach_id = desktop.attach_id;
    // A broker takes an offer for lost that is old: no fault where this machine was busy elsewhere.
    let young = Duration::from_millis(1_500);
    loop {
        let asked = Instant::now();
        let reason = DetachReason::LinkLost;
        terminal
            .send(ToBroker::LinkEnded { attach_id, reason })
            .await;
        let attach = terminal.attach().await;
        terminal.connect().await;
        terminal.repeat("c1").await;
        terminal.send(ToBroker::Ping(1)).await;
        match terminal.recv().await {
            ToTerminal::Pong(1) => return attach,
            ToTerminal::Attach(other) if asked.elapsed() >= young => attach_id = other.attach_id,
            other => panic!("{other:?}"),
        }
        assert!(matches!(terminal.recv().await, ToTerminal::Pong(1)));
    }
}

#[tokio::test]
async fn an_offer_that_is_being_taken_up_while_the_control_link_breaks_is_not_made_again() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let attach = offered_and_said_again(&mut terminal).await;
    within(terminal.join(&attach)).await.unwrap();
    assert_eq!(broker.sessions()[0].terminal.as_deref(), Some("desk a"));
}

#[tokio::test]
async fn an_offer_that_was_lost_with_the_control_link_is_made_again_in_a_while() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let lost = offered_and_said_again(&mut terminal).await;
    let attach = terminal.attach().await;
    assert!(attach.attach_id > lost.attach_id);
    within(terminal.join(&attach)).await.unwrap();
}

#[tokio::test]
async fn a_hello_of_another_version_is_answered_with_the_versions_there_are() {
    let broker = Broker::start();
    let ended = within(bare_quic::first_bytes(&broker, b"HELIOSTC\x07\x00\x08\x00")).await;
    let Ended::ByPeer { code, text } = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(code, CloseCode::VersionMismatch);
    assert!(text.contains("versions 7 to 8"), "{text}");
    let ended = within(bare_quic::first_bytes(&broker, b"GET / HTTP/1.1\r\n\r\n")).await;
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::VersionMismatch,
            ..
        }
    ));
    broker.terminal("a").await;
}

/// A client that is let through the handshake and then says what it likes.
mod bare_quic {
    use super::*;

    pub fn endpoint(host: [u8; 4]) -> quinn::Endpoint {
        let key = Identity::generate().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_client_auth_cert(vec![key.certificate()], key.private_key())
            .unwrap();
        tls.alpn_protocols = vec![b"heliostat-control".to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = quinn::Endpoint::client((host, 0).into()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        endpoint
    }

    pub async fn first_bytes(broker: &Broker, bytes: &[u8]) -> Ended {
        let endpoint = endpoint([127, 0, 0, 1]);
        let connecting = endpoint.connect(broker.address(), "x").unwrap();
        let connection = connecting.await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        connection.closed().await.into()
    }

    #[derive(Debug)]
    struct Anybody(Arc<rustls::crypto::CryptoProvider>);

    impl rustls::client::danger::ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[tokio::test]
async fn a_first_message_that_is_no_hello_closes_the_link() {
    let broker = Broker::start();
    let dialer = Dialer::new(Identity::generate().unwrap());
    let pins = [broker.pin()];
    let dialling = dialer.dial(broker.address(), Link::Control, &pins);
    let connection = within(dialling).await.unwrap();
    let ping = ToBroker::Ping(1);
    let _main: Main<ToBroker, ToTerminal> =
        connection.open_main(Link::Control, &ping).await.unwrap();
    let ended = within(connection.closed()).await;
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::ProtocolViolation,
            ..
        }
    ));
}

#[tokio::test]
async fn a_second_link_of_a_terminal_takes_the_place_of_the_first() {
    let broker = Broker::start();
    let mut terminal = broker.terminal("a").await;
    let first = terminal.control().clone();
    terminal.connect().await;
    let ended = within(first.closed()).await;
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::Superseded | CloseCode::Done,
            ..
        } | Ended::ByUs
    ));
    terminal.silence().await;
    assert_eq!(broker.status().terminals_online, 1);
}

#[tokio::test]
async fn a_stranger_that_names_a_terminals_id_is_turned_away() {
    let broker = Broker::start();
    let mut victim = broker.terminal("a").await;
    let dialer = Dialer::new(Identity::generate().unwrap());
    let pins = [broker.pin()];
    let dialling = dialer.dial(broker.address(), Link::Control, &pins);
    let stranger = within(dialling).await.unwrap();
    let _main: Main<ToBroker, ToTerminal> = stranger
        .open_main(Link::Control, &victim.hello())
        .await
        .unwrap();
    let ended = within(stranger.closed()).await;
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::IdTaken,
            ..
        }
    ));
    victim.silence().await;
    assert_eq!(broker.status().terminals_online, 1);
}

/// First packets that lead nowhere, as many as the machine makes.
fn flood(
    broker: std::net::SocketAddr,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> impl FnOnce() + Send {
    move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut initial = vec![0u8; 1200];
        initial[0] = 0xc3;
        initial[4] = 1;
        initial[5] = 8;
        while !stop.load(Ordering::SeqCst) {
            let number = sent.fetch_add(1, Ordering::SeqCst);
            initial[6..14].copy_from_slice(&number.to_le_bytes());
            let _ = socket.send_to(&initial, broker);
        }
    }
}

#[tokio::test]
async fn a_flood_of_hellos_does_not_stop_a_card_from_working() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let sent = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let flooding = std::thread::spawn(flood(broker.address(), sent.clone(), stop.clone()));
    // Peers at other addresses that are let in and then say nothing take their places too.
    let mut silent = Vec::new();
    for host in 2..=6 {
        let endpoint = bare_quic::endpoint([127, 0, 0, host]);
        for _ in 0..20 {
            let connecting = endpoint.connect(broker.address(), "x").unwrap();
            silent.push(tokio::spawn(async move {
                let connection = connecting.await.ok()?;
                Some(connection.closed().await)
            }));
        }
    }
    // While the flood lasts, the card works again and again, and another terminal comes up.
    while sent.load(Ordering::SeqCst) < 5000 {
        let desktop = terminal.desktop("c1").await;
        assert_eq!(desktop.person, people()[0]);
        terminal.pull().await;
    }
    let mut newcomer = Terminal::new("b", broker.address(), broker.pin());
    newcomer.connect().await;
    stop.store(true, Ordering::SeqCst);
    flooding.join().unwrap();
    let rss_kib = rss_kib(broker.pid());
    assert!(rss_kib < 20 * 1024, "{rss_kib} KiB");
    for peer in silent {
        peer.abort();
    }
}

#[tokio::test]
async fn a_terminal_that_says_too_much_is_let_go() {
    let broker = Broker::start();
    let terminal = broker.terminal("a").await;
    let (connection, mut main) = (terminal.control().clone(), terminal);
    for number in 0..2000 {
        let sending = main.try_send(ToBroker::Ping(number));
        if within(sending).await.is_err() {
            break;
        }
    }
    let ended = within(connection.closed()).await;
    let Ended::ByPeer { code, .. } = ended else {
        panic!("{ended:?}");
    };
    assert!(matches!(
        code,
        CloseCode::ProtocolViolation | CloseCode::Timeout
    ));
    // Others are served as before.
    broker.terminal("b").await.silence().await;
}

#[test]
fn a_typo_in_the_configuration_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("broker.toml");
    std::fs::write(&config, "site = \"x\"\nsesion_ports = \"4500-4999\"\n").unwrap();
    for command in [&[][..], &["check"], &["site-key"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_heliostat-broker"))
            .args(command)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("broker.toml, line 2: `sesion_ports"),
            "{text}"
        );
        assert!(text.contains("`session_ports`"), "{text}");
    }
}

#[test]
fn a_run_folder_that_is_everybodys_is_refused_and_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("tmp");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let path = dir.path().join("broker.toml");
    let (folder, run) = (dir.path().display(), shared.display());
    let config =
        format!("listen = \"127.0.0.1:0\"\nstate_dir = \"{folder}/state\"\nrun_dir = \"{run}\"\n");
    std::fs::write(&path, config).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_heliostat-broker"))
        .arg("--config")
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("run_dir"), "{text}");
    let mode = shared.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1777);
}
