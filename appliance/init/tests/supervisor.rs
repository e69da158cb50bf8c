//! The supervisor over real processes, in a PID namespace of its own where this test is PID 1, so
//! that orphans come to it as they do to a terminal's PID 1.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use heliostat_init::console::Consoles;
use heliostat_init::shutdown::{Shutdown, shutdown};
use heliostat_init::supervise::{Exited, ServiceId, ServiceSpec, Supervisor, wait_until_quiet};
use heliostat_terminal_state::{ClientReport, TerminalState};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(20);

/// Names the namespace of the outer test, so that an inner one can tell that it has left it.
const OUTER_NAMESPACE: &str = "HELIOSTAT_TEST_OUTER_NAMESPACE";

fn own_namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap();
    link.to_string_lossy().into_owned()
}

/// Runs the test `name` of this file, marked as ignored, as PID 1 of a new namespace.
fn in_namespace(name: &str) -> Output {
    Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            name,
            "--nocapture",
            "--test-threads=1",
        ])
        .env(OUTER_NAMESPACE, own_namespace())
        .output()
        .unwrap()
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: a PID namespace needs root");
    }
    root
}

fn as_pid_one(name: &str) {
    if !is_root() {
        return;
    }
    let output = in_namespace(name);
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(passed, "{name}: {said}{wrong}");
}

struct Rig {
    supervisor: Supervisor,
    signals: SignalFd,
}

impl Rig {
    fn new() -> Rig {
        // The harness runs the test in a thread of PID 1; only this process reaps.
        assert_eq!(std::process::id(), 1, "run through its outer test");
        assert_ne!(std::env::var(OUTER_NAMESPACE).unwrap(), own_namespace());
        let mut caught = SigSet::empty();
        caught.add(Signal::SIGCHLD);
        caught.add(Signal::SIGTERM);
        caught.thread_block().unwrap();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Rig {
            supervisor: Supervisor::default(),
            signals: SignalFd::with_flags(&caught, flags).unwrap(),
        }
    }

    /// Waits for something to happen, for a bounded time: SIGCHLD may go to another thread of the
    /// harness, so time passes as well.
    fn step(&mut self) -> Vec<Exited> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        self.supervisor.each_source(|_, channel, log| {
            fds.extend(channel.map(|channel| PollFd::new(channel.as_fd(), PollFlags::POLLIN)));
            fds.extend(log.map(|log| PollFd::new(log.as_fd(), PollFlags::POLLIN)));
        });
        poll(&mut fds, PollTimeout::from(20u8)).unwrap();
        while let Ok(Some(_)) = self.signals.read_signal() {}
        let now = Instant::now();
        let exited = self.supervisor.reap(now);
        for id in ServiceId::ALL {
            self.supervisor.handle_timeout_of(id, now);
        }
        exited
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Rig, &[Exited]) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        let mut exited = Vec::new();
        while !done(self, &exited) {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            exited.extend(self.step());
        }
    }
}

fn sh(id: ServiceId, script: &str) -> ServiceSpec {
    ServiceSpec {
        id,
        program: PathBuf::from("/bin/sh"),
        arg0: None,
        args: vec!["-c".into(), script.into(), "service".into()],
        env: Vec::new(),
        channel_flag: None,
        tty: None,
        oom_score_adj: 0,
    }
}

#[test]
fn services_that_die_come_back_and_a_killed_one_does_too() {
    as_pid_one("inner_restart");
}

#[test]
#[ignore = "run by its outer test in a namespace"]
fn inner_restart() {
    let mut rig = Rig::new();
    rig.supervisor
        .start(sh(ServiceId::Pcscd, "exit 3"), Instant::now());
    rig.supervisor
        .start(sh(ServiceId::Udevd, "exec sleep 1000"), Instant::now());
    rig.until("the short one has died three times", |_, exited| {
        exited
            .iter()
            .filter(|exit| exit.id == ServiceId::Pcscd && exit.status == Some(3))
            .count()
            == 3
    });
    assert!(rig.supervisor.is_failing(ServiceId::Pcscd));
    assert!(!rig.supervisor.is_failing(ServiceId::Udevd));
    // A signal without a name is an end like another.
    rig.supervisor
        .start(sh(ServiceId::Network, "kill -40 $$"), Instant::now());
    rig.until("one is ended by a real-time signal, twice", |_, exited| {
        let ended = exited.iter().filter(|exit| exit.id == ServiceId::Network);
        ended.filter(|exit| exit.status.is_none()).count() == 2
    });
    let first = rig.supervisor.pid(ServiceId::Udevd).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    rig.until("the killed one runs again", |rig, _| {
        rig.supervisor
            .pid(ServiceId::Udevd)
            .is_some_and(|pid| pid != first)
    });
}

#[test]
fn a_program_that_is_missing_is_tried_again_and_blocks_nothing() {
    as_pid_one("inner_missing");
}

#[test]
#[ignore = "run by its outer test in a namespace"]
fn inner_missing() {
    let mut rig = Rig::new();
    let missing = ServiceSpec {
        program: PathBuf::from("/no/such/program"),
        ..sh(ServiceId::Pcscd, "")
    };
    rig.supervisor.start(missing, Instant::now());
    rig.until("it counts as failing", |rig, _| {
        rig.supervisor.is_failing(ServiceId::Pcscd)
    });
    assert!(rig.supervisor.poll_timeout().unwrap() > Instant::now());
}

