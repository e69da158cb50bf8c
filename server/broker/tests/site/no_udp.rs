//! A network that does not pass UDP.

use std::process::Command;

use heliostat_link::Carrier;
use heliostat_wire::control::DetachReason;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

use crate::broker::{Broker, people};
use crate::terminal::within;

/// Runs `test` with a loopback interface of its own, on which UDP goes nowhere.
fn without_udp<T: Future<Output = ()> + 'static>(test: fn() -> T) {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: a network of one's own needs root");
    }
    let inside = std::thread::spawn(move || {
        // Only this thread moves, and what it starts.
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return eprintln!("skipped: no network of one's own: {error}");
        }
        // By its number: names of protocols are in a package that not every machine has.
        let rules = [
            "link set lo up",
            "rule del pref 0",
            "rule add pref 1 ipproto 17 blackhole",
            "rule add pref 2 table local",
        ];
        for rule in rules {
            match Command::new("ip").args(rule.split(' ')).status() {
                Err(error) => return eprintln!("skipped: ip (package iproute2): {error}"),
                Ok(status) => assert!(status.success(), "ip {rule}"),
            }
        }
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let itself = probe.local_addr().unwrap();
        assert!(probe.send_to(b"?", itself).is_err(), "UDP passes");
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test());
    });
    inside.join().unwrap();
}

#[test]
fn a_card_opens_its_session_where_udp_does_not_pass() {
    without_udp(|| async {
        let broker = Broker::start();
        let [person, _] = people();
        broker.add_card("c1", &person);
        let mut terminal = broker.terminal("a").await;
        assert_eq!(terminal.control().carrier(), Carrier::Tcp);
        terminal.insert("c1").await;
        let attach = terminal.attach().await;
        let mut desktop = within(terminal.join(&attach)).await.unwrap();
        assert_eq!(desktop.connection.carrier(), Carrier::Tcp);
        assert_eq!(desktop.person, person);
        terminal.pull().await;
        assert_eq!(desktop.bye().await, DetachReason::CardRemoved);
    });
}
