//! The network process against a real DHCP and DNS server (dnsmasq) over a virtual cable, in
//! namespaces of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use heliostat_init::network::{Ask, NetReport, NetworkArgs, run};
use heliostat_terminal_state::{Code, LineReader, Stage, encode_line};

const DEADLINE: Duration = Duration::from_secs(40);

/// Runs the test `name` of this file, marked as ignored, in new namespaces.
fn in_namespaces(name: &str) {
    let dnsmasq = Command::new("dnsmasq").arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !dnsmasq {
        eprintln!("skipped: it needs root and dnsmasq");
        return;
    }
    let output = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            name,
            "--nocapture",
            "--test-threads=1",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(
        passed,
        "{name}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}{wrong}");
    said
}

/// The other end of the cable: a namespace with a shell in it.
struct Server {
    shell: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Server {
    /// Lays the cable `term0`-`srv0` and keeps the second end; both ends are still dark.
    fn new() -> Server {
        let mut shell = Command::new("unshare")
            .args(["--net", "sh", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (said, lines) = channel();
        let stdout = BufReader::new(shell.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                eprintln!("server: {line}");
                // After the last look at them lines go nowhere.
                let _ = said.send(line);
            }
        });
        let stdin = shell.stdin.take().unwrap();
        let mut server = Server {
            shell,
            stdin,
            lines,
        };
        // Once the shell answers, it is in its namespace.
        server.tell("echo here");
        server.until("the server's shell answers", |line| line == "here");
        sh("ip link add term0 address 52:54:00:00:00:0a type veth peer name srv0");
        sh(&format!("ip link set srv0 netns {}", server.shell.id()));
        server
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
    }

    fn until(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("waited in vain until {what}"));
            if wanted(&line) {
                return;
            }
        }
    }

    fn plug_in(&mut self) {
        self.tell("ip link set lo up; ip addr add 10.77.0.1/24 dev srv0; ip link set srv0 up");
    }

    /// Starts dnsmasq with `options` beside the usual ones; what it does comes out as lines.
    fn serve(&mut self, options: &str) {
        self.tell(&format!(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --group=root --no-ping --no-resolv --no-hosts \
             --log-facility=- --log-dhcp --pid-file --leasefile-ro --interface=srv0 --bind-interfaces \
             --dhcp-range=10.77.0.50,10.77.0.60,1h --domain=desk.example {options} 2>&1 &"
        ));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// The network process as PID 1 sees it.
struct Terminal {
    link: UnixStream,
    reader: LineReader,
    seen: Vec<NetReport>,
}

impl Terminal {
    fn start() -> Terminal {
        // What it writes below /etc must not reach the machine's own.
        // dnsmasq, which may be starting, looks its user and group up: they are there before /etc is
        // another one.
        sh("mount -t tmpfs none /mnt");
        fs::write("/mnt/passwd", "root:x:0:0::/:/bin/sh\n").unwrap();
        fs::write("/mnt/group", "root:x:0:\n").unwrap();
        sh("mount --bind /mnt /etc");
        let (ours, theirs) = UnixStream::pair().unwrap();
        heliostat_sys::fd::let_inherit(theirs.as_fd()).unwrap();
        let report_fd = theirs.into_raw_fd();
        // What it logs is shown when the test fails.
        heliostat_init::console::init_service_logging();
        thread::spawn(move || {
            let ended = run(&NetworkArgs { report_fd });
            eprintln!("the network process ended: {ended:?}");
        });
        Terminal {
            link: ours,
            reader: LineReader::default(),
            seen: Vec::new(),
        }
    }

    fn until(&mut self, what: &str, mut wanted: impl FnMut(&NetReport) -> bool) -> NetReport {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.iter().position(&mut wanted) {
                return self.seen.drain(..=at).next_back().unwrap();
            }
            self.seen.clear();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain until {what}");
            self.link.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 4096];
            let len = self
                .link
                .read(&mut chunk)
                .unwrap_or_else(|_| panic!("waited in vain until {what}"));
            assert!(len > 0, "the network process ended before {what}");
            let reports = self.reader.handle_bytes(&chunk[..len]);
            self.seen.extend(reports.into_iter().map(Result::unwrap));
        }
    }
}

#[test]
fn a_lease_brings_address_route_resolver_name_and_brokers_and_is_renewed() {
    in_namespaces("inner_lease");
}