#[test]
fn orphans_are_reaped() {
    as_pid_one("inner_orphans");
}

#[test]
#[ignore = "run by its outer test in a namespace"]
fn inner_orphans() {
    let mut rig = Rig::new();
    // Each of them outlives its parent, in a session of its own, and then belongs to PID 1.
    let script = "for n in 1 2 3 4 5 6 7 8; do (setsid sh -c 'sleep 0.05' &) ; done; exit 0";
    rig.supervisor
        .start(sh(ServiceId::Network, script), Instant::now());
    rig.until("the parent has ended", |_, exited| !exited.is_empty());
    rig.supervisor.begin_stop();
    rig.until("no process is left", |_, _| {
        waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) == Err(nix::errno::Errno::ECHILD)
    });
}

#[test]
fn a_service_deaf_to_sigterm_does_not_hold_the_way_down_up() {
    as_pid_one("inner_deaf");
}

#[test]
#[ignore = "run by its outer test in a namespace"]
fn inner_deaf() {
    let mut rig = Rig::new();
    rig.supervisor.start(
        sh(
            ServiceId::Pcscd,
            "trap '' TERM; echo deaf; while :; do sleep 1; done",
        ),
        Instant::now(),
    );
    let mut said = Vec::new();
    rig.until("it is deaf", |rig, _| {
        let log = rig.supervisor.log(ServiceId::Pcscd).unwrap();
        said.extend(log.receive(Instant::now()).unwrap().0);
        said.contains(&"deaf".to_owned())
    });
    let began = Instant::now();
    rig.supervisor.begin_stop();
    wait_until_quiet(&mut rig.supervisor, &rig.signals).unwrap();
    assert!(!rig.supervisor.is_quiet());
    assert!(began.elapsed() < Duration::from_secs(5));
    kill(Pid::from_raw(-1), Signal::SIGKILL).unwrap();
    rig.until("it is gone", |rig, _| rig.supervisor.is_quiet());
    rig.step();
    assert!(
        !rig.supervisor.is_running(ServiceId::Pcscd),
        "nothing starts again on the way down"
    );
}

#[test]
fn a_service_reads_the_state_and_reports_through_its_channel() {
    as_pid_one("inner_channel");
}

#[test]
#[ignore = "run by its outer test in a namespace"]
fn inner_channel() {
    let mut rig = Rig::new();
    // A client in shell: reads one line of state, answers, and says what signals it has blocked.
    let script = r#"
        fd=$2
        read -r line <&$fd
        case "$line" in *'"stage":"cable"'*) echo '{"report":"screen_shown"}' >&$fd ;; esac
        grep SigBlk /proc/self/status
        exec sleep 1000"#;
    let spec = ServiceSpec {
        channel_flag: Some("--state-fd".into()),
        ..sh(ServiceId::Client, script)
    };
    rig.supervisor.start(spec, Instant::now());
    rig.supervisor
        .send(ServiceId::Client, &TerminalState::default())
        .unwrap();
    let mut reports = Vec::new();
    let mut said = Vec::new();
    rig.until("it has answered", |rig, _| {
        let channel = rig.supervisor.channel(ServiceId::Client).unwrap();
        reports.extend(channel.receive::<ClientReport>().unwrap().messages);
        let log = rig.supervisor.log(ServiceId::Client).unwrap();
        said.extend(log.receive(Instant::now()).unwrap().0);
        !reports.is_empty() && !said.is_empty()
    });
    assert_eq!(*reports[0].as_ref().unwrap(), ClientReport::ScreenShown);
    assert_eq!(
        said,
        ["SigBlk:\t0000000000000000"],
        "a child must not inherit blocked signals"
    );
}

/// In a namespace the kernel tells of a reboot by SIGHUP and of switching off by SIGINT, with
/// which it ends the namespace's PID 1.
#[test]
fn the_way_down_ends_every_process_and_then_the_machine() {
    if !is_root() {
        return;
    }
    for (name, signal) in [
        ("inner_reboot", Signal::SIGHUP),
        ("inner_power_off", Signal::SIGINT),
    ] {
        let began = Instant::now();
        let output = in_namespace(name);
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.signal(),
            Some(signal as i32),
            "{name}: {said}{wrong}"
        );
        assert!(began.elapsed() < DEADLINE);
    }
}

#[test]
#[ignore = "run by its outer test in a namespace"]
fn inner_reboot() {
    go_down(Shutdown::Reboot);
}

#[test]
#[ignore = "run by its outer test in a namespace"]
fn inner_power_off() {
    go_down(Shutdown::PowerOff);
}

fn go_down(how: Shutdown) {
    let mut rig = Rig::new();
    let now = Instant::now();
    rig.supervisor
        .start(sh(ServiceId::Udevd, "exec sleep 1000"), now);
    let deaf = "trap '' TERM; while :; do sleep 1; done";
    rig.supervisor.start(sh(ServiceId::Pcscd, deaf), now);
    shutdown(
        how,
        &mut rig.supervisor,
        &rig.signals,
        &mut Consoles::default(),
    );
    panic!("the kernel let PID 1 go on");
}