#[test]
#[ignore = "run by its outer test in namespaces"]
fn inner_lease() {
    let mut server = Server::new();
    server.plug_in();
    server.serve(
        "--dhcp-option=224,10.77.0.1:4460,b.desk.example --dhcp-host=52:54:00:00:00:0a,10.77.0.55,desk-7 \
         --dhcp-option=option:T1,3s --dhcp-option=option:T2,10m",
    );
    // As an earlier run of the process may have left it.
    sh("ip addr add 10.77.0.99/24 dev term0");
    let mut terminal = Terminal::start();
    let report = terminal.until("it is ready", |report| report.stage == Stage::Ready);
    assert_eq!(report.brokers, ["10.77.0.1:4460", "b.desk.example:4460"]);
    assert_eq!(report.host_name.as_deref(), Some("desk-7"));
    assert_eq!(report.default_name.as_deref(), Some("t-00000a"));
    let link = report.link.unwrap();
    assert_eq!(link.ip.as_deref(), Some("10.77.0.55/24"));
    assert_eq!(link.mac, "52:54:00:00:00:0a");
    let addresses = sh("ip -4 addr show dev term0");
    assert!(addresses.contains("inet 10.77.0.55/24") && !addresses.contains("10.77.0.99"));
    assert!(sh("ip -4 route").contains("default via 10.77.0.1 dev term0"));
    assert!(sh("ip link show dev lo").contains("LOWER_UP"));
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap();
    assert!(
        resolver.starts_with("search desk.example\nnameserver 10.77.0.1\n"),
        "{resolver}"
    );
    let mut acks = 0;
    server.until("the lease was renewed twice", |line| {
        acks += usize::from(line.contains("DHCPACK(srv0)"));
        acks == 3
    });
}

#[test]
fn the_dns_names_the_brokers_when_nothing_else_does() {
    in_namespaces("inner_srv");
}

#[test]
#[ignore = "run by its outer test in namespaces"]
fn inner_srv() {
    let mut server = Server::new();
    server.plug_in();
    server.serve("");
    let mut terminal = Terminal::start();
    let report = terminal.until("the search failed", |report| {
        report.code == Some(Code::NoBroker)
    });
    assert!(
        report.text.contains("_heliostat._udp.desk.example"),
        "{}",
        report.text
    );
    server.tell("kill $!; wait $!");
    server.serve(
        "--srv-host=_heliostat._udp.desk.example,second.desk.example,4461,20 \
         --srv-host=_heliostat._udp.desk.example,first.desk.example,4460,10",
    );
    let report = terminal.until("it is ready", |report| report.stage == Stage::Ready);
    assert_eq!(
        report.brokers,
        ["first.desk.example:4460", "second.desk.example:4461"]
    );
    let again = encode_line(&Ask::LookAgain).unwrap();
    terminal.link.write_all(&again).unwrap();
    terminal.until("it searches again", |report| report.stage == Stage::Broker);
    terminal.until("it is ready again", |report| report.stage == Stage::Ready);
}

#[test]
fn a_pulled_cable_is_told_keeps_the_address_and_heals() {
    in_namespaces("inner_cable");
}

#[test]
#[ignore = "run by its outer test in namespaces"]
fn inner_cable() {
    let mut server = Server::new();
    let mut terminal = Terminal::start();
    let report = terminal.until("the cable is missed", |report| {
        report.code == Some(Code::NoCable)
    });
    assert!(!report.link.unwrap().carrier);
    server.plug_in();
    terminal.until("DHCP is missed", |report| {
        report.code == Some(Code::NoDhcpAnswer)
    });
    server.serve("--dhcp-option=224,10.77.0.1");
    let ready = terminal.until("it is ready", |report| report.stage == Stage::Ready);
    server.tell("ip link set srv0 down");
    let dark = terminal.until("the cable is missed", |report| {
        report.code == Some(Code::NoCable)
    });
    assert_eq!(dark.brokers, ready.brokers);
    assert_eq!(dark.link.unwrap().ip, ready.link.clone().unwrap().ip);
    server.tell("ip link set srv0 up");
    let healed = terminal.until("it is ready again", |report| report.stage == Stage::Ready);
    assert_eq!(healed.link, ready.link);
    server.until("it asked for the address again", |line| {
        line.contains("DHCPREQUEST(srv0)")
    });
}

#[test]
fn an_interface_that_comes_late_is_used() {
    in_namespaces("inner_late");
}

#[test]
#[ignore = "run by its outer test in namespaces"]
fn inner_late() {
    let mut terminal = Terminal::start();
    terminal.until("an interface is missed", |report| {
        report.code == Some(Code::NoInterface)
    });
    let mut server = Server::new();
    server.plug_in();
    server.serve("--dhcp-option=224,10.77.0.1");
    terminal.until("it is ready", |report| report.stage == Stage::Ready);
}
